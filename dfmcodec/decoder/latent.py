"""Pixels of the latent model."""

from __future__ import annotations

import numpy as np

from dfmcodec._types import Float32, Int32, Pixels
from dfmcodec.bitstream.contents import LatentArchitecture, QuantizedLatents
from dfmcodec.bitstream.header import Header
from dfmcodec.decoder.renderer import Decoded, DecodeRequest, Renderer
from dfmcodec.kernels import has_kernels
from dfmcodec.latents.colour import planes_to_pixels
from dfmcodec.latents.geometry import Region
from dfmcodec.prior import prior_of
from dfmcodec.synthesis.filter import MAX_RADIUS
from dfmcodec.synthesis.machine import DeepFourierMachine, Evaluate
from dfmcodec.synthesis.reconstruct import Samples, corrected, seen_from, synthesise
from dfmcodec.synthesis.resample import Sampling, evaluate_strips


class LatentRenderer(Renderer):
    """Corrects the linear synthesis of latents."""

    def uses_threads(self) -> bool:
        return not has_kernels()

    def seen_from(self, region: Region, header: Header) -> Region:
        arch = header.architecture
        assert isinstance(arch, LatentArchitecture)
        return seen_from(region, header.height, header.width, prior_of(arch.prior_id).machine.reach, MAX_RADIUS)

    def level(self, sampling: Sampling, architecture: LatentArchitecture) -> int:
        return sampling.level(architecture.levels)

    def render(self, decoded: Decoded, region: Region, request: DecodeRequest) -> Pixels:
        model: QuantizedLatents = decoded.model
        machine, evaluate = _machine_of(model, request.backend)
        of_model = model.q_step, model.basis, machine, evaluate, model.image_filter, model.bit_depth
        return synthesise(_samples_of(decoded), region, *of_model)

    def render_at(
        self, decoded: Decoded, sampling: Sampling, seen: Region, level: int, request: DecodeRequest
    ) -> Pixels:
        model: QuantizedLatents = decoded.model
        rows, columns = sampling.rows(), sampling.columns()
        if level:
            covered, planes = decoded.covered, _synthesis_of(model).astype(np.float32)
            at = rows.from_sample(covered.top, level), columns.from_sample(covered.left, level)
        else:
            planes = _corrected_planes(decoded, seen, request.backend)
            at = rows.from_sample(seen.top), columns.from_sample(seen.left)
        strips = (strip.transpose(1, 2, 0) for strip in evaluate_strips(planes, *at))
        return np.concatenate([planes_to_pixels(strip, model.basis, model.bit_depth) for strip in strips])


def _synthesis_of(model: QuantizedLatents) -> Int32:
    """The linear synthesis of latents that were read."""
    assert model.samples is not None
    return model.samples


def _samples_of(decoded: Decoded) -> Samples:
    return Samples(_synthesis_of(decoded.model), decoded.covered, decoded.height, decoded.width)


def _corrected_planes(decoded: Decoded, region: Region, backend: str) -> Float32:
    """The planes of a region in units, corrected by image filter and machine, float32 [C, H, W]."""
    model: QuantizedLatents = decoded.model
    planes = np.empty((model.architecture.channels, region.height, region.width), dtype=np.float32)
    machine, evaluate = _machine_of(model, backend)
    samples = _samples_of(decoded)
    for block, block_planes in corrected(samples, region, model.q_step, machine, evaluate, model.image_filter):
        within = block.relative_to(region)
        planes[:, within.rows, within.columns] = block_planes
    return planes


def _machine_of(model: QuantizedLatents, backend: str) -> tuple[DeepFourierMachine, Evaluate | None]:
    """The Deep Fourier Machine of the prior, and what evaluates it; see `machine_change`."""
    machine = prior_of(model.architecture.prior_id).machine
    if backend == "numpy":
        return machine, None
    from dfmcodec.synthesis.jax_backend import jax_evaluator

    return machine, jax_evaluator(machine)
