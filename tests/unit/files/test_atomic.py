"""Tests of replacing a file: access rights are kept, and no other file is opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dfmcodec.errors import DfmError, LimitError
from dfmcodec.files import atomic
from dfmcodec.files.cache_folder import cache_folder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes, owners and pipes are POSIX")


@pytest.fixture(params=["unnamed", "named"])
def _way(request, monkeypatch):
    """Both ways of writing: through a file without a name, and through a temporary name."""
    if request.param == "named":
        monkeypatch.setattr(atomic, "_write_unnamed", lambda *_: False)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(mode)
    (tmp_path / "link").symlink_to(path)
    atomic.write_atomic(tmp_path / "link", b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert (tmp_path / "link").is_symlink()


@pytest.mark.usefixtures("_way")
def test_a_private_file_is_private_while_it_is_written(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(0o600)
    seen = []
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append(stat.S_IMODE(os.fstat(handle).st_mode)))
    atomic.write_atomic(path, b"new")
    assert set(seen) == {0o600}


@pytest.mark.usefixtures("_way")
def test_a_new_file_has_the_mode_of_the_user(tmp_path):
    before = os.umask(0o027)
    try:
        atomic.write_atomic(tmp_path / "x", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


@pytest.mark.usefixtures("_way")
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_is_replaced_keeps_its_owner(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    os.chown(path, 1234, 5678)
    atomic.write_atomic(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 5678)


@pytest.mark.usefixtures("_way")
def test_an_owner_that_cannot_be_kept_does_no_harm(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(0o604)
    monkeypatch.setattr(os, "fchown", refused)
    atomic.write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_an_absolute_cache_folder_alone_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("cache", "./cache", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert cache_folder("programs") == tmp_path / ".cache" / "dfmcodec" / "programs"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert cache_folder("programs") == tmp_path / "own" / "dfmcodec" / "programs"


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    def homeless():
        raise RuntimeError

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", homeless)
    assert cache_folder("programs") is None


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="Linux and its like")
def test_endless_inputs_are_read_up_to_the_limit():
    with pytest.raises(LimitError, match="/dev/zero has more bytes than the limit of 1000"):
        atomic.read_at_most(Path("/dev/zero"), 1000)


def test_reads_up_to_a_limit(tmp_path):
    (tmp_path / "x").write_bytes(b"123")
    assert atomic.read_at_most(tmp_path / "x", 3) == b"123"
    with pytest.raises(LimitError, match="x has 3 bytes, more than the limit of 2"):
        atomic.read_at_most(tmp_path / "x", 2)
    with pytest.raises(DfmError, match="cannot read"):
        atomic.read_at_most(tmp_path / "y", 2)
