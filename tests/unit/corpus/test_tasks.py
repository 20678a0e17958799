"""Tests of tasks: inputs that are refused before processing."""

from __future__ import annotations

import pytest
from corpora import dfm_file, encode_job, failures, pack_job, png, run, write_tar

from dfmcodec.corpus.store import open_store
from dfmcodec.corpus.tasks import check_intact
from dfmcodec.errors import FormatError, ImageError


def test_every_damaged_byte_and_every_missing_byte_of_a_dfm_file_is_found():
    data = dfm_file(1)
    check_intact(data, "a.dfm")
    damaged = [data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :] for at in range(len(data))]
    for bad in (*damaged, *(data[:size] for size in range(len(data))), data + b"\0"):
        with pytest.raises(FormatError):
            check_intact(bad, "A.DFM")


def test_a_dfm_file_is_known_by_its_first_bytes_too():
    check_intact(dfm_file(1), "a.img")
    with pytest.raises(FormatError, match="the file is truncated"):
        check_intact(dfm_file(1)[:-1], "a.img")


@pytest.mark.parametrize(
    "head",
    [
        *(b"\xff\xd8\xff\xe0", b"GIF89a", b"II*\0", b"RIFF\0\0\0\0WEBPVP8 "),
        *(
            b"\0\0\0\x18ftypheic",
            b"\xff\x0a",
            b"\0\0\0\x0cJXL \r\n\x87\n",
        ),  # with their plugins or without
    ],
)
def test_images_of_known_formats(head):
    check_intact(head + bytes(100), "a.png")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty; an image is needed"),
        (b"<html>not found</html>", "not an image of a known format: its first bytes are b'<htm'"),
        (bytes(1000), "not an image of a known format"),
        (png(1)[4:], "not an image of a known format"),
    ],
)
def test_what_is_no_image(data, said):
    with pytest.raises(ImageError, match=said):
        check_intact(data, "a.png")


@pytest.mark.parametrize("form", ["files", "tar", "parquet"])
def test_damaged_images_are_rows_and_are_not_packed(tmp_path, form):
    pytest.importorskip("pyarrow")
    members = {"a.dfm": dfm_file(1)[:-3], "b.png": png(1), "c.png": b"", "d.dfm": png(2), "e.dfm": dfm_file(2)}
    store = open_store(str(tmp_path / "out"))
    results, progress = run(store, pack_job(write_tar(tmp_path / "in.tar", members), form=form))
    assert (progress.total.images_done, progress.total.images_failed) == (2, 3)
    named = [line.partition("in.tar#")[2] for line in failures(results)]
    assert [line[:5] for line in named] == ["a.dfm", "c.png", "d.dfm"]
    assert "the file is truncated" in named[0]
    assert "not a .dfm file" in named[2]


def test_a_damaged_dfm_file_is_named_as_such_where_images_are_encoded(tmp_path):
    """A whole one is a row as well: it has been encoded."""
    pytest.importorskip("pyarrow")
    data = dfm_file(1)
    members = {"a.dfm": data[:-3], "b.dfm": data[:-9] + bytes(9), "c.dfm": data, "d.png": png(1)}
    results, progress = run(open_store(str(tmp_path / "out")), encode_job(write_tar(tmp_path / "in.tar", members)))
    assert (progress.total.images_done, progress.total.images_failed) == (1, 3)
    first, second, third = failures(results)
    assert "the file is truncated" in first
    assert "the CRC-32 does not match" in second
    assert "to decode it, use `dfm decode`" in third
