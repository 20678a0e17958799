"""Files of dfm at the sizes of another codec's published files, and what the difference is worth.

    python benchmarks/anchors.py ../shared/data/kodak/kodim08.png --settings wavelet:5,overfitted:7
    python benchmarks/anchors.py rows.jsonl --compare

The anchors are a table with the columns lmbda, seq_name, psnr_db and rate_bpp. Each file is
written to a limit in bytes, and decoded again by the package. `--compare` reads the rows of earlier
runs and prints the BD-rate of each setting per image against the anchors and against the first
setting.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from recording import Row, file_row, images_argument, load, out_option, record

from dfmcodec.metrics import bd_rate

_LEAST_POINTS = 3  # of a curve


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
                of_anchor = {"anchor_bpp": anchor["rate_bpp"], "anchor_db": anchor["psnr_db"]}
                yield {"picture": name, "lmbda": anchor["lmbda"], **file_row(pixels, setting, size), **of_anchor}


def compared(paths: Sequence[str]) -> Iterator[Row]:
    """Yields the BD-rates of all settings for each image, in per cent."""
    rows = [json.loads(line) for path in paths for line in Path(path).read_text().splitlines()]
    curves: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        curves[row["picture"]]["anchor"].append((row["anchor_bpp"], row["anchor_db"]))
        curves[row["picture"]][row["setting"]].append((row["bpp"], row["psnr_db"]))
    for name, of_image in curves.items():
        settings = [setting for setting in of_image if setting != "anchor"]
        for setting in settings:
            if len(of_image[setting]) < _LEAST_POINTS:
                continue
            row = {"picture": name, "setting": setting, "points": len(of_image[setting])}
            for against in dict.fromkeys(("anchor", settings[0])):
                found = bd_rate(sorted(set(of_image[against])), of_image[setting])
                row[f"against {against} %"] = None if found is None else round(found.percent, 2)
            yield row


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
@click.option("--compare", is_flag=True, help="Compare the rows of earlier runs, instead of encoding.")
@out_option
def main(images: tuple[str, ...], anchors: Path, lmbdas: str, settings: str, compare: bool, out: Path | None) -> None:
    if compare:
        record(compared(images), out)
        return
    if not anchors.exists():
        msg = f"there is no table {anchors}"
        raise click.UsageError(msg)
    multipliers = [float(lmbda) for lmbda in lmbdas.split(",") if lmbda]
    record(measured(images, anchors, multipliers, settings.split(",")), out)


if __name__ == "__main__":
    main()
