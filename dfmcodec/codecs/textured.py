"""The last step of an encoding: a texture for the finished file, if the codec has one.

A texture is noise that replaces lost detail. It makes a file look more like its original and
lowers measures of fidelity a little, so it takes no part in the search for a target or in the
choice between codecs. A size limit reserves its bytes, and a least SSIMULACRA2 is aimed at from
above: the strongest texture with which the file still meets it is used. A quality `-q` is aimed at
without texture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dfmcodec import container
from dfmcodec._types import Pixels, Tune
from dfmcodec.container.checks import CHECK_BYTES
from dfmcodec.image import Image
from dfmcodec.perception import bits_per_pixel, psnr
from dfmcodec.perception.ssimulacra2 import ssimulacra2
from dfmcodec.report import EncodeResult
from dfmcodec.search.config import EncoderConfig
from dfmcodec.search.encoder import Encoder
from dfmcodec.search.job import Job
from dfmcodec.search.target import ScoreTarget, Target

_LEAST_PIXELS = 1 << 16  # smaller images are shown as they are too rarely
_LEAST_BYTES = 2000  # a smaller file has no texture
_FRACTION = 0.005  # of the file, for the texture; more if that is less than `_ENOUGH_BYTES`
_ENOUGH_BYTES, _LARGEST_FRACTION = 40, 0.01
# SSIMULACRA2 above a floor to aim at without texture, most of which the texture may take; larger
# floors have no texture.
_FLOOR_LOSS, _LARGEST_FLOOR = 0.6, 90
_STRENGTH = 0.4  # if the user gives none; see docs/texture.md
_FACTORS = (1.0, 0.7, 0.5, 0.35)  # of the strength, to try for a floor


@dataclass(frozen=True)
class Candidate:
    """A finished file, with what its texture is fitted to."""

    result: EncodeResult
    job: Job
    model: Any  # the quantised model of the file


def may_have_texture(encoder: Encoder, image: Image, config: EncoderConfig, target: Target) -> bool:
    """Indicates whether a file of a codec for a target may get a texture."""
    if encoder.fit_texture is None or config.texture == 0 or config.distortion_tune is not Tune.VISUAL:
        return False
    if image.pixel_count < _LEAST_PIXELS or (target.limit_bytes or _LEAST_BYTES) < _LEAST_BYTES:
        return False
    return not target.is_floor or (isinstance(target, ScoreTarget) and target.goal <= _LARGEST_FLOOR)


def texture_bytes(file_bytes: int) -> int:
    """Returns the number of bytes that the texture of a file may take."""
    return int(max(_FRACTION * file_bytes, min(_ENOUGH_BYTES, _LARGEST_FRACTION * file_bytes)))


def before_texture(target: Target) -> Target:
    """Returns the target of a file that is to get a texture afterwards."""
    if isinstance(target, ScoreTarget) and target.is_least:
        return replace(target, goal=target.goal + _FLOOR_LOSS)
    return target


def with_texture(
    candidate: Candidate,
    encoder: Encoder,
    image: Image,
    target: Target,
    ancillary: dict[container.Section, bytes],
    has_checks: bool,
) -> EncodeResult:
    """Returns a file with a texture; the file itself if it needs none, or no texture meets the
    target.
    """
    result, job = candidate.result, candidate.job
    if not may_have_texture(encoder, image, job.config, target) or len(result.data) < _LEAST_BYTES:
        return result
    assert encoder.fit_texture is not None
    decoded = result.decoded.pixels[:, :, : job.image.pixels.shape[2]]
    fit = encoder.fit_texture(candidate.model, job.image.pixels, decoded)
    if fit is None:
        return result
    strength = _STRENGTH if job.config.texture is None else job.config.texture
    limit = (job.texture_bytes or texture_bytes(len(result.data))) - (CHECK_BYTES if has_checks else 0)
    for factor in _FACTORS if isinstance(target, ScoreTarget) and target.is_least else _FACTORS[:1]:
        textured = fit.textured(factor * strength, limit)
        if textured is None:
            return result
        model, pixels = textured
        data = container.write(model, ancillary, checked=has_checks)
        found = _measured(result, data, pixels, factor * strength, image, job)
        score = found.report.ssimulacra2
        if not isinstance(target, ScoreTarget) or not target.is_least or (score is not None and score >= target.goal):
            return found
    return result


def _measured(
    result: EncodeResult, data: bytes, pixels: Pixels, strength: float, image: Image, job: Job
) -> EncodeResult:
    """Returns a file that only differs from another one by its texture, with its figures."""
    channels = result.decoded.pixels.shape[2]
    decoded = replace(result.decoded, pixels=np.repeat(pixels, channels // pixels.shape[2], axis=2))
    without, more = result.report, len(data) - len(result.data)
    texture = {
        "strength": round(strength, 3),
        "without": {"psnr_db": without.psnr_db, "ssimulacra2": without.ssimulacra2},
    }
    report = replace(
        without,
        file_bytes=len(data),
        estimated_bytes=without.estimated_bytes + more,
        section_bytes=container.read_header(data, image.pixel_count).section_bytes(),
        rate=len(data) / image.raw_bytes,
        bpp=bits_per_pixel(len(data), image.pixel_count),
        psnr_db=job.reported_db(psnr(image.pixels, decoded.pixels, image.visible)),
        ssimulacra2=ssimulacra2(image.samples, decoded.samples),
        codec={**without.codec, "texture": texture},
    )
    return EncodeResult(data, report, decoded)
