"""Tests of stores: atomic writes, and errors of one line."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from dfmcodec.corpus import store as stores
from dfmcodec.corpus.store import (
    UnusableNameError,
    is_folder,
    list_files,
    matching,
    open_store,
    open_url,
    read_url,
    version_of,
)
from dfmcodec.errors import ConfigError, DfmError, MissingPackageError, OutputError

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(params=["local", "memory"])
def place(request, tmp_path):
    return str(tmp_path / "store") if request.param == "local" else f"memory://{tmp_path.name}"


def test_objects_come_and_go(place):
    store = open_store(place)
    assert (store.names("a"), store.read("a/x")) == ([], None)
    store.write("a/x", b"1")
    store.write("a/x", b"2")
    store.write("a/b/y", b"")
    assert (store.names("a"), store.read("a/x"), open_store(store.url).read("a/b/y")) == (["x"], b"2", b"")
    assert [store.holds(name) for name in ("a/x", "a", "a/b", "a/y", "b")] == [True, True, True, False, False]
    assert (store.sizes("a"), store.sizes("a/b"), store.sizes("c")) == ({"x": 1}, {"y": 0}, {})
    store.delete("a/x")
    store.delete("a/x")
    assert store.names("a") == []


def test_what_was_written_is_a_source(place):
    store = open_store(place)
    for name in ("b.png", "a.png", "c/d.png", ".x/e.png"):
        store.write(name, name.encode())
    assert list(list_files(store.url, True)) == ["a.png", "b.png", "c/d.png"]
    assert list(list_files(store.url, False)) == ["a.png", "b.png"]
    assert [url.rsplit("/", 1)[1] for url in matching(f"{store.url}/*.png")] == ["a.png", "b.png"]
    assert read_url(matching(f"{store.url}/*.png")[0]) == b"a.png"
    with open_url(f"{store.url}/c/d.png") as file:
        assert file.read() == b"c/d.png"
    assert is_folder(store.url)
    assert not is_folder(f"{store.url}/a.png")


def test_the_version_of_a_local_file_is_its_size_and_modification_time(tmp_path):
    (tmp_path / "a").write_bytes(b"123")
    os.utime(tmp_path / "a", ns=(5, 7000))
    assert version_of(str(tmp_path / "a")) == "3 7000"
    assert version_of(str(tmp_path / "b")) is version_of("s3://in/a") is None


@pytest.mark.parametrize("function", [read_url, is_folder, open_url])
def test_what_is_not_there(place, function):
    with pytest.raises(DfmError, match="missing"):
        function(f"{place}/missing")


def test_an_unknown_scheme():
    with pytest.raises(ConfigError, match="scheme nowhere:// is unknown"):
        open_store("nowhere://out")


def test_a_store_that_publishes_parts_of_objects_takes_no_outputs():
    with pytest.raises(ConfigError, match="ftp:// does not support atomic writes"):
        open_store("ftp://host/out")


def test_a_missing_extra(monkeypatch):
    monkeypatch.setattr(stores, "is_installed", lambda module: False)
    with pytest.raises(MissingPackageError, match=r"pip install 'dfmcodec\[cloud\]'"):
        open_store("s3://out")
    assert open_store("out").url


def test_a_missing_package_of_a_scheme(monkeypatch):
    def refuse(scheme):
        raise ImportError(scheme)

    monkeypatch.setattr(fsspec, "get_filesystem_class", refuse)
    with pytest.raises(MissingPackageError, match=r"s3:// needs .* pip install 'dfmcodec\[cloud\]'"):
        open_store("s3://out")


class NoCredentials(Exception):
    """What a store's library raises is often no OSError."""


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Access Denied"), NoCredentials("Unable to locate\ncredentials")]
)
def test_a_store_without_permission(monkeypatch, error):
    def refuse(*_args, **_options):
        raise error

    store = open_store("memory://closed")
    for method in ("pipe_file", "cat_file", "ls", "rm_file", "exists"):
        monkeypatch.setattr(fsspec.get_filesystem_class("memory"), method, refuse)
    for call in (lambda: store.write("x", b""), lambda: store.delete("x")):
        with pytest.raises(OutputError, match=r"memory://closed/x: .*credentials and permissions"):
            call()
    for call in (lambda: store.read("x"), lambda: store.names("x"), lambda: store.holds("x")):
        with pytest.raises(DfmError, match="memory://closed/x: ") as raised:
            call()
        assert "\n" not in str(raised.value)


def test_a_store_without_memory(monkeypatch):
    def refuse(*_args, **_options):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    store = open_store("memory://full")
    for method in ("pipe_file", "cat_file"):
        monkeypatch.setattr(fsspec.get_filesystem_class("memory"), method, refuse)
    for call in (lambda: store.write("x", b""), lambda: store.read("x")):
        with pytest.raises(MemoryError, match="Cannot allocate memory"):
            call()


def test_a_store_that_is_a_file(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(OutputError, match="is a file; outputs go to a folder"):
        open_store(str(tmp_path / "x"))


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(OutputError, match="cannot write"):
        open_store(str(tmp_path / "x" / "y")).write("z", b"")


@pytest.mark.parametrize("target", ["there", "missing"])
@pytest.mark.parametrize("name", ["a.dfm", "more/a.dfm", "_dfm/plan.json"])
def test_a_link_in_place_of_an_output_is_not_followed(tmp_path, name, target):
    (tmp_path / "there").write_bytes(b"precious")
    link = tmp_path / "out" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / target)
    store = open_store(str(tmp_path / "out"))
    with pytest.raises(UnusableNameError, match=f"{link} is a symbolic link, which no output is written to; remove it"):
        store.write(name, b"1")
    assert link.is_symlink()
    assert (tmp_path / "there").read_bytes() == b"precious"
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("name", ["link/a.dfm", "link/more/a.dfm"])
def test_a_link_to_a_folder_below_the_store_is_not_followed(tmp_path, name):
    for folder in ("out", "private/more"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "private" / "a.dfm").write_bytes(b"precious")
    (tmp_path / "out" / "link").symlink_to(tmp_path / "private")
    store = open_store(str(tmp_path / "out"))
    for call in (lambda: store.write(name, b"1"), lambda: store.delete(name)):
        with pytest.raises(UnusableNameError, match=f"{tmp_path}/out/link is a symbolic link"):
            call()
    assert [path.name for path in (tmp_path / "private").rglob("*") if path.is_file()] == ["a.dfm"]
    assert (tmp_path / "private" / "a.dfm").read_bytes() == b"precious"


def test_the_folder_of_a_store_may_be_a_link_or_lie_behind_one(tmp_path):
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for place in ("link", "link/inner", "link/new/one"):
        store = open_store(str(tmp_path / place))
        store.write("a/b.dfm", b"1")
        assert (tmp_path / place.replace("link", "real") / "a" / "b.dfm").read_bytes() == b"1"
        store.delete("a/b.dfm")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
@pytest.mark.parametrize("name", ["pipe.dfm", "socket.dfm"])
def test_a_pipe_or_socket_in_place_of_an_output_is_not_written_to(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)  # as the path of a socket has to be short
    os.mkfifo("pipe.dfm")
    reader = os.open("pipe.dfm", os.O_RDONLY | os.O_NONBLOCK)  # so that a write would not wait
    with open(reader, "rb"), socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket.dfm")
        with pytest.raises(UnusableNameError, match=f"{name} is a device, pipe or socket, not a file"):
            open_store(str(tmp_path)).write(name, b"1")
