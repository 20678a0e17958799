"""The search for the quantised code of an image.

The encoder network predicts a code, gradient descent refines it, and rate-distortion optimised
rounding quantises it. Near a code, the samples of its image are almost linear in the code, so the
squared error of quantised codes is nearly a quadratic form. With this form, the search chooses the
symbols of one axis after the other, at the costs of their tables. Then it computes a new form
around the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import log, log2

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dfmcodec._types import Array, Float64, UInt8
from dfmcodec.codecs.generative.contents import CodeArchitecture, CodedImage
from dfmcodec.codecs.generative.encode.inversion import codes_of
from dfmcodec.codecs.generative.jax_backend import fast_cos_sin
from dfmcodec.codecs.generative.model import GenerativeModel
from dfmcodec.codecs.generative.network import GenerativeArchitecture, Parameters, network, paint, pixel_inputs
from dfmcodec.codecs.generative.sections import (
    LAST_STEP,
    STEPS_PER_OCTAVE,
    UNIT_STEP,
    CodeSymbols,
    code_file_bytes,
    table_indices,
    write_code,
)
from dfmcodec.entropy import laplace
from dfmcodec.errors import ImageError, TargetUnreachableError
from dfmcodec.image import PEAK_CODE_VALUE, Image
from dfmcodec.perception import mse, psnr_of_mse
from dfmcodec.search.driver import End, Search, Watch, drive
from dfmcodec.search.job import Job, Outcome
from dfmcodec.search.rate_control import Bracket
from dfmcodec.search.target import Figures, LmbdaTarget, PsnrTarget, best_of

_COMPONENTS_TRIED = 3
_TRIAL_ROUNDS = 2  # rounds of linearisation for every candidate
_ROUNDS = 12  # maximum number of rounds for the best candidates
_REFINED = 3  # number of candidates that get more rounds
_PASSES = 6
_REACH = 1  # number of symbols that are tried on each side of the best real number; 0 is tried too
_COARSER = (-2, 0, 2, 4)  # quantisation step sizes that are tried, in quarter octaves above that of fine quantisation
_TABLE_SYMBOLS = 64
_LMBDAS_TRIED = 10
_LMBDAS = 1e-7, 1e-2  # MSE of samples in [0, 1] per bit: from no rate cost to the mean of the component
_POINTS = 1 << _LMBDAS_TRIED  # points of the logarithm of the multiplier
_DONE = "done"
_CHANNEL_NAMES = {1: "gray", 3: "RGB"}


@dataclass(frozen=True)
class _Form:
    """The MSE of samples in [0, 1] at distance d from a point: error - 2 slope.d + d.curvature.d"""

    point: Float64  # the point, along the axes of a component, float64 [D]
    error: float  # the MSE at the point
    slope: Float64  # float64 [D]
    curvature: Float64  # float64 [D, D]


@dataclass(frozen=True)
class _Candidate:
    """A quantised code, the quadratic form around it, and the bits of its symbols."""

    code: CodeSymbols
    form: _Form
    bits: float

    def cost(self, lmbda: float) -> float:
        """Returns the MSE of samples in [0, 1] plus lmbda times the bits."""
        return self.form.error + lmbda * self.bits


class CodeSearch:
    """Quantised codes of one image of the model's size, uint8 [H, W, C], at any trade-off between
    rate and distortion. `visible` are the visible pixels, bool [H, W]; None for all.
    """

    def __init__(self, model: GenerativeModel, image: UInt8, visible: npt.NDArray[np.bool_] | None = None) -> None:
        self._model = model
        self._samples = image.reshape(-1, image.shape[2]).T.astype(np.float32) / 127.5 - 1
        self._image, self._visible = image, visible
        weights = None if visible is None else visible.reshape(1, -1) / max(visible.mean(), 1 / visible.size)
        self._roots = np.ones((1, 1)) if weights is None else np.sqrt(weights)  # the weights have mean 1
        self._code = codes_of(model, image[None], weights=weights)[0]
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
        """Returns the MSE of a code's image, in squared code values."""
        return mse(self._image, self._model.paint(code.dequantize(self._model.density)[None])[0], self._visible)

    def at(self, lmbda: float) -> list[CodeSymbols]:
        """Returns the tried codes with the lowest MSE + lmbda * bits, the best first.

        The nearest quantised codes of every component get a few rounds. The best of them, and the
        best of earlier calls, get more. `lmbda` is the cost of a bit, as an MSE of samples in [0,
        1].
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
        """Returns the form around the unquantised code, along the axes of a component."""
        density = self._model.density
        along = (self._code - density.means[component]).astype(np.float64) @ density.axes[component]
        return self._form(component, along)

    def _step_indices(self, form: _Form, component: int, lmbda: float) -> list[int]:
        """Returns the quantisation step sizes to try, around that of fine quantisation."""
        deviations = self._model.density.deviations[component]
        used = form.curvature.diagonal()[deviations >= np.median(deviations)]
        fine = (6 * lmbda / log(2) / max(float(used.mean()), 1e-12)) ** 0.5
        finest = round(STEPS_PER_OCTAVE * log2(max(fine, 1e-9))) + UNIT_STEP
        return sorted({min(max(finest + coarser, 0), LAST_STEP) for coarser in _COARSER})

    def _rounded(self, form: _Form, component: int, step_index: int) -> CodeSymbols:
        """Quantises the point of a form."""
        code = CodeSymbols(component, step_index, np.zeros(len(form.point), np.int32))
        return replace(
            code, symbols=np.clip(np.rint(form.point / code.step), -_TABLE_SYMBOLS, _TABLE_SYMBOLS).astype(np.int32)
        )

    def _improved(
        self, form: _Form, code: CodeSymbols, lmbda: float, rounds: int, best: _Candidate | None = None
    ) -> _Candidate:
        """Returns the best candidate of some rounds, each with the form around the one before."""
        costs = self._costs(code.component, code.step_index)
        for _ in range(rounds):
            symbols = _descend_axes(form, code.symbols.astype(np.int64), code.step, costs, lmbda)
            if best is not None and np.array_equal(symbols, best.code.symbols):
                break
            code = replace(code, symbols=symbols.astype(np.int32))
            bits = sum(float(cost[symbol + _TABLE_SYMBOLS]) for cost, symbol in zip(costs, symbols, strict=True))
            form = self._form(code.component, symbols.astype(np.float64) * code.step)
            candidate = _Candidate(code, form, bits)
            if best is not None and candidate.cost(lmbda) >= best.cost(lmbda):
                break
            best = candidate
        assert best is not None
        return best

    def _costs(self, component: int, step_index: int) -> list[Float64]:
        """Returns the bits of the symbols -_TABLE_SYMBOLS.._TABLE_SYMBOLS of each axis, float64."""
        symbols = np.arange(-_TABLE_SYMBOLS, _TABLE_SYMBOLS + 1, dtype=np.int32)
        return [
            laplace(int(index)).cost_bits(symbols)
            for index in table_indices(self._model.density, component, step_index)
        ]

    def _form(self, component: int, point: Float64) -> _Form:
        """Returns the form around a point on the axes of a component."""
        density = self._model.density
        rendered, jacobian = _linearised(
            self._model.parameters_of("decoder"),
            self._model.architecture,
            density.means[component],
            density.axes[component],
            point.astype(np.float32),
        )
        residual = ((self._samples - np.asarray(rendered)) * self._roots).reshape(-1) / 2
        slopes = (np.asarray(jacobian) * self._roots[..., None]).reshape(len(residual), -1) / 2
        count = len(residual)
        return _Form(point, float(residual @ residual) / count, slopes.T @ residual / count, slopes.T @ slopes / count)


def _descend_axes(
    form: _Form, symbols: npt.NDArray[np.int64], step: float, costs: list[Float64], lmbda: float
) -> npt.NDArray[np.int64]:
    """Minimises a form plus lmbda times the costs of symbols, int64 [D], by coordinate descent."""
    symbols = symbols.copy()
    moved = symbols * step - form.point
    for _ in range(_PASSES):
        changed = False
        pull = form.slope - form.curvature @ moved  # half the negative gradient of the error along each axis
        for axis in range(len(symbols)):
            curvature = form.curvature[axis, axis]
            wanted = (moved[axis] + pull[axis] / max(curvature, 1e-12) + form.point[axis]) / step
            near = int(np.clip(np.round(wanted), -_TABLE_SYMBOLS + 1, _TABLE_SYMBOLS - 1))
            tried = np.unique([near - _REACH, near, near + _REACH, 0, symbols[axis]])
            change = tried * step - form.point[axis] - moved[axis]
            cost = curvature * change**2 - 2 * pull[axis] * change + lmbda * costs[axis][tried + _TABLE_SYMBOLS]
            best = int(cost.argmin())
            if tried[best] != symbols[axis]:
                changed = True
                symbols[axis] = tried[best]
                moved[axis] += change[best]
                pull -= form.curvature[:, axis] * change[best]
        if not changed:
            break
    return symbols


@partial(jax.jit, static_argnames=("architecture",))
def _linearised(
    parameters: Parameters, architecture: GenerativeArchitecture, mean: Array, axes: Array, along: Array
) -> tuple[Array, Array]:
    """Returns the samples of a code, [C, H * W], and their derivatives by axis, [C, H * W, D]."""
    first, v = pixel_inputs(architecture)

    def rendered(along: Array) -> Array:
        coefficients = network(parameters, "decoder", (mean + axes @ along)[None], jnp)
        return paint(coefficients, first, v, architecture, jnp, fast_cos_sin)[0]

    return rendered(along), jax.jacfwd(rendered)(along)


def check_image(image: Image, model: GenerativeModel) -> None:
    """Raises ImageError if size, channels or bit depth differ from those of the model's images."""
    arch = model.architecture
    if (image.height, image.width) != (arch.height, arch.width):
        size = f"{image.width}x{image.height}"
        msg = f"the image has {size} pixels; the generator takes images of {arch.width}x{arch.height} pixels"
        raise ImageError(msg)
    if image.channels != arch.channels and not (image.is_gray and arch.channels == 1):
        kinds = _CHANNEL_NAMES[image.channels], _CHANNEL_NAMES[arch.channels]
        msg = f"the image is {kinds[0]}; the generator takes {kinds[1]} images"
        raise ImageError(msg)
    if image.bit_depth != 8:
        msg = f"the image has {image.bit_depth} bits per sample; the generator takes images of 8"
        raise ImageError(msg)


