"""Builds the decoder kernels for the browser: compiles the C kernels of the package to WebAssembly.

    python web/kernels/make_kernels.py            writes ../src/compiled_kernels.js
    python web/kernels/make_kernels.py -o FILE    writes FILE instead

Requires clang 16 or later with wasm-ld beside it (`CLANG` names another compiler than `clang`), and
the headers of a C library for WebAssembly (Debian: clang-19, lld-19, wasi-libc). The module is
built twice: with relaxed SIMD, which multiplies and adds bytes in fewer instructions but is not
supported by all browsers, and without.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.append(str(FOLDER.parents[1] / "packaging" / "kernels"))
import make_kernel_interface as interface  # noqa: E402

KERNELS = interface.SOURCES
TARGET = FOLDER.parent / "src" / "compiled_kernels.js"
PARTS = ("byte_products", "coder", "context", "correction", "grid", "synthesis", "texture")
SOURCES = [FOLDER / "kernels.c", *(KERNELS / f"{part}.c" for part in PARTS)]
HEADERS = [KERNELS / f"{name}.h" for name in ("byte_products", "common", "constants", "context", "kernels", "maths")]
FORMS = {"relaxed": ["-mrelaxed-simd"], "plain": []}
FLAGS = [
    "--target=wasm32-wasi", "-O3", "-std=gnu11", "-msimd128", "-mbulk-memory", "-fwrapv", "-fno-math-errno",
    "-fno-trapping-math", "-Wall", "-Wextra", "-Wno-psabi", "-Wno-pass-failed",
]  # fmt: skip
LINKING = [
    "--no-entry", "--import-memory", "--export=__heap_base", "--strip-all", "--gc-sections", "--stack-first",
    "-z", "stack-size=524288",
]  # fmt: skip
LEAST_CLANG = 16


class BuildError(Exception):
    """The kernels cannot be built on this host; the message is one line."""


def source_hash() -> str:
    """Returns a hash of all sources of the kernels."""
    digest = hashlib.sha256()
    for path in [*SOURCES, *HEADERS, Path(__file__)]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    digest.update((interface.header() + interface.source()).encode())
    return digest.hexdigest()[:16]


def find_clang() -> str:
    """Returns the path of the compiler.

    Raises:
        BuildError: No compiler can build WebAssembly.
    """
    own = os.environ.get("CLANG")
    names = [own] if own else ["clang", *(f"clang-{version}" for version in range(30, LEAST_CLANG - 1, -1))]
    for name in filter(shutil.which, names):
        version = subprocess.run([name, "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"version (\d+)", version)
        if found and int(found[1]) >= LEAST_CLANG:
            return name
    msg = f"there is no clang {LEAST_CLANG} or later; CLANG names one"
    raise BuildError(msg)


def build(clang: str, form: str) -> bytes:
    """Builds a module.

    Args:
        clang: The compiler.
        form: One of FORMS.

    Raises:
        BuildError: The compiler or linker failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        sources = [*SOURCES, *interface.make(Path(folder), has_targets=False)]
        objects = [Path(folder) / f"{source.stem}.o" for source in sources]
        for source, target in zip(sources, objects, strict=True):
            _run(clang, *FLAGS, *FORMS[form], f"-I{KERNELS}", f"-I{folder}", "-c", source, "-o", target)
        out = Path(folder) / "kernels.wasm"
        # Called directly, because clang may run other programs on the result.
        _run(linker_of(clang), *LINKING, *objects, "-o", out)
        return out.read_bytes()


def linker_of(clang: str) -> str:
    """Returns the path of the linker for a compiler."""
    done = subprocess.run([clang, "-print-prog-name=wasm-ld"], capture_output=True, text=True, check=False)
    return shutil.which(done.stdout.strip()) or shutil.which(clang.replace("clang", "wasm-ld")) or "wasm-ld"


def _run(*command: object) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(done.stderr.strip() or f"{command[0]} failed")
    if done.stderr:
        print(done.stderr, file=sys.stderr)


def text_of(modules: dict[str, bytes]) -> str:
    """Returns the JavaScript module with the WebAssembly modules."""
    layouts = [(kernel.name, interface.Layout(kernel.fields)) for kernel in interface.decoders()]
    kernels = [
        {"name": interface.camel_case(name), "bytes": layout.bytes, "fields": layout.rows} for name, layout in layouts
    ]
    lines = [
        "/**",
        " * The kernels in WebAssembly, which `make_kernels.py` builds of C: with relaxed SIMD, and without.",
        " *",
        " * @module compiled_kernels",
        " */",
        "",
        f'export const SOURCE_HASH = "{source_hash()}";',
        *(f'export const {form.upper()} = "{base64.b64encode(module).decode()}";' for form, module in modules.items()),
        "",
        "/** Name, kind and offset of each argument; of groups, their own. Bytes are written. @type {any[]} */",
        "export const KERNELS = [",
        *(f"  {json.dumps(kernel)}," for kernel in kernels),
        "];",
        "",
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=TARGET, help="the file to write (default: %(default)s)")
    output = parser.parse_args(arguments).output
    try:
        clang = find_clang()
        modules = {form: build(clang, form) for form in FORMS}
    except BuildError as error:
        sys.exit(f"make_kernels.py: {error}")
    output.write_text(text_of(modules), encoding="utf-8")
    print(f"{output}: " + ", ".join(f"{form} {len(module):,} bytes" for form, module in modules.items()))


if __name__ == "__main__":
    main()
