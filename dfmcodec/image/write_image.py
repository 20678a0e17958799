"""Writes image files, with the ICC profile and metadata that the format supports."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dfmcodec.errors import ConfigError, OutputError
from dfmcodec.image import MAX_SIDE, PEAK_CODE_VALUE, Image, peak_value, png, rescaled, tiff, to_code_values
from dfmcodec.image.density import density_of
from dfmcodec.image.gainmap import with_gainmap, xmp_with_length
from dfmcodec.image.metadata import ExifFields, exif_fields, pillow_info
from dfmcodec.threads import in_threads

if TYPE_CHECKING:
    import PIL.Image

JPEG_QUALITY = 95  # default quality; with full chroma
_SEGMENT_BYTES = 65_533  # maximum of a JPEG segment
_JPEG_BYTES = {"icc": 255 * (_SEGMENT_BYTES - 14), "exif": _SEGMENT_BYTES, "xmp": _SEGMENT_BYTES - 29}
_JPEG_DENSITY = (1 << 16) - 1  # maximum pixels per inch; a PNG holds all values of `density_of`
_STRIP_BYTES = 1 << 20  # of a TIFF or PNG, before compression
_AVERAGE = 3  # PNG row filter: mean of the samples to the left and above
_PNG_LEVEL = 4
_ZLIB_HEAD = b"\x78\x5e"  # deflate, window of 32 kB, fast compression


@dataclass(frozen=True)
class OutputFormat:
    """Properties of an output format: its name as in `--format`, and what it supports."""

    name: str
    extensions: tuple[str, ...]  # the first one is used for derived file names
    deep: bool  # 16 bits per sample
    alpha: bool
    metadata: bool  # and ICC profiles
    quality: bool = False  # a setting, 1..100
    largest_side: int = MAX_SIDE


OUTPUT_FORMATS = {
    output.name: output
    for output in (
        OutputFormat("png", (".png",), deep=True, alpha=True, metadata=True),
        OutputFormat("tiff", (".tif", ".tiff"), deep=True, alpha=True, metadata=True),
        OutputFormat(
            "jpeg", (".jpg", ".jpeg"), deep=False, alpha=False, metadata=True, quality=True, largest_side=65_500
        ),
        OutputFormat("webp", (".webp",), deep=False, alpha=True, metadata=True, quality=True, largest_side=16_383),
        OutputFormat("ppm", (".ppm", ".pgm", ".pnm"), deep=True, alpha=False, metadata=False),
        OutputFormat("bmp", (".bmp",), deep=False, alpha=False, metadata=False),
        OutputFormat("npy", (".npy",), deep=True, alpha=True, metadata=False),
    )
}


def output_format(path: Path | None, name: str | None, otherwise: str = "") -> OutputFormat:
    """Returns a format by its name, or by the extension of a path; without both PNG.

    `otherwise` is an alternative for the end of the message: "or name the format with --format".
    Raises ConfigError if no format has this extension.
    """
    if name is not None:
        return OUTPUT_FORMATS[name]
    suffix = ".png" if path is None else path.suffix.lower()
    for output in OUTPUT_FORMATS.values():
        if suffix in output.extensions:
            return output
    choices = " ".join(sorted(extension for output in OUTPUT_FORMATS.values() for extension in output.extensions))
    ending = f"; {otherwise}" if otherwise else ""
    msg = f"the extension of {path and path.name!r} is not that of an image format; use one of {choices}{ending}"
    raise ConfigError(msg)


def check_holds(output: OutputFormat, bit_depth: int, has_alpha: bool) -> None:
    """Raises OutputError if the format would lose bit depth or alpha."""
    unsupported = []
    if bit_depth > 8 and not output.deep:
        unsupported.append(f"{bit_depth} bits per sample")
    if has_alpha and not output.alpha:
        unsupported.append("alpha")
    if unsupported:
        able = [o.name for o in OUTPUT_FORMATS.values() if (o.deep or bit_depth == 8) and (o.alpha or not has_alpha)]
        msg = f"{output.name} cannot hold {' and '.join(unsupported)}; use {' or '.join(able)}"
        raise OutputError(msg)


def check_size(output: OutputFormat, height: int, width: int) -> None:
    """Raises OutputError if the format does not support the image size."""
    if max(height, width) > output.largest_side:
        limit = f"its sides have up to {output.largest_side} pixels"
        msg = f"{output.name} cannot hold an image of {width}x{height}: {limit}"
        raise OutputError(msg)


def check_quality(output: OutputFormat, quality: int | None) -> None:
    """Raises ConfigError if a quality is given for a format without a quality setting."""
    if quality is not None and not output.quality:
        able = " and ".join(o.name for o in OUTPUT_FORMATS.values() if o.quality)
        msg = f"{output.name} is lossless and has no quality, which {able} have; leave it out or use one of these"
        raise ConfigError(msg)


def check_image(output: OutputFormat, image: Image) -> None:
    check_holds(output, image.bit_depth, image.alpha is not None)
    check_size(output, image.height, image.width)


def left_out(image: Image, output: OutputFormat) -> list[str]:
    """Returns the names of the image's metadata entries that the format cannot store."""
    return [name for name, value in image.metadata.present().items() if not _holds(output, name, value)]


