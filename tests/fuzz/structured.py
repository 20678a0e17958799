"""Structured fuzzing: `.dfm` files with generated fields, sections and lengths and valid checksums,
and image files with mutations specific to their format.

    python -m tests.fuzz.structured --count 1000000 --seed 1 --jobs 2 --out /tmp/fuzz
    python -m tests.fuzz.structured --fresh --jobs 2 --out /tmp/fuzz  # cases that nobody has seen
    python -m tests.fuzz.structured --case 1:4711 --out /tmp/fuzz    # writes that case and runs it

Three kinds of case: `.dfm` files (dfm_cases.py), `.dfmg` files with a code under them, and images
(image_cases.py). A case follows from (seed, index) alone. It gets what the commands would do with
it. What may come out is an image or a documented error; a finding is anything else: another
exception, a warning, output, more memory or time than `Bounds`, or the death of the process, which
also ends a case that goes on for ALARM_S seconds. The address space of the process is limited, so
that memory that is asked for but not used counts too. Linux only.

OUT holds the state of the run, from which the same command goes on, and in OUT/findings one case of
each finding. The last line is a summary; the exit code is 1 if there were findings.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import io
import json
import os
import re
import resource
import secrets
import signal
import subprocess
import sys
import time
import traceback
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
sys.path[:0] = [str(ROOT), str(FOLDER)]

import dfm_cases  # noqa: E402
import fuzzing  # noqa: E402
import image_cases  # noqa: E402
import numpy as np  # noqa: E402
import PIL.Image  # noqa: E402
from mutation import below, chance  # noqa: E402

from dfmcodec import container  # noqa: E402
from dfmcodec.codecs.generative.model import read_model  # noqa: E402
from dfmcodec.errors import DfmError  # noqa: E402
from dfmcodec.image.read_image import image_from_bytes  # noqa: E402
from dfmcodec.models import Model  # noqa: E402

ALARM_S = 120
MAX_PIXELS = (1 << 12, 1 << 16, 1 << 18)  # the limits that cases are decoded with
SPARE_BYTES = 512 << 20  # of address space, which libraries and threads take without using it
SLOWER = 10  # how much slower than the host of `Bounds` this one may be


@dataclass(frozen=True)
class Bounds:
    """What reading a file may take; the memory is that of SECURITY.md, "Limits".

    Args:
        base_bytes: Memory for any file.
        sample_bytes: Memory for each pixel and channel.
        base_s: Processor time for any file.
        pixel_s: Processor time for each pixel.
        wavefront_s: Processor time for each wavefront of model 3.
        networks_s: Processor time for networks at the limit `fuzzing.MAX_MULTIPLY_ADDS`.
    """

    base_bytes: float = 250e6
    sample_bytes: float = 64
    base_s: float = 0.2
    pixel_s: float = 3e-6
    wavefront_s: float = 1e-4
    networks_s: float = 1

    def memory_bytes(self, pixels: int, files: int) -> float:
        """The memory that an image may take with alpha, in bytes.

        Args:
            pixels: Of the image.
            files: The bytes of its file and its model.
        """
        return self.base_bytes + self.sample_bytes * 4 * pixels + files

    def seconds(self, pixels: int, wavefronts: int) -> float:
        """The processor time that decoding an image may take."""
        return self.base_s + self.networks_s + self.pixel_s * pixels + self.wavefront_s * wavefronts


@dataclass(frozen=True)
class Case:
    """A case.

    Args:
        kind: "dfm", "dfmg", or the name of an image's kind.
        files: What it consists of, by extension.
        max_pixels: The limit on pixels that it is read with.
        rng: Chooses what is done with it.
    """

    kind: str
    files: dict[str, bytes]
    max_pixels: int
    rng: np.random.Generator

    @classmethod
    def of(cls, seed: int, index: int) -> Case:
        """The case of a seed and an index."""
        rng = np.random.default_rng([seed, index])
        kind, limit = rng.random(), MAX_PIXELS[below(rng, len(MAX_PIXELS))]
        if kind < 0.5:
            return cls("dfm", {"dfm": dfm_cases.dfm_case(rng)}, limit, rng)
        if kind < 0.6:
            model, code = dfm_cases.model_case(rng)
            return cls("dfmg", {"dfmg": model, "dfm": code}, limit, rng)
        name, data = image_cases.image_case(rng)
        return cls(name, {"image": data}, limit, rng)

    def write(self, folder: Path, stem: str) -> list[Path]:
        """Writes its files."""
        paths = [folder / f"{stem}.{extension}" for extension in self.files]
        for path, data in zip(paths, self.files.values(), strict=True):
            path.write_bytes(data)
        return paths

    def size(self) -> tuple[int, int]:
        """The pixels that may be decoded, and the wavefronts; 0 where the limit refuses the
        image.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if "dfm" in self.files:
                    header = container.read_header(self.files["dfm"], self.max_pixels)
                    is_fitted = header.architecture.model is Model.OVERFITTED
                    wavefronts = is_fitted * (4 * (header.height + header.width) + 20)
                    return header.height * header.width, wavefronts
                with PIL.Image.open(io.BytesIO(self.files["image"])) as image:
                    pixels = image.width * image.height
                    return pixels if pixels <= self.max_pixels else 0, 0
            except Exception:  # whatever it is, reading the case meets it again
                return 0, 0

    def examine(self) -> str:
        """Reads it as the commands do: "image", or the name of a documented error.

        Raises:
            Finding: Something is not as it should be; any other exception is a finding too.
        """
        if self.kind == "dfm":
            return fuzzing.examine(self.files["dfm"], self.rng, self.max_pixels)
        try:
            if self.kind == "dfmg":
                generator = read_model(self.files["dfmg"])
                if chance(self.rng, 0.3):
                    generator.paint(generator.density.means[:1])
                return fuzzing.examine(self.files["dfm"], self.rng, self.max_pixels, generator)
            page = 1 + below(self.rng, 3) if chance(self.rng, 0.3) else None
            notices: list[str] = []
            strip = ["all"] if chance(self.rng, 0.2) else []
            image = image_from_bytes(self.files["image"], "it", self.max_pixels, strip, page, notices.append)
            fuzzing.must(not any("\n" in notice for notice in notices), "a notice of several lines")
            fuzzing.must(image.height * image.width <= self.max_pixels, "more pixels than the limit")
            return "image"
        except DfmError as error:
            return fuzzing.one_line(error)


