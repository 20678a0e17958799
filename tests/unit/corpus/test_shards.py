"""Tests of shards: their results, interruptions at every write, and failures."""

from __future__ import annotations

import errno
import io
import json
import pickle
from functools import partial
from itertools import count

import PIL.Image
import pytest
from corpora import counts, failures, objects, only_output, png, read_tar, run, write_images, write_tar

import dfmcodec
from dfmcodec.corpus import shards
from dfmcodec.corpus import store as stores
from dfmcodec.corpus.shards import encode_shard
from dfmcodec.corpus.sources import shards_of
from dfmcodec.errors import NO_MEMORY, ConfigError, InstallationError, MissingPackageError, OutputError


class StoppedError(BaseException):
    """End of a process."""


@pytest.fixture
def source(tmp_path):
    return write_images(tmp_path / "in", 5)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def fail(error, *_arguments, **_named):
    raise error


def stop_at_write(monkeypatch, limit):
    """Ends the process, so to say, at a write of the store."""
    write, numbers = stores.Store.write, count()

    def counted(store, name, data):
        if next(numbers) == limit:
            raise StoppedError
        write(store, name, data)

    monkeypatch.setattr(stores.Store, "write", counted)


@pytest.mark.parametrize("form", ["files", "tar", "parquet"])
def test_stopped_before_every_write_and_run_again(source, tmp_path, monkeypatch, form):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    (source / "004.png").write_bytes(b"")  # so that a shard has a list of errors
    assert counts(run(tmp_path / "complete", source, form=form)) == (4, 0, 1)
    complete = objects(tmp_path / "complete")
    for limit in range(len(complete)):
        folder = tmp_path / f"{limit}"
        with monkeypatch.context() as patched:
            stop_at_write(patched, limit)
            with pytest.raises(StoppedError):
                run(folder, source, form=form)
        assert len(objects(folder)) == limit
        results = run(folder, source, form=form)
        assert len(failures(results)) == 1
        assert objects(folder) == complete


def test_existing_images_are_kept(source, out):
    assert counts(run(out, source)) == (5, 0, 0)
    (out / "000.dfm").write_bytes(b"other")
    (out / "002.dfm").unlink()
    assert counts(run(out, source)) == (1, 4, 0)
    assert (out / "000.dfm").read_bytes() == b"other"
    assert counts(run(out, source, force=True)) == (5, 0, 0)
    assert (out / "000.dfm").read_bytes() != b"other"


def test_existing_shards_are_kept_with_their_failures(source, out):
    (source / "000.png").write_bytes(b"")
    results = run(out, source, form="tar", size=10)
    assert (counts(results), results[0].shards_existing) == ((4, 0, 1), 0)
    (name,) = (path.name for path in out.glob("*.tar"))
    (line,) = (out / f"{name}.errors.jsonl").read_text().splitlines()
    assert [json.loads(line)] == results[0].failures
    assert json.loads(line)["source"] == str(source / "000.png")
    again = run(out, source, form="tar", size=10)
    assert (counts(again), again[0].shards_existing, again[0].failures) == ((0, 0, 1), 1, results[0].failures)
    (source / "000.png").write_bytes(png(0))
    assert counts(run(out, source, form="tar", size=10, force=True)) == (5, 0, 0)
    assert counts(run(out, source, form="tar", size=10)) == (0, 0, 0)


def test_a_shard_is_encoded_by_name_and_options_alone(source, out):
    """Another process needs nothing but the pickled call."""
    (shard,) = shards_of([str(source)], str(out), "tar", recursive=True)
    call = pickle.loads(pickle.dumps(partial(encode_shard, shard, effort=1, quality=50)))
    assert call().images_done == 5
    alone = dfmcodec.encode(source / "000.png", effort=1, quality=50)
    members = read_tar(only_output(out))
    assert list(members) == ["000.dfm", "002.dfm", "004.dfm", "more/001.dfm", "more/003.dfm"]
    assert members["000.dfm"] == alone.data


def test_results_count_bytes(source, out):
    (result,) = run(out, source, size=10)
    assert result.source_bytes == sum(len(png(number)) for number in range(5))
    assert result.output_bytes == sum(map(len, objects(out).values()))


def test_invalid_options_are_refused(source, out):
    (shard,) = shards_of([str(source)], str(out), recursive=True)
    with pytest.raises(ConfigError, match="quality is 101"):
        encode_shard(shard, quality=101)
    assert not out.exists()


def test_metadata_is_removed(out, tmp_path):
    exif = PIL.Image.Exif()
    exif[0x010E] = "private words"
    (tmp_path / "in").mkdir()
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "in" / "a.png", exif=exif)
    run(out, tmp_path / "in", strip=["exif"])
    run(tmp_path / "kept", tmp_path / "in")
    assert dfmcodec.decode(out / "a.dfm").metadata.exif is None
    assert dfmcodec.decode(tmp_path / "kept" / "a.dfm").metadata.exif is not None


