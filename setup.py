"""Settings that pyproject.toml cannot express.

The folder web/ is shipped as the package `dfmcodec.web`. Code of the kernels is generated, and they
are compiled if there is a compiler.
"""

import sys
import sysconfig
from glob import glob
from pathlib import Path

from setuptools import Extension, find_packages, setup

from setuptools.command.build_ext import build_ext  # isort: skip

sys.path.insert(0, str(Path(__file__).parent / "packaging" / "kernels"))

# Sums of integers wrap around as NumPy's do, so the kernels need -fwrapv. Clang fuses as many
# multiply-adds as GCC only with -ffp-contract=fast; otherwise a few samples differ by 1. Without a
# compiler, or with one that does not know the vectors of GCC and Clang, the package is installed
# without kernels and uses NumPy.
# Generated files such as correction_avx2.c are for x86-64 and Linux or Windows; elsewhere a build
# is for the oldest processors throughout. The platform is that of the wheel, which
# tests/supply/cross_wheels.py names.
GENERATED = "build/kernels"
HAS_TARGETS = sysconfig.get_platform() in ("linux-x86_64", "win-amd64")
# One build is for Python 3.11 and all later versions; free-threaded ones, which have no such
# interface, need a build each.
IS_LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")
KERNELS = Extension(
    "dfmcodec.kernels._compiled",
    sorted(glob("dfmcodec/kernels/*.c")),
    include_dirs=["dfmcodec/kernels", GENERATED],
    depends=sorted(glob("dfmcodec/kernels/*.h")),
    extra_compile_args=[
        *("-O3", "-g0", "-fwrapv", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wno-psabi")
    ],
    extra_link_args=["-Wl,-s"] if sys.platform == "linux" else [],  # without names of internal functions
    define_macros=[("Py_LIMITED_API", "0x030B0000")] if IS_LIMITED else [],
    py_limited_api=IS_LIMITED,
    optional=True,
)


class BuildKernels(build_ext):
    """Generates code of the kernels, and compiles them."""

    def run(self):
        import make_kernel_interface

        KERNELS.sources += map(str, make_kernel_interface.make(Path(GENERATED), has_targets=HAS_TARGETS))
        super().run()


setup(
    cmdclass={"build_ext": BuildKernels},
    packages=[*find_packages(include=["dfmcodec*"]), "dfmcodec.web"],
    package_dir={"dfmcodec.web": "web"},
    ext_modules=[KERNELS],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if IS_LIMITED else {},
)
