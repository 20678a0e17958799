"""Trains generative models, draws images from them, and encodes images as codes under them.

python -m research.generative train t10k-images-idx3-ubyte.gz --preset mnist -o digits.npz
python -m research.generative sample digits.npz -o grid.png --height 112
python -m research.generative encode digits.npz digit.png -o digit.dfc --size 40
python -m research.generative decode digits.npz digit.dfc -o decoded.png
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

from dfmcodec._types import Float32, UInt8
from dfmcodec.errors import DfmError, ImageError
from dfmcodec.files.atomic import check_writable, read_file, write_atomic
from dfmcodec.image import LARGEST_PIXELS, Image, check_image_size
from dfmcodec.image.read_image import read_image
from dfmcodec.image.write_image import check_size, image_to_bytes, output_format
from dfmcodec.perception import psnr_of_mse
from research.generative.code import code_of_file
from research.generative.data import ImageSet, read_images
from research.generative.density import fit_density
from research.generative.grids import between_ends, grid, grid_size, pairs
from research.generative.measures import nearest
from research.generative.model import GenerativeModel, read_model
from research.generative.recipes import PRESETS, VARIANTS

EXIT_AFTER_INTERRUPT = 130
_REPORT_S = 5.0
_CHECKPOINT_S = 60.0
_SHOWN_NEIGHBOURS = 32
_NEIGHBOUR_COLUMNS = 16
F = TypeVar("F", bound=Callable[..., Any])

file_path = click.Path(path_type=Path)
model_argument = click.argument("model_file", metavar="MODEL", type=file_path)
data_argument = click.argument("data", type=file_path)
output_option = click.option("-o", "--output", type=file_path, required=True, help="The file to write.")
force_option = click.option("-f", "--force", is_flag=True, help="Replace an existing file.")
seed_option = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The random seed.")
height_option = click.option(
    "--height", type=click.IntRange(1, 4096), help="Height of each image. Default: that of the training images."
)


def number_option(default: int, what: str) -> Callable[[F], F]:
    return click.option(
        "-n", "--number", type=click.IntRange(1, 10_000), default=default, show_default=True, help=f"Number of {what}."
    )


@click.group(help=__doc__)
def command() -> None:
    pass


@command.command()
@data_argument
@click.option("--preset", type=click.Choice(list(PRESETS)), required=True, help="Architecture and training recipe.")
@click.option("--variant", type=click.Choice(VARIANTS), help="Codes of an encoder network, or a table of codes.")
@click.option("--steps", type=click.IntRange(1), help="Number of training steps. Default: set by the preset.")
@click.option(
    "--time-limit", type=float, default=3600, show_default=True, help="Seconds of the training, earlier runs included."
)
@seed_option
@output_option
@force_option
def train(
    data: Path,
    preset: str,
    variant: str | None,
    steps: int | None,
    time_limit: float,
    seed: int,
    output: Path,
    force: bool,
) -> None:
    """Trains a model on a set of small images.

    DATA is an IDX file, an .npz file with an array `images`, or a folder of images of equal size. A
    fifth of the images is held out. The same command continues an interrupted training, from the
    checkpoint OUTPUT.training.
    """
    from research.generative.train import Trainer, TrainingState

    check_writable(output, force)
    images, _ = read_images(data, _echo_error).split()
    settings = PRESETS[preset].with_variant(variant)
    recipe = replace(settings.recipe, steps=steps) if steps else settings.recipe
    architecture = settings.architecture(*images.images.shape[1:])
    trainer = Trainer(images.images, architecture, recipe, seed)
    checkpoint = output.with_name(f"{output.name}.training")
    if checkpoint.exists():
        trainer.restore(checkpoint)
        _echo_error(f"continuing after {trainer.state.steps} steps of {checkpoint}")
    reported_s = saved_s = time.perf_counter()

    def report(state: TrainingState, psnr_db: float) -> None:
        nonlocal reported_s, saved_s
        now = time.perf_counter()
        if now - reported_s > _REPORT_S:
            reported_s = now
            _echo_error(f"step {state.steps} of {recipe.steps}, {state.seconds:.0f} s, {psnr_db:.2f} dB")
        if now - saved_s > _CHECKPOINT_S:
            saved_s = now
            trainer.save(checkpoint)

    try:
        trainer.run(time_limit, report)
        trainer.save(checkpoint)  # until the model is written
        density = fit_density(trainer.codes(images.images), seed=seed)
    except KeyboardInterrupt:
        trainer.save(checkpoint)
        _echo_error(f"stopped after {trainer.state.steps} steps; run the same command to continue")
        sys.exit(EXIT_AFTER_INTERRUPT)
    spent = {"steps": trainer.state.steps, "seconds": round(trainer.state.seconds, 1)}
    about = {"preset": preset, "recipe": recipe.as_dict(), "seed": seed, "data": images.checksum, **spent}
    model = GenerativeModel(architecture, trainer.parameters(), density, about).rounded()
    model.write(output)
    checkpoint.unlink()
    click.echo(
        f"{output}: model {model.id:08x}, {spent['steps']} steps in {spent['seconds']} s on {len(images)} images"
    )


@command.command()
@model_argument
@click.argument("image", type=file_path)
@click.option("--size", type=click.IntRange(1), help="The largest size of the file, in bytes. Default: 40.")
@click.option("--psnr", "psnr_db", type=float, help="The least PSNR in dB, instead of a size.")
@output_option
@force_option
def encode(model_file: Path, image: Path, size: int | None, psnr_db: float | None, output: Path, force: bool) -> None:
    """Encodes an image of the model's size as a code."""
    from research.generative.search import encode_image

    if size is not None and psnr_db is not None:
        msg = "give --size or --psnr, not both"
        raise click.UsageError(msg)
    check_writable(output, force)
    model, source = read_model(model_file), read_image(image)
    if source.bit_depth != 8 or not source.is_opaque:
        msg = f"{image} has {source.bit_depth} bits per sample, or alpha; an opaque image of 8 bits is needed"
        raise ImageError(msg)
    pixels = source.pixels[:, :, :1] if source.is_gray and model.architecture.channels == 1 else source.pixels
    code = encode_image(model, np.ascontiguousarray(pixels), 40 if size is psnr_db is None else size, psnr_db)
    write_atomic(output, code.data, force)
    click.echo(f"{output}: {len(code.data)} bytes, {code.psnr_db:.2f} dB")


