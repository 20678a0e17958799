"""Provokes real faults: full disks, kills at any moment, Ctrl-C, lack of memory, NaN, damaged
caches and weights, pipes.

python tests/faults/faults.py                          the table of docs/results/trust.md
python tests/faults/faults.py --only kill --moments 100

Every function below provokes one fault and says what happened; it fails where a promise is broken:
an existing file is never lost, no part of a file and no stray file is left, errors are one line
without a traceback.
"""

from __future__ import annotations

import argparse
import compileall
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where common.py is

import numpy as np
import PIL.Image
import skimage.data
from common import PATIENCE_S, names_in, run_for, wait_until

import dfmcodec

DFM = (sys.executable, "-m", "dfmcodec")
FAST = ("--effort", "1", "--quality", "50")
COORDINATE = (
    "--model",
    "coordinate",
    "--depth",
    "1",
    "--layer-width",
    "8",
    "--training-steps",
    "160",
    "--size",
    "3000",
)
NOBODY = 65534


class NotPermittedError(Exception):
    """The fault cannot be provoked here."""


@dataclass(frozen=True)
class Ended:
    """A process that ended."""

    code: int
    output: bytes
    errors: str

    def says(self, code: int, *words: str) -> str:
        """Its one line, where it ended with a code, one line without a traceback, and the words in
        it.
        """
        lines = self.errors.strip().splitlines()
        assert self.code == code, (self.code, self.errors)
        assert len(lines) == 1, self.errors
        assert all(word in lines[0] for word in words), self.errors
        return f"exit {code}: `{lines[0]}`"

    def is_quiet(self, code: int) -> None:
        assert (self.code, self.errors) == (code, ""), (self.code, self.errors)


@dataclass(frozen=True)
class Place:
    """Where a fault is provoked.

    Args:
        folder: An empty one.
        moments: How many moments of a run are tried where a fault can come at any.
    """

    folder: Path
    moments: int

    @property
    def bufferings(self) -> tuple[str, ...]:
        """Values of PYTHONUNBUFFERED."""
        return ("", "1") if self.moments > 10 else ("1",)

    def image(self, name: str = "cat.png", side: int = 96, scale: int = 1) -> Path:
        path = self.folder / name
        pixels = np.kron(skimage.data.chelsea()[60 : 60 + side, 130 : 130 + side], np.ones((scale, scale, 1), np.uint8))
        PIL.Image.fromarray(pixels).save(path)
        return path

    def encoded(self, name: str = "cat.dfm", side: int = 96) -> Path:
        path = self.folder / name
        pixels = np.ascontiguousarray(skimage.data.chelsea()[60 : 60 + side, 130 : 130 + side])
        path.write_bytes(dfmcodec.encode(pixels, effort=1, quality=50).data)
        return path

    def subfolder(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir()
        return path


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "OPENBLAS_NUM_THREADS": "1", **changes}


def ended(process: subprocess.Popen[bytes], data: bytes | None = None) -> Ended:
    output, errors = process.communicate(data, timeout=PATIENCE_S)
    return Ended(process.returncode, output or b"", (errors or b"").decode())


def start(*arguments: object, program: tuple[str, ...] = DFM, **options: object) -> subprocess.Popen[bytes]:
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment(), **options}
    return subprocess.Popen([*program, *(str(argument) for argument in arguments)], **settings)


def dfm(*arguments: object, **options: object) -> Ended:
    with start(*arguments, **options) as process:
        return ended(process)


def patched(patch: str, *arguments: object, **options: object) -> Ended:
    """The command in a process in which some lines of Python ran first."""
    program = f"{patch}\nfrom dfmcodec.cli import main\nmain(prog_name='dfm')"
    return dfm(*arguments, program=(sys.executable, "-c", program), **options)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    """The outputs in a folder, by name."""
    return {name: (folder / name).read_bytes() for name in names_in(folder)}


