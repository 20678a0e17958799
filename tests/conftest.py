"""Fixtures and settings of all tests: strict JAX, fixed Hypothesis examples, a separate compilation
cache, and photographs.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
from common import SHARED
from hypothesis import HealthCheck, settings

from dfmcodec.image import Image
from dfmcodec.threads import limit_threads

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# JAX may not promote dtypes or ranks silently in our code.
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Modules stay to the end: no collection of garbage walks through them.
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 100)

# The same examples each time; --hypothesis-profile=fresh draws others, by hand.
_untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fixed", _untimed, derandomize=True, database=None)
settings.register_profile("fresh", _untimed, print_blob=True)
settings.load_profile("fixed")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Says in a line each why tests were skipped or left out, and how to have them."""
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.getreports("skipped"))
    for reason, count in reasons.most_common():
        how = "; to have it: pip install -e .[dev]" if reason.startswith("could not import") else ""
        terminalreporter.write_line(f"{count} skipped: {reason}{how}")
    for mark in _LEFT_OUT:
        if f"not {mark}" in config.option.markexpr:
            terminalreporter.write_line(f"left out: {_LEFT_OUT[mark]}; to have them: bin/test -m {mark}")


def pytest_configure(config: pytest.Config) -> None:
    """Lets the processes of a run take files in the order below, not those of most tests first."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that no process has one left when all are done."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(_LONGEST))


_LONGEST = (  # 10 s and more
    *("/overfitted/encode/test_fit.py", "/overfitted/encode/test_search.py", "/encode/test_window_kernel.py"),
    *("/coordinate/test_encode.py", "/generative/test_generative.py", "/wavelet/encode/test_search.py"),
    *("/faults/test_faults.py", "/cli/test_batch.py", "/cli/test_cli.py", "/cli/test_demo.py", "/cli/test_pillow.py"),
    *("/cli/test_encode.py", "/cli/test_image_kinds.py", "/cli/test_outputs.py", "/cli/test_view.py"),
    *("/web/test_node.py", "/web/test_viewer.py", "/web/test_element.py", "/golden/test_reference_decoder.py"),
    *("/test_kernels.py", "/test_examples.py", "/test_properties.py", "/test_salvage.py", "/bench/test_runner.py"),
    *("/test_grids.py", "/cli/test_runs.py", "/test_api.py", "/bench/test_report.py", "/test_view_in_a_browser.py"),
)
_LEFT_OUT = {
    "slow": "what takes long and finds little",
    "gpu": "what needs an accelerator",
}


def _lenient(make: Any) -> Any:
    """optax promotes dtypes and ranks in its own code: its updates run under JAX's defaults."""

    def made(*args: Any, **options: Any) -> optax.GradientTransformation:
        transformation = make(*args, **options)

        def update(*args: Any, **options: Any) -> Any:
            with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
                return transformation.update(*args, **options)

        return optax.GradientTransformation(transformation.init, update)

    return made


for _name in ("scale_by_adam", "clip_by_global_norm"):
    setattr(optax, _name, _lenient(getattr(optax, _name)))


@pytest.fixture(scope="session", autouse=True)
def _compilation_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled programs of the tests go into a folder that all processes of a run share."""
    old = os.environ.get("XDG_CACHE_HOME")
    folder = tmp_path_factory.getbasetemp()
    of_run = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    os.environ["XDG_CACHE_HOME"] = str(of_run / "cache")
    yield
    if old is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = old


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """A process of several that test has one core; those that it starts count for themselves."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        limit_threads(1)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A real browser, one for each process of the tests."""
    playwright = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with playwright.sync_playwright() as running:
        try:
            started = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no browser: install chromium, or run `playwright install chromium` ({error!s:.60})")
        yield started
        started.close()


@pytest.fixture(scope="session")
def chelsea() -> Image:
    """A 96x80 piece of scikit-image's photograph of a cat."""
    import skimage.data

    return Image(np.ascontiguousarray(skimage.data.chelsea()[60:140, 130:226]))


@pytest.fixture(scope="session")
def shared_images() -> list[Path]:
    folder = SHARED / "imagenet_subset"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: a clone without the shared data")
    return sorted(folder.glob("*.png"))


@pytest.fixture(autouse=True)
def _without_safe_path():
    """Undoes what a command that ran in this process sets for its children."""
    yield
    os.environ.pop("PYTHONSAFEPATH", None)
