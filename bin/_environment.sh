# Sourced by bin/dfm and bin/test: makes the clone's own virtual environment on first use.
# usage: ensure_environment ROOT [EXTRA]; afterwards "$ROOT/.venv/bin/python" runs the package. EXTRA is bench or dev,
# which holds bench; an environment with more than is asked for will do.
# The environment is made again when pyproject.toml, setup.py or a kernel changes. DFM_PYTHON names another interpreter.

ensure_environment() {
    local root=$1 extra=${2:-} venv=$1/.venv python stamp wanted candidate
    local enough=("$venv/.installed-dev")
    [ "$extra" = dev ] || enough+=("$venv/.installed-bench")
    [ -n "$extra" ] || enough+=("$venv/.installed")
    wanted=$(cat "$root/pyproject.toml" "$root/setup.py" "$root"/dfmcodec/kernels/*.[ch] | cksum)
    for stamp in "${enough[@]}"; do
        [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && return 0
    done
    stamp=$venv/.installed${extra:+-$extra}

    python=
    for candidate in ${DFM_PYTHON:-python3 python3.11 python3.12 python3.13 python3.14}; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "dfm: Python 3.11 or newer with venv is needed; install it or set DFM_PYTHON to one" >&2
        return 1
    fi
    echo "dfm: first use, making the environment in $venv (about a minute)" >&2
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv" || return 1
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --editable "$root${extra:+[$extra]}" >&2 || {
        echo "dfm: installing the dependencies failed; see the lines above" >&2
        return 1
    }
    echo "$wanted" > "$stamp"
}
