"""Builds wheels for Linux (x86-64 and 64-bit Arm, glibc and musl), macOS and Windows on one
computer.

    pip install ziglang build wheel auditwheel
    python tests/supply/cross_wheels.py OUT [--only NAME]

The compiler, headers and libraries are those of the package ziglang. Each wheel is made of the
files that git knows, and looked into: its tag, kernels of the right kind that need nothing but the
system's libraries, and of glibc nothing newer than the tag says. What it does on its platform is
another question: wheel_smoke.py asks it there. The release's wheels for Linux and macOS are made by
cibuildwheel on hosts of each kind; this shows beforehand that the sources build for them. That for
Windows is the one made here, as Microsoft's compiler does not know the kernels' vectors.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KERNELS = "dfmcodec/kernels/_compiled.abi3.so"
KERNELS_ON_WINDOWS = "dfmcodec/kernels/_compiled.pyd"
# What Python's headers ask of the compiler, for its limited interface on 64-bit Windows. The copies
# of them here are those of Linux.
PYCONFIG_OF_WINDOWS = """
#define MS_WINDOWS 1
#define MS_WIN64 1
#define HAVE_DECLSPEC_DLL 1
#define Py_ENABLE_SHARED 1
#define HAVE_SSIZE_T 1
#define HAVE_STDDEF_H 1
#define HAVE_SYS_TYPES_H 1
#define HAVE_SYS_STAT_H 1
#define SIZEOF_VOID_P 8
#define SIZEOF_SIZE_T 8
#define SIZEOF_LONG_LONG 8
#define SIZEOF_LONG 4
#define SIZEOF_INT 4
#define SIZEOF_SHORT 2
#define SIZEOF_WCHAR_T 2
#define SIZEOF_TIME_T 8
#define SIZEOF_DOUBLE 8
#define SIZEOF_FLOAT 4
"""


@dataclass(frozen=True)
class Target:
    """A kind of computer.

    Args:
        zig: Its name for zig.
        platform: Its name for Python.
        tag: The platform tag of the wheel.
        magic: The first bytes of its kernels, and where its processor stands (on Windows, after
            the true header's offset), with a byte of its number.
    """

    zig: str
    platform: str
    tag: str
    magic: tuple[bytes, int, int]

    @property
    def is_windows(self) -> bool:
        return self.magic[0] == _PE


_ELF, _MACH_O = b"\x7fELF", b"\xcf\xfa\xed\xfe"
_PE, _HEAD_AT = b"MZ", 0x3C  # whose first bytes are those of DOS; where the offset of the true header stands
_X86_64, _AARCH64 = (_ELF, 18, 62), (_ELF, 18, 183)
TARGETS = {
    "glibc-x86_64": Target("x86_64-linux-gnu.2.28", "linux-x86_64", "manylinux_2_28_x86_64", _X86_64),
    "glibc-aarch64": Target("aarch64-linux-gnu.2.28", "linux-aarch64", "manylinux_2_28_aarch64", _AARCH64),
    "musl-x86_64": Target("x86_64-linux-musl", "linux-x86_64", "musllinux_1_2_x86_64", _X86_64),
    "musl-aarch64": Target("aarch64-linux-musl", "linux-aarch64", "musllinux_1_2_aarch64", _AARCH64),
    "macos-arm64": Target("aarch64-macos.11.0", "macosx-11.0-arm64", "macosx_11_0_arm64", (_MACH_O, 4, 12)),
    "macos-x86_64": Target("x86_64-macos.10.15", "macosx-10.15-x86_64", "macosx_10_15_x86_64", (_MACH_O, 4, 7)),
    "windows-x86_64": Target("x86_64-windows-gnu", "win-amd64", "win_amd64", (_PE, 5, 0x86)),
    "windows-arm64": Target("aarch64-windows-gnu", "win-arm64", "win_arm64", (_PE, 5, 0xAA)),
}


def windows_flags(target: Target, folder: Path) -> list[str]:
    """Makes Python's headers and the import library of python3.dll for Windows.

    Returns:
        The options of compiler and linker that find them.
    """
    headers = folder / "python"
    shutil.copytree(sysconfig.get_path("include"), headers)
    (headers / "pyconfig.h").write_text(PYCONFIG_OF_WINDOWS)
    text = "".join(path.read_text() for path in sorted(headers.glob("*.h")))
    functions = re.findall(r"PyAPI_FUNC\([^()]*\)\s*(\w+)\s*\(", text)
    data = re.findall(r"PyAPI_DATA\([^()]*\)\s*(\w+)\s*[;\[]", text)
    names = [*dict.fromkeys(functions), *(f"{name} DATA" for name in dict.fromkeys(data))]
    (folder / "python3.def").write_text("\n".join(["LIBRARY python3.dll", "EXPORTS", *names]))
    library = folder / "python3.lib"
    machine = "i386:x86-64" if target.zig.startswith("x86_64") else "arm64"
    tool = [sys.executable, "-m", "ziglang", "dlltool", "-m", machine]
    subprocess.run([*tool, "-d", str(folder / "python3.def"), "-l", str(library)], check=True)
    return [f"-I{headers}", str(library)]


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
        compiled, linked = "-fPIC", ""
        if target.is_windows:
            compiled, linked = windows_flags(target, Path(folder))
        environment = {
            **os.environ,
            "CC": compiler,
            "LDSHARED": f"{compiler} {shared} -s",
            "CFLAGS": compiled,
            "LDFLAGS": linked,
            "_PYTHON_HOST_PLATFORM": target.platform,
        }
        command = [sys.executable, "-m", "build", "--wheel", "--outdir", folder, str(tree)]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        (made,) = Path(folder).glob("*.whl")
        if target.is_windows:
            rename_kernels(made)
        tags = [sys.executable, "-m", "wheel", "tags", "--remove", "--platform-tag", target.tag, str(made)]
        subprocess.run(tags, check=True, stdout=subprocess.DEVNULL)
        (made,) = Path(folder).glob("*.whl")
        return Path(shutil.copy(made, out))


def rename_kernels(wheel: Path) -> None:
    """Gives the kernels in a wheel the name that Python looks for on Windows."""
    with tempfile.TemporaryDirectory() as folder:
        python_wheel = [sys.executable, "-m", "wheel"]
        quiet = {"check": True, "stdout": subprocess.DEVNULL}
        subprocess.run([*python_wheel, "unpack", str(wheel), "--dest", folder], **quiet)
        (tree,) = Path(folder).iterdir()
        (tree / KERNELS).rename(tree / KERNELS_ON_WINDOWS)
        subprocess.run([*python_wheel, "pack", str(tree), "--dest-dir", str(wheel.parent)], **quiet)


def check(target: Target, wheel: Path) -> None:
    """Looks into a wheel.

    Raises:
        SystemExit: It is not what its tag says.
    """
    name = KERNELS_ON_WINDOWS if target.is_windows else KERNELS
    with zipfile.ZipFile(wheel) as archive:
        if name not in archive.namelist():
            sys.exit(f"{wheel.name} has no kernels: the compiler failed")
        kernels = archive.read(name)
    magic, at, processor = target.magic
    if target.is_windows:
        at += int.from_bytes(kernels[_HEAD_AT : _HEAD_AT + 4], "little")
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