def run_as_root(*command: object) -> None:
    if os.geteuid() != 0:
        msg = "needs root"
        raise NotPermittedError(msg)
    if shutil.which(str(command[0])) is None:
        msg = f"needs {command[0]}"
        raise NotPermittedError(msg)
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        msg = f"{command[0]}: {done.stderr.strip()}"
        raise NotPermittedError(msg)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    run_as_root("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        yield
    finally:
        run_as_root("umount", folder)


@contextmanager
def fed_late(path: Path, data: bytes) -> Iterator[None]:
    """A pipe that a process reads for a file: what is done inside happens after it has checked its
    output and begun.
    """
    opened, released = threading.Event(), threading.Event()

    def feed() -> None:
        with open(path, "wb") as pipe:  # waits until the process reads
            opened.set()
            released.wait()
            pipe.write(data)

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    try:
        assert opened.wait(PATIENCE_S)
        yield
    finally:
        released.set()


# -- no room, no permission


def disk_full(place: Place) -> str:
    """`mount -t tmpfs -o size=64k`, filled; encode and decode to it, new and with `-f` over a file
    that is there
    """
    disk, image, file = place.subfolder("disk"), place.image(), place.encoded()
    with small_disk(disk, "64k"):
        old = b"old" * 100
        (disk / "old.dfm").write_bytes(old)
        (disk / "old.png").write_bytes(old)
        with open(disk / "filler", "wb") as filler:
            fill(filler.fileno())
        before = names(disk)
        said = ""
        for arguments in (
            ("encode", image, "-o", disk / "new.dfm", *FAST),
            ("encode", image, "-o", disk / "old.dfm", "-f", *FAST),
            ("decode", file, "-o", disk / "new.png"),
            ("decode", file, "-o", disk / "old.png", "-f"),
        ):
            said = said or dfm(*arguments).says(1, os.strerror(errno.ENOSPC), "free some space")
            assert names(disk) == before
            assert (disk / "old.dfm").read_bytes() == (disk / "old.png").read_bytes() == old
    return f"{said}; the old files are as they were, nothing else is there"


def fill(handle: int) -> None:
    with suppress(OSError):
        while True:
            os.write(handle, bytes(512))


def file_size_limit(place: Place) -> str:
    """`RLIMIT_FSIZE` of 100 bytes, over a file that is there"""
    image, file = place.image(), place.encoded("old.dfm")
    old = file.read_bytes()
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))"
    said = patched(limit, "encode", image, "-o", file, "-f", "--effort", "1").says(1, os.strerror(errno.EFBIG))
    assert file.read_bytes() == old
    assert names(place.folder) == ["cat.png", "old.dfm"]
    return f"{said}; the old file is as it was"


def read_only_disk(place: Place) -> str:
    """Output folder on a read-only bind mount; one file, and a folder of files"""
    disk, image = place.subfolder("disk"), place.image()
    run_as_root("mount", "--bind", disk, disk)
    try:
        run_as_root("mount", "-o", "remount,ro,bind", disk)
        said = dfm("encode", image, "-o", disk / "new.dfm", *FAST).says(1, "read-only")
        several = dfm("encode", image, place.image("other.png"), "-O", disk, *FAST)
        assert several.code == 5, several
        assert "Traceback" not in several.errors
        assert names(disk) == []
    finally:
        run_as_root("umount", disk)
    return f"before any work, {said}"


def folder_without_permission(place: Place) -> str:
    """As user nobody in a folder of root's, mode 755"""
    with tempfile.TemporaryDirectory() as outer:  # pytest's folders cannot be entered by others
        place = Place(Path(outer), place.moments)
        image, folder, program = place.image(), place.subfolder("mine"), DFM
        if os.geteuid() == 0:
            program = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", *DFM)
            place.folder.chmod(0o755)
            if shutil.which("setpriv") is None or not runs(program):
                msg = "user nobody cannot run this Python"
                raise NotPermittedError(msg)
        else:
            folder.chmod(0o555)
        said = dfm("encode", image, "-o", folder / "new.dfm", *FAST, program=program).says(1, "no permission")
        assert names(folder) == []
        return f"before any work, {said}".replace(outer + "/", "")


