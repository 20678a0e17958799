"""Tests of untrusted corpora: tables that name files outside allowed places, files that decompress
to large sizes, and invalid names.
"""

from __future__ import annotations

import io
import os
import tarfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import pytest
from corpora import failures, pack_job, planned, png, read_tar, run, write_images, write_tar

from dfmcodec.corpus import places as followed_places
from dfmcodec.corpus import store as stores
from dfmcodec.corpus.forms import entry as entries
from dfmcodec.corpus.forms.parquet import names as table_names
from dfmcodec.corpus.places import followed, places_of
from dfmcodec.corpus.store import open_store, read_url
from dfmcodec.errors import ConfigError, DfmError, ImageError, LimitError, MissingPackageError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "out"))


def write_table(path, images, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table({"picture": images, **columns}), path, compression="zstd")
    return path


def named(*names):
    """A column of images whose bytes lie elsewhere."""
    return pyarrow.array([{"bytes": None, "path": name} for name in names])


@pytest.mark.parametrize("column", [None, "picture"])
def test_a_path_beside_images_is_not_followed(tmp_path, store, monkeypatch, column):
    (tmp_path / "private.png").write_bytes(png(1))
    monkeypatch.setattr("dfmcodec.corpus.forms.parquet.read_url", lambda *_: pytest.fail("it was read"))
    names = ["private.png", str(tmp_path / "private.png"), f"file://{tmp_path}/private.png", "ftp://127.0.0.1:1/a.png"]
    source = write_table(tmp_path / "in.parquet", named(*names))
    results, progress = run(store, pack_job(source, column=column, size=10))
    assert (progress.total.images_done, progress.total.images_failed) == (0, 4)
    assert all(
        "which is not read; name its folder or the beginning of its URL with --follow" in line
        for line in failures(results)
    )


