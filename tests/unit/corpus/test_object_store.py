"""Tests of an object store: S3, provided by a server on this host."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
from common import held_command
from corpora import counts, failures, png, read_tar, run, write_images, write_tar

from dfmcodec.corpus.store import list_files, open_store, read_url
from dfmcodec.errors import DfmError

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


def names(url):
    return list_files(url, True)


def test_from_store_to_store_in_every_form(source, bucket, tmp_path):
    assert counts(run(f"{bucket}/files", source)) == (5, 0, 0)
    assert names(f"{bucket}/files") == ["000.dfm", "002.dfm", "004.dfm", "more/001.dfm", "more/003.dfm"]
    assert read_url(f"{bucket}/files/more/001.dfm")[1:4] == b"DFM"
    assert counts(run(f"{bucket}/files", source)) == (0, 5, 0)
    run(f"{bucket}/tars", source, form="tar")
    first, _ = names(f"{bucket}/tars")
    assert list(read_tar(read_url(f"{bucket}/tars/{first}"))) == ["000.dfm", "002.dfm", "004.dfm"]
    tar = write_tar(tmp_path / "x.tar", {f"{number}.png": png(number) for number in range(2)})
    open_store(f"{bucket}/more").write("x.tar", tar.read_bytes())
    assert counts(run(f"{bucket}/tables", f"{bucket}/more/*.tar", form="parquet")) == (2, 0, 0)
    assert counts(run(f"{bucket}/tables2", f"{bucket}/tables/x.parquet"))[::2] == (0, 2)  # it has .dfm files


def test_processes_find_the_store_by_their_environment(source, bucket):
    assert counts(run(f"{bucket}/out", source, size=2, processes=2)) == (5, 0, 0)


def test_a_command_that_is_killed_and_called_again(source, bucket, tmp_path):
    store = f"{bucket}/out"
    command = ("corpus", f"{source}/", "-r", "-O", store, "-j", "2", "--effort", "1", "--shard-size", "1", "--quiet")
    at_the_second = ("dfmcodec.corpus.engines._try_shard", "call == 2")  # of each process
    with held_command(tmp_path / "hold", *at_the_second, *command) as running:
        running.wait()
        running.process.kill()
    assert 1 <= len(names(store)) < 5
    subprocess.run([sys.executable, "-m", "dfmcodec", *command], check=True)
    assert len(names(store)) == 5


def test_listings_are_current(source, bucket):
    """Others write meanwhile."""
    assert [len(list_files(source, recursive)) for recursive in (True, False)] == [5, 3]
    s3fs.S3FileSystem(skip_instance_cache=True).pipe_file(f"{source}/new.png", png(9))
    assert [len(list_files(source, recursive)) for recursive in (True, False)] == [6, 4]


def test_an_existing_object_is_not_replaced(source, bucket):
    open_store(f"{bucket}/out").write("more/001.dfm", b"precious")
    assert counts(run(f"{bucket}/out", source)) == (4, 1, 0)
    assert read_url(f"{bucket}/out/more/001.dfm") == b"precious"


def test_a_writer_that_fails_leaves_no_object(source, bucket, monkeypatch):
    call = s3fs.S3FileSystem._call_s3

    async def fail(self, method, *arguments, **options):
        if method == "put_object" and options.get("Key", "").endswith(".tar"):
            raise ConnectionResetError(104, "Connection reset by peer")
        return await call(self, method, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(s3fs.S3FileSystem, "_call_s3", fail)
        (result,) = run(f"{bucket}/out", source, form="tar", size=10)
    assert ".tar: Connection reset by peer" in result.error
    assert names(f"{bucket}/out") == []
    assert counts(run(f"{bucket}/out", source, form="tar", size=10)) == (5, 0, 0)
    assert len(names(f"{bucket}/out")) == 1


def test_missing_objects_are_one_line(source, bucket):
    results = run("s3://no-such-bucket/out", source, form="tar", size=10)
    assert "credentials" in results[0].error
    assert "\n" not in results[0].error
    with pytest.raises(DfmError, match=r"x\.png"):
        read_url(f"{source}/x.png")
    assert [".tar" in result.error for result in run(f"{bucket}/out", f"{bucket}/{{0..1}}.tar")] == [True, True]
    assert failures(run(f"{bucket}/out", f"{source}/{{8..9}}.png"))[0].startswith(f"{source}/8.png: cannot read")
