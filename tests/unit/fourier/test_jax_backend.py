"""Calls of compiled functions: their warnings, from any thread, and where they run."""

from __future__ import annotations

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from common import PATIENCE_S

from dfmcodec.fourier.jax_backend import calls, on_processor


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


def test_programs_run_on_the_processor_where_jax_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with on_processor():
        assert jnp.zeros(1).devices() == {jax.devices("cpu")[0]}

    def none(backend: str) -> None:
        msg = f"Unknown backend {backend}"
        raise RuntimeError(msg)

    monkeypatch.setattr(jax, "local_devices", none)
    with on_processor():
        assert jnp.zeros(1).sum() == 0