def test_names_alone_are_refused_before_work(tmp_path, store):
    source = write_table(tmp_path / "in.parquet", ["a.png"])
    with pytest.raises(ConfigError, match=r"the column picture has names of images, .* with --follow"):
        planned(store, pack_job(source, column="picture"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("images", [named, lambda *names: list(names)])
def test_names_are_followed_below_a_folder_that_was_allowed(tmp_path, store, images):
    folder = write_images(tmp_path / "in", 2)
    (tmp_path / "private.png").write_bytes(png(9))
    (folder / "link.png").symlink_to(tmp_path / "private.png")
    good = ["000.png", str(folder / "more" / "001.png"), f"file://{folder}/000.png", "more/../000.png"]
    bad = [
        "../private.png",
        str(tmp_path / "private.png"),
        "link.png",
        "/etc/passwd",
        "missing.png",
        "a\0.png",
        "n" * 300,
    ]
    source = write_table(folder / "in.parquet", images(*good, *bad))
    results, progress = run(store, pack_job(source, column="picture", places=[folder], size=20))
    assert (progress.total.images_done, progress.total.images_failed, progress.is_complete) == (
        len(good),
        len(bad),
        True,
    )
    assert all("--follow" in failures(results)[index] for index in (0, 1, 2, 3, 5))
    assert "cannot read" in failures(results)[4]


def test_names_that_lead_over_links_are_rows_where_links_are_left_out(tmp_path, store):
    folder = write_images(tmp_path / "in", 2)
    (folder / "link.png").symlink_to(folder / "000.png")
    (folder / "linked").symlink_to(folder / "more")
    (tmp_path / "in2").symlink_to(folder)
    names = ["000.png", "more/../000.png", str(tmp_path / "in2" / "more" / "001.png"), "link.png", "linked/001.png"]
    source = write_table(folder / "in.parquet", names)
    job = {"column": "picture", "places": [tmp_path / "in2", folder], "size": 20}
    assert run(store, pack_job(source, **job))[1].total.images_done == 5
    results, progress = run(open_store(f"{store.url}2"), pack_job(source, **job, skips_links=True))
    assert (progress.total.images_done, progress.total.images_failed) == (3, 2)
    assert failures(results)[0] == (
        f"{source}#3: the row names link.png, which leads over a symbolic link; --skip-links leaves it out"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
def test_what_has_no_end_is_not_read(tmp_path, store, monkeypatch):
    monkeypatch.setattr(stores, "MAX_HELD_BYTES", 1000)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "large.png").write_bytes(bytes(1001))
    names = ["/dev/zero", str(tmp_path / "pipe.png"), str(tmp_path / "large.png")]
    source = write_table(tmp_path / "in.parquet", names)
    results, progress = run(store, pack_job(source, column="picture", places=["/"]))
    assert progress.total.images_failed == 3
    first, second, third = failures(results)
    assert "/dev/zero is a device, pipe or socket" in first
    assert "pipe.png is a device, pipe or socket" in second
    assert "large.png has 1001 bytes, more than the limit of 1000" in third


@pytest.mark.parametrize(
    ("place", "name", "is_followed"),
    [
        *(("https://", url, True) for url in ("https://a/b.png", "HTTPS://a.org", "https://a/b?c=d:e")),
        *(("https://", url, False) for url in ("http://a/b.png", "ftp://a/b.png", "s3://a/b.png", "file:///a", "a")),
        *(("https://a.org/x", url, True) for url in ("https://a.org/x/b.png", "https://A.org/x/y/b.png")),
        *(
            ("https://a.org/x/", url, False)
            for url in ("https://a.org/xy.png", "https://a.org.evil/x/b", "https://a.org")
        ),
        *(("https://a.org/x", f"https://{url}", False) for url in ("a.org@evil/x/b", "u@a.org/x/b", "a.org:8/x/b")),
        *(
            ("https://a.org/x", f"https://a.org/x/{way}/b", False)
            for way in ("..", "%2e%2E", "y%2f..%2Fz", r"..\y", "\n")
        ),
        *(("s3://bucket", url, True) for url in ("s3://bucket/a", "s3://bucket/a/b")),
        *(("s3://bucket", url, False) for url in ("s3://bucket2/a", "s3://bucket/../a", "local:///etc/passwd")),
    ],
)
def test_urls_are_followed_below_a_prefix(monkeypatch, place, name, is_followed):
    monkeypatch.setattr(followed_places, "file_system_class", lambda scheme: None)
    places = places_of([place])
    if is_followed:
        assert followed(name, "/in.parquet", places) == name
    else:
        with pytest.raises(ImageError, match="which is not read"):
            followed(name, "/in.parquet", places)


def test_a_relative_name_in_a_table_elsewhere_is_not_followed():
    with pytest.raises(ImageError, match=r"the row names a.png, which is not read"):
        followed("a.png", "s3://in/x.parquet", places_of(["/"]))


@pytest.mark.parametrize("place", ["ftp://a/", "local:///", "simplecache://x"])
def test_schemes_that_lead_elsewhere_are_no_places(place):
    with pytest.raises(ConfigError, match="names in tables are not followed to"):
        places_of([place])


def test_a_place_that_needs_a_package_is_found_before_work(monkeypatch):
    monkeypatch.setattr(stores, "is_installed", lambda module: False)
    with pytest.raises(MissingPackageError, match="https:// needs a package"):
        places_of(["https://a.org/"])


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302 if self.path == "/moved.png" else 200)
        self.send_header("Location", "/a.png")
        self.end_headers()
        self.wfile.write(b"moved" if self.path == "/moved.png" else png(1))

    def log_message(self, *_arguments):
        """Prints nothing."""


def test_a_server_leads_nowhere_else(tmp_path, store, monkeypatch):
    pytest.importorskip("aiohttp", reason="reading of https:// (pip install 'dfmcodec[cloud]')")
    with HTTPServer(("127.0.0.1", 0), _Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_address[1]}"
        source = write_table(
            tmp_path / "in.parquet", [f"{place}/a.png", f"{place}/moved.png", "http://localhost/a.png"]
        )
        results, progress = run(store, pack_job(source, column="picture", places=[place]))
        assert (progress.total.images_done, progress.total.images_failed) == (1, 2)
        assert store.read("00000.parquet") is not None
        assert "leads to /a.png, which is not followed" in failures(results)[0]
        assert "http://localhost/a.png, which is not read" in failures(results)[1]
        assert read_url(f"{place}/moved.png") == png(1)  # as a source that the user named
        monkeypatch.setattr(stores, "MAX_HELD_BYTES", 10)
        with pytest.raises(DfmError, match="the limit for an image"):
            read_url(f"{place}/a.png")
        server.shutdown()


def test_a_large_object_is_not_fetched(monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe("/large/a.png", bytes(1001))
    monkeypatch.setattr(stores, "MAX_HELD_BYTES", 1000)
    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "cat_file", lambda *_: pytest.fail("it was fetched"))
    with pytest.raises(DfmError, match="the limit for an image"):
        read_url("memory://large/a.png")


def test_a_column_that_only_looks_like_one_of_images(tmp_path, store):
    """Numbers in place of bytes would be taken for a size."""
    source = write_table(tmp_path / "in.parquet", pyarrow.array([{"bytes": 1 << 40, "path": 7}]))
    results, _ = run(store, pack_job(source, column="picture"))
    assert failures(results) == [f"{source}#0: the row has no image"]


@pytest.mark.parametrize("form", ["files", "tar"])
@pytest.mark.parametrize(
    "name", ["../a.png", "a/../../b.png", "/a.png", "_dfm/a.png", "a.png:stream", "a." + "x" * 300, r"..\a.b\c"]
)
def test_bad_names_of_rows_are_rows(tmp_path, store, form, name):
    images = [{"bytes": png(1), "path": path} for path in (name, "good.png")]
    source = write_table(tmp_path / "in.parquet", pyarrow.array(images))
    results, progress = run(store, pack_job(source, form=form))
    assert (progress.total.images_done, progress.total.images_failed) == (1, 1)
    assert "cannot name an output" in failures(results)[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.parquet", "out"]
    found = store.names("") if form == "files" else list(read_tar(store.read("00000.tar")))
    assert found == ["good.png"]


def test_a_path_of_a_row_stays_in_a_table(tmp_path, store):
    """There it names nothing, and may be that of other rows."""
    paths = ["/data/a.png", "b.png", "b.png", "https://a.org/c.png"]
    source = write_table(tmp_path / "in.parquet", pyarrow.array([{"bytes": png(1), "path": path} for path in paths]))
    _, progress = run(store, pack_job(source, size=10))
    assert progress.total.images_done == 4
    images = parquet.read_table(tmp_path / "out" / "00000.parquet")["picture"].to_pylist()
    assert [image["path"] for image in images] == paths


def test_a_path_without_bytes_names_no_output_unless_it_can(tmp_path, store):
    folder = write_images(tmp_path / "in", 2)
    names = ["more/001.png", str(folder / "000.png"), "more/../000.png"]
    source = write_table(folder / "in.parquet", named(*names))
    _, progress = run(store, pack_job(source, places=[folder], form="files", column="picture"))
    assert progress.total.images_done == 3
    assert store.names("00000") == ["000000001.png", "000000002.png"]
    assert store.read("more/001.png") == png(1)


def test_a_row_cannot_take_the_name_of_a_numbered_row(tmp_path, store):
    """Which another table may have."""
    write_table(tmp_path / "in" / "a.parquet", [png(0), png(1)])
    paths = ["00000/000000001.png", "00000/000000002.png", "00001/000000000.png"]
    write_table(
        tmp_path / "in" / "b.parquet", pyarrow.array([{"bytes": png(2 + i), "path": paths[i]} for i in range(3)])
    )
    results, progress = run(store, pack_job(tmp_path / "in" / "*.parquet", form="files"))
    assert (progress.total.images_done, progress.total.images_failed) == (4, 1)
    (line,) = failures(results)
    assert "b.parquet#0 has the same output as " in line
    assert "a.parquet#1, 00000/000000001.png" in line
    assert store.names("00000") == ["000000000.img", "000000001.img", "000000002.png"]


@pytest.mark.parametrize("form", ["files", "tar"])
def test_rows_of_one_name_all_fail(tmp_path, store, form):
    paths = ["a.png", "b.png", "./a.png", "c.png", "b.png"]
    source = write_table(
        tmp_path / "in.parquet", pyarrow.array([{"bytes": png(i), "path": path} for i, path in enumerate(paths)])
    )
    results, progress = run(store, pack_job(source, form=form, size=3))  # b.png is in two shards
    assert (progress.total.images_done, progress.total.images_failed) == ((1, 4) if form == "files" else (3, 2))
    assert failures(results)[0] == (f"{source}#0 has the same output as {source}#2, a.png; rename one of them")


def test_names_of_rows_are_read_without_their_images(tmp_path, store, monkeypatch):
    """And not at all where that would be too much."""
    small_limits(monkeypatch)
    paths = ["a.png", "b.png", "a.png"]
    noise = np.random.default_rng(0)  # which does not compress
    images = pyarrow.array([{"bytes": noise.bytes(1 << 20), "path": path} for path in paths])
    source = write_table(tmp_path / "in.parquet", images)
    assert list(table_names(str(source), None)) == paths
    bomb = write_table(tmp_path / "bomb.parquet", pyarrow.array([{"bytes": b"", "path": "a" * 2_000_000}]))
    assert list(table_names(str(bomb), None)) == [""]


def test_members_of_one_name_in_two_tars_all_fail(tmp_path, store):
    for number in (1, 2):
        write_tar(tmp_path / "in" / f"{number}.tar", {"a.png": png(number), f"{number}.png": png(number)})
    tars = tmp_path / "in" / "*.tar"
    results, progress = run(store, pack_job(tars, form="files"))
    assert (progress.total.images_done, progress.total.images_failed) == (2, 2)
    ours, theirs = (f"{tmp_path}/in/{number}.tar#a.png" for number in (1, 2))
    assert failures(results) == [
        f"{one} has the same output as {other}, a.png; rename one of them"
        for one, other in ((ours, theirs), (theirs, ours))
    ]
    assert store.names("") == ["1.png", "2.png"]
    assert run(open_store(f"{store.url}2"), pack_job(tars))[1].total.images_done == 4


def small_limits(monkeypatch):
    monkeypatch.setattr(entries, "MIN_UNPACKED_BYTES", 1 << 20)
    monkeypatch.setattr(entries, "UNPACKED_RATIO", 10)


def test_a_table_of_one_value_in_many_rows(tmp_path, store, monkeypatch):
    """It stands in the file once."""
    small_limits(monkeypatch)
    image = {"bytes": png(0) + bytes(200_000), "path": None}
    source = write_table(tmp_path / "in.parquet", pyarrow.array([image] * 300))
    assert source.stat().st_size < 10_000
    results, progress = run(store, pack_job(source, size=1000))
    assert progress.total.images_done == 5
    (line,) = failures(results)
    assert f"{source} has {source.stat().st_size} bytes, but unpacks to more than the 1048576 that are allowed" in line
    other = open_store(f"{store.url}2")
    assert run(other, pack_job(source, size=4))[1].total.images_done == 300  # each shard by itself


def test_a_table_that_unpacks_to_much_is_not_read(tmp_path, store, monkeypatch):
    small_limits(monkeypatch)
    source = write_table(tmp_path / "in.parquet", [bytes(2_000_000)], label=[1])
    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", lambda *_args, **_options: pytest.fail("it was read"))
    results, _ = run(store, pack_job(source))
    assert "unpacks to more than the 1048576" in failures(results)[0]
    numbers = write_table(tmp_path / "numbers.parquet", pyarrow.array([b""] * 200_000), label=[1] * 200_000)
    results, _ = run(open_store(f"{store.url}2"), pack_job(numbers, size=10**6))
    assert "unpacks to more than the 1048576" in failures(results)[0]


def test_what_may_be_unpacked():
    budget = entries.Budget("x", 10_000)
    budget.spend(entries.MIN_UNPACKED_BYTES - 1)
    budget.check(1)
    with pytest.raises(LimitError, match="x has 10000 bytes, but unpacks to more than the 67108864"):
        budget.spend(2)
    entries.Budget("x", 10**7).check(10**9)
    for size, most in ((10**9, entries.MAX_UNPACKED_BYTES), (10**10, 10**10)):
        entries.Budget("x", size).check(most)
        with pytest.raises(LimitError):
            entries.Budget("x", size).check(most + 1)


def test_a_sparse_member_is_a_row(tmp_path, store):
    size = 512 << 20
    with tarfile.open(tmp_path / "in.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("hole.png")
        member.pax_headers = {"GNU.sparse.map": f"0,1,{size},0", "GNU.sparse.size": str(size)}
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    results, progress = run(store, pack_job(tmp_path / "in.tar"))
    assert (progress.total.images_done, progress.total.images_failed) == (0, 1)
    assert "hole.png is sparse: the tar does not hold all of its bytes" in failures(results)[0]
