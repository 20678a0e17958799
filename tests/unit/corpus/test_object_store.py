"""Tests of an object store: S3, provided by a server on this host."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
from common import held_command
from corpora import encode_job, failures, pack_job, planned, png, read_tar, run, write_images

from dfmcodec.corpus.engines import LOCAL, Engine
from dfmcodec.corpus.jobs import Part, open_shards, plan_of, progress
from dfmcodec.corpus.store import list_files, open_store, read_url
from dfmcodec.errors import DfmError, OutputError

pytest.importorskip("pyarrow")
STORES = "object stores need packages; to have them: pip install -e .[cloud] moto[server]"
moto = pytest.importorskip("moto.server", reason=STORES)
s3fs = pytest.importorskip("s3fs", reason=STORES)
pytestmark = pytest.mark.filterwarnings("ignore")  # of the server's


_numbers = itertools.count()


@pytest.fixture(scope="module")
def endpoint():
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint, monkeypatch):
    """An empty bucket. Credentials and address come from the environment, as for every worker."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    name = f"bucket-{next(_numbers)}"
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir(name)
    return f"s3://{name}"


@pytest.fixture
def source(bucket, tmp_path):
    store = open_store(f"{bucket}/in")
    for path in sorted(write_images(tmp_path / "in", 5).rglob("*.png")):
        store.write(path.relative_to(tmp_path / "in").as_posix(), path.read_bytes())
    return store.url


def test_from_store_to_store_in_every_form(source, bucket):
    files, tars, tables, back = (open_store(f"{bucket}/{name}") for name in ("files", "tars", "tables", "back"))
    assert run(files, encode_job(source))[1].total.images_done == 5
    assert files.read("more/001.dfm")[1:4] == b"DFM"
    run(tars, pack_job(source, form="tar"))
    assert list(read_tar(tars.read("00000.tar"))) == ["000.png", "002.png", "004.png"]
    run(tables, pack_job(f"{tars.url}/{{00000..00001}}.tar", form="parquet"))
    _, state = run(back, pack_job(f"{tables.url}/*.parquet", form="files"))
    assert state.total.images_done == 5
    assert back.read("002.png") == png(2)


def test_processes_find_the_store_by_their_environment(source, bucket):
    store = open_store(f"{bucket}/out")
    assert run(store, pack_job(source, size=2), Engine(LOCAL, 2))[1].total.images_done == 5


def test_a_command_that_is_killed_and_called_again(source, bucket, tmp_path):
    store = open_store(f"{bucket}/out")
    run = ("encode", f"{source}/", "-r", "-O", store.url, "-j", "2", "--effort", "1", "--shard-size", "1", "--quiet")
    at_the_second = ("dfmcodec.corpus.shards.try_shard", "call == 2")  # of each process
    with held_command(tmp_path / "hold", *at_the_second, *run) as running:
        running.wait()
        running.process.kill()
    assert 1 <= progress(store, plan_of(store), Part()).shards_done < 5
    subprocess.run([sys.executable, "-m", "dfmcodec", *run], check=True)
    assert progress(store, plan_of(store), Part()).total.images_done == 5


def test_listings_are_those_of_now(source, bucket):
    """Others write while this process looks."""
    store = open_store(f"{bucket}/out")
    plan = planned(store, pack_job(source, size=2))
    assert open_shards(store, range(3)) == [0, 1, 2]
    assert [len(list(list_files(source, recursive))) for recursive in (True, False)] == [5, 3]
    other = s3fs.S3FileSystem(skip_instance_cache=True)
    other.pipe_file(f"{store.url}/_dfm/00001.json", b'{"images_done": 2}')
    other.pipe_file(f"{source}/new.png", png(9))
    assert open_shards(store, range(3)) == [0, 2]
    assert (progress(store, plan, Part()).shards_done, progress(store, plan, Part()).total.images_done) == (1, 2)
    assert [len(list(list_files(source, recursive))) for recursive in (True, False)] == [6, 4]


@pytest.mark.parametrize(("form", "name"), [("files", "more/001.png"), ("tar", "00001.tar")])
def test_objects_that_were_there_are_not_replaced(source, bucket, form, name):
    store = open_store(f"{bucket}/out")
    store.write(name, b"precious")
    with pytest.raises(OutputError, match=f"{store.url}/{name} exists and is not replaced"):
        planned(store, pack_job(source, form=form))
    assert store.read(name) == b"precious"


def test_a_writer_that_fails_leaves_no_object(source, bucket, monkeypatch):
    call = s3fs.S3FileSystem._call_s3

    async def fail(self, method, *arguments, **options):
        if method == "put_object" and options.get("Key", "").endswith(".tar"):
            raise ConnectionResetError(104, "Connection reset by peer")
        return await call(self, method, *arguments, **options)

    job = pack_job(source, form="tar", size=10)
    store = open_store(f"{bucket}/out")
    with monkeypatch.context() as patched:
        patched.setattr(s3fs.S3FileSystem, "_call_s3", fail)
        results, state = run(store, job)
    assert f"cannot write {store.url}/00000.tar: Connection reset by peer" in results[0].error
    assert (state.shards_done, store.read("00000.tar")) == (0, None)
    assert run(store, job)[1].total.images_done == 5
    assert sorted(list_files(store.url, True)) == [
        "00000.tar",
        *(f"_dfm/00000.{end}" for end in ("began", "json", "list", "rows.parquet")),
        "_dfm/plan.json",
    ]


def test_what_is_missing_is_one_line(source, bucket):
    with pytest.raises(OutputError, match=r"cannot write s3://no-such-bucket/out/_dfm/00000.list: .*credentials"):
        planned(open_store("s3://no-such-bucket/out"), pack_job(source))
    with pytest.raises(DfmError, match=r"x\.png"):
        read_url(f"{source}/x.png")
    with pytest.raises(DfmError, match="holds no dfmcodec plan"):
        plan_of(open_store(f"{bucket}/nothing"))
    results, _ = run(open_store(f"{bucket}/out"), pack_job(f"{bucket}/{{0..1}}.tar"))
    assert len(failures(results)) == 2
