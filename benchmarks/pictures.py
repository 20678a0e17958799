"""Images of every kind, and other sizes than their own.

    python benchmarks/pictures.py kinds           logos, gradients, screenshots, odd sizes
    python benchmarks/pictures.py twice IMAGE...  twice the size against bicubic enlargement
    python benchmarks/pictures.py qualities IMAGE... bytes and PSNR of qualities
    python benchmarks/pictures.py depths IMAGE... samples that use a part of 16 bits

See docs/results/images.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageDraw
import skimage.data
from recording import Pixels, Row, images_argument, load, out_option, record

import dfmcodec
from dfmcodec.codecs.decode import DecodeRequest, decode_image
from dfmcodec.codecs.wavelet.colour import ColourBasis, pixels_to_planes, planes_to_pixels
from dfmcodec.codecs.wavelet.transform import BAND_NORMS, UNITS_PER_CODE_VALUE, Pyramid, analyse, synthesise_level
from dfmcodec.image import Image
from dfmcodec.metrics import psnr, ssim


@click.group(help=__doc__)
def main() -> None:
    pass


def screenshot() -> Pixels:
    """Returns black text on white, and a coloured bar."""
    pil_image = PIL.Image.new("RGB", (640, 400), "white")
    draw = PIL.ImageDraw.Draw(pil_image)
    draw.rectangle((0, 0, 640, 28), fill=(30, 60, 120))
    for line in range(22):
        draw.text(
            (12, 36 + 16 * line),
            f"{line:02}  for at in range({line}): print(at, end='; ')  # as a window shows it",
            fill="black",
        )
    return np.asarray(pil_image)


def kind_images() -> dict[str, Image]:
    """Returns the images of `kinds` by name."""
    rng = np.random.default_rng(0)
    logo = np.ascontiguousarray(skimage.data.logo()[:, :, :3])
    ink = (255 - logo.min(axis=2)).astype(np.uint8)  # white becomes transparent
    ramp = np.add.outer(np.linspace(20000, 23000, 400), np.linspace(0, 1500, 600))
    coffee = np.ascontiguousarray(skimage.data.coffee())
    return {
        "transparent logo (scikit-image)": Image(logo, alpha=ink),
        "gray photograph (camera)": Image(skimage.data.camera()[:, :, None]),
        "the same stored as RGB": Image(np.repeat(skimage.data.camera()[:, :, None], 3, axis=2)),
        "16-bit gradient": Image(np.rint(ramp).astype(np.uint16)[:, :, None]),
        "16-bit photograph (coffee)": Image(coffee.astype(np.uint16) * 257),
        "screenshot with text": Image(screenshot()),
        "1x1": Image(coffee[:1, :1].copy()),
        "4000x1, noise": Image(rng.integers(0, 256, (1, 4000, 3)).astype(np.uint8)),
        "1x4000, of a photograph": Image(np.ascontiguousarray(np.tile(coffee[:, 200:201], (10, 1, 1))[:4000])),
        "7x13": Image(coffee[200:213, 200:207].copy()),
        "prime sides, 397x211": Image(np.ascontiguousarray(coffee[50:261, 100:497])),
    }


@main.command()
@click.option("--effort", type=int, default=5, show_default=True, help="The effort of all encodings.")
@click.option("--kind", "names", multiple=True, help="A kind, instead of all; may be given several times.")
@out_option
def kinds(effort: int, names: tuple[str, ...], out: Path | None) -> None:
    """Encodes images of every kind at 18 % of the raw bytes."""
    images = kind_images()
    unknown = set(names) - set(images)
    if unknown:
        msg = f"unknown kind {unknown.pop()!r}; choose from {', '.join(images)}"
        raise click.UsageError(msg)

    def rows() -> Iterator[Row]:
        for name in names or images:
            image = images[name]
            size = max(round(0.18 * image.raw_bytes), 120)
            result = dfmcodec.encode(image, size=size, effort=effort)
            decoded, report = decode_image(result.data), result.report
            yield {
                "picture": name,
                "size": f"{image.width}x{image.height}",
                "bits": image.bit_depth,
                "bytes": report.file_bytes,
                "% of raw": 100 * report.rate,
                "psnr_db": report.psnr_db if np.isfinite(report.psnr_db) else "exact",
                "opacity": "" if decoded.alpha is None else f"equal, {report.section_bytes['alpha']} bytes",
                "depth kept": decoded.pixels.dtype == image.pixels.dtype,
            }

    record(rows(), out)


@main.command()
@images_argument
@click.option("--quality", type=float, default=95, show_default=True, help="The quality of the half-sized file.")
@out_option
def twice(images: tuple[str, ...], quality: float, out: Path | None) -> None:
    """Halves the size of images, encodes them, and decodes them at their first size."""

    def rows() -> Iterator[Row]:
        for name in images:
            stem, image = load(name)
            height, width = (side // 2 * 2 for side in image.pixels.shape[:2])
            original = np.ascontiguousarray(image.pixels[:height, :width])
            for how in ("BOX", "LANCZOS"):
                half = PIL.Image.fromarray(original).resize((width // 2, height // 2), PIL.Image.Resampling[how])
                result = dfmcodec.encode(half, quality=quality, effort=2)
                ours = decode_image(result.data, DecodeRequest(scale=2)).pixels
                small = PIL.Image.fromarray(result.decoded.pixels)
                bicubic = np.asarray(small.resize((width, height), PIL.Image.Resampling.BICUBIC))
                yield {
                    "picture": stem,
                    "halved by": how.lower(),
                    "dfm --resize 200%, dB": psnr(original, ours),
                    "bicubic, dB": psnr(original, bicubic),
                    "SSIM": ssim(original, ours),
                    "bicubic, SSIM": ssim(original, bicubic),
                    "gradients": gradients(ours) / gradients(original),
                    "bicubic, gradients": gradients(bicubic) / gradients(original),
                }

    measured = record(rows(), out)
    for how in ("box", "lanczos"):
        halved = [row for row in measured if row["halved by"] == how]
        means = {key: np.mean([row[key] for row in halved]) for key in list(measured[0])[2:]}
        click.echo(f"mean, {how}: " + ", ".join(f"{key} {value:.4g}" for key, value in means.items()))


@main.command()
@images_argument
@click.option("--qualities", "listed", default="50,75,90,95", show_default=True, help="The qualities.")
@out_option
def qualities(images: tuple[str, ...], listed: str, out: Path | None) -> None:
    """Encodes images at several qualities, at the default effort."""

    def rows() -> Iterator[Row]:
        for name in images:
            stem, image = load(name)
            for quality in map(int, listed.split(",")):
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


@main.command()
@images_argument
@out_option
def depths(images: tuple[str, ...], out: Path | None) -> None:
    """Halves the size of images, and encodes them with samples that use a part of 16 bits.

    Also gives the PSNR that synthesis by integers leaves without quantisation, by its number of
    decomposition levels.
    """

    def rows() -> Iterator[Row]:
        for name in images:
            stem, image = load(name)
            height, width = (side // 2 for side in image.pixels.shape[:2])
            quarters = image.pixels[: 2 * height, : 2 * width].reshape(height, 2, width, 2, image.channels)
            means = quarters.mean(axis=(1, 3)) / 255
            for bits in (16, 14, 12, 10, 8):
                pixels = np.rint(means * ((1 << bits) - 1)).astype(np.uint16 if bits > 8 else np.uint8)
                largest = (1 << bits) - 1
                usual = dfmcodec.encode(pixels, quality=75, effort=1, sample_max=largest).report
                finest = dfmcodec.encode(pixels, rate=1, effort=1, sample_max=largest).report
                yield {
                    "picture": stem,
                    "bits": bits,
                    "quality 75, bytes": usual.file_bytes,
                    "psnr_db": usual.psnr_db,
                    "finest, % of raw": 100 * finest.rate,
                    "finest, dB": finest.psnr_db if np.isfinite(finest.psnr_db) else "exact",
                }
            deep = np.rint(means * 65535).astype(np.uint16)
            for levels in range(len(BAND_NORMS) + 1):
                yield {"picture": stem, "levels": levels, "psnr_db": psnr(deep, _synthesised(deep, levels))}

    record(rows(), out)


def _synthesised(pixels: Pixels, levels: int) -> Pixels:
    """Returns pixels after analysis, rounding to units, and synthesis."""
    planes = pixels_to_planes(pixels, ColourBasis())
    pyramid = analyse(planes, levels) if levels else Pyramid(planes, ())
    low = _units(pyramid.low)
    for bands in reversed(pyramid.bands):
        low = synthesise_level(low, [_units(band) for band in bands])
    return planes_to_pixels(np.ascontiguousarray(low.transpose(1, 2, 0), dtype=np.float32), ColourBasis(), 16)


def _units(coefficients: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    return np.rint(coefficients * UNITS_PER_CODE_VALUE).astype(np.int32)


def gradients(pixels: Pixels) -> float:
    """Returns the mean absolute difference of neighbours, which is larger in a sharper image."""
    values = pixels.astype(np.float64)
    return float(np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean())


if __name__ == "__main__":
    main()
