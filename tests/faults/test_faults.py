"""Tests that provoke faults, with tests/faults/faults.py. Results of a long run are in
docs/results/trust.md.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import continued
import faults
import numpy as np
import pytest

import dfmcodec
from dfmcodec.errors import DivergedError, InstallationError, OutputError
from dfmcodec.files.atomic import check_writable, write_atomic

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="faults are provoked as Linux can")
# several runs of JAX or many moments of complete runs, by hand; an interrupt in a fit is in
# test_cli.py, one in a folder in test_batch.py
LONG = {
    "Ctrl-C once",
    "Ctrl-C once, folder",
    "Ctrl-C twice, folder",
    "Ctrl-C twice",
    "Killed, one of several processes",
    "Ctrl-C, decode",
    "NaN, wavelet, always",
}
# other tests meet most of what these do, in less time
SLOW = {
    "NaN, wavelet, once",
    "Killed, folder",
    "Killed, decode",
    "File size limit",
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in faults.FAULTS if name not in LONG],
)
def test_fault_keeps_its_promises(name, tmp_path):
    try:
        faults.FAULTS[name](faults.Place(tmp_path, moments=2))
    except faults.NotPermittedError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("runs", [8, pytest.param(1000, marks=pytest.mark.slow)])
def test_interrupted_runs_are_continued(tmp_path, runs):
    for name, counts in continued.interrupted_runs(tmp_path, runs, seed=1).items():
        wrong = {what: counts[what] for what in ("lost", "damaged", "failed", "temporary files after Ctrl-C")}
        assert not any(wrong.values()), (name, wrong)


def test_writing_without_unnamed_files(tmp_path, monkeypatch):
    """Where the system cannot make files without a name, or gives no links."""
    monkeypatch.setattr("dfmcodec.files.atomic._write_unnamed", lambda *_: False)
    for links in (True, False):
        if not links:
            monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no links")))
        path = tmp_path / f"{links}.dfm"
        write_atomic(path, b"one", force=False)
        with pytest.raises(OutputError, match="exists"):
            write_atomic(path, b"two", force=False)
        assert path.read_bytes() == b"one"
        write_atomic(path, b"three", force=True)
        assert path.read_bytes() == b"three"
    assert len(faults.names(tmp_path)) == 2


def test_a_folder_that_may_not_be_listed(tmp_path, monkeypatch):
    path = tmp_path / "x.dfm"
    path.write_bytes(b"old")
    monkeypatch.setattr("os.listdir", lambda _: (_ for _ in ()).throw(PermissionError(13, "not to be listed")))
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("unnamed", [True, False])
def test_names_as_long_as_they_can_be(tmp_path, monkeypatch, unnamed):
    if not unnamed:
        monkeypatch.setattr("dfmcodec.files.atomic._write_unnamed", lambda *_: False)
    for name in (251 * "x" + ".dfm", 125 * "\u00e4" + "x.dfm"):
        for data in (b"old", b"new"):
            write_atomic(tmp_path / name, data)
        assert (tmp_path / name).read_bytes() == b"new"
    assert len(faults.names(tmp_path)) == 2


def test_links_that_lead_back_to_themselves(tmp_path):
    (tmp_path / "a.dfm").symlink_to("b.dfm")
    (tmp_path / "b.dfm").symlink_to("a.dfm")
    for act in (lambda path: check_writable(path, force=True), lambda path: write_atomic(path, b"x")):
        with pytest.raises(OutputError, match="back to itself"):
            act(tmp_path / "a.dfm")
    assert (tmp_path / "a.dfm").is_symlink()


def test_an_interrupt_while_replacing_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "x.dfm"
    path.write_bytes(b"old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert faults.names(tmp_path) == ["x.dfm"]


def test_two_sources_of_one_output(tmp_path):
    from click.testing import CliRunner

    from dfmcodec.cli import main

    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        faults.Place(tmp_path / folder, 1).image(side=32)
    sources = [str(tmp_path / folder / "cat.png") for folder in ("a", "b")]
    result = CliRunner().invoke(main, ["encode", *sources, "-O", str(tmp_path / "out"), *faults.FAST])
    assert result.exit_code == 5
    assert "has the same output as" in result.stderr
    assert "0 encoded, 2 failed" in result.output


@pytest.mark.parametrize("rate", [1e38, float("inf")])
def test_too_large_learning_rates_restart_or_are_refused(chelsea, monkeypatch, rate):
    """Restarts at a tenth of it until values stay finite; what was best is what counts. An infinite
    one is given up.
    """
    from dfmcodec.codecs.encode import encode_image
    from dfmcodec.search.config import RECIPES, EncoderConfig

    monkeypatch.setitem(RECIPES, "published", replace(RECIPES["published"], learning_rate=rate, batch_pixels=256))
    config = EncoderConfig(model="coordinate", recipe="published", depth=1, layer_width=8, training_steps=32, rate=0.1)
    if rate == float("inf"):
        with pytest.raises(DivergedError, match="5 times"):
            encode_image(chelsea, config)
        return
    reported: list[str] = []
    result = encode_image(chelsea, config, lambda progress: reported.append(progress.description))
    assert 1 <= result.report.restarts <= 4
    assert f"restarted {result.report.restarts}x" in reported[-1]
    assert np.isfinite(result.report.psnr_db)


def test_fit_of_nan_in_every_step_is_refused(chelsea, monkeypatch):
    from dfmcodec.codecs.coordinate.encode import train
    from dfmcodec.codecs.encode import encode_image
    from dfmcodec.search.config import EncoderConfig

    monkeypatch.setattr(train, "_train_chunk", lambda weights, state, *_: (weights * np.nan, state, np.nan))
    with pytest.raises(DivergedError, match="5 times"):
        encode_image(chelsea, EncoderConfig(model="coordinate", depth=1, layer_width=8, training_steps=32, rate=0.1))


def test_damaged_and_missing_weights_are_installation_errors(tmp_path, monkeypatch):
    from dfmcodec.codecs.wavelet import weights as weights
    from dfmcodec.weights import registry

    shipped = registry.WAVELET
    assert weights.weights_of(shipped.id).checksum == shipped.id
    monkeypatch.setattr(registry, "files", lambda package: tmp_path)
    with pytest.raises(InstallationError, match="missing"):
        weights.weights_of.__wrapped__(shipped.id)
    with pytest.raises(dfmcodec.UnsupportedVersionError, match="update"):
        weights.weights_of.__wrapped__(0x12345678)
    complete = (Path(registry.__file__).parent / shipped.file_name).read_bytes()
    listed = complete.index(b"PK\x01\x02")  # of the first array: its compression, and whether it is encrypted
    for content in (
        *(b"", b"PK", bytes(1000), complete[:-100]),
        *(
            complete[:at] + bytes([value]) + complete[at + 1 :]
            for at, value in ((listed + 10, 99), (listed + 8, 1), (200, 9))
        ),
    ):
        (tmp_path / shipped.file_name).write_bytes(content)
        with pytest.raises(InstallationError, match="damaged"):
            weights.weights_of.__wrapped__(shipped.id)


def test_an_output_is_refused_before_any_work(tmp_path):
    (tmp_path / "there").touch()
    for path, force, words in [
        (tmp_path, True, "is a folder"),
        (tmp_path / "there", False, "use -f"),
        (tmp_path / "none" / "x", True, "does not exist"),
    ]:
        with pytest.raises(OutputError, match=words):
            check_writable(path, force)
    check_writable(tmp_path / "there", force=True)
    check_writable(Path("/dev/null"), force=False)
