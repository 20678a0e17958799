"""Candidates for the file, and combinations of two candidates that meet a target exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dfmcodec._types import Float32, Symbols, Tune
from dfmcodec.codecs.overfitted.contents import OverfittedArchitecture, QuantizedGrids
from dfmcodec.codecs.overfitted.decode import render_model
from dfmcodec.codecs.overfitted.sections.grids import write_grids
from dfmcodec.codecs.overfitted.sections.networks import write_networks
from dfmcodec.codecs.overfitted.weights import OverfittedWeights, WeightDeltas
from dfmcodec.container.checks import CHECK_BYTES
from dfmcodec.container.layout import SECTION_ENTRY, container_bytes
from dfmcodec.models import Model
from dfmcodec.perception import psnr
from dfmcodec.perception.ssimulacra2 import ssimulacra2
from dfmcodec.search.job import Job
from dfmcodec.search.rate_control import Bracket
from dfmcodec.search.target import Figures, Target, best_of

_TRIALS = 10  # maximum number of candidates between two others
# Fractions of a symbol by which magnitudes shrink: the minimum, and the maximum for one grid before
# the next coarser grid shrinks.
_LEAST_SHRINK, _GRID_SHRINK = -0.2, 4.0


@dataclass(frozen=True)
class Candidate(Figures):
    """A model that could be written, with its size and quality."""

    model: QuantizedGrids

    @property
    def deltas(self) -> WeightDeltas:
        """Returns the weight deltas of its networks."""
        assert self.model.deltas is not None
        return self.model.deltas


@dataclass(frozen=True)
class SymbolCandidate(Candidate):
    """A candidate with its symbols, fitted under a Lagrange multiplier."""

    symbols: Sequence[Float32]  # float32 [h_l, w_l]
    lmbda: float


@dataclass(frozen=True)
class Candidates:
    """The candidates of one image."""

    job: Job
    target: Target
    weights: OverfittedWeights  # to which weight deltas refer
    lmbda_code: int

    def networks_bytes(self, deltas: WeightDeltas) -> int:
        """Returns the number of bytes of networks in a file, including their check."""
        check = CHECK_BYTES if self.job.has_checks else 0
        return len(write_networks(self.weights, deltas)) + SECTION_ENTRY.size + check

    def of(self, latents: Sequence[Float32], deltas: WeightDeltas, shrink: float = 0.0) -> Candidate:
        """Returns the candidate with rounded latents, in symbols.

        `shrink` is the number of symbols by which magnitudes are reduced before rounding. The
        finest grid takes at most `_GRID_SHRINK` of it, and the next grids the remainder.
        """
        grids: tuple[Symbols, ...] = ()
        for grid in latents:
            grid_shrink = min(shrink, _GRID_SHRINK)
            grids += (_shrunk(grid, grid_shrink),)
            shrink -= grid_shrink
        image, weights = self.job.image, self.weights
        arch = OverfittedArchitecture(image.channels, len(grids), 1, weights.width, 1, weights.checksum)
        model = QuantizedGrids(arch, image.height, image.width, self.lmbda_code, grids, deltas, image.bit_depth)
        network, _ = weights.networks_of(deltas)
        size = container_bytes(Model.OVERFITTED) + len(write_grids(grids, network)) + self.networks_bytes(deltas)
        decoded, score = render_model(model), None
        if self.job.tune is Tune.VISUAL:
            score = ssimulacra2(image.samples, decoded if image.alpha is None else np.dstack([decoded, image.alpha]))
        return Candidate(size, psnr(image.pixels, decoded, image.visible), model, score=score)

    def between(self, meeting: SymbolCandidate, beyond: SymbolCandidate) -> Candidate:
        """Returns the candidate with the first symbols of `beyond` that the target permits."""
        height, width = meeting.symbols[0].shape
        places = np.arange(height * width).reshape(height, width)

        def candidate(count: int) -> Candidate:
            symbols = [
                np.where(places[:: 1 << level, :: 1 << level] < count, beyond_symbols, meeting_symbols)
                for level, (beyond_symbols, meeting_symbols) in enumerate(
                    zip(beyond.symbols, meeting.symbols, strict=True)
                )
            ]
            return self.of(symbols, meeting.deltas)

        best = best_of(self.target, self._bisected(Bracket(0, places.size), candidate, self.target.meets, meeting))
        assert best is not None
        return best

    def shrunk(self, latents: Sequence[Float32], deltas: WeightDeltas) -> list[Candidate]:
        """Returns candidates whose latents are shrunk, finest grid first, to meet the target."""
        farthest, parts = _GRID_SHRINK * len(latents) - _LEAST_SHRINK, 1 << _TRIALS

        def candidate(part: int) -> Candidate:
            return self.of(latents, deltas, _LEAST_SHRINK + farthest * part / parts)

        def has_to_shrink_more(tried: Candidate) -> bool:
            return self.target.meets(tried) != self.target.limits_size

        return self._bisected(Bracket(0, parts), candidate, has_to_shrink_more, self.of(latents, deltas))

    def _bisected(
        self,
        bracket: Bracket,
        candidate: Callable[[int], Candidate],
        holds: Callable[[Candidate], bool],
        first: Candidate,
    ) -> list[Candidate]:
        """Returns the first candidate and others at points of a bracket, to the target."""
        tried = [first]

        def holds_at(point: int) -> bool:
            tried.append(candidate(point))
            return holds(tried[-1])

        def should_stop() -> bool:
            best = best_of(self.target, tried)
            return len(tried) > _TRIALS or (best is not None and self.target.is_close(best))

        bracket.bisect(holds_at, should_stop)
        return tried


def _shrunk(latents: Float32, shrink: float) -> Symbols:
    """Rounds latents after their magnitudes are reduced by a fraction of a symbol."""
    magnitudes = np.maximum(np.floor(np.abs(latents) + np.float32(0.5 - shrink)), 0)
    return np.asarray(np.copysign(magnitudes, latents), dtype=np.int32)
