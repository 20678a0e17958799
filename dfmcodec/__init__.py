"""dfmcodec: a lossy image codec for photographs, with small neural networks.

    import dfmcodec

    result = dfmcodec.encode("photo.png", rate=0.18)  # EncodeResult
    result.save("photo.dfm")
    decoded = dfmcodec.decode("photo.dfm")  # DecodeResult; np.asarray(decoded) is uint8 [H, W, C]
    header = dfmcodec.read_info("photo.dfm")  # Header

Importing dfmcodec imports neither JAX nor NumPy. JAX is imported by
`encode(..., model="coordinate")`, and by fits of the overfitted codec on a GPU.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dfmcodec.api import (
    BytesLike,
    DecodeResult,
    EncodeOptions,
    FileLike,
    ImageLike,
    decode,
    encode,
    read_info,
)
from dfmcodec.errors import (
    BadMagicError,
    ConfigError,
    CorruptError,
    DfmError,
    DivergedError,
    FormatError,
    ImageError,
    InstallationError,
    LimitError,
    MissingFileError,
    MissingPackageError,
    OutputError,
    TargetUnreachableError,
    TruncatedError,
    UnsupportedVersionError,
)

if TYPE_CHECKING:
    from dfmcodec.container.header import Header
    from dfmcodec.image import Image, Metadata
    from dfmcodec.image.region import Region
    from dfmcodec.report import EncodeReport, EncodeResult
    from dfmcodec.search.config import EncoderConfig
    from dfmcodec.search.job import Progress

__version__ = "0.1.0.dev0"

__all__ = [
    "BadMagicError",
    "BytesLike",
    "ConfigError",
    "CorruptError",
    "DecodeResult",
    "DfmError",
    "DivergedError",
    "EncodeOptions",
    "EncodeReport",
    "EncodeResult",
    "EncoderConfig",
    "FileLike",
    "FormatError",
    "Header",
    "Image",
    "ImageError",
    "ImageLike",
    "InstallationError",
    "LimitError",
    "Metadata",
    "MissingFileError",
    "MissingPackageError",
    "OutputError",
    "Progress",
    "Region",
    "TargetUnreachableError",
    "TruncatedError",
    "UnsupportedVersionError",
    "__version__",
    "decode",
    "encode",
    "read_info",
]

_LAZY = {
    "EncodeReport": "dfmcodec.report",
    "EncodeResult": "dfmcodec.report",
    "EncoderConfig": "dfmcodec.search.config",
    "Header": "dfmcodec.container.header",
    "Image": "dfmcodec.image",
    "Metadata": "dfmcodec.image",
    "Progress": "dfmcodec.search.job",
    "Region": "dfmcodec.image.region",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
