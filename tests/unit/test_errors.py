"""Tests of errors in the Python API."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

import dfmcodec
from dfmcodec.fourier.network import check_multiply_adds


@pytest.mark.parametrize("read", [dfmcodec.encode, dfmcodec.decode, dfmcodec.read_info])
def test_missing_file_is_a_file_not_found_error(read, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cannot read .*missing") as caught:
        read(tmp_path / "missing")
    assert isinstance(caught.value, dfmcodec.MissingFileError)
    assert isinstance(caught.value, dfmcodec.DfmError)


def test_limits_are_named_as_parameters(tmp_path):
    PIL.Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(dfmcodec.ImageError, match=r"limit of 63 pixels \(max_pixels\)"):
        dfmcodec.encode(tmp_path / "a.png", max_pixels=63)
    data = dfmcodec.encode(tmp_path / "a.png", effort=1).data
    with pytest.raises(
        dfmcodec.LimitError, match=r"^the image is 8x8, more than the limit of 63 pixels \(max_pixels\)$"
    ):
        dfmcodec.decode(data, max_pixels=63)
    with pytest.raises(dfmcodec.ConfigError, match=r"16x8 is more than the limit of 64 pixels \(max_pixels\)"):
        dfmcodec.decode(data, max_pixels=64, resize=(16, 8))
    with pytest.raises(dfmcodec.LimitError, match=r"\(max_multiply_adds\)"):
        check_multiply_adds(10, 10, 99)
