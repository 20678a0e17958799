"""Tests of photographs for training: which files are read and how, and errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import skimage.data
from click.testing import CliRunner

from dfmcodec.errors import ImageError
from research.training import overfitted, train
from research.training.examples import check_photographs, image_files, photographs

PIXELS = np.ascontiguousarray(skimage.data.chelsea()[60:200, 130:290])
GRAY = PIXELS[:, :, 1]
OPAQUE = np.full(GRAY.shape, 255, dtype=np.uint8)
ORIENTATION = 0x0112
RIGHT = 6  # what is stored has to be turned to the right
COMMANDS = {
    "train": lambda folder, out: (train.main, [str(folder), "--work", str(out), "--out", str(out / "weights.npz")]),
    "overfitted": lambda folder, out: (overfitted.main, [str(folder), "--out", str(out)]),
}


def exif(orientation: int) -> PIL.Image.Exif:
    fields = PIL.Image.Exif()
    fields[ORIENTATION] = orientation
    return fields


def reduced(folder: Path) -> list[np.ndarray]:
    return list(photographs(folder, np.random.default_rng(5)))


def save(folder: Path, name: str, pixels: np.ndarray, **options: object) -> Path:
    folder.mkdir(exist_ok=True)
    PIL.Image.fromarray(pixels).save(folder / name, **options)
    return folder


@pytest.mark.parametrize(
    ("pixels", "same", "options"),
    [
        (np.dstack([GRAY] * 3), GRAY, {}),
        (np.dstack([GRAY] * 3), GRAY.astype(np.uint16) * 257, {}),
        (np.dstack([GRAY] * 3), np.dstack([GRAY, OPAQUE]), {}),
        (PIXELS, np.dstack([PIXELS, OPAQUE]), {}),
        (PIXELS, np.rot90(PIXELS), {"exif": exif(RIGHT)}),
    ],
    ids=["gray", "16 bits", "opaque gray", "opaque", "turned"],
)
def test_a_picture_is_the_same_in_every_form(
    tmp_path: Path, pixels: np.ndarray, same: np.ndarray, options: dict[str, object]
) -> None:
    """As 8-bit RGB it is reduced as it is."""
    (plain,) = reduced(save(tmp_path / "plain", "cat.png", pixels))
    (other,) = reduced(save(tmp_path / "other", "cat.png", same, **options))
    assert plain.dtype == np.uint8
    assert plain.std() > 20
    assert np.array_equal(plain, other)


@pytest.mark.parametrize("pixels", [PIXELS, GRAY])
def test_a_photograph_is_reduced_by_what_is_drawn_first(tmp_path: Path, pixels: np.ndarray) -> None:
    """The shipped weights were trained on these."""
    rng = np.random.default_rng(5)
    size = [int(side * scale) for scale in [rng.uniform(0.4, 0.75)] for side in (160, 140)]
    kernel = [PIL.Image.Resampling.LANCZOS, PIL.Image.Resampling.BICUBIC, PIL.Image.Resampling.HAMMING][rng.integers(3)]
    wanted = PIL.Image.fromarray(pixels).convert("RGB").resize(size, kernel)
    assert rng.random() > 0.4  # no blur
    wanted = np.asarray(wanted)[:, :: -1 if rng.random() < 0.5 else 1]
    (found,) = reduced(save(tmp_path / "photographs", "cat.png", pixels))
    assert np.array_equal(found, wanted.swapaxes(0, 1) if rng.random() < 0.5 else wanted)


def test_other_files_of_a_folder_are_passed_over(tmp_path: Path) -> None:
    """They do not count in the interval between photographs either."""
    for number in range(4):
        save(tmp_path, f"{number}.PNG", PIXELS[number:])
        (tmp_path / f"{number}.txt").write_text("a caption")
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in image_files(tmp_path)] == ["0.PNG", "1.PNG", "2.PNG", "3.PNG"]
    assert len(list(photographs(tmp_path, np.random.default_rng(0), 2))) == 2
    check_photographs(tmp_path)


def test_a_photograph_that_is_cut_off_is_named(tmp_path: Path) -> None:
    """Its header does not tell."""
    path = save(tmp_path, "cat.png", PIXELS) / "cat.png"
    path.write_bytes(path.read_bytes()[:-20_000])
    check_photographs(tmp_path)
    with pytest.raises(ImageError, match=r"cat\.png"):
        reduced(tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("fault", ["empty", "no image", "transparent"])
def test_photographs_that_cannot_be_read_end_a_command_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, fault: str
) -> None:
    """Before it makes anything, with one line that names the file."""
    folder, out = tmp_path / "photographs", tmp_path / "out"
    folder.mkdir()
    (folder / "notes.txt").write_text("a text")
    if fault != "empty":
        save(folder, "first.png", PIXELS)
        (folder / "last.png").write_text("a text")
    if fault == "transparent":
        alpha = OPAQUE.copy()
        alpha[3, 4] = 254
        save(folder, "last.png", np.dstack([PIXELS, alpha]))
    for module, work in ((train, "train_contexts"), (overfitted, "crops_of")):
        monkeypatch.setattr(module, work, lambda *_: pytest.fail("it went on"))
    main, arguments = COMMANDS[command](folder, out)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert ("contains no images" if fault == "empty" else "last.png") in result.stderr
    assert not out.exists()