@command.command()
@model_argument
@click.argument("code", type=file_path)
@height_option
@output_option
@force_option
def decode(model_file: Path, code: Path, height: int | None, output: Path, force: bool) -> None:
    """Decodes a code to an image."""
    model = _read_model(model_file, output, force)
    (pixels,) = model.paint(code_of_file(read_file(code), model)[None], *_size(model, height))
    _write_image(output, pixels, force)


@command.command()
@model_argument
@number_option(64, "images")
@height_option
@click.option("--temperature", type=click.FloatRange(0, 4), default=1.0, show_default=True, help="Spread of the codes.")
@seed_option
@output_option
@force_option
def sample(
    model_file: Path, number: int, height: int | None, temperature: float, seed: int, output: Path, force: bool
) -> None:
    """Draws new images, as a grid, at any resolution."""
    model, columns = _read_model(model_file, output, force), _columns(number)
    _check_grid(model, height, number, columns, output)
    codes = model.density.sample(number, np.random.default_rng(seed), temperature)
    _write_image(output, grid(model.paint(codes, *_size(model, height)), columns), force)


@command.command()
@model_argument
@number_option(8, "rows")
@click.option("--between", type=click.IntRange(0, 64), default=8, show_default=True, help="Images between two ends.")
@height_option
@seed_option
@output_option
@force_option
def interpolate(
    model_file: Path, number: int, between: int, height: int | None, seed: int, output: Path, force: bool
) -> None:
    """Draws rows of images along the lines between the codes of two new images."""
    model, columns = _read_model(model_file, output, force), between + 2
    _check_grid(model, height, number * columns, columns, output)
    ends = model.density.sample(2 * number, np.random.default_rng(seed)).reshape(number, 2, -1)
    _write_image(output, grid(model.paint(between_ends(ends, columns), *_size(model, height)), columns), force)


