"""Trains the shipped weights of the overfitted codec on a folder of photographs.

    python -m research.training.overfitted FOLDER --out DIRECTORY

1. One fit of networks to many crops, placed side by side in one image.
2. Separate fits of other crops that start from these networks. The first weights are the networks
   of stage 1, moved towards the mean of those of stage 2, with a Laplace table for each weight that
   describes its distances in stage 2. So a weight that is equal for all images takes very few bits.
3. Fits that start from the first weights and include the bits of the weight deltas in their loss.
   The final weights are moved to the mean of these fits, with tables of the distances from it.
   Deltas that are not worth their bits remain zero.

Fits of a few hundred steps do not move far, and a crop pays as much for its networks as an image
many times its size. Therefore weights for large images, whose fits are long, start from other
weights and use only stage 3, with longer fits that pay a fraction of the cost:

    python -m research.training.overfitted FOLDER --out DIRECTORY --start eb165d9b

--start is the id of shipped weights, or a file. The context network of the new weights may have
more units than that of --start. --width, --axes and --nearly-linear are taken from --start.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from click.core import ParameterSource

from dfmcodec._types import Float32
from dfmcodec.codecs.overfitted.encode.contexts import ContextWeights
from dfmcodec.codecs.overfitted.encode.fit import Fit, FitSchedule
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.quantize import delta_scales, flat_deltas, from_flat, pretrained_networks
from dfmcodec.codecs.overfitted.encode.smooth import smooth_latents
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS, LMBDA_CODES, code_of_lmbda, lmbda_of_code
from dfmcodec.codecs.overfitted.weights import CONTEXT_DELTAS, OverfittedWeights, overfitted_weights_of
from dfmcodec.entropy.tables import LAPLACE_COUNT, SCALES_PER_OCTAVE, UNIT_SCALE_INDEX
from dfmcodec.errors import ConfigError, DivergedError, ImageError
from dfmcodec.files.arrays import write_arrays
from dfmcodec.files.atomic import check_writable
from dfmcodec.fourier.layer import MAX_WIDTH
from dfmcodec.image import PEAK_CODE_VALUE
from dfmcodec.models import Model
from research.training.command import SCALE, Number, TrainerCommand, errors_in_one_line, named_weights
from research.training.examples import check_photographs, image_files, photographs
from research.training.start import FINE_CHROMA, NEARLY_LINEAR, STEEP, start_contexts, start_networks

JOINT_CROPS, JOINT_SIDE, JOINT_COLUMNS, JOINT_STEPS = 64, 128, 8, 500
SINGLE_CROPS, SINGLE_SIDE, SINGLE_STEPS = 12, 256, 300
PAYING_CROPS = 24  # of this side, and the number of steps
# Of this side, with the rate of an image five times as large.
LONG_CROPS, LONG_STEPS, LONG_RATE_FRACTION = 24, 2000, 0.2
# Step sizes at exponent 0: for the synthesis in its own units, for the context network in those of
# `GridNetwork`.
SYNTHESIS_STEPS = {
    "filters": 2.0**-8,
    "lift": 2.0**-7,
    "lift_constants": 2.0**-7,
    "layer": 2.0**-9,
    "bypass": 2.0**-9,
    "constants": 2.0**-10,
    "stages": 2.0**-9,
    "stage_constants": 2.0**-10,
}
CONTEXT_STEPS = {"w1": 1, "c1": 8, "w2": 1, "c2": 8, "w3": 1, "bypass": 2, "c3": 16}
LARGEST_CONTEXT_WIDTH = 47  # maximum for which the sums pass `GridNetwork.check_exact`
_READ_FOR_A_CROP = 6  # number of photographs, because many are too small after random reduction
_SMALLEST_SCALE = 2.0**-4  # minimum scale of a table, in step sizes
_KIND_WEIGHT = 4.0  # weight of the mean distance of a kind of weights, in number of fits
_START_WEIGHT = 1.0  # weight of the networks of stage 1 in the average, in number of fits


def crops_of(folder: Path, count: int, side: int, seed: int) -> list[Float32]:
    """Returns crops from the middle of photographs distributed over a folder, float32 [3, side,
    side] in 0..1.

    Raises:
        ImageError: The folder does not give enough crops.
    """
    rng = np.random.default_rng(seed)
    every = max(1, len(image_files(folder)) // (_READ_FOR_A_CROP * count))
    crops: list[Float32] = []
    for pixels in photographs(folder, rng, every):
        top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
        if min(top, left) < 0:
            continue
        crop = pixels[top : top + side, left : left + side].astype(np.float32)
        crops.append(np.ascontiguousarray(crop.transpose(2, 0, 1)) * np.float32(1 / PEAK_CODE_VALUE))
        if len(crops) == count:
            return crops
    msg = (
        f"the reduced photographs of {folder} give {len(crops)} of {count} crops of {side}x{side} pixels; "
        "add larger ones, or lower --scale"
    )
    raise ImageError(msg)


def side_by_side(crops: Sequence[Float32], columns: int) -> Float32:
    """Places crops in rows of equal length, dropping the remainder: float32 [3, H, W]."""
    rows = [np.concatenate(crops[i : i + columns], axis=2) for i in range(0, len(crops) - columns + 1, columns)]
    return np.concatenate(rows, axis=1)


def fitted_networks(colours: Float32, start: Networks, steps: int, lmbda: float, **settings: Any) -> Networks:
    """Returns the networks of a fit of an image that starts with latents of zero; see `Fit` for the
    arguments.

    Raises:
        DivergedError: The networks have NaN or infinite weights.
    """
    fit = Fit(colours, lmbda, code_of_lmbda(lmbda), start, FitSchedule.of(steps), **settings)
    state = fit.start()
    for number in range(steps):
        state = fit.step(state, number)
    if not np.isfinite(state.networks.flat).all():
        msg = f"a fit at the Lagrange multiplier {lmbda:g} diverged; try other --lmbdas"
        raise DivergedError(msg)
    return state.networks


def long_fits(
    folder: Path, start: OverfittedWeights, lmbdas: Sequence[float], crops: int, steps: int
) -> Iterator[Networks]:
    """Yields the networks of fits that start from given weights and pay a fraction of their cost;
    see the module.

    Args:
        folder: The photographs.
        start: The weights.
        lmbdas: The Lagrange multipliers, used in turn.
        crops: The number of crops.
        steps: The number of training steps per crop.
    """
    networks, scales = pretrained_networks(start), delta_scales(start)
    in_turn = zip(crops_of(folder, crops, SINGLE_SIDE, seed=17), cycle(lmbdas), strict=False)
    for number, (crop, lmbda) in enumerate(in_turn):
        frozen = smooth_latents(crop, lmbda)
        settings = {"scales": scales, "seed": number, "frozen": frozen, "rate_fraction": LONG_RATE_FRACTION}
        yield fitted_networks(crop, networks, steps, lmbda, **settings)


def weight_arrays(start: Networks, fits: Sequence[Networks] = ()) -> dict[str, Any]:
    """Returns the arrays of new weights.

    Args:
        start: The networks from which fits start.
        fits: The networks of fits. Without any, weight deltas are relative to the start, with broad
            tables.
    """
    distances = np.array([flat_deltas(networks, start) for networks in (start, *fits)])[1:]
    middle = distances.sum(axis=0) / (len(fits) + _START_WEIGHT)
    mean = _moved(start, middle)
    network = mean.contexts.to_integers()
    synthesis = mean.synthesis._asdict()
    arrays: dict[str, Any] = {f"context_{name}": getattr(network, name).astype(np.int32) for name in CONTEXT_DELTAS}
    arrays |= {f"machine_{name}": np.asarray(weights, dtype=np.float32) for name, weights in synthesis.items()}
    sizes = [np.asarray(weights).size for weights in synthesis.values()]
    sizes += [getattr(network, name).size for name in CONTEXT_DELTAS]
    steps = np.repeat([*SYNTHESIS_STEPS.values(), *map(float, CONTEXT_STEPS.values())], sizes)
    kinds = np.repeat(np.arange(len(sizes)), sizes)
    arrays["change_steps"] = steps.astype(np.float32)
    arrays["change_tables"] = _tables((distances - middle) / steps, kinds)
    return arrays


def widened(pretrained: OverfittedWeights, units: int, seed: int = 0) -> OverfittedWeights:
    """Adds units to a context network without changing its outputs: the new units receive random
    features, and the outputs do not use them yet.

    Args:
        weights: The weights.
        units: The number of units in each layer, at least the current number.
        seed: The seed of the random features.
    """
    networks = pretrained_networks(pretrained)
    fresh = start_contexts(np.random.default_rng(seed), units)
    contexts = {name: np.zeros(weights.shape, dtype=np.float32) for name, weights in fresh._asdict().items()}
    contexts["w1"] = np.array(fresh.w1)
    for name, weights in networks.contexts._asdict().items():
        contexts[name][tuple(map(slice, weights.shape))] = weights
    arrays = weight_arrays(Networks.of(networks.synthesis, ContextWeights(**contexts)))
    tables = []
    for (_, shape), known in zip(
        OverfittedWeights.from_arrays(arrays).shapes, pretrained.split(pretrained.tables), strict=True
    ):
        of_array = np.full(shape, np.rint(known.mean()), dtype=np.uint8)
        of_array[tuple(map(slice, known.shape))] = known
        tables.append(of_array.ravel())
    return OverfittedWeights.from_arrays(arrays | {"change_tables": np.concatenate(tables)})


def long_start(weights: OverfittedWeights, context_width: int) -> OverfittedWeights:
    """Returns the weights from which long fits of the current command start.

    Args:
        weights: The given weights.
        context_width: The number of units in a layer of the context network.

    Raises:
        ConfigError: An option was given that is determined by the given weights.
    """

    def is_given(name: str) -> bool:
        return click.get_current_context().get_parameter_source(name) is not ParameterSource.DEFAULT

    for name in ("width", "axes", "nearly_linear"):
        if is_given(name):
            msg = f"--{name.replace('_', '-')} is determined by --start {weights.checksum:08x}; leave it out"
            raise ConfigError(msg)
    units = len(weights.network.w1)
    if is_given("context_width") and context_width < units:
        start = f"--start {weights.checksum:08x}"
        msg = f"--context-width {context_width} is less than the {units} of {start}; give {units} or more"
        raise ConfigError(msg)
    return widened(weights, max(context_width, units))


def _tables(distances: npt.NDArray[Any], kinds: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
    """Returns the Laplace index of each weight.

    Args:
        distances: Distances of the weights of each fit from the mean, in step sizes, [fits,
            weights].
        kinds: The array number of each weight, [weights]. The mean distance of a weight is shrunk
            towards that of its array.
    """
    if not len(distances):
        return np.full(len(kinds), UNIT_SCALE_INDEX + 2 * SCALES_PER_OCTAVE, dtype=np.uint8)
    sums = np.abs(distances).sum(axis=0)
    of_kind = (np.bincount(kinds, sums) / np.bincount(kinds) / len(distances))[kinds]
    scales = (sums + _KIND_WEIGHT * of_kind) / (len(distances) + _KIND_WEIGHT)
    indices = UNIT_SCALE_INDEX + SCALES_PER_OCTAVE * np.log2(np.maximum(scales, _SMALLEST_SCALE))
    return np.asarray(np.clip(np.rint(indices), 0, LAPLACE_COUNT - 1), dtype=np.uint8)


def _moved(start: Networks, deltas: Float32) -> Networks:
    """Adds weight deltas, in the units of `flat_deltas`, to networks."""
    return start.mapped(np.add, from_flat(deltas, start))


def _start_weights(_context: click.Context, _parameter: click.Parameter, start: str | None) -> OverfittedWeights | None:
    """Reads the weights of --start."""
    if start is None:
        return None
    return named_weights(start, Model.OVERFITTED, overfitted_weights_of, OverfittedWeights.from_arrays)


def _checked_axes(_context: click.Context, _parameter: click.Parameter, axes: str) -> str:
    """Validates --axes."""
    letters = "".join(dict.fromkeys(FINE_CHROMA))
    if len(axes) != GRID_LEVELS or not set(axes) <= set(letters):
        msg = f"{axes!r} is not {GRID_LEVELS} letters of {letters}, such as {FINE_CHROMA}"
        raise click.BadParameter(msg)
    return axes


@click.command(cls=TrainerCommand, help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder for the weights.")
@click.option(
    "--width",
    type=click.IntRange(1, MAX_WIDTH),
    default=32,
    show_default=True,
    help="Width of the synthesis network.",
)
@click.option(
    "--context-width",
    type=click.IntRange(1, LARGEST_CONTEXT_WIDTH),
    default=24,
    show_default=True,
    help="The units of a layer of contexts.",
)
@click.option(
    "--axes",
    callback=_checked_axes,
    default=FINE_CHROMA,
    show_default=True,
    help="The axis of each grid's colour at the start.",
)
@click.option(
    "--nearly-linear", is_flag=True, help="Random phases start small, as for all weights before overfitted-d11b22e6."
)
@click.option(
    "--lmbdas",
    # The values that files can store.
    type=Number(min=lmbda_of_code(LMBDA_CODES[0]), max=lmbda_of_code(LMBDA_CODES[-1])),
    multiple=True,
    default=(2.5e-4, 1e-3, 4e-3),
    show_default=True,
    help="The Lagrange multipliers of fits, in turn; that of the first fit is the one in the middle.",
)
@click.option(
    "--start",
    callback=_start_weights,
    help="The weights from which long fits start, instead of stages 1 and 2: an id of shipped weights, or a file.",
)
@click.option("--scale", type=SCALE, default=1.0, show_default=True, help="Factor on crops and steps.")
@errors_in_one_line()
def main(
    folder: Path,
    out: Path,
    width: int,
    context_width: int,
    axes: str,
    nearly_linear: bool,
    lmbdas: Sequence[float],
    start: OverfittedWeights | None,
    scale: float,
) -> None:
    started = time.perf_counter()

    def scaled(count: int) -> int:
        return max(1, round(count * scale))

    def log(text: str) -> None:
        click.echo(f"[{time.perf_counter() - started:7.0f} s] {text}")

    def logged(fits: Iterator[Networks]) -> list[Networks]:
        found = []
        for number, networks in enumerate(fits):
            found.append(networks)
            log(f"crop {number}")
        return found

    def fits(networks: Networks, crops: Sequence[Float32], scales: Networks | None = None) -> Iterator[Networks]:
        for crop, lmbda in zip(crops, cycle(lmbdas), strict=False):
            yield fitted_networks(crop, networks, scaled(SINGLE_STEPS), lmbda, scales=scales)

    first = None if start is None else long_start(start, context_width)
    check_photographs(folder)
    out.mkdir(parents=True, exist_ok=True)
    check_writable(out / "fitted.npz", force=True)
    if first is None:
        crops = crops_of(folder, max(JOINT_COLUMNS, scaled(JOINT_CROPS)), JOINT_SIDE, seed=11)
        single_crops = crops_of(folder, scaled(SINGLE_CROPS), SINGLE_SIDE, seed=12)
        paying_crops = crops_of(folder, scaled(PAYING_CROPS), SINGLE_SIDE, seed=13)
        log(f"{len(crops)} crops together")
        layer = NEARLY_LINEAR if nearly_linear else STEEP
        together, random = side_by_side(crops, JOINT_COLUMNS), start_networks(0, width, context_width, axes, layer)
        joint = fitted_networks(together, random, scaled(JOINT_STEPS), sorted(lmbdas)[len(lmbdas) // 2])
        first = OverfittedWeights.from_arrays(weight_arrays(joint, logged(fits(joint, single_crops))))
        paying = fits(pretrained_networks(first), paying_crops, delta_scales(first))
    else:
        paying = long_fits(folder, first, lmbdas, scaled(LONG_CROPS), scaled(LONG_STEPS))
    arrays = weight_arrays(pretrained_networks(first), logged(paying))
    path = out / f"overfitted-{OverfittedWeights.from_arrays(arrays).checksum:08x}.npz"
    write_arrays(path, arrays, is_compressed=True)
    log(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
