"""Tests of plans: fixed, complete, and refused for another job."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from corpora import encode_job, failures, objects, pack_job, planned, png, run, write_images, write_tar

from dfmcodec.corpus import plan as plans
from dfmcodec.corpus import store as stores
from dfmcodec.corpus.store import open_store
from dfmcodec.errors import ConfigError, DfmError, OutputError

pytest.importorskip("pyarrow")


@pytest.fixture
def source(tmp_path):
    return write_images(tmp_path / "in", 7)


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "out"))


def test_a_plan_is_made_once(source, store, tmp_path):
    made = planned(store, pack_job(source))
    assert (made.shards, made.images) == (3, 7)
    before = objects(tmp_path / "out")
    assert planned(store, pack_job(source)) == made
    assert objects(tmp_path / "out") == before
    names = [item.name for number in range(3) for item in made.list_of(store, number)]
    assert names == [f"{i:03d}.png" for i in (0, 2, 4, 6)] + [f"more/{i:03d}.png" for i in (1, 3, 5)]


def test_another_plan_is_refused_with_what_differs(source, store):
    planned(store, encode_job(source))
    with pytest.raises(ConfigError, match=r"another plan: quality 50.0, not 60.0; name another store"):
        planned(store, encode_job(source, quality=60.0))
    with pytest.raises(ConfigError, match="format files, not tar, shard_size 3, not 4"):
        planned(store, encode_job(source, form="tar", size=4))
    with pytest.raises(ConfigError, match="task encode, not pack"):
        planned(store, pack_job(source))


def test_sources_that_changed_are_refused(source, store, tmp_path):
    made = planned(store, pack_job(source))
    before = objects(tmp_path / "out")
    (source / "new.png").write_bytes(png(9))
    with pytest.raises(ConfigError, match=r"planned with \(7 images then, 8 now\)"):
        planned(store, pack_job(source))
    assert planned(store, pack_job(source), keeps_lists=True) == made
    assert objects(tmp_path / "out") == before


@pytest.mark.parametrize("damage", [lambda data: data + b"{}\n", lambda data: data[:-2], lambda data: b""])
def test_a_list_that_changed_is_refused_before_work(source, store, tmp_path, damage):
    planned(store, pack_job(source))
    path = tmp_path / "out" / "_dfm/00001.list"
    path.write_bytes(damage(path.read_bytes()))
    results, progress = run(store, pack_job(source))
    (error,) = (result.error for result in results if result.error)
    assert "00001.list is missing, damaged or of another plan" in error
    assert (progress.shards_done, progress.shards_begun) == (2, 0)


def test_lists_of_a_longer_plan_that_was_never_written(source, store, tmp_path, monkeypatch):
    class StoppedError(Exception):
        """Ends the planning after its lists."""

    def stop(*_arguments):
        raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr(plans, "_write_plan", stop)
        with pytest.raises(StoppedError):
            planned(store, pack_job(source, size=1))
    planned(store, pack_job(source))
    assert sorted(objects(tmp_path / "out")) == [f"_dfm/0000{i}.list" for i in range(3)] + ["_dfm/plan.json"]


@pytest.mark.parametrize(
    ("size", "form"),  # in two shards, and in one
    [
        (1, "parquet"),
        *(pytest.param(*other, marks=pytest.mark.slow) for other in ((1, "files"), (1, "tar"))),
        *(pytest.param(10, form, marks=pytest.mark.slow) for form in ("files", "tar", "parquet")),
    ],
)
def test_images_with_one_output_all_fail_and_the_others_are_done(source, store, form, size):
    (source / "000.jpg").write_bytes(png(0))
    job = encode_job(source, form=form, size=size)
    results, progress = run(store, job)
    assert (progress.images, progress.total.images_done, progress.total.images_failed) == (8, 6, 2)
    advice = "--keep-extension distinguishes them if their extensions differ"
    pairs = [("000.jpg", "000.png"), ("000.png", "000.jpg")]
    assert failures(results) == [
        f"{source / ours} has the same output as {source / theirs}, 000.dfm; {advice}" for ours, theirs in pairs
    ]
    assert store.read("000.dfm") is None
    kept = replace(job, settings={**job.settings, "keeps_extension": True})
    assert run(open_store(f"{store.url}2"), kept)[1].total.images_done == 8


def test_files_of_two_folders_with_one_output_all_fail(store, tmp_path):
    for name in "ab":
        write_images(tmp_path / name, 1)
    write_images(tmp_path / "b", 3)
    _, progress = run(store, pack_job(tmp_path / "a", tmp_path / "b"))
    assert (progress.images, progress.total.images_done, progress.total.images_failed) == (4, 2, 2)


@pytest.mark.parametrize("again", ["in", "in/../in/000.png", "in/*.png", "link"])
def test_a_source_that_is_named_twice_is_done_once(source, store, tmp_path, again):
    (tmp_path / "link").symlink_to(source)
    _, progress = run(store, pack_job(source, tmp_path / again))
    assert (progress.images, progress.total.images_done, progress.total.images_failed) == (7, 7, 0)


def test_a_tar_that_is_named_twice_is_done_once(store, tmp_path):
    tar = write_tar(tmp_path / "x.tar", {"a.png": png(1)})
    assert planned(store, pack_job(tar, tmp_path / "*.tar")).shards == 1


@pytest.mark.parametrize(("platform", "done"), [("linux", 3), ("darwin", 1), ("win32", 1)])
def test_names_that_differ_in_case_are_one_file_on_some_systems(tmp_path, monkeypatch, platform, done):
    fsspec = pytest.importorskip("fsspec")
    for name in ("a.png", "A.PNG", "b.png"):
        fsspec.filesystem("memory").pipe(f"/case-{platform}/{name}", png(1))
    monkeypatch.setattr(stores.sys, "platform", platform)
    source = f"memory://case-{platform}"
    _, progress = run(open_store(str(tmp_path / "files")), pack_job(source))
    assert (progress.total.images_done, progress.total.images_failed) == (done, 3 - done)
    assert run(open_store(str(tmp_path / "tars")), pack_job(source, form="tar"))[1].total.images_done == 3


def test_a_plan_of_another_version(source, store):
    made = planned(store, pack_job(source))
    store.write(plans.PLAN, json.dumps({**json.loads(store.read(plans.PLAN)), "version": "0.0.1"}).encode())
    with pytest.raises(ConfigError, match=r"begun by dfmcodec 0.0.1"):
        planned(store, pack_job(source))
    assert replace(made, version="0.0.1") == plans.read_plan(store)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"job": {"sources": []}}'])
def test_what_is_no_plan(source, store, data):
    store.write(plans.PLAN, data)
    with pytest.raises(ConfigError, match=r"plan.json is not a plan of this version"):
        planned(store, pack_job(source))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("shards", value) for value in ("3", None, 3.0, True, 0, -1)),
        *(("images", value) for value in ("7", 7.5)),
        *(("version", 1), ("lists_sha256", None), ("layout", "1")),
        *(
            ("job.format", "zip"),
            ("job.format", []),
            ("job.sources", "abc"),
            ("job.sources", [1]),
            ("job.settings", []),
        ),
        *(("job.shard_size", "x"), ("job.column", 5), ("job.recursive", 1), ("job.places", None)),
        ("job.skips_links", 1),
    ],
)
def test_damaged_values_of_a_plan(source, store, name, value):
    planned(store, pack_job(source))
    values = json.loads(store.read(plans.PLAN))
    (values["job"] if name.startswith("job.") else values)[name.removeprefix("job.")] = value
    store.write(plans.PLAN, json.dumps(values).encode())
    with pytest.raises(ConfigError, match=r"plan.json is not a plan of this version"):
        plans.read_plan(store)


def test_a_plan_of_more_shards_than_there_are(source, store):
    planned(store, pack_job(source))
    store.write(plans.PLAN, json.dumps({**json.loads(store.read(plans.PLAN)), "shards": 10**9}).encode())
    with pytest.raises(ConfigError, match=r"is of 1000000000 shards, but _dfm/999999999.list is not there; plan again"):
        planned(store, pack_job(source), keeps_lists=True)


def test_nothing_to_plan(store, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DfmError, match="there are no images in"):
        planned(store, encode_job(tmp_path / "empty"))
    assert objects(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("form", "name"),
    [("files", "000.png"), ("files", "more/001.png"), ("tar", "00000.tar"), ("parquet", "00001.parquet")],
)
def test_what_was_there_before_the_plan_is_not_replaced(source, store, tmp_path, form, name):
    store.write(name, b"precious")
    with pytest.raises(OutputError, match=rf"{name} exists and is not replaced, as this store has no plan; name"):
        planned(store, pack_job(source, form=form))
    left = objects(tmp_path / "out")
    assert left.pop(name) == b"precious"
    assert all(other.endswith(".list") for other in left)
    store.delete(name)
    assert run(store, pack_job(source, form=form))[1].total.images_done == 7


def test_a_file_that_was_there_before_the_plan_is_not_replaced_by_a_member(store, tmp_path):
    store.write("more/a.png", b"precious")
    with pytest.raises(OutputError, match=r"more/a\.png exists and is not replaced"):
        planned(store, pack_job(write_tar(tmp_path / "in.tar", {"more/a.png": png(1)}), form="files"))
    assert objects(tmp_path / "out") == {"more/a.png": b"precious"}


def test_a_folder_that_was_there_before_the_plan_takes_no_numbered_rows(store, tmp_path):
    import pyarrow.parquet

    store.write("00000/more/a.png", b"precious")
    pyarrow.parquet.write_table(pyarrow.table({"image": [png(1)]}), tmp_path / "in.parquet")
    with pytest.raises(OutputError, match="00000 exists and is not replaced"):
        planned(store, pack_job(tmp_path / "in.parquet", form="files"))
    assert objects(tmp_path / "out") == {"00000/more/a.png": b"precious"}


@pytest.mark.parametrize("form", ["files", "tar"])
def test_outputs_of_another_worker_that_planned_meanwhile(source, store, monkeypatch, form):
    """It began after this one had found no plan, and has written outputs before this one looks."""
    job, read, made = pack_job(source, form=form), plans.read_plan, []

    def meanwhile(store):
        monkeypatch.setattr(plans, "read_plan", read)
        found = read(store)
        made.append(planned(store, job))
        assert run(store, job)[1].is_complete
        return found

    monkeypatch.setattr(plans, "read_plan", meanwhile)
    assert planned(store, job) == made[0]
    assert run(store, job)[1].is_complete


def test_outputs_of_another_job_that_planned_meanwhile(source, store, monkeypatch):
    read = plans.read_plan

    def meanwhile(store):
        monkeypatch.setattr(plans, "read_plan", read)
        run(store, pack_job(source, size=2))
        return None

    monkeypatch.setattr(plans, "read_plan", meanwhile)
    with pytest.raises(ConfigError, match="holds another plan: shard_size 2, not 3"):
        planned(store, pack_job(source))
