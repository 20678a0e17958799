"""Command `dfm compare`."""

from __future__ import annotations

from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfmcodec.cli import _options
from dfmcodec.cli._common import (
    STANDARD,
    check_output,
    decode_file,
    display_name,
    echo,
    echo_json,
    errors_named,
    notify,
    read_source,
    write_output,
)
from dfmcodec.cli.outputs import check_outputs_apart
from dfmcodec.files.atomic import MAGIC

if TYPE_CHECKING:
    from dfmcodec._types import Pixels
    from dfmcodec.image import Image

_AMPLIFICATION = 8


@click.command("compare")
@click.argument("reference", type=_options.NamedPath())
@click.argument("distorted", type=_options.NamedPath())
@click.option("--map", "map_path", type=_options.NamedPath(), help="Write an image of the differences to this file.")
@_options.max_pixels
@_options.force
@_options.json
@_options.quiet
def command(
    reference: Path,
    distorted: Path,
    map_path: Path | None,
    max_pixels: int,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure the difference between two images or .dfm files.

    \b
    dfm compare photo.png photo.dfm
    dfm compare photo.png photo.dfm --map errors.png   differences times eight, around mid-gray

    Print PSNR, SSIMULACRA2, SSIM, MS-SSIM and the largest difference. Both images are rotated
    upright first. Pixels that are fully transparent in the first image count as equal.
    """
    from dfmcodec.errors import ImageError
    from dfmcodec.image import peak_value
    from dfmcodec.image.write_image import image_to_bytes, output_format

    if map_path is not None:
        output_format(map_path, None)
        check_outputs_apart({"--map": map_path}, [reference, distorted])
        check_output(map_path, force)
    (first, _), (second, file_bytes) = (_read_or_decode(source, max_pixels, quiet) for source in (reference, distorted))
    if notice := first.range_notice("PSNR and SSIM"):
        notify(f"{display_name(reference)}: {notice}", quiet)
    sample_max = first.sample_max
    first, second = _to_common_depth(first, second)
    peak = min(sample_max, peak_value(first.bit_depth))
    if first.pixels.shape[:2] != second.pixels.shape[:2] or first.bit_depth != second.bit_depth:
        kinds = " and ".join(f"{image.width}x{image.height} with {image.bit_depth} bits" for image in (first, second))
        msg = f"the images differ in size or bit depth: {kinds}"
        raise ImageError(msg)
    x, y = _comparable(first, second)
    figures = _measure(first, x, y, file_bytes, peak)
    if map_path is not None:
        write_output(map_path, image_to_bytes(_error_map(x, y), output_format(map_path, None)), force)
    to_stdout = map_path == STANDARD
    if as_json:
        echo_json({"reference": str(reference), "distorted": str(distorted), **figures}, err=to_stdout)
    elif not quiet:
        alpha = "" if _has_same_alpha(first, second) else "; the alpha differs"
        echo(f"{_line(figures)}{alpha}", err=to_stdout)


def _read_or_decode(source: Path, max_pixels: int, quiet: bool) -> tuple[Image, int]:
    """Reads an image file or decodes a `.dfm` file; also returns the file size in bytes."""
    from dfmcodec.image.read_image import image_from_bytes

    data = read_source(source)
    if data.startswith(MAGIC):
        with errors_named(display_name(source)):
            return decode_file(data, max_pixels), len(data)
    image = image_from_bytes(data, display_name(source), max_pixels, "all", notify=partial(notify, quiet=quiet))
    return image, len(data)


def _to_common_depth(first: Image, second: Image) -> tuple[Image, Image]:
    """Converts both images to 8 bits if one has 8 bits and the samples of the other fit.

    In Python, `sample_max=255` encodes 16-bit images as 8 bits.
    """
    if first.bit_depth == second.bit_depth:
        return first, second
    one, other = (image.in_8_bits() if image.largest_sample <= 255 else image for image in (first, second))
    return one, other


def _comparable(first: Image, second: Image) -> tuple[Pixels, Pixels]:
    """Returns the pixels of both images with the same number of channels. Pixels that are fully
    transparent in the first image are made equal.
    """
    import numpy as np

    channels = max(first.channels, second.channels)
    x, y = (
        image.pixels if image.channels == channels else np.repeat(image.pixels, channels, axis=2)
        for image in (first, second)
    )
    return x, y if first.visible is None else np.where(first.visible[:, :, None], y, x)


def _measure(first: Image, x: Pixels, y: Pixels, file_bytes: int, peak: int) -> dict[str, Any]:
    """Computes the metrics, by their names in the JSON report."""
    from dfmcodec.perception import bits_per_pixel, ms_ssim, psnr, ssim
    from dfmcodec.perception.ssimulacra2 import ssimulacra2

    return {
        "psnr_db": psnr(x, y, first.visible, peak),
        "ssimulacra2": ssimulacra2(*(_scaled_to_full_range(first, pixels, peak) for pixels in (x, y))),
        "ssim": ssim(x, y, peak),
        "ms_ssim": ms_ssim(x, y, peak),
        "max_difference": int(abs(x.astype(int) - y.astype(int)).max()),
        "file_bytes": file_bytes,
        "bpp": bits_per_pixel(file_bytes, first.pixel_count),
    }


def _scaled_to_full_range(first: Image, pixels: Pixels, peak: int) -> Pixels:
    """Scales samples so that `peak` becomes the maximum of their type, for metrics without a peak
    parameter. Adds the alpha of the first image.
    """
    import numpy as np

    largest = np.iinfo(pixels.dtype).max
    if peak < largest:
        pixels = (np.minimum(pixels, peak).astype(np.uint64) * largest // peak).astype(pixels.dtype)
    return pixels if first.alpha is None else np.dstack([pixels, first.alpha])


def _line(figures: dict[str, Any]) -> str:
    """Formats the metrics as text."""
    psnr = f"PSNR {figures['psnr_db']:.2f} dB" if isfinite(figures["psnr_db"]) else "no difference"
    structure = [
        f"{label} {figures[name]:.4f}"
        for name, label in (("ssim", "SSIM"), ("ms_ssim", "MS-SSIM"))
        if figures[name] is not None
    ]
    score = [] if figures["ssimulacra2"] is None else [f"SSIMULACRA2 {figures['ssimulacra2']:.1f}"]
    return ", ".join([psnr, *score, *structure, f"largest difference {figures['max_difference']}"])


def _has_same_alpha(first: Image, second: Image) -> bool:
    import numpy as np

    if first.alpha is None or second.alpha is None:
        return first.alpha is second.alpha
    return bool(np.array_equal(first.alpha, second.alpha))


def _error_map(x: Pixels, y: Pixels) -> Image:
    """Returns an image of the differences times eight, around mid-gray."""
    import numpy as np

    from dfmcodec.image import Image, to_values

    middle = np.iinfo(x.dtype).max // 2 + 1
    differences = y.astype(np.float32) - x.astype(np.float32)
    return Image(to_values(middle + np.float32(_AMPLIFICATION) * differences, 8 * x.itemsize))
