"""`dfm generate`: train a generative model on a set of pictures, draw new pictures from it, measure it."""

from __future__ import annotations

import sys
import time
from math import isnan, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfmcodec.cli._common import echo_json, force_option, json_option, output_option, quiet_option

if TYPE_CHECKING:
    import numpy.typing as npt

    from dfmcodec.generative.data import PictureSet
    from dfmcodec.generative.model import GenerativeModel

_PRESETS = ("mnist", "cifar10", "mnist-published", "cifar10-published")  # of generative.recipe, which is not light
_REPORT_S = 5.0
_CHECKPOINT_S = 60.0


def _number(_context: click.Context, _parameter: click.Parameter, value: float) -> float:
    if isnan(value):
        msg = "nan is not a number"
        raise click.BadParameter(msg)
    return value


model_argument = click.argument("model_file", metavar="MODEL", type=click.Path(path_type=Path))
data_argument = click.argument("data", type=click.Path(path_type=Path))
seed_option = click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of all that is random."
)
size_option = click.option(
    "--size", type=click.IntRange(1, 4096), help="Height of each picture; any: the machine is continuous."
)


@click.group("generate")
def command() -> None:
    """New pictures from a model that is trained on a set of small ones.

    \b
    dfm generate train t10k-images-idx3-ubyte.gz --preset mnist -o digits.dfmg
    dfm generate sample digits.dfmg -n 64 -o grid.png
    dfm generate sample digits.dfmg -n 16 --size 128 -o large.png
    dfm generate eval digits.dfmg t10k-images-idx3-ubyte.gz

    Such a model is also a prior: dfm encode digit.png --prior digits.dfmg
    """


@command.command("train")
@data_argument
@click.option("--preset", type=click.Choice(_PRESETS), required=True, help="Shape of the model and how to train it.")
@click.option(
    "--variant", type=click.Choice(["encoder", "table"]), help="Where codes come from. Default: the preset's."
)
@click.option("--steps", type=click.IntRange(1), help="Gradient steps. Default: the preset's.")
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    callback=_number,
    default=3600,
    show_default=True,
    help="Seconds.",
)
@click.option("--restart", is_flag=True, help="Leave an unfinished training of the same output aside.")
@seed_option
@output_option("Model to write, .dfmg.")
@force_option
@quiet_option
def train(
    data: Path,
    preset: str,
    variant: str | None,
    steps: int | None,
    time_limit: float,
    restart: bool,
    seed: int,
    output: Path | None,
    force: bool,
    quiet: bool,
) -> None:
    """Train a model on DATA: an IDX file, an .npz file with `images`, or a folder of equal-sized pictures.

    A fifth of the pictures is held out and never trained on. A training that is stopped goes on when it is
    called again.
    """
    from dataclasses import replace

    from dfmcodec.generative.data import read_pictures
    from dfmcodec.generative.recipe import PRESETS
    from dfmcodec.io import check_writable, write_atomic

    output = output or Path(f"{preset}.dfmg")
    check_writable(output, force)
    pictures, _ = read_pictures(data).split()
    chosen = PRESETS[preset].with_variant(variant)
    recipe = replace(chosen.recipe, steps=steps) if steps else chosen.recipe
    architecture = chosen.architecture(*pictures.pictures.shape[1:])

    from dfmcodec.generative.density import fit_density
    from dfmcodec.generative.model import GenerativeModel
    from dfmcodec.generative.train import State, Trainer

    trainer = Trainer(pictures.pictures, architecture, recipe, seed)
    checkpoint = output.with_name(output.name + ".training")
    if checkpoint.exists() and not restart:
        trainer.restore(checkpoint)
        if not quiet:
            click.echo(f"{checkpoint}: going on after {trainer.state.steps} steps", err=True)
    last = {"report": 0.0, "checkpoint": time.perf_counter()}

    def report(state: State, psnr_db: float) -> None:
        now = time.perf_counter()
        if not quiet and now - last["report"] > _REPORT_S:
            last["report"] = now
            click.echo(f"step {state.steps} of {recipe.steps}, {state.seconds:.0f} s, {psnr_db:.2f} dB", err=True)
        if now - last["checkpoint"] > _CHECKPOINT_S:
            last["checkpoint"] = now
            trainer.save(checkpoint)

    try:
        trainer.run(time_limit, report)
    except KeyboardInterrupt:
        trainer.save(checkpoint)
        again = "the same command without --restart" if restart else "the same command"
        click.echo(f"dfm: stopped after {trainer.state.steps} steps; {again} goes on", err=True)
        sys.exit(130)
    about = {
        "preset": preset,
        "recipe": recipe.as_dict(),
        "seed": seed,
        "pictures": len(pictures),
        "data": pictures.checksum,
        "steps": trainer.state.steps,
        "seconds": round(trainer.state.seconds, 1),
    }
    density = fit_density(trainer.codes(pictures.pictures), seed=seed)
    model = GenerativeModel(architecture, trainer.parameters(), density, about).rounded()
    write_atomic(output, model.file_bytes, force)
    checkpoint.unlink(missing_ok=True)
    if not quiet:
        spent = f"{about['steps']} steps in {about['seconds']} s on {len(pictures)} pictures"
        click.echo(f"{output}: {len(model.file_bytes)} bytes, model {model.id:08x}, {spent}")


