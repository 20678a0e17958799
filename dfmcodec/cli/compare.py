"""`dfm compare`."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dfmcodec.cli._common import (
    STANDARD,
    check_output,
    echo_json,
    force_option,
    json_option,
    name_of,
    quiet_option,
    read_source,
    write_output,
)

if TYPE_CHECKING:
    from dfmcodec.image import Image, Pixels

_AMPLIFICATION = 8


@click.command("compare")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path))
@click.option("--map", "map_path", type=click.Path(path_type=Path), help="Write a picture of the differences there.")
@force_option
@json_option
@quiet_option
def command(reference: Path, other: Path, map_path: Path | None, force: bool, as_json: bool, quiet: bool) -> None:
    """Measure how far a picture or .dfm file is from another: PSNR, SSIM, MS-SSIM.

    \b
    dfm compare photo.png photo.dfm
    dfm compare photo.png photo.dfm --map errors.png   differences, eight times, around gray

    Both are turned upright; what is fully transparent in the first counts as equal.
    """
    from dfmcodec.errors import ImageError
    from dfmcodec.metrics import bits_per_pixel, ms_ssim, psnr, ssim
    from dfmcodec.writing import image_to_bytes, output_format

    map_format = None
    if map_path is not None:
        map_format = output_format(map_path, None)
        check_output(map_path, force)
    (first, _), (second, size) = (_image_of(source) for source in (reference, other))
    if first.pixels.shape[:2] != second.pixels.shape[:2] or first.bit_depth != second.bit_depth:
        kinds = " and ".join(f"{image.width}x{image.height} of {image.bit_depth} bits" for image in (first, second))
        msg = f"the pictures differ in size or depth: {kinds}"
        raise ImageError(msg)
    x, y = _alike(first, second)
    figures = {
        "psnr_db": psnr(x, y, first.visible),
        "ssim": ssim(x, y),
        "ms_ssim": ms_ssim(x, y),
        "max_difference": int(abs(x.astype(int) - y.astype(int)).max()),
        "bytes": size,
        "bpp": bits_per_pixel(size, first.pixel_count),
    }
    if map_path is not None and map_format is not None:
        write_output(map_path, image_to_bytes(_error_map(x, y), map_format), force)
    to_stderr = map_path == STANDARD
    if as_json:
        finite = {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in figures.items()}
        echo_json({"reference": str(reference), "other": str(other), **finite}, to_stderr)
    elif not quiet:
        alpha = "" if _same_alpha(first, second) else "; the opacity differs"
        quality = "no difference" if not isfinite(figures["psnr_db"] or 0) else f"PSNR {figures['psnr_db']:.2f} dB"
        shown = [quality] + [
            f"{label} {figures[name]:.4f}"
            for name, label in (("ssim", "SSIM"), ("ms_ssim", "MS-SSIM"))
            if figures[name] is not None
        ]
        click.echo(f"{', '.join(shown)}, largest difference {figures['max_difference']}{alpha}", err=to_stderr)


def _image_of(source: Path) -> tuple[Image, int]:
    """A picture or decoded `.dfm` file, and the size of its file."""
    from dfmcodec.bitstream import MAGIC
    from dfmcodec.decoder import decode_image
    from dfmcodec.reading import image_of

    data = read_source(source)
    if data.startswith(MAGIC):
        return decode_image(data), len(data)
    return image_of(data, name_of(source), strip=True), len(data)


def _alike(first: Image, second: Image) -> tuple[Pixels, Pixels]:
    """Pixels of both in as many channels, equal where the first is fully transparent."""
    import numpy as np

    channels = max(first.channels, second.channels)
    x, y = (
        image.pixels if image.channels == channels else np.repeat(image.pixels, channels, axis=2)
        for image in (first, second)
    )
    return x, y if first.visible is None else np.where(first.visible[:, :, None], y, x)


def _same_alpha(first: Image, second: Image) -> bool:
    import numpy as np

    if first.alpha is None or second.alpha is None:
        return first.alpha is second.alpha
    return bool(np.array_equal(first.alpha, second.alpha))


def _error_map(x: Pixels, y: Pixels) -> Image:
    """Differences times eight around mid-gray."""
    import numpy as np

    from dfmcodec.image import Image, to_values

    middle = np.iinfo(x.dtype).max // 2 + 1
    differences = y.astype(np.float32) - x.astype(np.float32)
    return Image(to_values(middle + np.float32(_AMPLIFICATION) * differences, 8 * x.itemsize))