def _holds(output: OutputFormat, name: str, value: bytes) -> bool:
    if name == "bits":  # every 16-bit format stores them
        return True
    if name == "cicp":
        return output.name == "png"
    if name == "gainmap":
        return output.name == "jpeg"
    if output.name == "jpeg":
        return len(value) <= _JPEG_BYTES[name]
    if output.name == "tiff" and name == "exif":  # Exif fields become fields of the TIFF
        return exif_fields(value) is not None
    return output.metadata


def image_to_bytes(image: Image, output: OutputFormat, quality: int | None = None) -> bytes:
    """Encodes an image as a file, with its metadata except for the entries of `left_out`.

    The quality is 1..100, for JPEG and WebP; None is `JPEG_QUALITY` for JPEG and lossless for WebP.
    Raises ConfigError if a quality is given for a format without a quality setting, and OutputError
    if the format would lose bit depth or alpha, or a side is too large.
    """
    check_quality(output, quality)
    check_image(output, image)
    image = replace(image, metadata=replace(image.metadata, **dict.fromkeys(left_out(image, output))))
    samples = image.samples
    if output.name == "npy":
        buffer = io.BytesIO()
        np.save(buffer, samples[:, :, 0] if samples.shape[2] == 1 else samples)
        return buffer.getvalue()
    if output.name == "ppm":
        kind, bits = (b"P5" if image.channels == 1 else b"P6"), image.metadata.significant_bits
        peak = peak_value(bits or image.bit_depth)
        if bits is not None:
            samples = rescaled(samples, peak_value(image.bit_depth), peak)
        sample_type = ">u2" if peak > PEAK_CODE_VALUE else "u1"  # readers derive the sample size from the peak
        header = b"%s\n%d %d\n%d\n" % (kind, image.width, image.height, peak)
        return header + samples.astype(sample_type).tobytes()
    try:
        if output.name == "png":
            return _png(image, samples)
        if output.name == "tiff":
            return _tiff(image, samples)
        return _by_pillow(image, samples, output, quality)
    except (OSError, ValueError) as error:
        msg = f"{output.name} cannot hold an image of {image.width}x{image.height}: {error}"
        raise OutputError(msg) from error


def to_pil(image: Image) -> PIL.Image.Image:
    """Returns a Pillow image with the metadata: L, LA, RGB, RGBA, or I;16.

    Pillow supports I;16 for 16-bit gray only; other 16-bit samples are reduced to 8 bits.
    """
    import PIL.Image

    pixels = image.samples
    if image.bit_depth > 8 and pixels.shape[2] > 1:
        pixels = to_code_values(pixels)
    pil_image = PIL.Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    pil_image.info.update(pillow_info(image.metadata))
    return pil_image


def _by_pillow(image: Image, samples: npt.NDArray[Any], output: OutputFormat, quality: int | None) -> bytes:
    import PIL.Image

    gainmap = image.metadata.gainmap
    if gainmap and image.metadata.xmp:
        image = replace(image, metadata=replace(image.metadata, xmp=xmp_with_length(image.metadata.xmp, gainmap)))
    options: dict[str, Any] = {**pillow_info(image.metadata)}
    if output.name == "jpeg":
        options |= {"quality": quality or JPEG_QUALITY, "subsampling": 0}
        if (density := density_of(image.metadata.exif)) and max(map(round, density)) <= _JPEG_DENSITY:
            options["dpi"] = density
    if output.name == "webp":
        options |= {"lossless": True, "exact": True} if quality is None else {"quality": quality}
    buffer = io.BytesIO()
    pil_image = PIL.Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)
    pil_image.save(buffer, output.name.upper(), **options)
    return with_gainmap(buffer.getvalue(), gainmap) if gainmap else buffer.getvalue()


