"""The outcome of `dfm encode` and `dfm decode` for each kind of existing output.

python tests/faults/existing_outputs.py                a table, see docs/results/trust.md

Each case is set up in a folder of its own. The command runs with one file and with its folder,
with and without -f and a report. The outcome says what became of the existing file: kept, made
again, or refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where common.py is

import PIL.Image
import skimage.data
from click.testing import CliRunner

from dfmcodec.cli import main as command

FAST = ("--quality", "40", "--effort", "1")
RECORD = ".dfm-sources.jsonl"
COLUMNS = {
    "one file": (False, ()),
    "one file, `-f`": (False, ("-f",)),
    "folder": (True, ()),
    "folder, `-f`": (True, ("-f",)),
    "folder, `--report`": (True, ("--report", "../report.jsonl")),
}


def dfm(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, arguments)
    return result.exit_code, result.stderr


def save(name: str, top: int = 0) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(skimage.data.chelsea()[top : top + 8, :9]).save(name)


def source_name(kind: str) -> str:
    return "a.png" if kind == "encode" else "a.dfm"


def output(kind: str) -> Path:
    return Path("d", "a.dfm" if kind == "encode" else "a.png")


def change_record(**values: object) -> None:
    """Changes values of the last row of the record."""
    record = Path("d", RECORD)
    row = json.loads(record.read_text().splitlines()[-1])
    record.write_text(json.dumps({**row, **values}) + "\n")


def no_output(kind: str) -> None:
    """Leaves everything as it is."""


def made(kind: str, *options: str) -> None:
    """Encodes or decodes the input, with a record."""
    code, errors = dfm(kind, "d", *(options or (FAST if kind == "encode" else ())))
    assert code == 0, errors


def made_from_another(kind: str) -> None:
    made(kind)
    change_record(source="other" + Path(source_name(kind)).suffix, source_sha256=hashlib.sha256(b"").hexdigest())


def made_with_other_settings(kind: str) -> None:
    made(kind, *(("--quality", "60", "--effort", "1") if kind == "encode" else ("--resize", "50%")))


def made_before_a_change(kind: str) -> None:
    made(kind)
    save("x.png", 20)
    if kind == "decode":
        assert dfm("encode", "x.png", *FAST)[0] == 0
    shutil.move(f"x{Path(source_name(kind)).suffix}", Path("d", source_name(kind)))


def interrupted(kind: str) -> None:
    made(kind)
    change_record(status="interrupted")


def missed(kind: str) -> None:
    made(kind)
    change_record(status="missed")


def changed_since(kind: str) -> None:
    made(kind)
    output(kind).write_bytes(output(kind).read_bytes() + b" ")


def unrecorded(kind: str) -> None:
    made(kind)
    Path("d", RECORD).unlink()
    save("d/a.png", 40) if kind == "decode" else output(kind).write_bytes(b"somebody's")


def unrecorded_decoding(kind: str) -> None:
    made(kind)
    Path("d", RECORD).unlink()


def source_of_the_input(kind: str) -> None:
    """Makes the input from what is to be its output."""
    if kind == "encode":
        assert dfm("encode", "d/a.png", *FAST)[0] == 0
        Path("d/a.png").unlink()
    else:
        save("d/a.png")
        Path("d/a.dfm").unlink()
    made("decode" if kind == "encode" else "encode")


def link_to_a_file(kind: str) -> None:
    Path("elsewhere").write_bytes(b"somebody's")
    output(kind).symlink_to(Path("elsewhere").absolute())


def dangling_link(kind: str) -> None:
    output(kind).symlink_to(Path("missing").absolute())


def pipe(kind: str) -> None:
    os.mkfifo(output(kind))


def folder(kind: str) -> None:
    output(kind).mkdir()


def damaged_record(kind: str) -> None:
    made(kind)
    with open(Path("d", RECORD), "a") as record:
        record.write('{"output": "a.dfm", "output_bytes": Infinity}\n' + "[" * 200_000 + "\n")


CASES: dict[str, Callable[[str], None]] = {
    "no existing output": no_output,
    "made from this input with these settings": made,
    "the same, and hostile rows in the record": damaged_record,
    "made with other settings": made_with_other_settings,
    "made before the input changed": made_before_a_change,
    "interrupted by Ctrl-C": interrupted,
    "below its target (`--time-limit`)": missed,
    "made from another input": made_from_another,
    "changed since it was written": changed_since,
    "of unrecorded origin": unrecorded,
    "an unrecorded earlier decoding": unrecorded_decoding,
    "the file that the input was made from": source_of_the_input,
    "a link to another file": link_to_a_file,
    "a dangling link": dangling_link,
    "a pipe": pipe,
    "a folder": folder,
}


@contextmanager
def prepared(kind: str, case: Callable[[str], None]) -> Iterator[None]:
    """Sets a case up in a temporary folder, which becomes the current one."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        save("d/a.png")
        if kind == "decode":
            assert dfm("encode", "d/a.png", *FAST)[0] == 0
            shutil.move("d/a.png", "original.png")
        try:
            case(kind)
            yield
        finally:
            os.chdir(before)


def state(path: Path) -> tuple[object, ...]:
    """Distinguishes any two states of an output and of what lies behind it."""
    if path.is_symlink():
        behind = Path(os.readlink(path))
        return "link", behind, behind.read_bytes() if behind.exists() else None
    if not path.exists():
        return ("missing",)
    if not path.is_file():
        return ("special",)
    return "file", path.stat().st_ino, path.read_bytes()


def outcome(kind: str, case: Callable[[str], None], of_folder: bool, options: tuple[str, ...]) -> tuple[str, str]:
    """The outcome in a few words with the exit code, and the message."""
    with prepared(kind, case):
        before = state(output(kind))
        given = "d" if of_folder else f"d/{source_name(kind)}"
        settings = FAST if kind == "encode" else ()
        code, errors = dfm(kind, given, *settings, *(option.replace("../", "") for option in options))
        after = state(output(kind))
        if code:
            assert after == before
            what = "refused"
        elif after == before:
            what = "kept"
        else:
            what = "made" if before == ("missing",) else "made again"
        lines = [line for line in errors.strip().splitlines() if "skipped" not in line]
        place = os.path.realpath(".") + "/"
        return f"{what}, {code}", lines[-1].replace(place, "").replace("|", "\\|") if lines else ""


def main() -> None:
    print("| | existing output | " + " | ".join(COLUMNS) + " | message |")
    print("|---" * (len(COLUMNS) + 3) + "|")
    encode: dict[str, list[str]] = {}
    for kind in ("encode", "decode"):
        for name, case in CASES.items():
            if case is unrecorded_decoding and kind == "encode":
                continue
            outcomes = [outcome(kind, case, *given) for given in COLUMNS.values()]
            actions = [action for action, _ in outcomes]
            if kind == "encode":
                encode[name] = actions
            elif encode.get(name) == actions:
                continue
            message = next((f"`{message}`" for _, message in outcomes if message), "")
            print(f"| {kind} | {name} | {' | '.join(actions)} | {message} |")


if __name__ == "__main__":
    main()