def gif_of_two_frames():
    file = io.BytesIO()
    first, second = (PIL.Image.new("L", (8, 8), value) for value in (10, 200))
    first.save(file, "GIF", save_all=True, append_images=[second])
    return file.getvalue()


def test_conversions_are_notices(source, out):
    (source / "002.gif").write_bytes(gif_of_two_frames())
    (source / "002.png").unlink()
    (notice,) = (notice for result in run(out, source) for notice in result.notices)
    assert notice.startswith(f"{source / '002.gif'}: only the first of several frames")


def test_files_with_the_same_output_fail_but_the_first(source, out):
    (source / "000.gif").write_bytes(gif_of_two_frames())
    results = run(out, source, size=1)
    assert counts(results) == (5, 0, 1)
    assert failures(results) == [
        f"{source}/000.png has the same output as {source}/000.gif, 000.dfm; rename one of them"
    ]
    assert counts(run(out, source, size=1)) == (0, 5, 1)


def test_a_dfm_file_is_not_encoded(source, out):
    run(out, source)
    (source / "a.png").write_bytes((out / "000.dfm").read_bytes())
    (source / "b.png").write_bytes((out / "000.dfm").read_bytes()[:-3])
    results = run(out, source)
    assert counts(results) == (0, 5, 2)
    assert all("`dfm decode`" in line for line in failures(results))


def test_an_output_with_too_long_a_name_fails(source, out):
    (source / ("n" * 300 + ".png").replace("n" * 300, "é" * 125)).write_bytes(png(9))
    pytest.importorskip("fsspec").filesystem("memory").pipe(f"/long-names/{'n' * 256}/b.png", png(1))
    results = run(out, source, "memory://long-names/*/*.png")
    assert counts(results)[::2] == (6, 1)
    (line,) = failures(results)
    assert line.endswith("a part of it has 256 bytes, more than 255; rename the source")


@pytest.mark.parametrize("error", [MemoryError(), ImportError("x.so: failed to map segment from shared object")])
def test_too_little_memory_is_a_failure(source, out, monkeypatch, error):
    monkeypatch.setattr(shards, "image_from_bytes", partial(fail, error))
    lines = failures(run(out, source))
    assert len(lines) == 5
    assert all(NO_MEMORY in line for line in lines)


def test_a_bug_is_a_failure(source, out, monkeypatch):
    monkeypatch.setattr(shards, "image_from_bytes", partial(fail, ZeroDivisionError("so\nwrong")))
    lines = failures(run(out, source))
    assert len(lines) == 5
    assert lines[0] == f"{source}/000.png: unexpected ZeroDivisionError: so wrong"


@pytest.mark.parametrize("kind", [InstallationError, MissingPackageError, OutputError])
def test_errors_of_the_host_leave_the_shard_undone(source, out, monkeypatch, kind):
    with monkeypatch.context() as patched:
        patched.setattr(shards, "image_from_bytes", partial(fail, kind("weights are damaged")))
        assert [result.error for result in run(out, source, form="tar")] == ["weights are damaged"] * 2
    assert not out.exists()
    assert counts(run(out, source, form="tar")) == (5, 0, 0)


@pytest.mark.parametrize("pattern", ["{a.png,a.dfm/*,c.png}", "{a.dfm/*,a.png,c.png}"])
def test_a_file_where_a_folder_is_needed_is_a_failure(tmp_path, out, pattern):
    """The second of both fails."""
    names = ["a.png", "a.dfm/b.png", "c.png"]
    for number, name in enumerate(names):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    results = run(out, tmp_path / "in" / pattern)
    assert counts(results) == (2, 0, 1)
    (line,) = failures(results)
    assert "cannot write" in line
    assert line.endswith("; rename the source")


@pytest.mark.parametrize(
    ("error", "is_of_image"),
    [
        *((OSError(number, "so it is"), True) for number in (errno.ENAMETOOLONG, errno.EISDIR, errno.EILSEQ)),
        (ValueError("embedded null byte"), True),
        *((OSError(number, "so it is"), False) for number in (errno.ENOSPC, errno.EACCES, errno.EIO, errno.ETIMEDOUT)),
    ],
)
def test_errors_of_one_name_are_failures(source, out, monkeypatch, error, is_of_image):
    write = stores.write_atomic

    def write_others(path, data, **options):
        if path.name == "000.dfm":
            raise error
        write(path, data, **options)

    monkeypatch.setattr(stores, "write_atomic", write_others)
    results = run(out, source, size=2)
    assert [result.error is None for result in results] == [is_of_image, True, True]
    assert len(failures(results)) == is_of_image


def test_an_error_of_a_source_leaves_its_shard_undone(tmp_path, out, monkeypatch):
    tar = write_tar(tmp_path / "a.tar", {"a.png": png(1)})
    monkeypatch.setattr(shards, "read_entries", partial(fail, ZeroDivisionError("so")))
    (result,) = run(out, tar)
    assert result.error == "unexpected ZeroDivisionError: so"
    assert not out.exists()
