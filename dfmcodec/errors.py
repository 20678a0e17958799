"""The errors that dfmcodec raises, and the exit code that the command gives for each.

Every message is one line, written for the person who meets it. It says what was found and what to
do.
"""

from __future__ import annotations


class DfmError(Exception):
    """Base of all errors of this package. Exit code 1."""

    exit_code = 1


class ImageError(DfmError):
    """The input is not an image that can be encoded. Exit code 1."""


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


class InstallationError(DfmError):
    """A part of this program is damaged or missing. Exit code 6."""

    exit_code = 6


OUT_OF_MEMORY = 7  # the exit code for Python's own MemoryError
NO_MEMORY = "out of memory; use a smaller image, fewer processes (-j) or, to encode, a lower --effort"
