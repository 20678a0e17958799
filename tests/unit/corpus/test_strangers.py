"""Tests of untrusted corpora: tables that name files, files that decompress to large sizes, and
invalid names.
"""

from __future__ import annotations

import io
import tarfile

import pytest
from corpora import counts, failures, objects, png, read_tar, run, write_images

from dfmcodec.corpus.forms import entry as entries
from dfmcodec.errors import LimitError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def write_table(path, images, **columns):
    parquet.write_table(pyarrow.table({"picture": images, **columns}), path, compression="zstd")
    return path


@pytest.mark.parametrize("column", [None, "picture"])
def test_names_of_images_are_not_followed(tmp_path, out, monkeypatch, column):
    (tmp_path / "private.png").write_bytes(png(1))
    monkeypatch.setattr("dfmcodec.corpus.forms.read_url", lambda *_: pytest.fail("it was read"))
    names = ["private.png", str(tmp_path / "private.png"), f"file://{tmp_path}/private.png", "ftp://127.0.0.1:1/a.png"]
    images = pyarrow.array([{"bytes": None, "path": name} for name in names])
    results = run(out, write_table(tmp_path / "in.parquet", images), column=column)
    assert counts(results) == (0, 0, 4)
    assert all("the row has no image; a path or URL in its place is not read" in line for line in failures(results))


def test_a_column_that_only_looks_like_one_of_images(tmp_path, out):
    """Numbers in place of bytes would be taken for a size."""
    source = write_table(tmp_path / "in.parquet", pyarrow.array([{"bytes": 1 << 40, "path": 7}]))
    assert failures(run(out, source)) == [f"{source}#0: the row has no image; a path or URL in its place is not read"]


