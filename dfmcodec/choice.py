"""The choice between files of one image that all meet one target.

A file has costs, which depend on the tune and the target:

- tune `psnr`: the squared error for a size; the bytes for a PSNR; MSE + lmbda * bpp for a Lagrange
  multiplier or a quality.
- tune `visual`: the logarithms of two products, bytes times (100 - SSIMULACRA2) and bytes times the
  weighted squared error. Both hardly depend on the size. A fit may raise SSIMULACRA2 alone, at the
  expense of what other metrics measure. For a SSIMULACRA2, the logarithm of the bytes is a third
  cost.

The score of a file is the smallest reduction among its costs, relative to the first file, whose
score is 0. The file with the largest score is chosen, or the first one of equals. So another file
replaces the first one only if it reduces every cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log

from dfmcodec._types import Tune
from dfmcodec.image import Image
from dfmcodec.perception import mse_of_psnr
from dfmcodec.perception.distortion import Distortion
from dfmcodec.report import EncodeResult
from dfmcodec.search.target import Figures, LmbdaTarget, ScoreTarget, SizeTarget, Target, score_loss

_LEAST_ERROR = 1e-9  # of the weighted squared error, whose logarithm is taken


def choose(results: Sequence[EncodeResult], image: Image, target: Target) -> EncodeResult:
    """Returns the result with the largest score among the first and those that meet the target."""
    first, *others = results
    candidates = [first, *(result for result in others if _meets(result, target))]
    if len(candidates) == 1:
        return first
    costs = _costs(candidates, image, target)

    def score(result: EncodeResult) -> float:
        return min(cost - own for cost, own in zip(costs(first), costs(result), strict=True))

    return max(candidates, key=score)


def _meets(result: EncodeResult, target: Target) -> bool:
    """Indicates whether a file meets the target, and is near a SSIMULACRA2 to aim at."""
    report = result.report
    figures = Figures(report.file_bytes, report.psnr_db, score=report.ssimulacra2)
    is_aim = isinstance(target, ScoreTarget) and not target.is_least and report.ssimulacra2 is not None
    return target.meets(figures) and (not is_aim or target.is_close(figures))


def _costs(
    results: Sequence[EncodeResult], image: Image, target: Target
) -> Callable[[EncodeResult], tuple[float, ...]]:
    """Returns the function of a result that returns its costs."""
    is_visual = results[0].report.config.distortion_tune is Tune.VISUAL
    if is_visual and all(result.report.ssimulacra2 is not None for result in results):
        errors = Distortion.of(image.pixels)
        return lambda result: _visual_costs(result, image, target, errors)
    return lambda result: (_psnr_cost(result, target.as_lmbda()),)


def _visual_costs(result: EncodeResult, image: Image, target: Target, errors: Distortion) -> tuple[float, ...]:
    """Returns the costs of a result with the tune `visual`."""
    score, log_bytes = result.report.ssimulacra2, log(result.report.file_bytes)
    assert score is not None
    loss, error = score_loss(score), max(errors.of_image(image, result.decoded), _LEAST_ERROR)
    products = log_bytes + log(loss), log_bytes + log(error)
    return (*products, log_bytes) if isinstance(target, ScoreTarget) else products


def _psnr_cost(result: EncodeResult, target: Target) -> float:
    """Returns the cost of a result with the tune `psnr`."""
    squared_error = mse_of_psnr(result.report.psnr_db, 1.0)
    match target:
        case SizeTarget():
            return squared_error
        case LmbdaTarget(lmbda=lmbda):
            return squared_error + lmbda * result.report.bpp
        case _:
            return result.report.file_bytes
