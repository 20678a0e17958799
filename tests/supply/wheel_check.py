"""Builds the wheel and tests it outside the tree: contents, size, a clean installation, the
commands and the plugin.

    python tests/supply/wheel_check.py [--full]

The committed and changed files that git knows are copied into a temporary folder. There the source
distribution is made, and of that alone the wheel, by the setuptools that pyproject.toml asks for.
It may hold the package's modules and data, the kernels, the manual page and nothing else. The
kernels have to be in it where there is a compiler, and one build of them is for all versions of
Python. It is installed into a new environment with dependencies from the package index, or, without
--full, into a new environment that sees those of this one; there, away from the tree, `dfm`
encodes, decodes, informs and verifies, and Pillow opens the file.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_WHEEL_BYTES = 1_900_000  # of which weights, kernels and a photograph are 0.8 million
PACKAGES = {"dfmcodec": ("dfmcodec", "**/*.py"), "dfmcodec.web": ("web", "*.py")}  # folders and modules, by setup.py
KERNELS = "dfmcodec/kernels/_compiled.abi3.so"
SOURCES_ALONE = ("kernels/*.c", "kernels/*.h")  # of the package's folder, in no wheel
USES_KERNELS = "from dfmcodec.kernels import compiled; print(compiled is not None)"
PROGRAM = """
import sys, numpy, PIL.Image
import dfmcodec, dfmcodec.plugins.pillow
dfmcodec.plugins.pillow.register()
assert dfmcodec.__file__.startswith(sys.prefix), dfmcodec.__file__
with PIL.Image.open("cat.dfm") as image:
    pixels = numpy.asarray(image)
assert image.format == "DFM" and pixels.shape == (48, 64, 3), (image.format, pixels.shape)
assert numpy.array_equal(pixels, dfmcodec.decode("cat.dfm"))
assert numpy.array_equal(pixels, numpy.asarray(PIL.Image.open("back.png")))
original = numpy.asarray(PIL.Image.open("cat.png")).astype(float)
psnr = 10 * numpy.log10(255**2 / ((pixels - original) ** 2).mean())
assert psnr > 30, psnr
golden = dfmcodec.decode("golden.dfm")
assert numpy.array_equal(golden, numpy.asarray(PIL.Image.open("golden.png").convert("RGB")))
"""
IMAGE = """
import numpy, PIL.Image
y, x = numpy.mgrid[:48, :64]
pixels = numpy.stack([128 + 90 * numpy.sin(x / 9 + y / 15), 2 * x + y, 200 - 3 * y], axis=-1)
PIL.Image.fromarray(numpy.clip(pixels, 0, 255).astype("uint8")).save("cat.png")
"""


def command(*words: str | Path, cwd: Path) -> str:
    """What a command prints, without what could lead it to the tree or switch the kernels off.

    Raises:
        SystemExit: It failed.
    """
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "DFMCODEC_KERNELS"):
        environment.pop(name, None)
    done = subprocess.run(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        env=environment,
        check=False,
    )
    if done.returncode:
        sys.exit(f"wheel_check: {' '.join(map(str, words))}\n{done.stdout[-3000:]}")
    return done.stdout


def copy_tree(target: Path) -> None:
    """The files that git knows or would add, as they are now."""
    listed = command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.is_file() and not name.startswith(("tests/", "benchmarks/")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(source.read_bytes())


def built_wheel(work: Path) -> Path:
    """Builds the wheel in a folder, from a copy of the tree in `tree`."""
    copy_tree(work / "tree")
    command(sys.executable, "-m", "build", "--outdir", work / "dist", work / "tree", cwd=work)
    (wheel,) = (work / "dist").glob("*.whl")
    return wheel


def expected_contents(tree: Path) -> set[str]:
    """The modules of the packages and the data that pyproject.toml names."""
    project = tomllib.loads((tree / "pyproject.toml").read_text())
    data = project["tool"]["setuptools"]["package-data"]
    names = set()
    for package, (folder, modules) in PACKAGES.items():
        found = {path for pattern in (modules, *data[package]) for path in (tree / folder).glob(pattern)}
        inside = package.replace(".", "/")
        names |= {f"{inside}/{path.relative_to(tree / folder).as_posix()}" for path in found if path.is_file()}
    return names


def can_compile() -> bool:
    """Whether there is a compiler, and this Python has its header."""
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    header = Path(sysconfig.get_path("include"), "Python.h")
    return shutil.which(shlex.split(compiler)[0]) is not None and header.is_file()


def check_contents(wheel: Path, tree: Path) -> tuple[int, bool]:
    """Returns the number of files of the package, and whether kernels are among them.

    Raises:
        SystemExit: The wheel holds something else, or too much.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    about = {name for name in names if name.split("/")[0].endswith((".dist-info", ".data"))}
    unexpected = {name for name in about if name.split("/")[-1] not in ABOUT}
    expected = expected_contents(tree)
    has_kernels = KERNELS in names
    if can_compile() and not has_kernels:
        sys.exit(f"wheel_check: no {KERNELS} in the wheel though there is a compiler; pip install -v . shows why")
    if "-cp311-abi3-" not in wheel.name:
        sys.exit(f"wheel_check: {wheel.name} is not for Python 3.11 and all later versions")
    if has_kernels:
        expected.add(KERNELS)
    if names - about != expected or unexpected:
        missing, more = sorted(expected - names), sorted((names - about - expected) | unexpected)
        sys.exit(f"wheel_check: missing in the wheel: {missing}; not expected in it: {more}")
    package = tree / "dfmcodec"
    sources = {path for pattern in SOURCES_ALONE for path in package.glob(pattern)}
    named = {path.relative_to(tree).as_posix() for path in package.rglob("*") if path.is_file() and path not in sources}
    if left_out := named - expected:
        sys.exit(f"wheel_check: files of the package that pyproject.toml does not name: {sorted(left_out)}")
    if wheel.stat().st_size > MAX_WHEEL_BYTES:
        sys.exit(f"wheel_check: {wheel.stat().st_size} bytes, more than {MAX_WHEEL_BYTES}")
    return len(expected), has_kernels


