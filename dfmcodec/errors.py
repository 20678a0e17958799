"""Errors that dfmcodec raises, with the exit code of the command for each.

Every message is one line for the user. It says what was found, what was expected and what to do.
"""

from __future__ import annotations

import errno
from importlib.util import find_spec


class DfmError(Exception):
    """Base class of all errors of this package. Exit code 1."""

    exit_code = 1


class ImageError(DfmError):
    """The input is not an image that can be encoded. Exit code 1."""


class MissingFileError(DfmError, FileNotFoundError):
    """An input file does not exist. Exit code 1."""


class OutputError(DfmError):
    """The output cannot be written, or exists and must not be replaced. Exit code 1."""


class DivergedError(DfmError):
    """The fit repeatedly produced NaN or infinite values. Exit code 1."""


class ConfigError(DfmError, ValueError):
    """An option, or a combination of options, is invalid. Exit code 2."""

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
    """The contents of the file are inconsistent or do not match their checksum."""


class LimitError(FormatError):
    """The file declares more than the decoder's limits allow."""


class TargetUnreachableError(DfmError):
    """The size or quality target cannot be met. Exit code 4."""

    exit_code = 4


class MissingPackageError(DfmError):
    """A required package is not installed. Exit code 1."""


class InstallationError(DfmError):
    """A file of the installation is damaged or missing. Exit code 6."""

    exit_code = 6


OUT_OF_MEMORY = 7  # the exit code for Python's own MemoryError
NO_MEMORY = "out of memory; use a smaller image, fewer processes at a time or, to encode, a lower effort"


def is_lack_of_memory(error: Exception) -> bool:
    """Indicates whether memory is lacking, also to load a library or to start a thread."""
    if isinstance(error, ImportError):
        return "failed to map segment" in str(error)
    if isinstance(error, RuntimeError):
        return "can't start new thread" in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


# Optional dependencies, by module name: (name for messages, name for pip). docs/install.md says
# what works without them.
PACKAGES = {
    "jax": ("JAX", "jax"),
    "jaxlib": ("JAX", "jax"),
    "optax": ("optax", "optax"),
    "scipy": ("SciPy", "scipy"),
    "pyarrow": ("pyarrow", "pyarrow"),
}


def require(what: str, *modules: str, otherwise: str = "") -> None:
    """Raises MissingPackageError unless packages are installed, without importing them.

    `what` is the feature that needs them, "the overfitted codec"; `modules` are from `PACKAGES`;
    `otherwise` is an alternative for the end of the message, "or write a PNG".
    """
    missing = [module for module in modules if not is_installed(module)]
    if missing:
        raise missing_package(what, *missing, otherwise=otherwise)


def missing_package(what: str, *modules: str, otherwise: str = "") -> MissingPackageError:
    """Returns the error for packages that are not installed; see `require` for the arguments."""
    names, words = (list(dict.fromkeys(PACKAGES[module][i] for module in modules)) for i in (0, 1))
    ending = f"; {otherwise}" if otherwise else ""
    pronoun = "it" if len(names) == 1 else "them"
    return MissingPackageError(
        f"{what} needs {' and '.join(names)}; install {pronoun}: pip install {' '.join(words)}{ending}"
    )


def is_installed(module: str) -> bool:
    """Indicates whether the package of a module is installed, without importing it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # refused by an import hook, or a module without origin
        return False
