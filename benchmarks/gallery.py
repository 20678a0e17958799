"""The gallery: photographs that nothing was tuned on, in files of the same size by several codecs.

    python benchmarks/gallery.py web/page/gallery.webp

Each row shows the same crop of an image: the original, JPEG, AVIF and dfm. dfm's file has `--bpp`
bits per pixel of the complete image; the other files are the best ones that are not larger. The
figure is lossless, and its pixels are those of the decoded files, each drawn as a square. The
images are scikit-image's, which all installations of it have; `--image` takes others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from recording import Pixels, Row, as_rgb, load, out_option, record

import dfmcodec
from dfmcodec.bench.same_size import Version, same_size

PIECES = ("astronaut@172,58", "chelsea@112,72", "coffee@312,238")
_GAP, _MARGIN, _CAPTION, _FONT_SIZE = 8, 8, 40, 12  # pixels; captions have two lines
_PAPER, _INK = (255, 255, 255), (32, 32, 32)


@dataclass(frozen=True)
class Piece:
    """A crop of an image to show.

    Args:
        image: A path, or the name of one of scikit-image's photographs.
        left: The first column of the crop.
        top: The first row of the crop.
    """

    image: str
    left: int
    top: int

    @classmethod
    def of(cls, text: str) -> Piece:
        """Reads IMAGE@LEFT,TOP."""
        image, _, corner = text.rpartition("@")
        left, _, top = corner.partition(",")
        if not (image and left.isdecimal() and top.isdecimal()):
            msg = f"{text!r} is not IMAGE@LEFT,TOP"
            raise click.BadParameter(msg)
        return cls(image, int(left), int(top))

    def crop(self, pixels: Pixels, width: int, height: int) -> Pixels:
        """Returns the crop of an image, uint8 [height, width, 3]."""
        part = pixels[self.top : self.top + height, self.left : self.left + width]
        if part.shape[:2] != (height, width):
            msg = f"the crop is not within {self.image}, which has {pixels.shape[1]}x{pixels.shape[0]} pixels"
            raise click.BadParameter(msg)
        return as_rgb(part)


def versions_of(image: str, bpp: float, effort: int) -> list[Version]:
    """Returns the original, JPEG, AVIF and dfm."""
    _, source = load(image)
    result = dfmcodec.encode(source.pixels, bpp=bpp, effort=effort)
    others = same_size(source.pixels, result.report.file_bytes)
    return [Version("original", source.pixels), *others, Version.of(result, source.pixels)]


def drawn(rows: Sequence[Sequence[tuple[Pixels, str]]], zoom: int) -> PIL.Image.Image:
    """Returns crops and their captions as one image.

    Args:
        rows: Rows of crops, uint8 [H, W, 3], all of one size.
        zoom: The side of the square that a pixel becomes.
    """
    height, width = (zoom * side for side in rows[0][0][0].shape[:2])
    columns = max(map(len, rows))
    size = 2 * _MARGIN + columns * (width + _GAP) - _GAP, 2 * _MARGIN + len(rows) * (height + _CAPTION)
    sheet = PIL.Image.new("RGB", size, _PAPER)
    draw, font = PIL.ImageDraw.Draw(sheet), PIL.ImageFont.load_default(_FONT_SIZE)
    for row, cells in enumerate(rows):
        for column, (crop, caption) in enumerate(cells):
            left, top = _MARGIN + column * (width + _GAP), _MARGIN + row * (height + _CAPTION)
            piece = PIL.Image.fromarray(np.ascontiguousarray(crop))
            sheet.paste(piece.resize((width, height), PIL.Image.Resampling.NEAREST), (left, top))
            draw.text((left, top + height + 4), caption.replace(" bytes, ", " bytes\n"), _INK, font)
    return sheet


@click.command(help=__doc__)
@click.argument("figure", type=click.Path(path_type=Path))
@click.option("--image", "pieces", multiple=True, metavar="IMAGE@LEFT,TOP", default=PIECES, show_default=True)
@click.option("--bpp", type=float, default=0.25, show_default=True, help="The size of dfm's files.")
@click.option("--effort", type=int, default=5, show_default=True, help="Of dfm.")
@click.option("--crop", nargs=2, type=int, default=(108, 90), show_default=True, help="Width and height of the crops.")
@click.option("--zoom", type=int, default=2, show_default=True, help="Pixels for each of the crop's.")
@out_option
def main(
    figure: Path, pieces: Sequence[str], bpp: float, effort: int, crop: tuple[int, int], zoom: int, out: Path | None
) -> None:
    rows: list[list[tuple[Pixels, str]]] = []

    def measured() -> Iterator[Row]:
        for piece in map(Piece.of, pieces):
            versions = versions_of(piece.image, bpp, effort)
            rows.append([(piece.crop(version.pixels, *crop), version.caption) for version in versions])
            yield {"picture": Path(piece.image).stem, **_figures(versions[1:])}

    record(measured(), out)
    form: dict[str, Any] = {"lossless": True, "quality": 100, "method": 6} if figure.suffix == ".webp" else {}
    drawn(rows, zoom).save(figure, **form)


def _figures(versions: Sequence[Version]) -> Row:
    row: Row = {}
    for version in versions:
        row |= {f"{version.label}, bytes": version.file_bytes, f"{version.label}, dB": version.psnr_db}
    return row


if __name__ == "__main__":
    main()
