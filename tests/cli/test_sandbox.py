"""Tests of `dfm decode --sandbox`: equal output, and enforced limits."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from common import GENERATIVE, GOLDEN, dfm, names_in

from dfmcodec.cli._sandbox import Limits, call, check_available
from dfmcodec.errors import ConfigError, CorruptError, DfmError, LimitError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")
FEW = Limits.of_image(1 << 16, 1 << 30)
DAMAGED = "the file is damaged"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def golden(name: str) -> Path:
    return GOLDEN / f"{name}.dfm"


def test_outputs_are_the_same(folder):
    for source in (golden("wavelet-narrow"), golden("checked-all"), golden("overfitted-alpha")):
        plain = json.loads(dfm("decode", source, "-o", "plain.png", "-f", "--json").stdout)
        apart = json.loads(dfm("decode", source, "-o", "apart.png", "-f", "--json", "--sandbox").stdout)
        assert Path("plain.png").read_bytes() == Path("apart.png").read_bytes()
        assert plain.keys() == apart.keys()
        assert {**plain, "output": 0, "total_s": 0} == {**apart, "output": 0, "total_s": 0}


def test_a_code_and_its_model_are_read_apart(folder):
    source, model = GENERATIVE / "gray-0.dfm", GENERATIVE / "gray.dfmg"
    dfm("decode", source, "--generator", model, "-o", "code.png", "--sandbox")
    assert Path("code.png").stat().st_size > 0
    assert "--generator" in dfm("decode", source, "-o", "none.png", "--sandbox", code=3).stderr


def test_errors_and_losses_come_through(folder):
    data = golden("checked-all").read_bytes()
    Path("cut.dfm").write_bytes(data[:-100])
    assert "cut.dfm: the file is truncated" in dfm("decode", "cut.dfm", "--sandbox", code=3).stderr
    assert not Path("cut.png").exists()
    reported = dfm("decode", "cut.dfm", "--sandbox", "--best-effort", code=3).stderr
    assert " missing" in reported
    assert Path("cut.png").exists()


def test_several_files_go_on_after_one_that_fails(folder):
    Path("in").mkdir()
    for name in ("a", "c"):
        Path(f"in/{name}.dfm").write_bytes(golden("wavelet-narrow").read_bytes())
    Path("in/b.dfm").write_bytes(golden("wavelet-narrow").read_bytes()[:-3])
    dfm("decode", "in", "-O", "out", "--sandbox", "-j", 2, code=5)
    assert names_in("out") == ["a.png", "c.png"]


def test_what_needs_threads_is_refused(folder):
    reported = dfm("decode", golden("wavelet-narrow"), "-o", "a.png", "--sandbox", "--backend", "jax", code=2).stderr
    assert "leave one of them out" in reported


def test_other_systems_are_refused(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ConfigError, match="needs Linux, this is win32"):
        check_available()


def answering(values: dict[str, int], data: bytes = b""):
    return values, data


def allocating():
    return {"bytes": len(bytearray(FEW.memory_bytes))}, b""


def computing():
    while True:
        pass


def writing():
    Path("written").write_bytes(b"x")


def starting():
    if os.getuid() == 0:  # root is not limited
        os.setresuid(65534, 65534, 65534)
    threading.Thread(target=print).start()


def dying():
    os.kill(os.getpid(), signal.SIGSEGV)


def refusing():
    raise CorruptError(DAMAGED)


def faulty():
    return {}["a bug"], b""


def privileges():
    return {"status": Path("/proc/self/status").read_text()}, b""


def limits():
    import resource

    names = ("AS", "CPU", "FSIZE", "NPROC", "CORE")
    return {name: list(resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))) for name in names}, b""


def test_an_answer_is_what_was_given():
    big = bytes(1 << 20)
    assert call(partial(answering, {"n": 3}, big), FEW) == ({"n": 3}, big)


@pytest.mark.parametrize(
    ("function", "kind", "words"),
    [
        (allocating, MemoryError, "^$"),
        (writing, DfmError, f"OSError: .*{os.strerror(errno.EFBIG)}.* please report"),
        (starting, DfmError, "RuntimeError: can't start new thread"),
        (dying, DfmError, "was killed by signal 11"),
        (refusing, CorruptError, f"^{DAMAGED}$"),
        (faulty, DfmError, "KeyError: 'a bug'"),
    ],
)
def test_the_limits(folder, function, kind, words):
    with pytest.raises(kind, match=words):
        call(function, FEW)
    assert not Path("written").exists() or Path("written").stat().st_size == 0


def test_the_limits_are_those_of_the_documentation():
    """docs/services.md states them for each pixel and for each multiply-add."""
    pixels, multiply_adds = 1_000_000, 1 << 40
    memory_bytes, seconds = (1 << 30) + 256 * pixels, round(20 + 30e-6 * pixels + 1e-9 * multiply_adds)
    found, _ = call(limits, Limits.of_image(pixels, multiply_adds))
    assert found.pop("AS") == [memory_bytes, memory_bytes]
    assert found.pop("CPU") == [seconds, seconds + 1]  # one more, for the signal that says why
    assert found == {"FSIZE": [0, 0], "NPROC": [0, 0], "CORE": [0, 0]}


def test_processor_time_ends():
    with pytest.raises(LimitError, match="more than 1 s of processor time"):
        call(computing, Limits(FEW.memory_bytes, 1))


def test_no_privilege_can_be_gained():
    values, _ = call(privileges, FEW)
    assert "NoNewPrivs:\t1" in values["status"]
