"""Tests of warnings from compiled functions, in any thread."""

from __future__ import annotations

import logging
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from common import PATIENCE_S

from dfmcodec.fourier.jax_backend import calls


def test_warnings_of_threads_that_overlap_are_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first to enter is the first to leave. The damaged cache is emptied; other warnings come
    out in the end, and later ones at once.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    damaged = tmp_path / "dfmcodec" / "jax" / "jit_x-cache"
    damaged.parent.mkdir(parents=True)
    damaged.touch()
    entered, left = threading.Barrier(2, timeout=PATIENCE_S), threading.Event()

    def first() -> None:
        with calls():
            entered.wait()
            warnings.warn("Error reading persistent compilation cache entry", stacklevel=1)
        left.set()

    def second() -> None:
        with calls():
            entered.wait()
            assert left.wait(PATIENCE_S)
            warnings.warn("of the second", stacklevel=1)

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with ThreadPoolExecutor(2) as executor:
            for future in [executor.submit(first), executor.submit(second)]:
                future.result()
        assert [str(warning.message) for warning in seen] == ["of the second"]
        warnings.warn("later", stacklevel=1)
        assert [str(warning.message) for warning in seen] == ["of the second", "later"]
    assert not damaged.exists()


def test_a_plugin_without_a_device_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("jax._src.xla_bridge")
    msg = "cuInit(0) failed:\n  Unknown CUDA error 303"
    try:
        raise RuntimeError(msg)
    except RuntimeError:
        logger.exception("Jax plugin configuration error: Exception when calling %s.initialize()", "xla_cuda12")
    logger.error("something else")
    plugin, other = caplog.records
    assert plugin.exc_info is None
    assert plugin.getMessage().endswith("there is a GPU (cuInit(0) failed: Unknown CUDA error 303)")
    assert other.getMessage() == "something else"
