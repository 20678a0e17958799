"""Wheels for Linux (x86-64 and 64-bit Arm, glibc and musl) and for macOS, made on one computer.

    pip install ziglang build wheel auditwheel
    python tests/supply/cross_wheels.py OUT [--only NAME]

The compiler, headers and libraries are those of the package ziglang. Each wheel is made of the
files that git knows, and looked into: its tag, kernels of the right kind that need nothing but the
system's libraries, and of glibc nothing newer than the tag says. What it does on its platform is
another question: wheel_smoke.py asks it there. The release is made by cibuildwheel on hosts of each
kind; this shows beforehand that the sources build for them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KERNELS = "dfmcodec/kernels/_compiled.abi3.so"


@dataclass(frozen=True)
class Target:
    """A kind of computer.

    Args:
        zig: Its name for zig.
        platform: Its name for Python.
        tag: The platform tag of the wheel.
        magic: The first bytes of its kernels, and where its processor stands, with its number.
    """

    zig: str
    platform: str
    tag: str
    magic: tuple[bytes, int, int]


_ELF, _MACH_O = b"\x7fELF", b"\xcf\xfa\xed\xfe"
_X86_64, _AARCH64 = (_ELF, 18, 62), (_ELF, 18, 183)
TARGETS = {
    "glibc-x86_64": Target("x86_64-linux-gnu.2.28", "linux-x86_64", "manylinux_2_28_x86_64", _X86_64),
    "glibc-aarch64": Target("aarch64-linux-gnu.2.28", "linux-aarch64", "manylinux_2_28_aarch64", _AARCH64),
    "musl-x86_64": Target("x86_64-linux-musl", "linux-x86_64", "musllinux_1_2_x86_64", _X86_64),
    "musl-aarch64": Target("aarch64-linux-musl", "linux-aarch64", "musllinux_1_2_aarch64", _AARCH64),
    "macos-arm64": Target("aarch64-macos.11.0", "macosx-11.0-arm64", "macosx_11_0_arm64", (_MACH_O, 4, 12)),
    "macos-x86_64": Target("x86_64-macos.10.15", "macosx-10.15-x86_64", "macosx_10_15_x86_64", (_MACH_O, 4, 7)),
}


def build(target: Target, out: Path) -> Path:
    """Makes the wheel of a kind of computer, from the files that git knows."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, tree / name)
        compiler = f"{sys.executable} -m ziglang cc -target {target.zig}"
        shared = "-Wl,-undefined,dynamic_lookup -shared" if "macos" in target.zig else "-shared"
        environment = {
            **os.environ,
            "CC": compiler,
            "LDSHARED": f"{compiler} {shared} -s",
            "CFLAGS": "-fPIC",
            "_PYTHON_HOST_PLATFORM": target.platform,
        }
        command = [sys.executable, "-m", "build", "--wheel", "--outdir", folder, str(tree)]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        (made,) = Path(folder).glob("*.whl")
        tags = [sys.executable, "-m", "wheel", "tags", "--remove", "--platform-tag", target.tag, str(made)]
        subprocess.run(tags, check=True, stdout=subprocess.DEVNULL)
        (made,) = Path(folder).glob("*.whl")
        return Path(shutil.copy(made, out))


def check(target: Target, wheel: Path) -> None:
    """Looks into a wheel.

    Raises:
        SystemExit: It is not what its tag says.
    """
    with zipfile.ZipFile(wheel) as archive:
        if KERNELS not in archive.namelist():
            sys.exit(f"{wheel.name} has no kernels: the compiler failed")
        kernels = archive.read(KERNELS)
    magic, at, processor = target.magic
    if not kernels.startswith(magic) or kernels[at] != processor:
        sys.exit(f"the kernels of {wheel.name} are for something else")
    if "manylinux" in target.tag:
        shown = subprocess.run(
            [sys.executable, "-m", "auditwheel", "show", str(wheel)], check=True, capture_output=True, text=True
        ).stdout
        if "manylinux_2_" not in shown:
            sys.exit(f"{wheel.name} is not what its tag says:\n{shown}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder for the wheels")
    parser.add_argument("--only", choices=TARGETS, help="one kind of computer; all if left out")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, target in TARGETS.items():
        if arguments.only in (None, name):
            wheel = build(target, arguments.out)
            check(target, wheel)
            print(f"{name}: {wheel.name}, {wheel.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
