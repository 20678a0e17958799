"""Tests of shards: interrupted at every write, processed twice, and killed by an image."""

from __future__ import annotations

import errno
import io
from dataclasses import replace

import PIL.Image
import pytest
from corpora import encode_job, failures, objects, pack_job, planned, png, read_tar, run, write_images, write_tar

import dfmcodec
from dfmcodec.corpus import records, shards, tasks
from dfmcodec.corpus import store as stores
from dfmcodec.corpus.records import read_commit, read_rows
from dfmcodec.corpus.shards import Shard, encode_shard
from dfmcodec.corpus.store import open_store
from dfmcodec.errors import NO_MEMORY, DfmError, InstallationError, MissingPackageError, OutputError

pytest.importorskip("pyarrow")


class StoppedError(BaseException):
    """A process that ends here."""


@pytest.fixture
def source(tmp_path):
    return write_images(tmp_path / "in", 5)


def writes_until(monkeypatch, limit):
    """Lets stores write a number of times and then ends the process, so to say. Returns the names
    of what was written.
    """
    written = []
    write = type(open_store("x")).write

    def counted(store, name, data):
        if len(written) == limit:
            raise StoppedError
        written.append(name)
        write(store, name, data)

    monkeypatch.setattr(type(open_store("x")), "write", counted)
    return written


@pytest.mark.parametrize("form", ["files", "tar", "parquet"])
def test_stopped_before_every_write_and_run_again(source, tmp_path, monkeypatch, form):
    job = pack_job(source, form=form)
    with monkeypatch.context() as patched:
        number = len(writes_until(patched, -1)) or None
        run(open_store(str(tmp_path / "whole")), job)
    complete = objects(tmp_path / "whole")
    for limit in range(100):
        folder = tmp_path / f"{limit}"
        with monkeypatch.context() as patched:
            written = writes_until(patched, limit)
            try:
                run(open_store(str(folder)), job)
            except StoppedError:
                stopped = True
            else:
                stopped = False
        assert all(complete[name] == data for name, data in objects(folder).items())
        _, progress = run(open_store(str(folder)), job)
        assert objects(folder) == complete
        assert (progress.total.images_done, progress.is_complete) == (5, True)
        if not stopped:
            break
    assert number is None
    assert len(written) == limit == len(complete)


def test_a_shard_twice_at_once_gives_one_result(source, tmp_path, monkeypatch):
    store = open_store(str(tmp_path / "out"))
    planned(store, pack_job(source, form="tar", size=100))
    shard, inner = Shard(store.url, 0), []
    perform = shards.write_commit

    def meanwhile(*arguments):
        monkeypatch.setattr(shards, "write_commit", perform)
        inner.append(encode_shard(shard))
        return perform(*arguments)

    monkeypatch.setattr(shards, "write_commit", meanwhile)
    assert encode_shard(shard).commit == inner[0].commit
    assert len(read_rows(store, 0)) == read_commit(store, 0).images_done == 5
    assert len(read_tar(store.read("00000.tar"))) == 5


def test_a_shard_that_is_done_is_not_done_again(source, tmp_path, monkeypatch):
    store = open_store(str(tmp_path / "out"))
    run(store, pack_job(source))
    written = writes_until(monkeypatch, 0)
    assert encode_shard(Shard(store.url, 0)).commit.images_done == 3
    assert written == []


def test_what_rows_say(source, tmp_path):
    (source / "more" / "003.png").write_bytes(b"no image")
    store = open_store(str(tmp_path / "out"))
    results, progress = run(store, encode_job(source, size=10))
    assert (progress.total.images_done, progress.total.images_failed) == (4, 1)
    rows = {row.output: row for row in read_rows(store, 0)}
    data = store.read("more/001.dfm")
    assert dfmcodec.decode(data).shape == (32, 32, 3)
    row = rows["more/001.dfm"]
    assert (row.source, row.status, row.source_bytes) == (str(source / "more" / "001.png"), "done", len(png(1)))
    assert (row.output_bytes, row.output_sha256) == (len(data), shards.hashlib.sha256(data).hexdigest())
    assert row.psnr_db > 20
    assert (rows[None].status, rows[None].source_bytes, rows[None].psnr_db) == ("failed", 8, None)
    (line,) = failures(results)
    assert line.startswith(str(source / "more" / "003.png"))
    assert line.endswith(rows[None].error)


