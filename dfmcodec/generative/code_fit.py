"""Picture -> quantised code: found by the encoder, refined by gradient steps and by rate-distortion optimised rounding.

Around a code the painted samples are nearly linear in it, so the squared error of nearby quantised codes is a
quadratic form, in which symbols are chosen one axis at a time against their tables' real costs; then the form is taken
anew where that led.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import log, log2

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dfmcodec.bitstream import code_file_bytes
from dfmcodec.encoder.job import Job, Outcome, Progress
from dfmcodec.entropy import laplace
from dfmcodec.errors import ImageError, TargetUnreachableError
from dfmcodec.generative.codec import LAST_STEP, STEPS_PER_OCTAVE, UNIT_STEP, CodeSymbols, table_indices, write_code
from dfmcodec.generative.data import UInt8
from dfmcodec.generative.inversion import codes_of
from dfmcodec.generative.model import GenerativeModel
from dfmcodec.generative.painting import (
    Array,
    GenerativeArchitecture,
    network,
    paint,
    pixel_inputs,
)
from dfmcodec.generative.train import Weights, fast_cos_sin
from dfmcodec.image import PEAK_LEVEL, Image
from dfmcodec.metrics import mse, psnr_of_mse
from dfmcodec.model import CodeArchitecture, CodedPicture

Float64 = npt.NDArray[np.float64]

_COMPONENTS_TRIED = 3
_TRIAL_ROUNDS = 2  # of linearisation, of all candidates
_ROUNDS = 12  # at most, of the best
_REFINED = 3  # candidates
_SWEEPS = 6
_REACH = 1  # symbols tried beside the best real number, and 0
_COARSER = (-2, 0, 2, 4)  # steps tried, in quarter octaves from what fine quantisation would take
_TABLE_SYMBOLS = 64
_TRIED = 10  # lambdas


@dataclass(frozen=True)
class _Form:
    """The mean squared error, samples in [0, 1], d from a point: error - 2 slope.d + d.curvature d."""

    point: Float64
    error: float
    slope: Float64
    curvature: Float64


@dataclass(frozen=True)
class _Candidate:
    """A code, the form around what it paints, and what its symbols cost."""

    code: CodeSymbols
    form: _Form
    bits: float

    def cost(self, lmbda: float) -> float:
        return self.form.error + lmbda * self.bits


class CodeSearch:
    """Quantised codes of one picture at any trade of rate for distortion.

    Args:
        model: The model.
        picture: uint8 [H, W, C] of the model's size.
        visible: Which of its pixels count, bool [H, W]; None for all.
    """

    def __init__(self, model: GenerativeModel, picture: UInt8, visible: npt.NDArray[np.bool_] | None = None) -> None:
        self._model = model
        self._samples = picture.reshape(-1, picture.shape[2]).T.astype(np.float32) / 127.5 - 1
        self._picture, self._visible = picture, visible
        weights = None if visible is None else visible.reshape(1, -1) / max(visible.mean(), 1 / visible.size)
        self._roots = np.ones((1, 1)) if weights is None else np.sqrt(weights)  # of pixels' weights, of mean 1
        self._code = codes_of(model, picture[None], weights=weights)[0]
        density = model.density
        scores = []
        for component in range(len(density.weights)):
            along = (self._code - density.means[component]) @ density.axes[component]
            deviations = density.deviations[component]
            scores.append(((along / deviations) ** 2).sum() / 2 + np.log(deviations).sum())
        self._refined: list[_Candidate] = []
        self._starts = {
            int(component): self._start(int(component)) for component in np.argsort(scores)[:_COMPONENTS_TRIED]
        }

    def error(self, code: CodeSymbols) -> float:
        """Mean squared error in levels of what a code paints."""
        return mse(self._picture, self._model.paint(code.dequantize(self._model.density)[None])[0], self._visible)

    def at(self, lmbda: float) -> list[CodeSymbols]:
        """The codes of least MSE + lmbda * bits, MSE with samples in [0, 1], of those tried, the best first.

        Each component's nearest quantised codes get few rounds; the best of them, and of the lambdas before, many.
        """
        candidates = [
            self._improved(form, self._rounded(form, component, step_index), lmbda, _TRIAL_ROUNDS)
            for component, form in self._starts.items()
            for step_index in self._step_indices(form, component, lmbda)
        ]
        candidates = sorted([*candidates, *self._refined], key=lambda candidate: candidate.cost(lmbda))
        refined = [
            self._improved(candidate.form, candidate.code, lmbda, _ROUNDS, candidate)
            for candidate in candidates[:_REFINED]
        ]
        self._refined = sorted(refined, key=lambda candidate: candidate.cost(lmbda))
        return [candidate.code for candidate in self._refined]

    def _start(self, component: int) -> _Form:
        """The form around the unquantised code."""
        density = self._model.density
        along = (self._code - density.means[component]).astype(np.float64) @ density.axes[component]
        return self._form(component, along)

    def _step_indices(self, form: _Form, component: int, lmbda: float) -> list[int]:
        """Steps to try, by what fine quantisation would take."""
        deviations = self._model.density.deviations[component]
        used = form.curvature.diagonal()[deviations >= np.median(deviations)]
        fine = (6 * lmbda / log(2) / max(float(used.mean()), 1e-12)) ** 0.5
        finest = round(STEPS_PER_OCTAVE * log2(max(fine, 1e-9))) + UNIT_STEP
        return sorted({min(max(finest + coarser, 0), LAST_STEP) for coarser in _COARSER})

    def _rounded(self, form: _Form, component: int, step_index: int) -> CodeSymbols:
        """A form's point, quantised."""
        code = CodeSymbols(component, step_index, np.zeros(len(form.point), np.int32))
        return replace(
            code, symbols=np.clip(np.rint(form.point / code.step), -_TABLE_SYMBOLS, _TABLE_SYMBOLS).astype(np.int32)
        )

    def _improved(
        self, form: _Form, code: CodeSymbols, lmbda: float, rounds: int, best: _Candidate | None = None
    ) -> _Candidate:
        """The best of some rounds, each of which chooses symbols in the form around those of the one before."""
        costs = self._costs(code.component, code.step_index)
        for _ in range(rounds):
            symbols = _descend_axes(form, code.symbols.astype(np.int64), code.step, costs, lmbda)
            if best is not None and np.array_equal(symbols, best.code.symbols):
                break
            code = replace(code, symbols=symbols.astype(np.int32))
            bits = sum(float(cost[symbol + _TABLE_SYMBOLS]) for cost, symbol in zip(costs, symbols, strict=True))
            form = self._form(code.component, symbols.astype(np.float64) * code.step)
            found = _Candidate(code, form, bits)
            if best is not None and found.cost(lmbda) >= best.cost(lmbda):
                break
            best = found
        assert best is not None
        return best

    def _costs(self, component: int, step_index: int) -> list[Float64]:
        """Of each axis's symbols, -_TABLE_SYMBOLS to _TABLE_SYMBOLS, in bits."""
        symbols = np.arange(-_TABLE_SYMBOLS, _TABLE_SYMBOLS + 1, dtype=np.int32)
        return [
            laplace(int(index)).cost_bits(symbols)
            for index in table_indices(self._model.density, component, step_index)
        ]

    def _form(self, component: int, point: Float64) -> _Form:
        density = self._model.density
        painted, jacobian = _linearised(
            self._model.parameters_of("decoder"),
            self._model.architecture,
            density.means[component],
            density.axes[component],
            point.astype(np.float32),
        )
        residual = ((self._samples - np.asarray(painted)) * self._roots).reshape(-1) / 2
        slopes = (np.asarray(jacobian) * self._roots[..., None]).reshape(len(residual), -1) / 2
        count = len(residual)
        return _Form(point, float(residual @ residual) / count, slopes.T @ residual / count, slopes.T @ slopes / count)