ABOUT = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "LICENSE"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="Dependencies from the package index; a minute or two.")
    options = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="dfm-wheel-") as temporary:
        work = Path(temporary)
        tree, away = work / "tree", work / "away"
        away.mkdir()
        wheel = built_wheel(work)
        files, has_kernels = check_contents(wheel, tree)

        environment = work / "environment"
        venv.create(environment, with_pip=True)
        python, dfm = environment / "bin" / "python", environment / "bin" / "dfm"
        install = [python, "-m", "pip", "install", "--quiet", wheel]
        if options.full:
            command(*install, cwd=away)
            command(python, "-m", "pip", "check", cwd=away)
        else:
            command(*install, "--no-deps", cwd=away)
            (seen,) = (environment / "lib").glob("python*/site-packages")
            own = Path(sys.prefix) / "lib" / seen.parent.name / "site-packages"
            copies = [path for path in own.iterdir() if not path.name.startswith(("__editable__", "dfmcodec", "pip"))]
            for path in copies:  # not a .pth file, whose own .pth files would lead to the tree
                if not (seen / path.name).exists() and path.suffix != ".pth":
                    (seen / path.name).symlink_to(path)

        if command(python, "-c", USES_KERNELS, cwd=away).strip() != str(has_kernels):
            sys.exit(f"wheel_check: {'kernels are not used' if has_kernels else 'kernels from elsewhere are used'}")
        golden = ROOT / "tests" / "golden" / "v1"
        (away / "golden.dfm").write_bytes((golden / "wavelet-rgb.dfm").read_bytes())
        (away / "golden.png").write_bytes((golden / "wavelet-rgb.png").read_bytes())
        command(python, "-c", IMAGE, cwd=away)
        command(dfm, "encode", "cat.png", "--size", "1500", "--effort", "1", cwd=away)
        command(dfm, "decode", "cat.dfm", "-o", "back.png", cwd=away)
        info = json.loads(command(dfm, "info", "--json", "cat.dfm", cwd=away))
        command(dfm, "verify", "cat.dfm", cwd=away)
        command(dfm, "view", "-o", "viewer.html", cwd=away)
        command(python, "-c", PROGRAM, cwd=away)
        if (away / "cat.dfm").stat().st_size > 1500 or not info:
            sys.exit("wheel_check: the file is larger than its target")
        print(
            f"wheel_check: {wheel.name}, {wheel.stat().st_size} bytes, {files} files, "
            f"{'with' if has_kernels else 'without'} kernels; "
            f"installed, encoded, decoded, verified, opened by Pillow, {time.perf_counter() - started:.0f} s"
        )


if __name__ == "__main__":
    main()
