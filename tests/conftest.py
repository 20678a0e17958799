from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dfmcodec.image import Image

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _compilation_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled programs of the tests go into a folder of their own."""
    old = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if old is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = old


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