def _descend_axes(
    form: _Form, symbols: npt.NDArray[np.int64], step: float, costs: list[Float64], lmbda: float
) -> npt.NDArray[np.int64]:
    """Coordinate descent of the form plus lmbda times the symbols' costs."""
    symbols = symbols.copy()
    moved = symbols * step - form.point
    for _ in range(_SWEEPS):
        changed = False
        pull = form.slope - form.curvature @ moved  # half the error's fall along each axis
        for axis in range(len(symbols)):
            curvature = form.curvature[axis, axis]
            wanted = (moved[axis] + pull[axis] / max(curvature, 1e-12) + form.point[axis]) / step
            near = int(np.clip(np.round(wanted), -_TABLE_SYMBOLS + 1, _TABLE_SYMBOLS - 1))
            tried = np.unique([near - _REACH, near, near + _REACH, 0, symbols[axis]])
            change = tried * step - form.point[axis] - moved[axis]
            gain = curvature * change**2 - 2 * pull[axis] * change + lmbda * costs[axis][tried + _TABLE_SYMBOLS]
            chosen = int(gain.argmin())
            if tried[chosen] != symbols[axis]:
                changed = True
                symbols[axis] = tried[chosen]
                moved[axis] += change[chosen]
                pull -= form.curvature[:, axis] * change[chosen]
        if not changed:
            break
    return symbols


@partial(jax.jit, static_argnames=("architecture",))
def _linearised(
    parameters: Weights, architecture: GenerativeArchitecture, mean: Array, axes: Array, along: Array
) -> tuple[Array, Array]:
    first, v = pixel_inputs(architecture)

    def painted(along: Array) -> Array:
        coefficients = network(parameters, "decoder", (mean + axes @ along)[None], jnp)
        return paint(coefficients, first, v, architecture, jnp, fast_cos_sin)[0]

    return painted(along), jax.jacfwd(painted)(along)