def runs(program: tuple[str, ...]) -> bool:
    return subprocess.run([*program, "--version"], capture_output=True).returncode == 0


def file_that_cannot_be_replaced(place: Place) -> str:
    """`chattr +i` on the output, with `-f`"""
    image, file = place.image(), place.encoded("old.dfm")
    old = file.read_bytes()
    run_as_root("chattr", "+i", file)
    try:
        said = dfm("encode", image, "-o", file, "-f", "--effort", "1").says(1, "old.dfm")
        assert file.read_bytes() == old
        assert names(place.folder) == ["cat.png", "old.dfm"]
    finally:
        run_as_root("chattr", "-i", file)
    return f"{said}; the old file is as it was"


# -- the world changes meanwhile


def folder_vanishes(place: Place) -> str:
    """The output folder is removed after the command has begun (its input is a pipe, fed late)"""
    data, folder = place.image().read_bytes(), place.subfolder("out")
    os.mkfifo(place.folder / "late.png")
    with start("encode", place.folder / "late.png", "-o", folder / "new.dfm", *FAST) as process:
        with fed_late(place.folder / "late.png", data):
            folder.rmdir()
        return ended(process).says(1, "new.dfm", os.strerror(errno.ENOENT))


def file_appears(place: Place) -> str:
    """Without `-f`, another program writes the output's name after the command has begun"""
    data, target = place.image().read_bytes(), place.folder / "new.dfm"
    os.mkfifo(place.folder / "late.png")
    with start("encode", place.folder / "late.png", "-o", target, *FAST) as process:
        with fed_late(place.folder / "late.png", data):
            target.write_bytes(b"mine")
        said = ended(process).says(1, "exists")
    assert target.read_bytes() == b"mine"
    return f"{said}; the other's file is as it was"