@dataclass
class State:
    """A worker's run so far; it is written before each case.

    Args:
        index: The case that is next, or that the worker is at.
        is_at: Whether it is at that case.
        outcomes: How often each outcome came, by kind of file and outcome.
        findings: How often each finding came.
        slowest: Seconds of processor time, and the case.
        largest: MB of memory, and the case.
    """

    index: int
    is_at: bool = False
    outcomes: dict[str, int] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[float, str] = (0.0, "")

    @classmethod
    def read(cls, path: Path, first: int) -> State:
        """The state of an earlier run, or a new one."""
        return cls(**json.loads(path.read_text())) if path.exists() else cls(first)

    def write(self, path: Path) -> None:
        """Replaces the file."""
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self)))
        os.replace(temporary, path)


class Worker:
    """Runs every n-th case in this process.

    Args:
        out: The folder of the run.
        seed: The seed of the cases.
        number: The number of the worker; its first index.
        jobs: How many workers there are.
        bounds: What a case may take.
        with_times: Whether processor time is compared with them.
        with_memory: Whether memory is; sanitizers take much of their own.
    """

    def __init__(
        self, out: Path, seed: int, number: int, jobs: int, bounds: Bounds, with_times: bool, with_memory: bool = True
    ) -> None:
        self._out, self._seed, self._jobs, self._bounds = out, seed, jobs, bounds
        self._with_times, self._with_memory = with_times, with_memory
        self._state_file = state_file(out, seed, jobs, number)
        self._output = self._state_file.with_suffix(".txt")
        self.state = State.read(self._state_file, number)

    def run(self, count: int, end: float, death: int | None) -> None:
        """Runs cases until there are `count` of all workers, or until a time.

        Args:
            count: Of cases of all workers.
            end: When to stop, as `time.monotonic` gives it.
            death: How the process that ran the state's case before has ended; None if it did not.
        """
        if self.state.is_at and death is not None:
            text = self._output.read_text(errors="replace")
            kind = "hangs" if "Timeout (" in text else f"dies ({death})"
            self._record(self._case(), f"{kind} {_place(text)}", text)
            self.state.index += self._jobs
        warm_up()
        self._redirect()
        if self._with_memory:
            most = self._bounds.memory_bytes(MAX_PIXELS[-1], 0)
            _limit(resource.RLIMIT_AS, _status("VmSize") + SPARE_BYTES + int(most))
        _limit(resource.RLIMIT_CORE, 0)
        while self.state.index < count and time.monotonic() < end:
            case = self._case()
            self._save(is_at=True)
            faulthandler.dump_traceback_later(ALARM_S, exit=True)
            self._perform(case)
            faulthandler.cancel_dump_traceback_later()
            self.state.index += self._jobs
            self._save(is_at=False)

    def _case(self) -> Case:
        return Case.of(self._seed, self.state.index)

    def _save(self, is_at: bool) -> None:
        self.state.is_at = is_at
        self.state.write(self._state_file)

    def _perform(self, case: Case) -> None:
        pixels, wavefronts = case.size()
        _forget_peak()
        before, started = _status("VmHWM"), time.process_time()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.filterwarnings("ignore", module=r"PIL\.")  # as the command does
            try:
                found, reported = case.examine(), ""
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a panic of Rust is no Exception
                found, reported = "a finding", "".join(traceback.format_exception(error))
                place = str(error)[:40] if isinstance(error, fuzzing.Finding) else _place(reported)
                self._record(case, f"{type(error).__name__} {place}", reported)
        seconds, used = time.process_time() - started, _status("VmHWM") - before
        name = f"{self._seed}:{self.state.index}"
        state = self.state
        state.slowest = max(tuple(state.slowest), (round(seconds, 2), name))
        state.largest = max(tuple(state.largest), (round(used / 1e6), name))
        label = f"{case.kind if case.kind in ('dfm', 'dfmg') else 'image'} {found}"
        state.outcomes[label] = state.outcomes.get(label, 0) + 1
        for warning in caught:
            place = f"{Path(warning.filename).name}:{warning.lineno}"
            self._record(case, f"{warning.category.__name__} {place}", str(warning.message))
        written = self._written()
        if written and not case.kind.startswith("tiff"):  # libtiff tells what it finds in a damaged file
            self._record(case, f"output: {' '.join(re.findall('[A-Za-z]{3,}', written)[:1])}", written)
        if self._with_memory and used > self._bounds.memory_bytes(pixels, sum(map(len, case.files.values()))):
            self._record(case, f"memory {case.kind} {found}", f"{used / 1e6:.0f} MB for {pixels} pixels")
        if self._with_times and seconds > SLOWER * self._bounds.seconds(pixels, wavefronts):
            self._record(case, f"time {case.kind} {found}", f"{seconds:.1f} s for {pixels} pixels")

    def _record(self, case: Case, what: str, text: str) -> None:
        """Counts a finding and keeps the first case of it."""
        self.state.findings[what] = self.state.findings.get(what, 0) + 1
        if self.state.findings[what] > 1:
            return
        stem = f"{self._seed}-{self.state.index}-{re.sub(r'[^A-Za-z0-9.]+', '-', what)[:80]}"
        folder = self._out / "findings"
        case.write(folder, stem)
        (folder / f"{stem}.txt").write_text(f"--case {self._seed}:{self.state.index}  {what}\n{text}")

    def _redirect(self) -> None:
        """Sends both outputs, and the tracebacks of faults, to a file."""
        target = os.open(self._output, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_APPEND)
        sys.stdout.flush()
        for descriptor in (1, 2):
            os.dup2(target, descriptor)
        faulthandler.enable()

    def _written(self) -> str:
        """What was written to the outputs since the last call."""
        sys.stdout.flush()
        sys.stderr.flush()
        if os.fstat(1).st_size == 0:
            return ""
        text = self._output.read_text(errors="replace")
        os.truncate(1, 0)
        return text


