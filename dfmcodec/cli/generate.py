"""Command `dfm generate`: trains a generative model on images, draws new images from it, and
evaluates it.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field, replace
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfmcodec.cli import _options
from dfmcodec.cli._common import STANDARD, echo, echo_json, notify
from dfmcodec.cli._group import CommandGroup
from dfmcodec.cli._interrupt import EXIT_AFTER_INTERRUPT
from dfmcodec.cli._options import NamedPath
from dfmcodec.cli._same_file import check_outputs_apart
from dfmcodec.errors import ConfigError, ImageError, require
from dfmcodec.files.atomic import check_writable, write_atomic

if TYPE_CHECKING:
    import numpy.typing as npt

    from dfmcodec._types import Notify
    from dfmcodec.codecs.generative.model import GenerativeModel
    from dfmcodec.codecs.generative.training.data import ImageSet
    from dfmcodec.codecs.generative.training.evaluate import Evaluation
    from dfmcodec.codecs.generative.training.train import Trainer, TrainingState

# Same names as in recipes.PRESETS, because that module imports NumPy.
_PRESETS = ("mnist", "cifar10", "mnist-published", "cifar10-published")
_FITTING = ("jax", "optax")  # needed to train networks and to find codes
_REPORT_S = 5.0
_CHECKPOINT_S = 60.0
_SHOWN_NEIGHBOURS = 32
_NEIGHBOUR_COLUMNS = 16


model_argument = click.argument("model_file", metavar="MODEL", type=NamedPath())
data_argument = click.argument("data", type=NamedPath())
seed_option = click.option(
    "--seed", type=click.IntRange(0, (1 << 32) - 1), default=0, show_default=True, help="Seed of all random numbers."
)
height_option = click.option(
    "--height",
    type=click.IntRange(1, 4096),
    help="Height of each image in pixels. Default: the height of the training images.",
)


@click.group("generate", cls=CommandGroup)
def command() -> None:
    """Train a generative model on a set of small images and draw new images from it.

    \b
    dfm generate train t10k-images-idx3-ubyte.gz --preset mnist -o digits.dfmg
    dfm generate sample digits.dfmg -n 64 -o grid.png
    dfm generate sample digits.dfmg -n 16 --height 128 -o large.png
    dfm generate eval digits.dfmg t10k-images-idx3-ubyte.gz

    The model also encodes images: dfm encode digit.png --generator digits.dfmg
    """


@dataclass(frozen=True)
class _TrainOptions:
    """The arguments of `dfm generate train`."""

    data: Path  # the set of images
    preset: str
    variant: str | None  # None for the default of the preset, like steps
    steps: int | None
    time_limit: float  # of the entire training, in seconds
    restart: bool  # whether to ignore the checkpoint of an interrupted training
    seed: int
    output: Path | None  # None to derive its name from the preset
    force: bool
    quiet: bool

    @property
    def model_file(self) -> Path:
        """Returns the path of the model file."""
        return self.output or Path(f"{self.preset}.dfmg")

    @property
    def checkpoint(self) -> Path:
        """Returns the path of the checkpoint of an unfinished training."""
        return self.model_file.with_name(self.model_file.name + ".training")


@command.command("train")
@data_argument
@click.option("--preset", type=click.Choice(_PRESETS), required=True, help="Architecture and training recipe.")
@click.option(
    "--variant",
    type=click.Choice(["encoder", "table"]),
    help="Take codes from an encoder network or from a table of learned codes. Default: set by the preset.",
)
@click.option(
    "--training-steps",
    "steps",
    type=click.IntRange(1, 10**9),
    help="Number of training steps. Default: set by the preset.",
)
@click.option(
    "--time-limit",
    type=_options.number(1e-3),
    metavar="SECONDS",
    default=3600,
    show_default=True,
    help="Maximum time of the training in total, including earlier runs.",
)
@click.option("--restart", is_flag=True, help="Start again, even if this output has an unfinished training run.")
@seed_option
@_options.output("Model file to write. Default: PRESET.dfmg.")
@_options.force
@_options.quiet
def train(**arguments: Any) -> None:
    """Train a model on a set of small images.

    DATA is an IDX file, an .npz file with an array `images`, or a folder of images of equal size. A
    fifth of the images is held out and never used for training. To continue an interrupted
    training, run the same command again.
    """
    from dfmcodec.codecs.generative.training.data import read_images
    from dfmcodec.codecs.generative.training.recipes import PRESETS

    require("dfm generate train", *_FITTING)
    options = _TrainOptions(**arguments)
    _refuse_standard_output(options.output)
    check_outputs_apart({"-o": options.model_file, "the checkpoint": options.checkpoint}, [options.data])
    check_writable(options.model_file, options.force)
    images, _ = read_images(options.data, _echo_once(options.quiet)).split()
    preset = PRESETS[options.preset].with_variant(options.variant)
    recipe = replace(preset.recipe, steps=options.steps) if options.steps else preset.recipe
    architecture = preset.architecture(*images.images.shape[1:])

    from dfmcodec.codecs.generative.density import fit_density
    from dfmcodec.codecs.generative.model import GenerativeModel
    from dfmcodec.codecs.generative.training.train import Trainer

    trainer = Trainer(images.images, architecture, recipe, options.seed)
    _run_training(trainer, options)
    about = {
        "preset": options.preset,
        "recipe": recipe.as_dict(),
        "seed": options.seed,
        "images": len(images),
        "data": images.checksum,
        "iterations": trainer.state.steps,
        "total_s": round(trainer.state.seconds, 1),
    }
    density = fit_density(trainer.codes(images.images), seed=options.seed)
    model = GenerativeModel(architecture, trainer.parameters(), density, about).rounded()
    write_atomic(options.model_file, model.file_bytes, options.force)
    options.checkpoint.unlink(missing_ok=True)
    if not options.quiet:
        spent = f"{about['iterations']} steps in {about['total_s']} s on {len(images)} images"
        echo(f"{options.model_file}: {len(model.file_bytes)} bytes, model {model.id:08x}, {spent}")


def _run_training(trainer: Trainer, options: _TrainOptions) -> None:
    """Trains to the end, starting from the checkpoint if there is one. After Ctrl-C, writes a
    checkpoint and ends the command.
    """
    if options.checkpoint.exists() and not options.restart:
        trainer.restore(options.checkpoint)
        if not options.quiet:
            echo(f"{options.checkpoint}: continuing after {trainer.state.steps} steps", err=True)
    try:
        trainer.run(options.time_limit, _TrainingReporter(trainer, options))
        trainer.save(options.checkpoint)  # kept until the model is written
    except KeyboardInterrupt:
        trainer.save(options.checkpoint)
        command_again = "the same command without --restart" if options.restart else "the same command"
        notify(f"stopped after {trainer.state.steps} steps; run {command_again} to continue")
        sys.exit(EXIT_AFTER_INTERRUPT)


@dataclass
class _TrainingReporter:
    """Callback that prints progress and writes checkpoints periodically."""

    trainer: Trainer
    options: _TrainOptions
    last_report: float = 0.0
    last_checkpoint: float = field(default_factory=time.perf_counter)

    def __call__(self, state: TrainingState, psnr_db: float) -> None:
        now = time.perf_counter()
        if not self.options.quiet and now - self.last_report > _REPORT_S:
            self.last_report = now
            steps = f"step {state.steps} of {self.trainer.recipe.steps}"
            echo(f"{steps}, {state.seconds:.0f} s, {psnr_db:.2f} dB", err=True)
        if now - self.last_checkpoint > _CHECKPOINT_S:
            self.last_checkpoint = now
            self.trainer.save(self.options.checkpoint)


@dataclass(frozen=True)
class _Drawing:
    """Common parts of the commands that draw images from a model."""

    model_file: Path
    height: int | None  # of each image; None for that of the training images
    output: Path | None  # None to derive its name from the model file
    force: bool
    quiet: bool

    @property
    def target(self) -> Path:
        """Returns the path of the image to write."""
        return self.output or self.model_file.with_suffix(".png")

    def read_model(self, *also_read: Path) -> GenerativeModel:
        """Reads the model, after checking that the output can be written and differs from all
        inputs.
        """
        from dfmcodec.codecs.generative.model import read_model_file
        from dfmcodec.image.write_image import output_format

        _refuse_standard_output(self.output)
        output_format(self.target, None)
        check_outputs_apart({"-o": self.target}, [self.model_file, *also_read])
        check_writable(self.target, self.force)
        return read_model_file(self.model_file)

    def height_and_width(self, model: GenerativeModel) -> tuple[int, int]:
        """Returns the size of each image."""
        arch = model.architecture
        if self.height is None:
            return arch.height, arch.width
        return self.height, max(1, round(self.height * arch.width / arch.height))

    def check_grid(self, model: GenerativeModel, count: int, columns: int) -> None:
        """Raises an error, before drawing, if a grid is too large for the output."""
        from dfmcodec.codecs.generative.training.grids import grid_size
        from dfmcodec.image import LARGEST_PIXELS, check_image_size
        from dfmcodec.image.write_image import check_size, output_format

        size = grid_size(count, *self.height_and_width(model), columns)
        check_image_size(*size, LARGEST_PIXELS)
        check_size(output_format(self.target, None), *size)

    def write(self, pixels: npt.NDArray[Any]) -> None:
        _write_image(self.target, pixels, self.force, self.quiet)


@command.command("sample")
@model_argument
@click.option("-n", "--number", type=click.IntRange(1, 10_000), default=64, show_default=True, help="Number of images.")
@height_option
@seed_option
@click.option(
    "--temperature",
    type=_options.number(0, 4),
    default=1.0,
    show_default=True,
    help="Spread of the codes; lower values give more typical images.",
)
@_options.output("Output image, a grid of samples. Default: MODEL with the extension .png.")
@_options.force
@_options.quiet
def sample(number: int, seed: int, temperature: float, **shared: Any) -> None:
    """Draw new images, as a grid, at any resolution."""
    import numpy as np

    from dfmcodec.codecs.generative.training.grids import grid

    drawing = _Drawing(**shared)
    model = drawing.read_model()
    columns = _columns(number)
    drawing.check_grid(model, number, columns)
    codes = model.density.sample(number, np.random.default_rng(seed), temperature)
    drawing.write(grid(model.paint(codes, *drawing.height_and_width(model)), columns))


@command.command("interpolate")
@model_argument
@click.option("-n", "--number", type=click.IntRange(1, 64), default=8, show_default=True, help="Number of rows.")
@click.option(
    "--between",
    type=click.IntRange(0, 64),
    default=8,
    show_default=True,
    help="Number of images between the two ends of a row.",
)
@height_option
@seed_option
@_options.output("Output image, with a row for each pair of ends. Default: MODEL with the extension .png.")
@_options.force
@_options.quiet
def interpolate(number: int, between: int, seed: int, **shared: Any) -> None:
    """Draw pairs of new images and blend between them.

    Each row goes from one image to the other, along the line between their codes.
    """
    import numpy as np

    from dfmcodec.codecs.generative.training.grids import between_ends, grid

    drawing = _Drawing(**shared)
    model = drawing.read_model()
    drawing.check_grid(model, number * (between + 2), between + 2)
    ends = model.density.sample(2 * number, np.random.default_rng(seed)).reshape(number, 2, -1)
    painted = model.paint(between_ends(ends, between + 2), *drawing.height_and_width(model))
    drawing.write(grid(painted, between + 2))


@command.command("reconstruct")
@model_argument
@data_argument
@click.option("-n", "--number", type=click.IntRange(1, 1000), default=32, show_default=True, help="Number of images.")
@height_option
@_options.output("Output image: each held-out image above its reconstruction. Default: MODEL with the extension .png.")
@_options.force
@_options.quiet
def reconstruct(data: Path, number: int, **shared: Any) -> None:
    """Reconstruct held-out images from their codes.

    The images are those of DATA that are never used for training. The codes come from the model's
    encoder. A model without an encoder uses gradient descent.
    """
    import numpy as np

    from dfmcodec.codecs.generative.training.data import read_images
    from dfmcodec.codecs.generative.training.grids import pairs
    from dfmcodec.perception import psnr_of_mse

    require("dfm generate reconstruct", *_FITTING)
    drawing = _Drawing(**shared)
    model = drawing.read_model(data)
    train_set, held_out = read_images(data, _echo_once(drawing.quiet)).split()
    images = held_out.images[:number]
    _check_shape(model, images, data)
    columns = _columns(2 * len(images))
    drawing.check_grid(model, 2 * -(-len(images) // columns) * columns, columns)
    _warn_of_other_data(model, train_set, data)
    codes = _find_codes(model, images)
    mse = float(((model.paint(codes).astype(np.float64) - images) ** 2).mean())
    height, width = drawing.height_and_width(model)
    rows = np.arange(height) * model.architecture.height // height
    enlarged = images[:, rows][:, :, np.arange(width) * model.architecture.width // width]
    drawing.write(pairs(enlarged, model.paint(codes, height, width), columns))
    if not drawing.quiet:
        echo(f"{len(images)} held-out images, {psnr_of_mse(mse, 255.0):.2f} dB")


@dataclass(frozen=True)
class _EvaluateOptions:
    """The arguments of `dfm generate eval`."""

    model_file: Path
    data: Path
    classifier_file: Path | None  # None to store none
    inception: Path | None  # weights of the Inception network, which replaces the classifier
    neighbors: Path | None  # the image to write, with samples and their nearest training images
    seed: int
    force: bool
    as_json: bool

    def check_outputs(self) -> None:
        """Raises an error, before any work, if outputs cannot be written."""
        from dfmcodec.image.write_image import output_format

        if self.classifier_file is not None and self.inception is not None:
            msg = "--classifier and --inception are two networks; give one of them"
            raise ConfigError(msg)
        outputs = {"--neighbors": self.neighbors, "--classifier": self.classifier_file}
        check_outputs_apart(outputs, [self.model_file, self.data, self.inception])
        if self.neighbors is not None:
            output_format(self.neighbors, None)
            check_writable(self.neighbors, self.force)
        if self.classifier_file is not None:
            check_writable(self.classifier_file, force=True)  # an existing one is read, not overwritten


@command.command("eval")
@model_argument
@data_argument
@click.option(
    "--classifier",
    "classifier_file",
    type=NamedPath(),
    help="File of the classifier that gives the features (.npz). If it does not exist, train the classifier and write "
    "it.",
)
@click.option(
    "--inception",
    type=NamedPath(),
    help="Use the FID Inception network instead, with the weights in this file (.npz, see "
    "dfmcodec/codecs/generative/training/inception.py).",
)
@click.option(
    "--neighbors",
    type=NamedPath(),
    help="Write an image of samples, with the nearest training image under each.",
)
@seed_option
@_options.force
@_options.json
def evaluate_command(**arguments: Any) -> None:
    """Measure the samples and reconstructions of a model.

    They are compared with held-out images of DATA. The measures are the Frechet distance, precision
    and recall on features of a classifier trained on the same data, its Inception-type score, the
    PSNR of reconstructions, and the distance of samples to their nearest training images.
    """
    import numpy as np

    from dfmcodec.codecs.generative.model import read_model_file
    from dfmcodec.codecs.generative.training.data import read_images
    from dfmcodec.codecs.generative.training.evaluate import evaluate
    from dfmcodec.codecs.generative.training.grids import pairs
    from dfmcodec.codecs.generative.training.measures import nearest

    require("dfm generate eval", *_FITTING)
    from dfmcodec.codecs.generative.training import features  # imports JAX

    options = _EvaluateOptions(**arguments)
    options.check_outputs()
    model = read_model_file(options.model_file)
    train_set, held_out = read_images(options.data, _echo_once(options.as_json)).split()
    _check_shape(model, held_out.images, options.data)
    _warn_of_other_data(model, train_set, options.data)
    if options.inception is not None:
        source = features.inception(options.inception)
    else:
        source = features.classifier(train_set, held_out, options.classifier_file)
    samples = model.paint(model.density.sample(len(held_out), np.random.default_rng(options.seed)))
    reconstructions = model.paint(_find_codes(model, held_out.images))
    evaluation = evaluate(samples, reconstructions, train_set, held_out, source.classify)
    if options.neighbors is not None:
        shown = samples[:_SHOWN_NEIGHBOURS]
        neighbours = train_set.images[nearest(shown, train_set.images)[0]]
        pixels = pairs(shown, neighbours, _NEIGHBOUR_COLUMNS)
        _write_image(options.neighbors, pixels, options.force, quiet=options.as_json)
    if options.as_json:
        echo_json({"model": f"{model.id:08x}", "features": source.description, **vars(evaluation)})
    else:
        _echo_evaluation(evaluation, source.description)


def _echo_evaluation(evaluation: Evaluation, features: str) -> None:
    """Prints the measures as text."""
    reconstruction = evaluation.reconstruction_psnr_db, evaluation.reconstruction_frechet_distance
    mse, held_out_mse = evaluation.neighbor_mse, evaluation.held_out_neighbor_mse
    samples = f"({evaluation.samples} samples and as many held-out images)"
    for label, value in (
        ("features", features),
        ("Frechet distance", f"{evaluation.frechet_distance:.2f} {samples}"),
        ("precision, recall", f"{evaluation.precision:.3f}, {evaluation.recall:.3f}"),
        ("classifier score", f"{evaluation.classifier_score:.2f}"),
        ("reconstruction", "{:.2f} dB, Frechet distance {:.2f}".format(*reconstruction)),
        ("nearest training", f"mean squared error {mse:.4f} ({held_out_mse:.4f} for held-out images)"),
    ):
        echo(f"{label:<20} {value}")


def _refuse_standard_output(output: Path | None) -> None:
    if output == STANDARD:
        msg = "-o - is not a file; name one"
        raise ConfigError(msg)


def _echo_once(quiet: bool) -> Notify:
    """Prints each kind of notice once, for the first file that has it."""
    named: set[str] = set()

    def notify_of(notice: str) -> None:
        kind = notice.rpartition(": ")[2]
        if kind not in named:
            notify(notice, quiet)
        named.add(kind)

    return notify_of


def _columns(number: int) -> int:
    """Returns the number of columns of an approximately square grid."""
    return max(1, round(sqrt(number)))


def _check_shape(model: GenerativeModel, images: npt.NDArray[Any], data: Path) -> None:
    arch = model.architecture
    expected = (arch.height, arch.width, arch.channels)
    if images.shape[1:] != expected:
        found = f"{data} has images of shape {list(images.shape[1:])} (H, W, C)"
        msg = f"{found}; the model was trained on {list(expected)}"
        raise ImageError(msg)


def _warn_of_other_data(model: GenerativeModel, train_set: ImageSet, data: Path) -> None:
    if model.report.get("data") != train_set.checksum:
        notify(f"{data}: the model was trained on other images, perhaps on some of those that are measured now")


def _find_codes(model: GenerativeModel, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns the codes of images, from the encoder or by gradient descent."""
    if model.has_encoder:
        return model.encode(images)
    from dfmcodec.codecs.generative.encode.inversion import codes_of

    return codes_of(model, images)


def _write_image(output: Path, pixels: npt.NDArray[Any], force: bool, quiet: bool) -> None:
    from dfmcodec.image import Image
    from dfmcodec.image.write_image import image_to_bytes, output_format

    image = Image(pixels)
    write_atomic(output, image_to_bytes(image, output_format(output, None)), force)
    if not quiet:
        echo(f"{output}: {image.width}x{image.height}")
