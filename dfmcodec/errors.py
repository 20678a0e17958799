"""The errors that dfmcodec raises, and the exit code that the command gives for each.

Every message is one line, written for the person who meets it. It says what was found and what to
do.
"""

from __future__ import annotations

import errno
from importlib.util import find_spec


class DfmError(Exception):
    """Base of all errors of this package. Exit code 1."""

    exit_code = 1


class ImageError(DfmError):
    """The input is not an image that can be encoded. Exit code 1."""


class MissingFileError(DfmError, FileNotFoundError):
    """A file that is to be read does not exist. Exit code 1."""


class OutputError(DfmError):
    """The output cannot be written, or it exists and must not be replaced. Exit code 1."""


class DivergedError(DfmError):
    """The fit met NaN or infinite values again and again. Exit code 1."""


class ConfigError(DfmError, ValueError):
    """An option, or a combination of options, makes no sense. Exit code 2."""

    exit_code = 2


class FormatError(DfmError):
    """The file is not a readable `.dfm` file. Exit code 3."""

    exit_code = 3


class BadMagicError(FormatError):
    """The file does not start with the magic bytes of a `.dfm` file."""


class UnsupportedVersionError(FormatError):
    """The file needs a format version or a feature that this program does not support."""


class TruncatedError(FormatError):
    """The file ends before its contents do."""


class CorruptError(FormatError):
    """The contents of the file contradict each other or their checksum."""


class MissingModelError(FormatError):
    """The file is a code of a generative model, and that model was not given."""


class LimitError(FormatError):
    """The file declares more than the decoder's limits allow."""


class TargetUnreachableError(DfmError):
    """The size or quality target cannot be met. Exit code 4."""

    exit_code = 4


class MissingPackageError(DfmError):
    """What was asked for needs a package that is not installed. Exit code 1."""


class InstallationError(DfmError):
    """A part of this program is damaged or missing. Exit code 6."""

    exit_code = 6


def printable(text: str) -> str:
    """Text from a file for a message: control characters, which a terminal obeys, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


OUT_OF_MEMORY = 7  # the exit code for Python's own MemoryError
NO_MEMORY = "out of memory; use a smaller image, fewer processes at a time or, to encode, a lower effort"


def is_lack_of_memory(error: Exception) -> bool:
    """Whether an exception means that there is too little memory, be it to load a library or for
    the stack of a thread.
    """
    if isinstance(error, ImportError):
        return "failed to map segment" in str(error)
    if isinstance(error, RuntimeError):
        return "can't start new thread" in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


# The dependencies that an installation may lack, by the names of their modules: what people call
# them, and what pip does. docs/install.md says what works without them.
PACKAGES = {
    "jax": ("JAX", "jax"),
    "jaxlib": ("JAX", "jax"),
    "optax": ("optax", "optax"),
    "scipy": ("SciPy", "scipy"),
    "skimage": ("scikit-image", "scikit-image"),
}


def require(what: str, *modules: str, otherwise: str = "") -> None:
    """Checks that packages are installed, without importing them.

    Args:
        what: What needs the packages, as the message begins: "the overfitted codec".
        modules: The names of their modules, from `PACKAGES`.
        otherwise: What else to do, as the message ends: "or write a PNG".

    Raises:
        MissingPackageError: One is not installed; the message says how to install all that are
            missing.
    """
    missing = [module for module in modules if not is_installed(module)]
    if missing:
        raise missing_package(what, *missing, otherwise=otherwise)


def missing_package(what: str, *modules: str, otherwise: str = "") -> MissingPackageError:
    """Returns the error for packages that are not installed; the arguments are those of
    `require`.
    """
    names, words = (list(dict.fromkeys(PACKAGES[module][i] for module in modules)) for i in (0, 1))
    ending = f"; {otherwise}" if otherwise else ""
    pronoun = "it" if len(names) == 1 else "them"
    return MissingPackageError(
        f"{what} needs {' and '.join(names)}; install {pronoun}: pip install {' '.join(words)}{ending}"
    )


def is_installed(module: str) -> bool:
    """Whether a package is installed, by the name of its module, which is not imported."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # an import hook refuses it, or it has no origin
        return False