@pytest.mark.parametrize("form", ["files", "tar"])
@pytest.mark.parametrize("name", ["../a.png", "a/../../b.png", "/a.png", "a.png:stream", "a." + "x" * 300, r"..\a.b\c"])
def test_rows_with_unsafe_names_fail(tmp_path, out, form, name):
    images = [{"bytes": png(1), "path": path} for path in (name, "good.png")]
    results = run(out, write_table(tmp_path / "in.parquet", pyarrow.array(images)), form=form)
    assert counts(results) == (1, 0, 1)
    assert "cannot name an output" in failures(results)[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.parquet", "out"]
    written = objects(out)
    assert list(read_tar(written["in.tar"]) if form == "tar" else written)[:1] == (
        ["good.dfm"] if form == "tar" else ["in/good.dfm"]
    )


def test_a_path_of_a_row_stays_in_a_table(tmp_path, out):
    """There it names nothing, and may be that of other rows."""
    paths = ["/data/a.png", "b.png", "b.png", "https://a.org/c.png"]
    source = write_table(tmp_path / "in.parquet", pyarrow.array([{"bytes": png(1), "path": path} for path in paths]))
    assert counts(run(out, source)) == (4, 0, 0)
    images = parquet.read_table(out / "in.parquet")["picture"].to_pylist()
    assert [image["path"] for image in images] == [path.replace("png", "dfm") for path in paths]


@pytest.mark.parametrize("form", ["files", "tar"])
def test_of_rows_with_one_name_the_first_is_encoded(tmp_path, out, form):
    paths = ["a.png", "b.png", "./a.png", "", "000000003.png"]
    images = [{"bytes": png(number), "path": path} for number, path in enumerate(paths)]
    source = write_table(tmp_path / "in.parquet", pyarrow.array(images))
    results = run(out, source, form=form)
    assert counts(results) == (3, 0, 2)
    assert [line.partition(" has the same output as ")[0] for line in failures(results)] == [
        f"{source}#2",
        f"{source}#4",
    ]


@pytest.mark.parametrize("name", ["000.dfm", "more"])
@pytest.mark.parametrize("force", [False, True])
def test_outputs_do_not_follow_links(tmp_path, out, name, force):
    """The images fail whose outputs would lead elsewhere, and the others are encoded."""
    source = write_images(tmp_path / "in", 4)
    (tmp_path / "private").mkdir()
    out.mkdir()
    (out / name).symlink_to(tmp_path / "private" / ("new.dfm" if name == "000.dfm" else ""))
    results = run(out, source, force=force)
    assert counts(results) == ((3, 0, 1) if name == "000.dfm" else (2, 0, 2))
    assert all("is a symbolic link, which no output is written to" in line for line in failures(results))
    assert not any((tmp_path / "private").iterdir())


def test_a_shard_does_not_follow_links(tmp_path, out):
    source = write_images(tmp_path / "in", 1)
    run(out, source, form="tar")
    (tar,) = out.iterdir()
    tar.rename(tmp_path / "private.tar")
    tar.symlink_to(tmp_path / "private.tar")
    before = (tmp_path / "private.tar").read_bytes()
    for force in (False, True):
        (result,) = run(out, source, form="tar", force=force)
        assert f"{tar} is a symbolic link, which no output is written to" in result.error
    assert (tmp_path / "private.tar").read_bytes() == before


def small_limits(monkeypatch):
    monkeypatch.setattr(entries, "MIN_UNPACKED_BYTES", 1 << 20)
    monkeypatch.setattr(entries, "UNPACKED_RATIO", 10)


def test_a_table_with_one_value_in_many_rows_is_refused(tmp_path, out, monkeypatch):
    """It is in the file once."""
    small_limits(monkeypatch)
    image = {"bytes": png(0) + bytes(200_000), "path": None}
    source = write_table(tmp_path / "in.parquet", pyarrow.array([image] * 300))
    assert source.stat().st_size < 10_000
    (result,) = run(out, source)
    size = source.stat().st_size
    assert f"{source} has {size} bytes, but unpacks to more than the 1048576 that are allowed" in result.error
    assert not out.exists()


def test_a_table_that_unpacks_to_much_is_not_read(tmp_path, out, monkeypatch):
    small_limits(monkeypatch)
    source = write_table(tmp_path / "in.parquet", [bytes(2_000_000)], label=[1])
    numbers = write_table(tmp_path / "numbers.parquet", pyarrow.array([b""] * 200_000), label=[1] * 200_000)
    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", lambda *_args, **_options: pytest.fail("it was read"))
    for result in run(out, source, numbers):
        assert "unpacks to more than the 1048576" in result.error


def test_limits_of_unpacked_sizes():
    budget = entries.Budget("x", 10_000)
    budget.check(entries.MIN_UNPACKED_BYTES - 1, spend=True)
    budget.check(1)
    with pytest.raises(LimitError, match="x has 10000 bytes, but unpacks to more than the 67108864"):
        budget.check(2)
    entries.Budget("x", 10**7).check(10**9)
    for size, most in ((10**9, entries.MAX_UNPACKED_BYTES), (10**10, 10**10)):
        entries.Budget("x", size).check(most)
        with pytest.raises(LimitError):
            entries.Budget("x", size).check(most + 1)


def test_a_sparse_member_fails(tmp_path, out):
    size = 512 << 20
    with tarfile.open(tmp_path / "in.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("hole.png")
        member.pax_headers = {"GNU.sparse.map": f"0,1,{size},0", "GNU.sparse.size": str(size)}
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    results = run(out, tmp_path / "in.tar")
    assert counts(results) == (0, 0, 1)
    assert "hole.png is sparse: the tar does not hold all of its bytes" in failures(results)[0]


def test_large_members_fail(tmp_path, out, monkeypatch):
    monkeypatch.setattr("dfmcodec.corpus.forms.tars.MAX_HELD_BYTES", 1000)
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        for name, data in (("a.png", bytes(1001)), ("b.png", png(1))):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    results = run(out, tmp_path / "in.tar")
    assert counts(results) == (1, 0, 1)
    assert "a.png has more than 0 MiB, the limit for a member" in failures(results)[0]


@pytest.mark.parametrize("form", ["files", "tar", "parquet"])
def test_names_that_are_not_utf_8(tmp_path, out, form):
    member = tarfile.TarInfo("\udcff.png")
    member.size = len(png(1))
    with tarfile.open(tmp_path / "in.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(member, io.BytesIO(png(1)))
    results = run(out, tmp_path / "in.tar", form=form)
    if form == "parquet":
        (line,) = failures(results)
        assert r"\xff.dfm cannot name an output: it is not UTF-8" in line
    else:
        assert counts(results) == (1, 0, 0)
