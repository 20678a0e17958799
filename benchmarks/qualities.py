"""Bytes, PSNR and SSIMULACRA2 of qualities, at the default effort.

    python benchmarks/qualities.py IMAGE... --qualities 50,75,90,95 --out ROWS

The figures are in docs/presets.md and docs/results/visual.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from recording import Row, images_argument, load, numbers, out_option, record

import dfmcodec


@click.command(help=__doc__)
@images_argument
@click.option("--qualities", default="50,75,90,95", show_default=True)
@out_option
def main(images: tuple[str, ...], qualities: str, out: Path | None) -> None:
    def rows() -> Iterator[Row]:
        for name in images:
            stem, image = load(name)
            for quality in numbers(qualities):
                report = dfmcodec.encode(image, quality=quality).report
                yield {
                    "picture": stem,
                    "setting": f"quality {quality}",
                    "bytes": report.file_bytes,
                    "bpp": report.bpp,
                    "psnr_db": report.psnr_db,
                    "ssimulacra2": report.ssimulacra2,
                }

    record(rows(), out)


if __name__ == "__main__":
    main()