def _png(image: Image, samples: npt.NDArray[Any]) -> bytes:
    """Encodes a PNG, three times as fast as Pillow, which supports 8 bits only, but 4 % larger."""
    height, width, channels = samples.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    depth = 8 * samples.itemsize
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))]
    metadata = image.metadata
    bits = metadata.significant_bits
    if bits:
        chunks.append((b"sBIT", bytes([bits] * image.channels + [depth] * (channels - image.channels))))
        own, peak = peak_value(bits), peak_value(depth)
        pixels = rescaled(rescaled(image.pixels, peak, own), own, peak)
        samples = replace(image, pixels=pixels).samples
    if metadata.cicp:
        chunks.append((b"cICP", metadata.cicp))
    if metadata.icc:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if density := density_of(metadata.exif):
        chunks.append((b"pHYs", struct.pack(">2IB", *(round(dpi / png.METRES_PER_INCH) for dpi in density), 1)))
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif.removeprefix(tiff.EXIF_PREFIX)))
    if metadata.xmp:  # uncompressed, without a language tag
        chunks.append((b"iTXt", png.XMP_KEYWORD + b"\0\0\0\0\0" + metadata.xmp))
    chunks += [*((b"IDAT", part) for part in _deflated_rows(samples)), (b"IEND", b"")]
    parts = [png.SIGNATURE]
    for name, body in chunks:
        parts += [struct.pack(">I", len(body)), name, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))]
    return b"".join(parts)


def _deflated_rows(samples: npt.NDArray[Any]) -> list[bytes]:
    """Compresses rows of a PNG with the filter "average" to the parts of a zlib stream."""
    height, _, channels = samples.shape
    rows = np.ascontiguousarray(samples, samples.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    filtered = np.empty((height, rows.shape[1] + 1), dtype=np.uint8)
    pixel_bytes = channels * samples.itemsize

    def deflated(strip: range) -> bytes:
        own = rows[strip.start : strip.stop]
        left, above = np.zeros_like(own), np.zeros_like(own)
        left[:, pixel_bytes:] = own[:, :-pixel_bytes]
        above[strip.start == 0 :] = rows[max(0, strip.start - 1) : strip.stop - 1]
        out = filtered[strip.start : strip.stop]
        out[:, 0] = _AVERAGE
        out[:, 1:] = own - ((left & above) + ((left ^ above) >> 1))
        coder = zlib.compressobj(_PNG_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        return coder.compress(out.data) + coder.flush(zlib.Z_FINISH if strip.stop == height else zlib.Z_SYNC_FLUSH)

    strip_rows = max(1, _STRIP_BYTES // filtered.shape[1])
    parts = in_threads(deflated, (range(row, min(height, row + strip_rows)) for row in range(0, height, strip_rows)))
    return [_ZLIB_HEAD, *parts, struct.pack(">I", zlib.adler32(filtered.data))]


def _tiff(image: Image, samples: npt.NDArray[Any]) -> bytes:
    """Encodes a TIFF with Deflate. Pillow supports 8 bits only, and warns about invalid Exif."""
    height, width, channels = samples.shape
    metadata = image.metadata
    exif = exif_fields(metadata.exif) if metadata.exif else None
    order, fields, inner = exif or ExifFields("<", {}, {})  # the file uses the byte order of its Exif
    rows = max(1, _STRIP_BYTES // (width * channels * samples.itemsize))
    ordered = samples.astype(samples.dtype.newbyteorder(order), copy=False)
    strips = [zlib.compress(ordered[row : row + rows].tobytes()) for row in range(0, height, rows)]
    own = {
        256: tiff.long_field(order, width),
        257: tiff.long_field(order, height),
        258: tiff.short_field(order, *[image.bit_depth] * channels),  # BitsPerSample
        259: tiff.short_field(order, 8),  # Compression: Deflate
        262: tiff.short_field(order, 2 if image.channels == 3 else 1),  # PhotometricInterpretation
        277: tiff.short_field(order, channels),  # SamplesPerPixel
        278: tiff.long_field(order, rows),  # RowsPerStrip
        279: tiff.long_field(order, *map(len, strips)),  # StripByteCounts
        284: tiff.short_field(order, 1),  # PlanarConfiguration: the channels of a pixel together
    }
    if image.alpha is not None:
        own[338] = tiff.short_field(order, 2)  # ExtraSamples: unassociated alpha
    if metadata.xmp:
        own[700] = tiff.Field(tiff.BYTE, metadata.xmp)
    if metadata.icc:
        own[34675] = tiff.Field(tiff.UNDEFINED, metadata.icc)
    return tiff.write_tiff(order, {**fields, **own}, inner, strips)