@command.command("sample")
@model_argument
@click.option("-n", "--number", type=click.IntRange(1, 10_000), default=64, show_default=True, help="Of pictures.")
@size_option
@seed_option
@click.option(
    "--temperature",
    type=click.FloatRange(0, 4),
    callback=_number,
    default=1.0,
    show_default=True,
    help="Spread of codes; less is tamer.",
)
@output_option("Picture to write, a grid of samples. Default: MODEL.png.")
@force_option
@quiet_option
def sample(
    model_file: Path,
    number: int,
    size: int | None,
    seed: int,
    temperature: float,
    output: Path | None,
    force: bool,
    quiet: bool,
) -> None:
    """Draw new pictures, as a grid, at any resolution."""
    import numpy as np

    from dfmcodec.generative.figures import grid

    output = output or model_file.with_suffix(".png")
    model = _opened(model_file, output, force)
    codes = model.density.sample(number, np.random.default_rng(seed), temperature)
    _write(output, grid(model.paint(codes, *_size_of(model, size)), _columns(number)), force, quiet)


@command.command("interpolate")
@model_argument
@click.option("-n", "--number", type=click.IntRange(1, 64), default=8, show_default=True, help="Of rows.")
@click.option("--between", type=click.IntRange(0, 64), default=8, show_default=True, help="Pictures between two ends.")
@size_option
@seed_option
@output_option("Picture to write, a row for each pair of ends. Default: MODEL.png.")
@force_option
@quiet_option
def interpolate(
    model_file: Path,
    number: int,
    between: int,
    size: int | None,
    seed: int,
    output: Path | None,
    force: bool,
    quiet: bool,
) -> None:
    """Go from one drawn picture to another through codes on the line between theirs."""
    import numpy as np

    from dfmcodec.generative.figures import between_ends, grid

    output = output or model_file.with_suffix(".png")
    model = _opened(model_file, output, force)
    ends = model.density.sample(2 * number, np.random.default_rng(seed)).reshape(number, 2, -1)
    painted = model.paint(between_ends(ends, between + 2), *_size_of(model, size))
    _write(output, grid(painted, between + 2), force, quiet)


@command.command("reconstruct")
@model_argument
@data_argument
@click.option("-n", "--number", type=click.IntRange(1, 1000), default=32, show_default=True, help="Of pictures.")
@size_option
@output_option("Picture to write: each held-out picture, and under it what its code paints. Default: MODEL.png.")
@force_option
@quiet_option
def reconstruct(
    model_file: Path, data: Path, number: int, size: int | None, output: Path | None, force: bool, quiet: bool
) -> None:
    """Paint held-out pictures of DATA from their codes (by the encoder, or by gradient steps where there is none)."""
    import numpy as np

    from dfmcodec.generative.data import read_pictures
    from dfmcodec.generative.figures import pairs
    from dfmcodec.metrics import psnr_of_mse

    output = output or model_file.with_suffix(".png")
    model = _opened(model_file, output, force)
    train_part, held_out = read_pictures(data).split()
    pictures = held_out.pictures[:number]
    _check_fits(model, pictures, data)
    _tell_other_data(model, train_part, data)
    codes = _codes_of(model, pictures)
    mse = float(((model.paint(codes).astype(np.float64) - pictures) ** 2).mean())
    height, width = _size_of(model, size)
    painted = model.paint(codes, height, width)
    rows, columns = (
        np.arange(height) * model.architecture.height // height,
        np.arange(width) * model.architecture.width // width,
    )
    shown = pictures[:, rows][:, :, columns]
    _write(output, pairs(shown, painted, _columns(2 * len(pictures))), force, quiet)
    if not quiet:
        click.echo(f"{len(pictures)} held-out pictures, {psnr_of_mse(mse, 255.0):.2f} dB")


