"""dfmcodec: a lossy image codec whose files are small neural networks.

    import dfmcodec

    result = dfmcodec.encode("photo.png", rate=0.18)   # EncodeResult: .data (bytes), .report
    pixels = dfmcodec.decode(result.data)              # uint8 [H, W, C]
    header = dfmcodec.read_info("photo.dfm")

Nothing here imports JAX until `encode` is called.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    MissingModelError,
    OutputError,
    TargetUnreachableError,
    TruncatedError,
    UnsupportedVersionError,
)

if TYPE_CHECKING:
    from dfmcodec.bitstream import Header
    from dfmcodec.encoder import EncoderConfig, EncodeReport, EncodeResult
    from dfmcodec.generative.model import GenerativeModel
    from dfmcodec.image import Pixels

__version__ = "0.1.0"

__all__ = [
    "BadMagicError",
    "ConfigError",
    "CorruptError",
    "DfmError",
    "DivergedError",
    "EncodeReport",
    "EncodeResult",
    "EncoderConfig",
    "FormatError",
    "ImageError",
    "InstallationError",
    "LimitError",
    "MissingModelError",
    "OutputError",
    "TargetUnreachableError",
    "TruncatedError",
    "UnsupportedVersionError",
    "__version__",
    "decode",
    "decode_best_effort",
    "encode",
    "read_info",
]

_LAZY = {"EncodeReport", "EncodeResult", "EncoderConfig"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import dfmcodec.encoder

        return getattr(dfmcodec.encoder, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def encode(
    image: Any,
    config: EncoderConfig | None = None,
    *,
    strip: bool = False,
    prior: str | os.PathLike[str] | None = None,
    **options: Any,
) -> EncodeResult:
    """Encodes a picture.

    Args:
        image: A path, a Pillow picture, or a uint8 or uint16 array [H, W] or [H, W, C]: C = 1 gray, 2 gray and opacity,
            3 RGB, 4 RGB and opacity. What has to be converted is told by a warning.
        config: All settings; or give its fields as keywords: `rate=0.18`, `psnr=30`, `steps=500`, ...
        strip: Leave ICC, Exif and XMP behind.
        prior: The `.dfmg` file of a generative model of such pictures, under which the picture becomes a code.

    Raises:
        ImageError: The picture cannot be encoded.
        FormatError: The prior is not a readable `.dfmg` file.
        ConfigError: The settings make no sense.
        TargetUnreachableError: The size or quality target cannot be met.
        DivergedError: The fit came to values that are not numbers again and again.
        InstallationError: A part of the program is damaged.
    """
    from dfmcodec.encoder import EncoderConfig, encode_image
    from dfmcodec.reading import to_image

    if config is not None and options:
        msg = "give either a config or single options, not both"
        raise ConfigError(msg)
    try:
        config = config or EncoderConfig(**options)
    except TypeError as error:
        msg = f"unknown option: {error}"
        raise ConfigError(msg) from error

    def warn(notice: str) -> None:
        warnings.warn(notice, stacklevel=3)

    generator = _generator_of(prior)
    return encode_image(to_image(image, strip, warn), config, generator=generator)


def decode(
    source: bytes | str | os.PathLike[str], backend: str = "numpy", prior: str | os.PathLike[str] | None = None
) -> Pixels:
    """Decodes a `.dfm` file.

    Args:
        source: The file's bytes or its path.
        backend: "numpy" or "jax".
        prior: The `.dfmg` file of the generative model, where the picture is a code of one.

    Returns:
        uint8 or uint16 [H, W, C], C = 1 gray, 2 gray and opacity, 3 RGB, 4 RGB and opacity.

    Raises:
        FormatError: It is not a readable `.dfm` file; MissingModelError: it needs another prior.
        InstallationError: A part of the program is damaged.
    """
    from dfmcodec.decoder import decode_image

    return decode_image(_bytes_of(source), backend, generator=_generator_of(prior)).samples


def decode_best_effort(
    source: bytes | str | os.PathLike[str], backend: str = "numpy", prior: str | os.PathLike[str] | None = None
) -> tuple[Pixels, list[str]]:
    """Decodes what is there of a `.dfm` file that is cut off or damaged; so a prefix of a file gives a preview.

    Args:
        source: The file's bytes or its path.
        backend: "numpy" or "jax".
        prior: As of `decode`.

    Returns:
        As of `decode`; and what is missing or damaged, in words: empty for a whole file.

    Raises:
        FormatError: Nothing of the picture can be made out.
        InstallationError: A part of the program is damaged.
    """
    from dfmcodec.decoder import decode_best_effort

    image, losses = decode_best_effort(_bytes_of(source), backend, generator=_generator_of(prior))
    return image.samples, losses


def read_info(source: bytes | str | os.PathLike[str]) -> Header:
    """Reads a `.dfm` file's header, decoding nothing.

    Raises:
        FormatError: It is not a readable `.dfm` file.
    """
    from dfmcodec.bitstream import read_header

    return read_header(_bytes_of(source))


def _generator_of(prior: str | os.PathLike[str] | None) -> GenerativeModel | None:
    if prior is None:
        return None
    from dfmcodec.generative.model import read_model_file

    return read_model_file(Path(prior))


def _bytes_of(source: bytes | str | os.PathLike[str]) -> bytes:
    from dfmcodec.io import read_file

    return source if isinstance(source, bytes) else read_file(Path(source))