def state_file(out: Path, seed: int, jobs: int, number: int) -> Path:
    """Where a worker of a run keeps its state."""
    return out / f"seed-{seed}-worker-{number}-of-{jobs}.json"


def warm_up() -> None:
    """Imports and caches what all cases share, so that none pays for it."""
    image_cases.seeds()
    for data in fuzzing.seeds():
        fuzzing.outcome(data)
    for data in image_cases.seeds().values():
        try:
            image_from_bytes(data, "it")
        except Exception:  # the cases meet it again
            continue


def _place(text: str) -> str:
    """The innermost line of the package in a traceback."""
    places = re.findall(r'File "[^"]*/dfmcodec/([^"]+)", line (\d+)', text)
    is_fault = "most recent call first" in text
    return ":".join(places[0 if is_fault else -1]) if places else "outside of the package"


def _status(name: str) -> int:
    """A figure of /proc/self/status, in bytes."""
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[1]) << 10  # type: ignore[index]


def _forget_peak() -> None:
    """Lets VmHWM start again from what is in use."""
    Path("/proc/self/clear_refs").write_text("5")


def _limit(what: int, most: int) -> None:
    resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


def run_workers(arguments: argparse.Namespace) -> dict[int, int]:
    """Starts the workers, and again those that die; returns the exit codes by number."""
    end = time.monotonic() + arguments.seconds if arguments.seconds else None
    command = [sys.executable, "-m", "tests.fuzz.structured", "--seed", str(arguments.seed), "--out", arguments.out]
    command += ["--jobs", str(arguments.jobs), "--count", str(arguments.count)]
    command += [] if arguments.times else ["--no-times"]
    command += [] if arguments.memory else ["--no-memory"]

    def start(number: int, death: int | None) -> subprocess.Popen[bytes]:
        left = [] if end is None else ["--seconds", str(max(1.0, end - time.monotonic()))]
        died = [] if death is None else ["--death", str(death)]
        return subprocess.Popen([*command, "--worker", str(number), *left, *died], cwd=ROOT, env=environment())

    running = {number: start(number, None) for number in range(arguments.jobs)}
    codes: dict[int, int] = {}
    try:
        while running:
            for number, process in list(running.items()):
                try:
                    code = process.wait(0.2)
                except subprocess.TimeoutExpired:
                    continue
                del running[number]
                state = state_file(Path(arguments.out), arguments.seed, arguments.jobs, number)
                if code == 0 or not (state.exists() and State.read(state, number).is_at):
                    codes[number] = code
                else:
                    running[number] = start(number, code)
    finally:
        for process in running.values():
            process.send_signal(signal.SIGKILL)
    return codes


