"""Files of dfm at the sizes of another codec's published files.

    python benchmarks/anchors.py ../shared/data/kodak/kodim08.png --settings wavelet:5,overfitted:7

The anchors are a table with the columns lmbda, seq_name, psnr_db and rate_bpp. Each file is
written to a limit in bytes, and decoded again by the package.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from recording import Row, file_row, images_argument, load, out_option, record


def anchors_of(path: Path, name: str, lmbdas: Sequence[float]) -> list[dict[str, float]]:
    """Returns the rows of an image in a table of anchors; of all multipliers if none is named."""
    with path.open() as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["seq_name"] == name]
    points = [{key: float(row[key]) for key in ("lmbda", "psnr_db", "rate_bpp")} for row in rows]
    return [point for point in points if not lmbdas or point["lmbda"] in lmbdas]


def measured(images: Sequence[str], anchors: Path, lmbdas: Sequence[float], settings: Sequence[str]) -> Iterator[Row]:
    """Yields a row for each file."""
    for image in images:
        name, pixels = load(image)
        for anchor in anchors_of(anchors, name, lmbdas):
            size = int(anchor["rate_bpp"] * pixels.pixel_count / 8)
            for setting in settings:
                anchor_figures = {"anchor_bpp": anchor["rate_bpp"], "anchor_db": anchor["psnr_db"]}
                yield {"picture": name, "lmbda": anchor["lmbda"], **file_row(pixels, setting, size), **anchor_figures}


@click.command(help=__doc__)
@images_argument
@click.option(
    "--anchors",
    type=click.Path(path_type=Path),
    default="../shared/anchors/coolchic_5.0.1_kodak.tsv",
    help="The table of anchors.",
)
@click.option("--lmbdas", default="", help="The anchors' multipliers, separated by commas. Default: all.")
@click.option("--settings", default="wavelet:5,overfitted:7", help="Models and efforts.")
@out_option
def main(images: tuple[str, ...], anchors: Path, lmbdas: str, settings: str, out: Path | None) -> None:
    if not anchors.exists():
        msg = f"there is no table {anchors}"
        raise click.UsageError(msg)
    multipliers = [float(lmbda) for lmbda in lmbdas.split(",") if lmbda]
    record(measured(images, anchors, multipliers, settings.split(",")), out)


if __name__ == "__main__":
    main()
