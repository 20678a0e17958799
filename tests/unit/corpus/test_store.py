"""Tests of stores: atomic writes, and errors of one line."""

from __future__ import annotations

import errno
import os
import socket
import sys

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
)
from dfmcodec.errors import ConfigError, DfmError, MissingPackageError, OutputError

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(params=["local", "memory"])
def place(request, tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "_ATOMIC_SCHEMES", ("memory",))
    return str(tmp_path / "store") if request.param == "local" else f"memory://{tmp_path.name}"


def test_objects_are_written_and_replaced(place):
    store = open_store(place)
    assert not store.holds("a/x")
    for data in (b"1", b"2"):
        store.write("a/x", data)
        assert read_url(f"{open_store(store.url).url}/a/x") == data
    assert [store.holds(name) for name in ("a/x", "a", "a/y")] == [True, False, False]


def test_stores_are_sources(place):
    store = open_store(place)
    for name in ("b.png", "a.png", "c/d.png", ".x/e.png"):
        store.write(name, name.encode())
    assert list_files(store.url, True) == ["a.png", "b.png", "c/d.png"]
    assert list_files(store.url, False) == ["a.png", "b.png"]
    assert [url.rsplit("/", 1)[1] for url in matching(f"{store.url}/*.png")] == ["a.png", "b.png"]
    assert read_url(matching(f"{store.url}/*.png")[0]) == b"a.png"
    with open_url(f"{store.url}/c/d.png") as file:
        assert file.read() == b"c/d.png"
    assert is_folder(store.url)
    assert not is_folder(f"{store.url}/a.png")


@pytest.mark.parametrize("function", [read_url, is_folder, open_url])
def test_missing_objects(place, function):
    with pytest.raises(DfmError, match="missing"):
        function(f"{place}/missing")


def test_an_unknown_scheme():
    with pytest.raises(MissingPackageError, match="no package for nowhere:// is installed"):
        read_url("nowhere://out")


@pytest.mark.parametrize("scheme", ["ftp", "memory", "nowhere"])
def test_stores_without_atomic_writes_are_refused(scheme):
    with pytest.raises(ConfigError, match=f"{scheme}:// does not support atomic writes"):
        open_store(f"{scheme}://host/out")


def test_a_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'dfmcodec\[cloud\]'"):
        open_store("s3://out")
    assert open_store("out").url


def test_a_missing_package_of_a_scheme(monkeypatch):
    def refuse(scheme):
        raise ImportError(scheme)

    monkeypatch.setattr(fsspec, "get_filesystem_class", refuse)
    with pytest.raises(MissingPackageError, match=r"s3:// is installed; .* pip install 'dfmcodec\[cloud\]'"):
        open_store("s3://out")


class NoCredentials(Exception):
    """What a store's library raises is often no OSError."""


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Access Denied"), NoCredentials("Unable to locate\ncredentials")]
)
def test_a_store_without_permission(monkeypatch, error):
    def refuse(*_args, **_options):
        raise error

    monkeypatch.setattr(stores, "_ATOMIC_SCHEMES", ("memory",))
    store = open_store("memory://closed")
    for method in ("pipe_file", "cat_file", "info"):
        monkeypatch.setattr(fsspec.get_filesystem_class("memory"), method, refuse)
    with pytest.raises(OutputError, match=r"memory://closed/x: .*credentials and permissions"):
        store.write("x", b"")
    for call in (lambda: read_url("memory://closed/x"), lambda: store.holds("x")):
        with pytest.raises(DfmError, match="memory://closed/x: ") as raised:
            call()
        assert "\n" not in str(raised.value)


def test_a_store_without_memory(monkeypatch):
    def refuse(*_args, **_options):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(stores, "_ATOMIC_SCHEMES", ("memory",))
    store = open_store("memory://full")
    for method in ("pipe_file", "info"):
        monkeypatch.setattr(fsspec.get_filesystem_class("memory"), method, refuse)
    for call in (lambda: store.write("x", b""), lambda: read_url("memory://full/x")):
        with pytest.raises(MemoryError, match="Cannot allocate memory"):
            call()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(DfmError, match="cannot write"):
        open_store(str(tmp_path / "x" / "y")).write("z", b"")


@pytest.mark.parametrize("target", ["there", "missing"])
@pytest.mark.parametrize("name", ["a.dfm", "more/a.dfm", "more/00000.tar"])
def test_a_link_in_place_of_an_output_is_not_followed(tmp_path, name, target):
    (tmp_path / "there").write_bytes(b"precious")
    link = tmp_path / "out" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / target)
    store = open_store(str(tmp_path / "out"))
    with pytest.raises(UnusableNameError, match=f"{link} is a symbolic link, which no output is written to; remove it"):
        store.write(name, b"1")
    with pytest.raises(UnusableNameError):
        store.holds(name)
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
    for call in (lambda: store.write(name, b"1"), lambda: store.holds(name)):
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


def test_large_objects_are_refused(monkeypatch):
    fsspec.filesystem("memory").pipe("/large/a.png", bytes(1001))
    monkeypatch.setattr(stores, "MAX_HELD_BYTES", 1000)
    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "cat_file", lambda *_: pytest.fail("it was fetched"))
    with pytest.raises(DfmError, match="the limit for an image"):
        read_url("memory://large/a.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
@pytest.mark.parametrize("function", [read_url, open_url])
def test_devices_pipes_and_large_files_are_not_read(tmp_path, monkeypatch, function):
    os.mkfifo(tmp_path / "pipe.png")
    for path in ("/dev/zero", str(tmp_path / "pipe.png")):
        with pytest.raises(DfmError, match=f"{path} is a device, pipe or socket"):
            function(path)
    (tmp_path / "large.png").write_bytes(bytes(1001))
    monkeypatch.setattr(stores, "MAX_HELD_BYTES", 1000)
    with pytest.raises(DfmError, match="1001 bytes, more than the limit of 1000"):
        read_url(str(tmp_path / "large.png"))
