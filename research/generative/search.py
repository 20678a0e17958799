"""The search for the quantised code of an image.

The encoder network predicts a code, gradient descent refines it, and rate-distortion optimised
rounding quantises it. Near a code, the samples of its image are almost linear in the code, so the
squared error of quantised codes is nearly a quadratic form. With this form, the search chooses the
symbols of one axis after the other, at the costs of their tables. Then it computes a new form
around the result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import log, log2

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dfmcodec._types import Array, Float64, UInt8
from dfmcodec.entropy import laplace
from dfmcodec.errors import ImageError, TargetUnreachableError
from dfmcodec.perception import psnr
from research.generative.code import (
    LAST_STEP,
    STEPS_PER_OCTAVE,
    UNIT_STEP,
    CodeSymbols,
    file_of_code,
    table_indices,
)
from research.generative.inversion import codes_of
from research.generative.jax_backend import fast_cos_sin
from research.generative.model import GenerativeModel
from research.generative.network import GenerativeArchitecture, Parameters, network, paint, pixel_inputs

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
    rate and distortion.
    """

    def __init__(self, model: GenerativeModel, image: UInt8) -> None:
        self._model = model
        self._samples = image.reshape(-1, image.shape[2]).T.astype(np.float32) / 127.5 - 1
        self._code = codes_of(model, image[None])[0]
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
        residual = (self._samples - np.asarray(rendered)).reshape(-1).astype(np.float64) / 2
        slopes = np.asarray(jacobian).reshape(len(residual), -1).astype(np.float64) / 2
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


@dataclass(frozen=True)
class EncodedCode:
    """The file of a code, and the PSNR of its image in dB."""

    data: bytes
    psnr_db: float


def encode_image(
    model: GenerativeModel, image: UInt8, size: int | None = None, psnr_db: float | None = None
) -> EncodedCode:
    """Finds the code of an image, uint8 [H, W, C]: the best in a file of at most `size` bytes, or
    the smallest with at least `psnr_db`. Raises ImageError if the image is not one of the model's
    size and channels, and TargetUnreachableError if no code meets the target.
    """
    arch = model.architecture
    if image.shape != (arch.height, arch.width, arch.channels):
        msg = f"the image is {list(image.shape)}; the model takes {[arch.height, arch.width, arch.channels]} (H, W, C)"
        raise ImageError(msg)
    search, tried = CodeSearch(model, image), list[EncodedCode]()

    def best_at(lmbda: float) -> EncodedCode:
        files = []
        for code in search.at(lmbda):
            painted = model.paint(code.dequantize(model.density)[None])[0]
            files.append(EncodedCode(file_of_code(code, model), psnr(image, painted)))
        tried.extend(files)
        return files[0]

    def meets(code: EncodedCode) -> bool:
        return len(code.data) <= size if size is not None else psnr_db is None or code.psnr_db >= psnr_db

    low, high = np.log(_LMBDAS)
    for _ in range(_LMBDAS_TRIED):  # a larger multiplier gives smaller files
        middle = (low + high) / 2
        if meets(best_at(float(np.exp(middle)))) == (size is None):
            low = middle
        else:
            high = middle
    best_at(_LMBDAS[size is not None])  # if no other multiplier meets the target
    met = [code for code in tried if meets(code)]
    if not met:
        best = max(code.psnr_db for code in tried), min(len(code.data) for code in tried)
        msg = "no code meets the target: the best one reaches {:.2f} dB, the smallest file has {} bytes".format(*best)
        raise TargetUnreachableError(msg)
    if size is not None:
        return max(met, key=lambda code: code.psnr_db)
    return min(met, key=lambda code: (len(code.data), -code.psnr_db))