def test_a_folder_with_too_long_a_name_is_a_row(tmp_path):
    """As objects of a store may have."""
    pytest.importorskip("fsspec")
    source = open_store("memory://long-names")
    for name in ("a.png", f"{'n' * 256}/b.png"):
        source.write(name, png(1))
    (tmp_path / "out").mkdir()
    results, progress = run(open_store(str(tmp_path / "out")), pack_job(source.url))
    assert (progress.total.images_done, progress.total.images_failed, progress.is_complete) == (1, 1, True)
    assert "a part of it has 256 bytes, more than 255; rename the source" in failures(results)[0]


def gif_of_two_frames():
    file = io.BytesIO()
    first, second = (PIL.Image.new("L", (8, 8), value) for value in (10, 200))
    first.save(file, "GIF", save_all=True, append_images=[second])
    return file.getvalue()


def test_what_was_converted_is_reported_and_in_the_rows(source, tmp_path):
    (source / "002.gif").write_bytes(gif_of_two_frames())
    (source / "002.png").unlink()
    store = open_store(str(tmp_path / "out"))
    results, _ = run(store, encode_job(source, size=10))
    (notice,) = (notice for result in results for notice in result.notices)
    assert notice.startswith(f"{source / '002.gif'}: only the first of several frames")
    assert [row.notices for row in read_rows(store, 0)] == [None, notice, None, None, None]


def test_rows_without_notices_are_read(source, tmp_path):
    """As they are in stores of before."""
    import pyarrow
    import pyarrow.parquet

    store = open_store(str(tmp_path / "out"))
    run(store, pack_job(source, size=10))
    rows, path = read_rows(store, 0), tmp_path / "out" / "_dfm/00000.rows.parquet"
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).drop_columns("notices"), path)
    assert read_rows(store, 0) == rows


def test_an_output_with_too_long_a_name_is_a_row(source, tmp_path):
    """Of one image; its shard is done."""
    long = "é" * 125 + ".png"  # 254 bytes
    (source / long).write_bytes(png(9))
    job = encode_job(source, size=10)
    job = replace(job, settings={**job.settings, "keeps_extension": True})
    results, progress = run(open_store(str(tmp_path / "out")), job)
    assert (progress.total.images_done, progress.total.images_failed, progress.is_complete) == (5, 1, True)
    (line,) = failures(results)
    assert line.endswith(
        f"{long}.dfm cannot name an output: a part of it has 258 bytes, more than 255; rename the source"
    )


def test_the_settings_of_the_plan_decide_the_bytes(source, tmp_path):
    store = open_store(str(tmp_path / "out"))
    run(store, encode_job(source))
    alone = dfmcodec.encode(source / "000.png", effort=1, quality=50)
    assert store.read("000.dfm") == alone.data


@pytest.mark.parametrize("error", [MemoryError(), ImportError("x.so: failed to map segment from shared object")])
def test_too_little_memory_is_a_row(source, tmp_path, monkeypatch, error):
    def fail(*_arguments):
        raise error

    monkeypatch.setattr(tasks, "image_from_bytes", fail)
    results, _ = run(open_store(str(tmp_path / "out")), encode_job(source))
    assert len(failures(results)) == 5
    assert all(NO_MEMORY in failure for failure in failures(results))


def test_a_bug_is_a_row(source, tmp_path, monkeypatch):
    def fail(*_arguments):
        msg = "so\nwrong"
        raise ZeroDivisionError(msg)

    monkeypatch.setattr(tasks, "image_from_bytes", fail)
    results, progress = run(open_store(str(tmp_path / "out")), encode_job(source))
    assert progress.total.images_failed == 5
    assert "unexpected ZeroDivisionError: so wrong; this is a bug" in failures(results)[0]