@command.command()
@model_argument
@data_argument
@number_option(32, "images")
@height_option
@output_option
@force_option
def reconstruct(model_file: Path, data: Path, number: int, height: int | None, output: Path, force: bool) -> None:
    """Reconstructs held-out images of DATA from their codes, each below its original."""
    model = _read_model(model_file, output, force)
    images = _sets(model, data)[1].images[:number]
    columns = _columns(2 * len(images))
    _check_grid(model, height, 2 * -(-len(images) // columns) * columns, columns, output)
    codes = _find_codes(model, images)
    mse = float(((model.paint(codes).astype(np.float64) - images) ** 2).mean())
    rows, positions = (
        np.arange(side) * own // side for side, own in zip(_size(model, height), images.shape[1:3], strict=True)
    )
    enlarged = images[:, rows][:, :, positions]
    _write_image(output, pairs(enlarged, model.paint(codes, *_size(model, height)), columns), force)
    click.echo(f"{len(images)} held-out images, {psnr_of_mse(mse, 255.0):.2f} dB")


@command.command("eval")
@model_argument
@data_argument
@click.option("--classifier", "classifier_file", type=file_path, help="The classifier's file, written if missing.")
@click.option("--neighbors", type=file_path, help="Write an image of samples above their nearest training images.")
@seed_option
@force_option
def evaluate_model(
    model_file: Path, data: Path, classifier_file: Path | None, neighbors: Path | None, seed: int, force: bool
) -> None:
    """Measures samples and reconstructions against held-out images of DATA.

    The measures are the Fréchet distance, precision and recall on features of a classifier that is
    trained on DATA, its Inception-type score, the PSNR of reconstructions, and the distance of
    samples to their nearest training images.
    """
    from research.generative import classifier
    from research.generative.evaluate import evaluate

    model = read_model(model_file) if neighbors is None else _read_model(model_file, neighbors, force)
    train_set, held_out = _sets(model, data)
    weights = classifier.read_or_train(train_set, classifier_file)
    samples = model.paint(model.density.sample(len(held_out), np.random.default_rng(seed)))
    reconstructions = model.paint(_find_codes(model, held_out.images))
    measures = evaluate(
        samples, reconstructions, train_set, held_out, lambda images: classifier.classify(weights, images)
    )
    if neighbors is not None:
        shown = samples[:_SHOWN_NEIGHBOURS]
        nearest_images = train_set.images[nearest(shown, train_set.images)[0]]
        _write_image(neighbors, pairs(shown, nearest_images, _NEIGHBOUR_COLUMNS), force)
    click.echo(f"{'classifier':<32} {classifier.accuracy(weights, held_out):.1%} of held-out images right")
    for name, value in vars(measures).items():
        click.echo(f"{name.replace('_', ' '):<32} {value:.4g}")


def _echo_error(text: str) -> None:
    click.echo(text, err=True)


def _columns(number: int) -> int:
    """Returns the number of columns of an approximately square grid."""
    return max(1, round(sqrt(number)))


def _size(model: GenerativeModel, height: int | None) -> tuple[int, int]:
    """Returns the height and width of each image; `height` is None for the training images'."""
    arch = model.architecture
    return (arch.height, arch.width) if height is None else (height, max(1, round(height * arch.width / arch.height)))


def _read_model(model_file: Path, output: Path, force: bool) -> GenerativeModel:
    """Reads a model, after checking that the output can be written."""
    output_format(output, None)
    check_writable(output, force)
    return read_model(model_file)


def _check_grid(model: GenerativeModel, height: int | None, count: int, columns: int, output: Path) -> None:
    """Raises an error, before drawing, if a grid is too large for the output."""
    size = grid_size(count, *_size(model, height), columns)
    check_image_size(*size, LARGEST_PIXELS)
    check_size(output_format(output, None), *size)


def _sets(model: GenerativeModel, data: Path) -> tuple[ImageSet, ImageSet]:
    """Returns training and held-out images. Raises ImageError if they have another size."""
    train_set, held_out = read_images(data, _echo_error).split()
    arch = model.architecture
    expected = (arch.height, arch.width, arch.channels)
    if held_out.images.shape[1:] != expected:
        msg = f"{data} has images of {list(held_out.images.shape[1:])} (H, W, C); the model takes {list(expected)}"
        raise ImageError(msg)
    if model.report.get("data") != train_set.checksum:
        _echo_error(f"{data}: the model was trained on other images, perhaps on some of those that are measured now")
    return train_set, held_out


def _find_codes(model: GenerativeModel, images: UInt8) -> Float32:
    """Returns the codes of images, from the encoder network or by gradient descent."""
    if model.has_encoder:
        return model.encode(images)
    from research.generative.inversion import codes_of

    return codes_of(model, images)


def _write_image(output: Path, pixels: UInt8, force: bool) -> None:
    image = Image(pixels)
    write_atomic(output, image_to_bytes(image, output_format(output, None)), force)
    click.echo(f"{output}: {image.width}x{image.height}")


def main() -> None:
    """Runs the command; an error is one line."""
    try:
        command(prog_name="python -m research.generative")
    except DfmError as error:
        _echo_error(f"error: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