def two_writers(place: Place) -> str:
    """Two commands let go at once write one output, both with `-f`; over and over"""
    first, second = place.image("a.png"), place.image("b.png", 64)
    target, complete = place.folder / "x.dfm", []
    for image in (first, second):
        assert dfm("encode", image, "-o", target, "-f", *FAST).code == 0
        complete.append(target.read_bytes())
    came = [0, 0]
    for number in range(max(2, place.moments // 2)):
        late = [place.folder / f"late{number}{side}.png" for side in "ab"]
        for path in late:
            os.mkfifo(path)
        processes = [start("encode", path, "-o", target, "-f", *FAST) for path in late]
        with fed_late(late[0], first.read_bytes()), fed_late(late[1], second.read_bytes()):
            pass
        assert [ended(process).code for process in processes] == [0, 0]
        came[complete.index(target.read_bytes())] += 1
        for path in late:
            path.unlink()
    assert names(place.folder) == ["a.png", "b.png", "x.dfm"]
    return f"both exit 0; the file is the one's {came[0]} times, the other's {came[1]} times, whole each time"


def special_file(place: Place) -> str:
    """`-o` names a pipe (as `>(program)` does), a link or a device"""
    image, pipe = place.image(), place.folder / "pipe"
    os.mkfifo(pipe)
    with start("encode", image, "-o", pipe, *FAST, "--quiet") as process:
        with open(pipe, "rb") as reader:
            data = reader.read()
        ended(process).is_quiet(0)
    assert pipe.is_fifo()
    assert dfmcodec.decode(data).shape == (96, 96, 3)
    said = dfm("encode", image, "-o", "/dev/full", *FAST).says(1, os.strerror(errno.ENOSPC))
    link, linked = place.folder / "link.dfm", place.folder / "linked.dfm"
    link.symlink_to(linked)
    linked.write_bytes(b"old")
    assert dfm("encode", image, "-o", link, "-f", *FAST).code == 0
    assert link.is_symlink()
    assert linked.read_bytes() == data
    return f"the pipe gets the complete file and stays a pipe, the link stays a link; /dev/full {said}"


# -- killed and interrupted


def seconds_of(*arguments: object) -> float:
    started = time.perf_counter()
    assert dfm(*arguments).code == 0
    return time.perf_counter() - started


def moments_of(place: Place, seconds: float) -> list[float]:
    """Spread over a run and a little beyond."""
    return [1.1 * seconds * (number + 0.5) / place.moments for number in range(place.moments)]


def killed(place: Place, arguments: list[object], target: Path, old: bytes) -> str:
    seconds = seconds_of(*arguments)
    new, before, came = target.read_bytes(), names(place.folder), [0, 0]
    assert new != old
    for moment in moments_of(place, seconds):
        target.write_bytes(old)
        with start(*arguments) as process:
            run_for(process, moment)
            process.kill()
            ended(process)
        came[[old, new].index(target.read_bytes())] += 1
        assert names(place.folder) == before
    return f"{place.moments} moments: {came[0]} times the old file, {came[1]} times the complete new one; no other file"


def kill_encode(place: Place) -> str:
    """`SIGKILL` at moments spread over `dfm encode -f` on a file that is there"""
    target = place.folder / "x.dfm"
    return killed(place, ["encode", place.image(), "-o", target, "-f", *FAST], target, b"old")


def kill_decode(place: Place) -> str:
    """`SIGKILL` at moments spread over `dfm decode -f` on a file that is there"""
    target = place.folder / "x.png"
    return killed(place, ["decode", place.encoded(), "-o", target, "-f"], target, b"old")


def kill_at_the_rename(place: Place) -> str:
    """`SIGKILL` in the microseconds in which a replacement has a name of its own (`os.replace`
    patched to kill)
    """
    image, target = place.image(), place.folder / "x.dfm"
    target.write_bytes(b"old")
    patch = "import os, signal\nos.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"
    assert patched(patch, "encode", image, "-o", target, "-f", *FAST).code == -signal.SIGKILL
    assert target.read_bytes() == b"old"
    left = len(names(place.folder)) - 2
    assert left <= 1
    assert dfm("encode", image, "-o", target, "-f", *FAST).code == 0
    assert len(names(place.folder)) == 2 + left
    return f"the old file is as it was, {left} hidden file is left"


def kill_folder_run(place: Place) -> str:
    """`SIGKILL` of the main process only, at moments spread over `dfm encode -j 2` on a folder"""
    photos, out = place.subfolder("photos"), place.folder / "out"
    for number in range(4):
        shutil.copy(place.image(), photos / f"{number}.png")
    arguments = ("encode", photos, "-O", out, "-j", "2", *FAST)
    seconds = seconds_of(*arguments)
    complete = contents(out)
    counts = []
    moments = moments_of(place, seconds)
    for moment in moments:
        shutil.rmtree(out)
        out.mkdir()
        with start(*arguments, start_new_session=True) as process:
            run_for(process, moment)
            process.kill()
            ended(process)  # when all that hold its pipes are gone: the processes that it had begun end too
        there = contents(out)
        assert there.items() <= complete.items()
        counts.append(len(there))
    return f"{len(moments)} moments: {min(counts)} to {max(counts)} of 4 files there, all whole; no process stays"


def kill_a_worker(place: Place) -> str:
    """`SIGKILL` of one of the two processes of `dfm encode -j 2` on a folder, at moments spread
    over the run
    """
    arguments = folder_run(place)
    seconds = seconds_of(*arguments)
    out = place.folder / "out"
    complete = contents(out)
    hits = 0
    for moment in moments_of(place, seconds):
        for name in names_in(out):
            (out / name).unlink()
        with start(*arguments) as process:
            run_for(process, moment)
            workers = [pid for pid in children(process.pid) if "spawn_main" in command_of(pid)]
            for pid in workers[:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    hits += 1
            end = ended(process)
        assert (end.code, end.errors) == (0, ""), end
        assert contents(out) == complete
    return f"{hits} processes killed: what they were at is done again, exit 0, all files whole"


def interrupted(place: Place, arguments: list[object], presses: int, begun: Callable[[int], bool]) -> str:
    """What came of Ctrl-C at moments of a run, from when it has begun: by exit codes."""
    seconds = seconds_of(*arguments)
    out = place.folder / "out"
    made = names_in(out)
    codes: dict[int, int] = {}
    for moment in moments_of(place, seconds):
        for name in made:
            (out / name).write_bytes(b"old")
        with start(*arguments, start_new_session=True) as process:
            wait_until(lambda process=process: process.poll() is not None or begun(process.pid))
            run_for(process, moment)
            for press in range(presses):
                run_for(process, 0.05 * press)
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGINT)
            end = ended(process)
        assert "Traceback" not in end.errors, end.errors
        assert "Exception" not in end.errors, end.errors
        code = 130 if end.code == -signal.SIGINT else end.code  # in a shell the same
        assert code in (0, 130), (code, end.errors)
        assert names_in(out) == made
        for name in made:
            data = (out / name).read_bytes()
            assert data == b"old" or opens(data)
            assert data != b"old" or code == 130, (end, name)
        codes[code] = codes.get(code, 0) + 1
    return ", ".join(f"{count} times exit {code}" for code, count in sorted(codes.items())) + "; complete files only"


def opens(data: bytes) -> bool:
    """Whether it is an intact file."""
    if data.startswith(b"\x89DFM"):
        return dfmcodec.decode(data).size > 0
    with PIL.Image.open(io.BytesIO(data)) as image:
        image.load()
    return True


def has_imported(pid: int) -> bool:
    """Whether NumPy is there: an interrupt in the tenth of a second before is the interpreter's own
    matter.
    """
    return "numpy" in Path(f"/proc/{pid}/maps").read_text()


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def has_children(pid: int) -> bool:
    return bool(children(pid))


def single_run(place: Place) -> list[object]:
    return ["encode", place.image(side=64), "-o", place.subfolder("out") / "x.dfm", "-f", "--quality", "50"]


def folder_run(place: Place) -> list[object]:
    photos = place.subfolder("photos")
    for number in range(4):
        shutil.copy(place.image(), photos / f"{number}.png")
    return ["encode", photos, "-O", place.subfolder("out"), "-f", "-j", "2", *FAST]


def ctrl_c_once(place: Place) -> str:
    """`SIGINT` at moments spread over an encoding that has begun"""
    return interrupted(place, single_run(place), 1, has_imported)


def ctrl_c_twice(place: Place) -> str:
    """The same, twice within 50 ms"""
    return interrupted(place, single_run(place), 2, has_imported)


def ctrl_c_once_in_a_folder(place: Place) -> str:
    """`SIGINT` to all processes of `dfm encode -j 2` on a folder, at moments from the first one's
    start on
    """
    return interrupted(place, folder_run(place), 1, has_children)


def ctrl_c_twice_in_a_folder(place: Place) -> str:
    """The same, twice within 50 ms"""
    return interrupted(place, folder_run(place), 2, has_children)


def ctrl_c_while_decoding(place: Place) -> str:
    """`SIGINT` at moments spread over a decoding"""
    out = place.subfolder("out")
    return interrupted(place, ["decode", place.encoded(), "-o", out / "x.png", "-f"], 1, has_imported)


# -- memory, numbers, damaged installations


MEMORY_LIMIT = """
import resource, dfmcodec.codecs.encode
pages = int(open('/proc/self/statm').read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + {extra},) * 2)
"""


def memory_limit(place: Place) -> str:
    """`RLIMIT_AS` 3 to 400 MB above what the command has at its start, on an image of 2
    megapixels
    """
    # As pip does. Python, compiling without memory, may say ValueError, of the source it compiles.
    compileall.compile_dir(str(Path(dfmcodec.__file__).parent), quiet=1)
    image, target = place.image(scale=15), place.folder / "x.dfm"
    target.write_bytes(b"old")
    said: dict[str, int] = {}
    for extra in np.geomspace(3_000_000, 400_000_000, place.moments // 2).astype(int):
        end = patched(MEMORY_LIMIT.format(extra=extra), "encode", image, "-o", target, "-f", *FAST)
        gave_up = "OpenBLAS error" in end.errors  # it ends the process by itself
        line = end.says(1, "allocation") if gave_up else end.says(7, "out of memory")
        said[line] = said.get(line, 0) + 1
        assert target.read_bytes() == b"old"
        assert names(place.folder) == ["cat.png", "x.dfm"]
    return ", ".join(f"{count} times {line}" for line, count in said.items()) + "; the old file is as it was"


def device_memory(place: Place) -> str:
    """JAX's error `RESOURCE_EXHAUSTED` in a training step (patched in)"""
    patch = (
        "import jax, dfmcodec.codecs.coordinate.encode.train as train\n"
        "def step(*_): raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes.')\n"
        "train._train_chunk = step"
    )
    said = patched(patch, "encode", place.image(), "-o", place.folder / "x.dfm", *COORDINATE).says(7, "out of memory")
    assert names(place.folder) == ["cat.png"]
    return said


def report_of(end: Ended) -> dict[str, object]:
    assert end.code == 0, end.errors
    assert "Traceback" not in end.errors, end.errors
    report: dict[str, object] = json.loads(end.output)
    return report


NAN_FILTER = """
import numpy as np, dfmcodec.codecs.wavelet.encode.filter_fit as filter_fit
equations, calls = filter_fit._NormalEquations.of, []
def of_blocks(*arguments):
    calls.append(1)
    found = equations(*arguments)
    return found._replace(moment=found.moment * np.nan) if len(calls) in {bad} else found
filter_fit._NormalEquations.of = of_blocks
"""
NAN_CORRECTION = """
import numpy as np, dfmcodec.codecs.wavelet.encode.encoding as encoding
change, calls = encoding.correction_residual, []
def correction_residual(*arguments):
    calls.append(1)
    return change(*arguments) * np.float32(np.nan if len(calls) in {bad} else 1)
encoding.correction_residual = correction_residual
"""


def nan_in_the_latents(place: Place) -> str:
    """One least-squares fit of the image's filter, or one evaluation of the correction network,
    gives NaN (patched in)
    """
    arguments = (
        "encode",
        place.image(),
        "-o",
        place.folder / "x.dfm",
        "-f",
        "--json",
        "--rate",
        "0.1",
        "--effort",
        "3",
    )
    usual = report_of(dfm(*arguments))
    said = []
    for patch in (NAN_FILTER, NAN_CORRECTION):
        end = patched(patch.format(bad="[3]"), *arguments)
        report = report_of(end)
        assert report["restarts"] == 1
        assert abs(report["psnr_db"] - usual["psnr_db"]) < 0.5, (report["psnr_db"], usual["psnr_db"])
        said.append(f"{report['psnr_db']:.2f} dB")
    return f"{end.errors.strip()} ({' and '.join(said)}; undisturbed {usual['psnr_db']:.2f} dB)"


def nan_in_every_iteration(place: Place) -> str:
    """The filter's equations are NaN each time; the values of the correction network are NaN each
    time
    """
    target = place.folder / "x.dfm"
    end = patched(
        NAN_FILTER.format(bad="range(999)"), "encode", place.image(), "-o", target, "--rate", "0.1", "--quiet"
    )
    end.is_quiet(0)
    assert dfmcodec.decode(target).shape == (96, 96, 3)
    target.write_bytes(b"old")
    end = patched(NAN_CORRECTION.format(bad="range(999)"), "encode", place.image(), "-o", target, "-f", "--rate", "0.1")
    said = end.says(1, "NaN or infinite")
    assert target.read_bytes() == b"old"
    return f"a file without a filter; {said}, and the old file is as it was"


# -- pipes


def pipe_closes(place: Place) -> str:
    """`dfm decode x -o - | head -c 10`; of `encode -o -`, `info`, `info --json`, `verify`, `--help`
    no byte is read
    """
    file = place.encoded()
    for buffering in place.bufferings:
        for taken, arguments in (
            (10, ("decode", file, "-o", "-", "--resize", "400x", "--format", "ppm")),
            (0, ("encode", place.image(), "-o", "-", "--quiet", *FAST)),
            (0, ("info", file)),
            (0, ("info", file, "--json")),
            (0, ("verify", file)),
            (0, ("--help",)),
        ):
            with start(*arguments, env=environment(PYTHONUNBUFFERED=buffering)) as process:
                assert process.stdout is not None
                assert process.stderr is not None
                process.stdout.read(taken)
                process.stdout.close()
                errors = process.stderr.read().decode()
                assert (process.wait(PATIENCE_S), errors) == (1, ""), arguments
    return "exit 1, nothing said; with and without `PYTHONUNBUFFERED`"


def full_stdout(place: Place) -> str:
    """Standard output on /dev/full: `decode -o -`, `encode -o -`, `info`, `info --json`, `verify`,
    `--help`
    """
    file, image = place.encoded(), place.image()
    with open("/dev/full", "wb") as full:
        for buffering in place.bufferings:
            for arguments in (
                ("decode", file, "-o", "-"),
                ("encode", image, "-o", "-", "--quiet", *FAST),
                ("info", file),
                ("info", file, "--json"),
                ("verify", file),
                ("--help",),
            ):
                end = dfm(*arguments, stdout=full, env=environment(PYTHONUNBUFFERED=buffering))
                said = end.says(1, "standard output", os.strerror(errno.ENOSPC))
    return f"{said}; with and without `PYTHONUNBUFFERED`"


def closed_streams(place: Place) -> str:
    """Standard output or input closed (`>&-`, `<&-`)"""
    file = place.encoded()
    closed_output, closed_input = (("sh", "-c", f'exec "$@" {closed}', "sh", *DFM) for closed in (">&-", "<&-"))
    said = dfm("decode", file, "-o", "-", program=closed_output).says(1, "standard output is closed")
    dfm("encode", "-", "-o", place.folder / "x.dfm", program=closed_input).says(1, "standard input is closed")
    return said


FAULTS: dict[str, Callable[[Place], str]] = {
    "Disk full": disk_full,
    "File size limit": file_size_limit,
    "Read-only disk": read_only_disk,
    "Folder of another user": folder_without_permission,
    "File that cannot be replaced": file_that_cannot_be_replaced,
    "Output folder vanishes": folder_vanishes,
    "Output appears meanwhile": file_appears,
    "Two processes, one output": two_writers,
    "Output is no plain file": special_file,
    "Killed, encode": kill_encode,
    "Killed, decode": kill_decode,
    "Killed at the rename": kill_at_the_rename,
    "Killed, folder": kill_folder_run,
    "Killed, one of several processes": kill_a_worker,
    "Ctrl-C once": ctrl_c_once,
    "Ctrl-C twice": ctrl_c_twice,
    "Ctrl-C once, folder": ctrl_c_once_in_a_folder,
    "Ctrl-C twice, folder": ctrl_c_twice_in_a_folder,
    "Ctrl-C, decode": ctrl_c_while_decoding,
    "Out of memory": memory_limit,
    "Out of memory in JAX": device_memory,
    "NaN, wavelet, once": nan_in_the_latents,
    "NaN, wavelet, always": nan_in_every_iteration,
    "Pipe closes early": pipe_closes,
    "Full standard output": full_stdout,
    "Closed streams": closed_streams,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=40, help="of a run at which it is killed or interrupted")
    parser.add_argument("--only", default="", help="faults whose names hold this")
    options = parser.parse_args()
    print("| fault | provoked by | what happened |\n|---|---|---|", flush=True)
    broken = 0
    for name, provoke in FAULTS.items():
        if options.only.lower() not in name.lower():
            continue
        with tempfile.TemporaryDirectory(prefix="faults") as folder:
            try:
                happened = provoke(Place(Path(folder), options.moments)).replace(folder + "/", "")
            except NotPermittedError as error:
                happened = f"not tried: {error}"
            except AssertionError as error:
                broken += 1
                happened = f"**BROKEN**: {str(error)[-300:]!r}".replace("|", "/")
        print(f"| {name} | {provoke.__doc__} | {happened} |", flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