def test_a_store_that_fails_is_no_row(source, tmp_path, monkeypatch):
    store = open_store(str(tmp_path / "out"))
    planned(store, pack_job(source))
    write = type(store).write

    def fail(store, name, data):
        if name.endswith(".png"):
            msg = "the bucket is gone"
            raise OutputError(msg)
        write(store, name, data)

    monkeypatch.setattr(type(store), "write", fail)
    results, progress = run(store, pack_job(source))
    assert [result.error for result in results] == ["the bucket is gone"] * 2
    assert (progress.shards_done, progress.shards_begun) == (0, 2)


@pytest.mark.parametrize("kind", [InstallationError, MissingPackageError])
def test_what_is_wrong_with_the_host_is_no_row(source, tmp_path, monkeypatch, kind):
    def fail(*_arguments):
        msg = "pretrained weights are damaged"
        raise kind(msg)

    store = open_store(str(tmp_path / "out"))
    with monkeypatch.context() as patched:
        patched.setattr(tasks, "image_from_bytes", fail)
        results, progress = run(store, encode_job(source))
    assert [result.error for result in results] == ["pretrained weights are damaged"] * 2
    assert progress.shards_done == 0
    _, progress = run(store, encode_job(source))
    assert (progress.total.images_done, progress.total.images_failed) == (5, 0)


def dies_of(monkeypatch, names):
    """Makes the process end at images, without a chance to note anything."""
    encode = tasks._pack()

    def perform(data, entry):
        if entry.name in names:
            raise StoppedError
        return encode.perform(data, entry)

    monkeypatch.setattr(tasks, "_pack", lambda: tasks.Task(perform, encode.target_name, encode.is_wanted))
    monkeypatch.setattr(records.Attempt, "leave", lambda attempt: None)


def test_images_that_kill_their_worker_are_named_and_the_rest_is_done(source, tmp_path, monkeypatch):
    dies_of(monkeypatch, ("002.png", "more/001.png"))
    store = open_store(str(tmp_path / "out"))
    planned(store, pack_job(source, size=10))
    for _ in range(5):  # once unnoted, then each image twice
        with pytest.raises(StoppedError):
            encode_shard(Shard(store.url, 0))
    result = encode_shard(Shard(store.url, 0))
    assert (result.commit.images_done, result.commit.images_failed) == (3, 2)
    assert sorted(row.source[-7:] for row in read_rows(store, 0) if row.status == "failed") == ["001.png", "002.png"]
    assert all("killed its worker twice" in line for line in result.failures)


def test_an_interruption_is_no_death(source, tmp_path, monkeypatch):
    store = open_store(str(tmp_path / "out"))
    planned(store, pack_job(source, size=10))
    with monkeypatch.context() as patched:
        dies_of(patched, ("002.png",))
        patched.undo()
        patched.setattr(tasks, "_pack", lambda: tasks.Task(lambda *_: 1 / 0, str, bool))
        patched.setattr(shards, "_message", lambda error: (_ for _ in ()).throw(KeyboardInterrupt))
        for _ in range(5):
            with pytest.raises(KeyboardInterrupt):
                encode_shard(Shard(store.url, 0))
    assert encode_shard(Shard(store.url, 0)).commit.images_done == 5


@pytest.mark.parametrize("pattern", ["{a.png,a.dfm/*,c.png}", "{a.dfm/*,a.png,c.png}"])
def test_a_file_where_a_folder_is_needed_is_a_row(tmp_path, pattern):
    """Of one image, whichever comes second; the others are done."""
    names = ["a.png", "a.dfm/b.png", "c.png"]
    for number, name in enumerate(names):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    results, progress = run(open_store(str(tmp_path / "out")), encode_job(tmp_path / "in" / pattern, size=10))
    assert (progress.total.images_done, progress.total.images_failed, progress.is_complete) == (2, 1, True)
    (line,) = failures(results)
    assert "cannot write" in line
    assert line.endswith("; rename the source")


