"""dfmcodec: a lossy image codec for photographs, with small neural networks.

    import dfmcodec

    result = dfmcodec.encode("photo.png", rate=0.18)  # EncodeResult
    result.save("photo.dfm")
    decoded = dfmcodec.decode("photo.dfm")  # Decoded; np.asarray(decoded) is uint8 [H, W, C]
    header = dfmcodec.read_info("photo.dfm")  # Header

Importing dfmcodec imports neither JAX nor NumPy. JAX is imported only where a network is trained,
that is by `encode(...)` with `model="fitted"`, `model="coordinate"`, `generator=...` or, with
`tune="psnr"`, an effort of 6 to 9, and by `decode(..., backend="jax")`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dfmcodec.api import (
    BytesLike,
    Decoded,
    EncodeOptions,
    FileLike,
    GeneratorLike,
    ImageLike,
    decode,
    decode_best_effort,
    decode_pixels,
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
    MissingModelError,
    MissingPackageError,
    OutputError,
    TargetUnreachableError,
    TruncatedError,
    UnsupportedVersionError,
)

if TYPE_CHECKING:
    from dfmcodec.bitstream.header import Header
    from dfmcodec.encoder.config import EncoderConfig
    from dfmcodec.encoder.job import Progress, TracePoint
    from dfmcodec.encoder.report import EncodeReport, EncodeResult
    from dfmcodec.image import Image, Metadata
    from dfmcodec.latents.geometry import Region

__version__ = "0.1.0"

__all__ = [
    "BadMagicError",
    "BytesLike",
    "ConfigError",
    "CorruptError",
    "Decoded",
    "DfmError",
    "DivergedError",
    "EncodeOptions",
    "EncodeReport",
    "EncodeResult",
    "EncoderConfig",
    "FileLike",
    "FormatError",
    "GeneratorLike",
    "Header",
    "Image",
    "ImageError",
    "ImageLike",
    "InstallationError",
    "LimitError",
    "Metadata",
    "MissingFileError",
    "MissingModelError",
    "MissingPackageError",
    "OutputError",
    "Progress",
    "Region",
    "TargetUnreachableError",
    "TracePoint",
    "TruncatedError",
    "UnsupportedVersionError",
    "__version__",
    "decode",
    "decode_best_effort",
    "decode_pixels",
    "encode",
    "read_info",
]

_LAZY = {
    "EncodeReport": "dfmcodec.encoder.report",
    "EncodeResult": "dfmcodec.encoder.report",
    "EncoderConfig": "dfmcodec.encoder.config",
    "Header": "dfmcodec.bitstream.header",
    "Image": "dfmcodec.image",
    "Metadata": "dfmcodec.image",
    "Progress": "dfmcodec.encoder.job",
    "Region": "dfmcodec.latents.geometry",
    "TracePoint": "dfmcodec.encoder.job",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
