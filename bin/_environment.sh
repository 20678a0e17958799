# Sourced by bin/dfm and bin/test: makes the clone's own virtual environment on first use.
# usage: ensure_environment ROOT [EXTRA]; afterwards "$ROOT/.venv/bin/python" runs the package. EXTRA is jax, bench,
# corpus, cloud or dask, which hold corpus, or dev, which holds jax, bench and corpus; an environment with more than is
# asked for will do. Each extra has a stamp, and what was installed before stays installed.
# The package is installed again when pyproject.toml, setup.py, the kernels or the clone's place changes. DFM_PYTHON names
# another interpreter, of which the environment is made. Scripts of the environment are run by its interpreter: their
# first lines name the place where it was made.

ensure_environment() ( # in a subshell, whose current folder is the clone: Python takes modules from there
    local root=$1 extra=${2:-} venv=$1/.venv python stamp wanted candidate
    case ${DFM_PYTHON:-} in /*) ;; */*) DFM_PYTHON=$PWD/$DFM_PYTHON ;; esac
    cd "$root" || return 1
    local enough=("$venv/.installed-dev")
    case $extra in
        jax | bench) enough+=("$venv/.installed-$extra") ;;
        corpus) enough+=("$venv"/.installed-{corpus,cloud,dask}) ;;
        cloud | dask) enough=("$venv/.installed-$extra") ;;
        '') enough+=("$venv"/.installed{,-jax,-bench,-corpus,-cloud,-dask}) ;;
    esac
    if [ -n "${DFM_PYTHON:-}" ] && [ -x "$venv/bin/python" ] &&
        [ "$(_version "$DFM_PYTHON")" != "$(_version "$venv/bin/python")" ]; then
        echo "dfm: $venv was not made with DFM_PYTHON, $DFM_PYTHON; remove it, and it is made anew" >&2
        return 1
    fi
    wanted=$(
        LC_ALL=C # the order of the kernels
        { echo "$root" && cd "$root" && cat pyproject.toml setup.py packaging/kernels/*.py dfmcodec/kernels/*.{c,h,py,pyi}; } | cksum
    )
    for stamp in "${enough[@]}"; do
        [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && return 0
    done
    local stamps=("$venv/.installed${extra:+-$extra}") # of what is installed afterwards
    for stamp in "$venv"/.installed*; do
        [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && stamps+=("$stamp")
    done

    local place=$venv
    [ -e "$venv" ] || place=$root
    if [ ! -w "$place" ]; then
        echo "dfm: $venv is not complete, and this user may not write there; run $0 as the owner of the clone first," \
            "or use a clone of your own" >&2
        return 1
    fi

    local candidates=(python3 python3.11 python3.12 python3.13 python3.14)
    [ -z "${DFM_PYTHON:-}" ] || candidates=("$DFM_PYTHON")
    python=
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "dfm: Python 3.11 or newer with venv is needed; install it or set DFM_PYTHON to one" >&2
        return 1
    fi
    local size=130
    case $extra in jax) size=660 ;; bench) size=378 ;; corpus) size=300 ;; cloud) size=425 ;; dask) size=340 ;; dev) size=1700 ;; esac
    echo "dfm: installing about $size MB of packages into $venv, once (up to some minutes)" >&2
    # an environment whose making was interrupted has no pip, and one whose interpreter is gone runs nothing
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >/dev/null 2>&1 ||
        { stamps=("${stamps[0]}") && "$python" -m venv --clear "$venv"; } || return 1
    rm -f "$venv"/.installed* # kernels are those of one installation, whatever becomes of it
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --editable "$root${extra:+[$extra]}" >&2 || {
        echo "dfm: installing the dependencies failed; see the lines above" >&2
        return 1
    }
    for stamp in "${stamps[@]}"; do
        echo "$wanted" > "$stamp"
    done
)

_version() {
    "$1" -c 'import sys; print(sys.version)' 2>/dev/null
}