@pytest.mark.parametrize(
    ("error", "is_row"),
    [
        *((OSError(number, "so it is"), True) for number in (errno.ENAMETOOLONG, errno.EISDIR, errno.EILSEQ)),
        (ValueError("embedded null byte"), True),
        *((OSError(number, "so it is"), False) for number in (errno.ENOSPC, errno.EACCES, errno.EIO, errno.ETIMEDOUT)),
    ],
)
def test_which_errors_of_a_store_are_about_one_name(source, tmp_path, monkeypatch, error, is_row):
    write = stores.write_atomic

    def fail(path, data, **options):
        if path.name == "000.png":
            raise error
        write(path, data, **options)

    monkeypatch.setattr(stores, "write_atomic", fail)
    results, progress = run(open_store(str(tmp_path / "out")), pack_job(source, size=2))
    assert (progress.shards_done, progress.total.images_failed) == ((3, 1) if is_row else (2, 0))
    assert [result.error is None for result in results] == [is_row, True, True]


def test_a_source_that_needs_a_missing_package_is_a_row(source, tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "is_installed", lambda module: False)
    job = pack_job(source, "http://a.org/x.png", size=10)
    results, progress = run(open_store(str(tmp_path / "out")), job)
    assert (progress.total.images_done, progress.total.images_failed, progress.is_complete) == (5, 1, True)
    assert "http:// needs a package that is not installed" in failures(results)[0]


def test_a_source_that_meets_a_bug_is_a_row(tmp_path, monkeypatch):
    def fail(*_arguments):
        msg = "so"
        raise ZeroDivisionError(msg)

    monkeypatch.setattr(shards, "read_entries", fail)
    results, progress = run(open_store(str(tmp_path / "out")), pack_job(write_tar(tmp_path / "a.tar", {"a": b""})))
    assert (progress.total.images_failed, progress.is_complete) == (1, True)
    assert failures(results) == [
        f"{tmp_path / 'a.tar'}: unexpected ZeroDivisionError: so; this is a bug of dfmcodec, please report it"
    ]


@pytest.mark.parametrize(
    "data", [b"", b"[]", *(b'{"images_done": %s}' % value for value in (b'"5"', b"null", b"-1")), b'{"more": 1}']
)
def test_a_damaged_note_of_a_try(source, tmp_path, data):
    store = open_store(str(tmp_path / "out"))
    planned(store, pack_job(source, size=10))
    store.write("_dfm/00000.began", data)
    (result,), _ = run(store, pack_job(source, size=10))
    assert result.error == f"{store.url}/_dfm/00000.began is damaged; delete it to begin its shard anew"
    store.delete("_dfm/00000.began")
    assert run(store, pack_job(source, size=10))[1].total.images_done == 5


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"images_done": "5"}', b'{"images_done": null}', b'{"images_done": -1}', b'{"more": 1}']
)
def test_a_damaged_commit(source, tmp_path, data):
    store = open_store(str(tmp_path / "out"))
    store.write("_dfm/00000.json", data)
    with pytest.raises(DfmError, match=r"00000.json is damaged; delete it to do its shard again"):
        read_commit(store, 0)


@pytest.mark.parametrize("change", [lambda table: table.append_column("more", table["error"]), None])
def test_foreign_rows(source, tmp_path, change):
    import pyarrow.parquet

    store = open_store(str(tmp_path / "out"))
    run(store, pack_job(source, size=10))
    path = tmp_path / "out" / "_dfm/00000.rows.parquet"
    table = pyarrow.parquet.read_table(path)
    pyarrow.parquet.write_table(table.drop_columns("source") if change is None else change(table), path)
    with pytest.raises(DfmError, match=r"00000.rows.parquet is missing or damaged; delete _dfm/00000.json to do its"):
        read_rows(store, 0)