def environment() -> dict[str, str]:
    """One thread for each product of matrices, as in the command."""
    return {**os.environ, "OPENBLAS_NUM_THREADS": "1"}


def summary(arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of all workers."""
    files = [state_file(Path(arguments.out), arguments.seed, arguments.jobs, job) for job in range(arguments.jobs)]
    states = [State.read(path, 0) for path in files]
    outcomes: collections.Counter[str] = collections.Counter()
    findings: collections.Counter[str] = collections.Counter()
    for state in states:
        outcomes.update(state.outcomes)
        findings.update(state.findings)
    return {
        "seed": arguments.seed,
        "cases": sum(outcomes.values()),
        "outcomes": dict(sorted(outcomes.items())),
        "findings": dict(findings.most_common()),
        "slowest_s": max((tuple(state.slowest) for state in states), default=None),
        "largest_MB": max((tuple(state.largest) for state in states), default=None),
    }


def run_case(arguments: argparse.Namespace) -> int:
    """Writes one case and runs it alone; 1 if there is a finding."""
    seed, index = map(int, arguments.case.split(":"))
    out = Path(arguments.out)
    for path in Case.of(seed, index).write(out, f"{seed}-{index}"):
        print(path)
    folder = out / f"case-{seed}-{index}"
    alone = argparse.Namespace(**vars(arguments) | {"out": str(folder), "seed": seed, "count": index + 1, "jobs": 1})
    (folder / "findings").mkdir(parents=True, exist_ok=True)
    State(index).write(state_file(folder, seed, 1, 0))
    run_workers(alone)
    found = summary(alone)
    print(json.dumps(found))
    for path in sorted((folder / "findings").glob("*.txt")):
        print(path.read_text())
    return int(bool(found["findings"]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="cases of all jobs")
    parser.add_argument("--seconds", type=float, help="end after this time, whatever the count")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="a new seed, which is printed")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", required=True, help="folder for state and findings")
    parser.add_argument("--case", metavar="SEED:INDEX", help="write this case to OUT and run it alone")
    parser.add_argument("--times", action=argparse.BooleanOptionalAction, default=True, help="bound processor time")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True, help="bound memory")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--death", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    out = Path(arguments.out)
    (out / "findings").mkdir(parents=True, exist_ok=True)
    if arguments.case:
        return run_case(arguments)
    if arguments.worker is not None:
        worker = Worker(
            out, arguments.seed, arguments.worker, arguments.jobs, Bounds(), arguments.times, arguments.memory
        )
        end = time.monotonic() + (arguments.seconds or float("inf"))
        worker.run(arguments.count, end, arguments.death)
        return 0
    if arguments.fresh:
        arguments.seed = secrets.randbelow(1 << 32)
    print(f"seed {arguments.seed}", flush=True)
    codes = run_workers(arguments)
    for number, code in codes.items():
        if code:
            reported = state_file(out, arguments.seed, arguments.jobs, number).with_suffix(".txt")
            print(f"worker {number} has a fault of its own ({code}): see {reported}")
    found = summary(arguments)
    print(json.dumps(found))
    return int(bool(found["findings"]) or any(codes.values()))


if __name__ == "__main__":
    sys.exit(main())
