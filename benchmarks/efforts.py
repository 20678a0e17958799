"""Files of several models and efforts within the same limits.

    python benchmarks/efforts.py ../shared/data/imagenet_subset/*.png --bpps 0.5 --side 128
    python benchmarks/efforts.py ../shared/data/imagenet_subset/*.png --bpps 0.48,4.32

Each file is written to a limit in bits per pixel, and decoded again by the package. In the end come
the least, the mean and the largest PSNR of each setting over that of the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np
from recording import Row, file_row, images_argument, load, middle, out_option, record


def measured(images: Sequence[str], side: int | None, bpps: Sequence[float], settings: Sequence[str]) -> Iterator[Row]:
    """A row for each file."""
    for name in images:
        picture, loaded = load(name)
        image = loaded if side is None else middle(loaded, side)
        for bpp in bpps:
            limit = int(bpp * image.pixel_count / 8)
            for setting in settings:
                yield {"picture": picture, "limit_bpp": bpp} | file_row(image, setting, limit)


@click.command(help=__doc__)
@images_argument
@click.option("--bpps", default="0.5", show_default=True, help="The limits in bits per pixel.")
@click.option("--side", type=int, help="The side of a square from the middle that is encoded.")
@click.option("--settings", default="wavelet:5,auto:7", show_default=True, help="Models and efforts.")
@out_option
def main(images: tuple[str, ...], bpps: str, side: int | None, settings: str, out: Path | None) -> None:
    """See the module."""
    limits, compared = [float(bpp) for bpp in bpps.split(",")], settings.split(",")
    rows = record(measured(images, side, limits, compared), out)
    for limit in limits:
        quality = np.array([row["psnr_db"] for row in rows if row["limit_bpp"] == limit]).reshape(-1, len(compared))
        for setting, over in zip(compared[1:], (quality[:, 1:] - quality[:, :1]).T, strict=True):
            least, mean, most = over.min(), over.mean(), over.max()
            click.echo(f"{limit} bpp, {setting} over {compared[0]}: {least:+.2f}, {mean:+.2f}, {most:+.2f} dB")


if __name__ == "__main__":
    main()
