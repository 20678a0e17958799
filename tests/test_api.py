"""The Python API: what it accepts and gives."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

import dfmcodec


def test_paths_arrays_and_pil_pictures_give_the_same_file(tmp_path, chelsea):
    path = tmp_path / "cat.png"
    picture = PIL.Image.fromarray(chelsea.pixels)
    picture.save(path)
    options = {"size": 800, "effort": 1}
    files = [dfmcodec.encode(source, **options).data for source in (path, str(path), picture, chelsea.pixels)]
    assert len(set(files)) == 1
    file = tmp_path / "cat.dfm"
    file.write_bytes(files[0])
    assert np.array_equal(dfmcodec.decode(file), dfmcodec.decode(files[0]))
    header = dfmcodec.read_info(file)
    assert (header.width, header.height, header.architecture.channels) == (96, 80, 3)


def test_gray_is_one_channel(chelsea):
    result = dfmcodec.encode(chelsea.pixels[:, :, 0], size=500, effort=1)
    assert dfmcodec.decode(result.data).shape == (80, 96, 1)


@pytest.mark.parametrize(
    "source",
    [np.zeros((4, 4, 3)), np.zeros((4, 4, 5), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros(5, np.uint8)],
)
def test_other_arrays_are_refused(source):
    with pytest.raises(dfmcodec.ImageError):
        dfmcodec.encode(source)


def test_unknown_names():
    with pytest.raises(AttributeError):
        dfmcodec.no_such_thing  # noqa: B018