@command.command("eval")
@model_argument
@data_argument
@click.option(
    "--classifier",
    "classifier_file",
    type=click.Path(path_type=Path),
    help="Where the classifier whose features are used is kept (.npz); trained and written if it is not there.",
)
@click.option(
    "--inception",
    type=click.Path(path_type=Path),
    help="Weights of the FID Inception network (.npz, see generative.inception) to use instead.",
)
@click.option(
    "--neighbours", type=click.Path(path_type=Path), help="PNG to write: samples, nearest training picture under each."
)
@seed_option
@force_option
@json_option
def evaluate_command(
    model_file: Path,
    data: Path,
    classifier_file: Path | None,
    inception: Path | None,
    neighbours: Path | None,
    seed: int,
    force: bool,
    as_json: bool,
) -> None:
    """Measure samples against held-out pictures of DATA, and reconstructions of these.

    Frechet distance, precision and recall on features of a classifier that is trained on the same data, its
    Inception-type score, reconstruction PSNR, and how near samples are to training pictures.
    """
    import numpy as np

    from dfmcodec.generative import features_of
    from dfmcodec.generative.data import read_pictures
    from dfmcodec.generative.evaluate import evaluate
    from dfmcodec.generative.figures import pairs
    from dfmcodec.generative.measures import nearest
    from dfmcodec.generative.model import read_model_file
    from dfmcodec.io import check_writable
    from dfmcodec.writing import output_format

    if neighbours is not None:
        output_format(neighbours, None)
        check_writable(neighbours, force)
    if classifier_file is not None:
        check_writable(classifier_file, force=True)  # one that is there is read
    model = read_model_file(model_file)
    train_part, held_out = read_pictures(data).split()
    _check_fits(model, held_out.pictures, data)
    _tell_other_data(model, train_part, data)
    source = (
        features_of.inception(inception) if inception else features_of.classifier(train_part, held_out, classifier_file)
    )
    samples = model.paint(model.density.sample(len(held_out), np.random.default_rng(seed)))
    found = evaluate(samples, model.paint(_codes_of(model, held_out.pictures)), train_part, held_out, source.classify)
    report = {"model": f"{model.id:08x}", "features": source.description, **found.as_dict()}
    if neighbours is not None:
        shown = samples[:32]
        near = train_part.pictures[nearest(shown, train_part.pictures)[0]]
        _write(neighbours, pairs(shown, near, 16), force, as_json)
    if as_json:
        echo_json(report)
        return
    click.echo(f"features             {source.description}")
    click.echo(f"Frechet distance     {found.frechet_distance:.2f} ({found.samples} samples and held-out pictures)")
    click.echo(f"precision, recall    {found.precision:.3f}, {found.recall:.3f}")
    click.echo(f"classifier score     {found.classifier_score:.2f}")
    distance = found.reconstruction_frechet_distance
    click.echo(f"reconstruction       {found.reconstruction_psnr_db:.2f} dB, Frechet distance {distance:.2f}")
    copies = f"{found.neighbour_mse:.4f} mean squared error (of held-out pictures {found.held_out_neighbour_mse:.4f})"
    click.echo(f"nearest training     {copies}")


def _opened(model_file: Path, output: Path, force: bool) -> GenerativeModel:
    from dfmcodec.generative.model import read_model_file
    from dfmcodec.io import check_writable
    from dfmcodec.writing import output_format

    output_format(output, None)
    check_writable(output, force)
    return read_model_file(model_file)


def _size_of(model: GenerativeModel, size: int | None) -> tuple[int, int]:
    arch = model.architecture
    return (size, max(1, round(size * arch.width / arch.height))) if size else (arch.height, arch.width)


def _columns(number: int) -> int:
    return max(1, round(sqrt(number)))


def _check_fits(model: GenerativeModel, pictures: npt.NDArray[Any], data: Path) -> None:
    from dfmcodec.errors import ImageError

    arch = model.architecture
    expected = (arch.height, arch.width, arch.channels)
    if pictures.shape[1:] != expected:
        msg = f"{data} has pictures of {list(pictures.shape[1:])} (H, W, C); the model was trained on {list(expected)}"
        raise ImageError(msg)


def _tell_other_data(model: GenerativeModel, train_part: PictureSet, data: Path) -> None:
    if model.report.get("data") != train_part.checksum:
        notice = "the model was trained on other pictures, or on some of those that are measured now"
        click.echo(f"dfm: {data}: {notice}", err=True)


def _codes_of(model: GenerativeModel, pictures: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if model.has_encoder:
        return model.encode(pictures)
    from dfmcodec.generative.inversion import codes_of

    return codes_of(model, pictures)


def _write(output: Path, picture: npt.NDArray[Any], force: bool, quiet: bool) -> None:
    from dfmcodec.image import Image
    from dfmcodec.io import write_atomic
    from dfmcodec.writing import image_to_bytes, output_format

    image = Image(picture)
    write_atomic(output, image_to_bytes(image, output_format(output, None)), force)
    if not quiet:
        click.echo(f"{output}: {image.width}x{image.height}")
