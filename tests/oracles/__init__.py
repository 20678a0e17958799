"""NumPy and Python versions of kernels that only encoders call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from dfmcodec.codecs.overfitted.encode.latents import Latents
from dfmcodec.codecs.wavelet import transform
from dfmcodec.codecs.wavelet.context import ContextModel
from dfmcodec.codecs.wavelet.encode import adaptation_fit
from dfmcodec.codecs.wavelet.encode.sources import ObservedSymbols
from dfmcodec.codecs.wavelet.encode.trellis_search import PathChooser
from dfmcodec.entropy import coder
from dfmcodec.perception import ssimulacra2 as metric
from oracles import contexts, latents, range_coder, ssimulacra2, trellis, wavelet

_ORACLES = {
    (ContextModel, "bits_of"): contexts.bits_of,
    (ObservedSymbols, "observe"): contexts.observe,
    (PathChooser, "_level"): trellis.symbols_of_level,
    (adaptation_fit, "_gradient"): contexts.adaptation_gradient,
    (transform, "_analyse_level"): wavelet.analyse_level,
    (metric, "_slopes"): ssimulacra2.slopes,
    (Latents, "add"): latents.add,
    (Latents, "move"): latents.move,
    (coder, "EntryWriter"): range_coder.PythonWriter,
}


@contextmanager
def in_place_of_kernels() -> Iterator[None]:
    """Replaces the kernels that only encoders call."""
    with ExitStack() as stack:
        for (owner, name), oracle in _ORACLES.items():
            stack.enter_context(patch.object(owner, name, oracle))
        yield
