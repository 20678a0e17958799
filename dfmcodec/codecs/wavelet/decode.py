"""The renderer of the wavelet codec."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from dfmcodec._types import Float32, Int32, Pixels
from dfmcodec.codecs.renderer import Decoded, DecodeRequest, Renderer
from dfmcodec.codecs.wavelet.colour import planes_to_pixels
from dfmcodec.codecs.wavelet.contents import QuantizedLatents, WaveletArchitecture, tiling_of
from dfmcodec.codecs.wavelet.correction import CELL, CorrectionNetwork
from dfmcodec.codecs.wavelet.filter import MAX_RADIUS
from dfmcodec.codecs.wavelet.geometry import Tiling
from dfmcodec.codecs.wavelet.synthesis import BLOCK_SIDE, Samples, corrected, seen_from, synthesise
from dfmcodec.codecs.wavelet.texture import add_noise
from dfmcodec.codecs.wavelet.weights import weights_of
from dfmcodec.container.header import Header
from dfmcodec.image.region import Region
from dfmcodec.image.resample import Sampling, evaluate_strips
from dfmcodec.kernels import has_kernels
from dfmcodec.threads import SIDE_BY_SIDE, thread_count


class WaveletRenderer(Renderer):
    """Adds correction network, image filter and texture to the linear synthesis."""

    def uses_threads(self) -> bool:
        return not has_kernels()

    def seen_from(self, region: Region, header: Header) -> Region:
        arch = header.architecture
        assert isinstance(arch, WaveletArchitecture)
        return seen_from(region, header.height, header.width, weights_of(arch.weights_id).correction.reach, MAX_RADIUS)

    def samples(self, model: QuantizedLatents) -> Int32:
        assert model.samples is not None
        return model.samples[: model.architecture.channels]

    def level(self, sampling: Sampling, architecture: WaveletArchitecture) -> int:
        return sampling.level(architecture.levels)

    def render(self, decoded: Decoded, region: Region, request: DecodeRequest) -> Pixels:
        model: QuantizedLatents = decoded.model
        of_model = model.q_step, model.basis, _correction_of(model), model.image_filter, model.bit_depth
        return synthesise(_samples_of(decoded), region, *of_model, noise=_noise_of(decoded, request))

    def has_bands(self, header: Header) -> bool:
        arch = header.architecture
        return isinstance(arch, WaveletArchitecture) and arch.tile_rows > 1

    def render_bands(
        self, read: Callable[[Region], Decoded], region: Region, header: Header, request: DecodeRequest
    ) -> Pixels:
        arch = header.architecture
        assert isinstance(arch, WaveletArchitecture)
        margin = max(CELL * weights_of(arch.weights_id).correction.reach, MAX_RADIUS)
        seen = self.seen_from(region, header)
        above: Int32 | None = None  # the rows of samples that later blocks still need
        pixels: Pixels | None = None
        done = region.top
        for rows in _bands_of(seen, tiling_of(arch, header.height, header.width)):
            band = read(Region(rows.start, seen.left, rows.stop, seen.right))
            top, bottom = band.covered.top, band.covered.bottom
            # The last blocks wait for the samples below them.
            ready = region.bottom if bottom >= seen.bottom else (bottom - margin) // BLOCK_SIDE * BLOCK_SIDE
            # Only blocks that also need rows above the band are rendered from a copy.
            joined = done if above is None else min(ready, -(-(top + margin) // BLOCK_SIDE) * BLOCK_SIDE)
            for first, last in (done, joined), (max(done, joined), ready):
                if last <= first:
                    continue
                seen_rows = -(-last // BLOCK_SIDE) * BLOCK_SIDE + margin
                of_part = self.render(
                    band if first >= joined else _below(above, band, seen_rows),
                    replace(region, top=first, bottom=last),
                    request,
                )
                if pixels is None:
                    pixels = np.empty((region.height, region.width, arch.channels), of_part.dtype)
                pixels[first - region.top : last - region.top] = of_part
            done = max(done, ready)
            needed = done // BLOCK_SIDE * BLOCK_SIDE - margin
            kept = _below(above, band, bottom) if needed < top else band
            above = _synthesis_of(kept)[:, max(0, needed - kept.covered.top) :].copy()
            del band, kept  # the next band needs the memory
        assert pixels is not None
        return pixels

    def render_at(
        self, decoded: Decoded, sampling: Sampling, seen: Region, level: int, request: DecodeRequest
    ) -> Pixels:
        model: QuantizedLatents = decoded.model
        rows, columns = sampling.rows(), sampling.columns()
        noise = _noise_of(decoded, request)
        if level:
            covered, planes = decoded.covered, _samples_of(decoded).values.astype(np.float32)
            at = rows.from_sample(covered.top, level), columns.from_sample(covered.left, level)
        else:
            planes = _corrected_planes(decoded, seen)
            at = rows.from_sample(seen.top), columns.from_sample(seen.left)
            if noise is not None:
                within = seen.relative_to(decoded.covered)
                noise = noise[:, within.rows, within.columns]
        if noise is not None:
            planes = np.concatenate([planes, noise.astype(np.float32)])
        channels = model.architecture.channels

        def pixels_of(strip: Float32) -> Pixels:
            pixels = planes_to_pixels(strip[:channels].transpose(1, 2, 0), model.basis, model.bit_depth)
            if noise is None:
                return pixels
            return add_noise(pixels, np.rint(strip[channels:]).astype(np.int32), model.basis)

        return np.concatenate([pixels_of(strip) for strip in evaluate_strips(planes, *at)])


RENDERER = WaveletRenderer()


def _bands_of(region: Region, tiling: Tiling) -> Iterator[range]:
    """Returns the rows of bands of complete tiles that together cover a region. A band is one row
    of tiles, or as many rows as give each thread a tile.
    """
    _, numbers = tiling.covering(region)
    tops = sorted({tiling.tiles[number].top for number in numbers})
    each = -(-min(thread_count(), SIDE_BY_SIDE) * len(tops) // len(numbers))
    ends = [*tops[each::each], max(tiling.tiles[number].rows.stop for number in numbers)]
    yield from map(range, tops[::each], ends)


def _below(above: Int32 | None, band: Decoded, last: int) -> Decoded:
    """Returns a band up to row `last` together with the rows of samples above it."""
    if above is None:
        return band
    covered = replace(band.covered, top=band.covered.top - above.shape[1], bottom=min(last, band.covered.bottom))
    samples = np.concatenate([above, _synthesis_of(band)[:, : covered.bottom - band.covered.top]], axis=1)
    return replace(band, model=replace(band.model, samples=None), covered=covered, samples=samples)


def _synthesis_of(decoded: Decoded) -> Int32:
    """Returns the linear synthesis of the latents that were read, and the noise of a texture."""
    samples: Int32 | None = decoded.model.samples if decoded.samples is None else decoded.samples
    assert samples is not None
    return samples


def _samples_of(decoded: Decoded) -> Samples:
    """Returns the linear synthesis of the latents that were read."""
    values = _synthesis_of(decoded)[: decoded.model.architecture.channels]
    return Samples(values, decoded.covered, decoded.height, decoded.width)


def _noise_of(decoded: Decoded, request: DecodeRequest) -> Int32 | None:
    """Returns the noise at the samples that were read, int32 [C, H', W'], units; None if the file
    or the request has none.
    """
    channels = decoded.model.architecture.channels
    planes = _synthesis_of(decoded)
    return planes[channels:] if request.texture and len(planes) > channels else None


def _corrected_planes(decoded: Decoded, region: Region) -> Float32:
    """Returns the planes of a region, corrected by image filter and correction network, float32 [C,
    H, W], units.
    """
    model: QuantizedLatents = decoded.model
    planes = np.empty((model.architecture.channels, region.height, region.width), dtype=np.float32)
    of_model = model.q_step, _correction_of(model), model.image_filter
    for block, block_planes in corrected(_samples_of(decoded), region, *of_model):
        within = block.relative_to(region)
        planes[:, within.rows, within.columns] = block_planes
    return planes


def _correction_of(model: QuantizedLatents) -> CorrectionNetwork:
    """Returns the correction network of the pretrained weights."""
    return weights_of(model.architecture.weights_id).correction