def search_lmbda(fits: Callable[[float], bool], low: float, high: float, should_stop: Callable[[int], bool]) -> None:
    """Tries lambdas, by bisection on their logarithms towards the smallest between two for which `fits` holds.

    Args:
        fits: Tries one.
        low: The least lambda.
        high: The largest.
        should_stop: Asked before each with how many were tried.
    """
    for tried in range(_TRIED):
        if should_stop(tried):
            break
        middle = (low * high) ** 0.5
        low, high = (low, middle) if fits(middle) else (middle, high)


_LMBDAS = 1e-7, 1e-2  # MSE in [0, 1] a bit: from codes that nothing is spared on to the component's mean
_COLOURS = {1: "gray", 3: "RGB"}


def check_picture(image: Image, model: GenerativeModel) -> None:
    """Refuses a picture that the model has no code for.

    Raises:
        ImageError: Its size or kind is another than that of the model's pictures.
    """
    arch = model.architecture
    if (image.height, image.width) != (arch.height, arch.width):
        size = f"{image.width}x{image.height}"
        msg = f"the picture has {size} pixels; the prior is a model of pictures of {arch.width}x{arch.height}"
        raise ImageError(msg)
    if image.channels != arch.channels and not (image.is_gray and arch.channels == 1):
        msg = f"the picture is {_COLOURS[image.channels]}; the prior is a model of {_COLOURS[arch.channels]} pictures"
        raise ImageError(msg)
    if image.bit_depth != 8:
        msg = f"the picture has {image.bit_depth} bits a sample; the prior is a model of pictures of 8"
        raise ImageError(msg)


def fit_code(job: Job, model: GenerativeModel) -> Outcome:
    """Finds the code of a picture under a generative model.

    Raises:
        TargetUnreachableError: The target cannot be met.
    """
    started = time.perf_counter()
    image, arch, config = job.image, model.architecture, job.config
    pixels = np.broadcast_to(image.pixels, (image.height, image.width, arch.channels))
    search = CodeSearch(model, np.ascontiguousarray(pixels), image.visible)
    reason = "done"
    found: dict[float, list[tuple[CodedPicture, float]]] = {}
    of_file = CodeArchitecture(arch.channels, model.id)

    def at(lmbda: float) -> tuple[CodedPicture, float]:
        """The best code of a lambda and its PSNR; others are found beside it."""
        if lmbda not in found:
            found[lmbda] = []
            for symbols in search.at(lmbda):
                body = write_code(symbols, model.density)
                psnr_db = psnr_of_mse(search.error(symbols), PEAK_LEVEL)
                found[lmbda].append((CodedPicture(of_file, image.height, image.width, body), psnr_db))
        return found[lmbda][0]

    def all_found() -> list[tuple[CodedPicture, float]]:
        return [entry for entries in found.values() for entry in entries]

    def should_stop(tried: int) -> bool:
        nonlocal reason
        seconds = time.perf_counter() - started
        psnr_db = max((entry[1] for entry in all_found()), default=0.0)
        job.on_progress(Progress(tried / _TRIED, tried, psnr_db, seconds, "code", job.file_budget_bytes))
        if job.should_stop():
            reason = "interrupted"
        elif config.time_limit_s is not None and seconds >= config.time_limit_s:
            reason = "time limit"
        return reason != "done"

    low, high = _LMBDAS
    budget = job.budget_bytes
    if config.target_lmbda is not None:
        chosen, _ = at(config.target_lmbda / image.pixel_count)
    elif budget is not None:
        search_lmbda(lambda lmbda: code_file_bytes(at(lmbda)[0]) <= budget, low, high, should_stop)
        at(high)  # the smallest, where no other fits
        fitting = [entry for entry in all_found() if code_file_bytes(entry[0]) <= budget]
        if not fitting:
            raise TargetUnreachableError(job.too_small(code_file_bytes(at(high)[0])))
        chosen, _ = max(fitting, key=lambda entry: entry[1])
    else:
        floor_db = config.psnr or 0.0
        search_lmbda(lambda lmbda: at(lmbda)[1] < floor_db, low, high, should_stop)
        at(low)  # the best, where no other reaches it
        reaching = [entry for entry in all_found() if entry[1] >= floor_db]
        if not reaching:
            best_db = max(psnr_db for _, psnr_db in all_found())
            reach = f"{floor_db:.2f} dB is out of the prior's reach, the best was {best_db:.2f} dB"
            msg = f"{reach}; lower --psnr or drop --prior"
            raise TargetUnreachableError(msg)
        chosen, _ = min(reaching, key=lambda entry: len(entry[0].body))
    seconds = time.perf_counter() - started
    return Outcome(chosen, code_file_bytes(chosen), None, len(found), seconds, reason)