@dataclass(frozen=True)
class _Code(Figures):
    """A code with its size and quality."""

    image: CodedImage


class _LmbdaSearch(Search[int, _Code]):
    """The search for the Lagrange multiplier of a code, by bisection of its logarithm."""

    def __init__(self, watch: Watch, model: GenerativeModel) -> None:
        super().__init__(watch.job.target)
        self._watch, self._model = watch, model
        self._architecture = CodeArchitecture(model.architecture.channels, model.id)
        image = watch.job.image
        pixels = np.broadcast_to(image.pixels, (image.height, image.width, model.architecture.channels))
        self._search = CodeSearch(model, np.ascontiguousarray(pixels), image.visible)
        self._bracket = Bracket(0, _POINTS)
        self.codes: dict[float, list[_Code]] = {}

    def at(self, lmbda: float) -> _Code:
        """Returns the best code for a Lagrange multiplier, and stores all codes in `codes`."""
        if lmbda not in self.codes:
            image = self._watch.job.image
            self.codes[lmbda] = []
            for symbols in self._search.at(lmbda):
                body = write_code(symbols, self._model.density)
                coded = CodedImage(self._architecture, image.height, image.width, body)
                psnr_db = psnr_of_mse(self._search.error(symbols), PEAK_CODE_VALUE)
                self.codes[lmbda].append(_Code(code_file_bytes(coded), psnr_db, coded))
        return self.codes[lmbda][0]

    def all_codes(self) -> list[_Code]:
        """Returns all codes so far."""
        return [code for codes in self.codes.values() for code in codes]

    def start(self) -> int:
        return self._bracket.middle

    def has_trials_left(self) -> bool:
        return not self._bracket.is_closed

    def trial(self, parameter: int, check: Callable[[], None]) -> _Code:
        psnr_db = self._watch.job.reported_db(max((code.psnr_db for code in self.all_codes()), default=0.0))
        tried = len(self.codes)
        self._watch.show(tried / _LMBDAS_TRIED, tried, psnr_db, "code")
        check()
        low, high = _LMBDAS
        return self.at(low * (high / low) ** (parameter / _POINTS))

    def following(self, trial: _Code, best: _Code | None) -> int | End:
        self._bracket.add(self._bracket.middle, self.target.meets(trial) != self.target.limits_size)
        return End(_DONE) if self._bracket.is_closed else self._bracket.middle

    def unreachable(self) -> str:
        """Returns the error message if no code meets the target."""
        job, codes = self._watch.job, self.all_codes()
        if not isinstance(self.target, PsnrTarget):
            return job.too_small(min(code.written_bytes for code in codes))
        best_db, advice = max(code.psnr_db for code in codes), "; lower --psnr or drop --generator"
        return job.out_of_reach(self.target.floor_db, "the best code reaches", best_db, advice)


def fit_code(job: Job) -> Outcome:
    """Finds the code of an image under the generative model of a job. Raises TargetUnreachableError
    if the target cannot be met.
    """
    assert job.generator is not None
    watch = Watch(job)
    search = _LmbdaSearch(watch, job.generator)
    match job.target:
        case LmbdaTarget(lmbda=lmbda):
            image, reason = search.at(lmbda / job.image.pixel_count).image, _DONE
        case target:
            reason = drive(search, watch).reason
            search.at(_LMBDAS[target.limits_size])  # if no other multiplier meets the target
            best = best_of(target, search.all_codes())
            if best is None:
                raise TargetUnreachableError(search.unreachable())
            image = best.image
    return Outcome(image, code_file_bytes(image), len(search.codes), watch.seconds, reason)
