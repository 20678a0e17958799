"""Structured fuzzing: `.dfm` files with generated fields, sections and lengths and valid checksums,
and image files with mutations specific to their format.

    python -m tests.fuzz.structured --count 1000000 --seed 1 --jobs 2 --out /tmp/fuzz
    python -m tests.fuzz.structured --fresh --jobs 2 --out /tmp/fuzz  # cases that nobody has seen
    python -m tests.fuzz.structured --case 1:4711 --out /tmp/fuzz    # writes that case and runs it

Two kinds of case: `.dfm` files (dfm_cases.py) and images (image_cases.py). A case follows from
(seed, index) alone. It gets what the commands would do with it. What may come out is an image or a
documented error; a finding is anything else: another exception, a warning, output, more memory or
time than `Bounds`, or the death of the process, which also ends a case that goes on for ALARM_S
seconds. The address space of the process is limited, so that memory that is asked for but not used
counts too. Linux only.

OUT gets the rows of all cases, and in OUT/findings one case of each finding. The last line is a
summary; the exit code is 1 if there were findings.
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
import subprocess
import sys
import time
import traceback
import warnings
from dataclasses import dataclass
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
        kind: "dfm", or the name of an image's kind.
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
        if kind < 0.6:
            return cls("dfm", {"dfm": dfm_cases.dfm_case(rng)}, limit, rng)
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
            page = 1 + below(self.rng, 3) if chance(self.rng, 0.3) else None
            notices: list[str] = []
            strip = ["all"] if chance(self.rng, 0.2) else []
            image = image_from_bytes(self.files["image"], "it", self.max_pixels, strip, page, notices.append)
            fuzzing.must(not any("\n" in notice for notice in notices), "a notice of several lines")
            fuzzing.must(image.height * image.width <= self.max_pixels, "more pixels than the limit")
            return "image"
        except DfmError as error:
            return fuzzing.one_line(error)


@dataclass(frozen=True)
class Worker:
    """Runs every n-th case in this process, with a row for each.

    Args:
        out: The folder of the run.
        seed: The seed of the cases.
        number: The number of the worker.
        jobs: How many workers there are.
        bounds: What a case may take.
        has_times: Whether processor time is compared with them.
        has_memory: Whether memory is; sanitizers take much of their own.
    """

    out: Path
    seed: int
    number: int
    jobs: int
    bounds: Bounds
    has_times: bool = True
    has_memory: bool = True

    @property
    def rows(self) -> Path:
        return self.out / f"worker-{self.number}.jsonl"

    @property
    def output(self) -> Path:
        return self.rows.with_suffix(".txt")

    def run(self, first: int, count: int) -> None:
        """Runs its cases from a first one on, until there are `count` of all workers."""
        warm_up()
        target = os.open(self.output, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_APPEND)
        sys.stdout.flush()
        for descriptor in (1, 2):
            os.dup2(target, descriptor)
        faulthandler.enable()
        if self.has_memory:
            most = self.bounds.memory_bytes(MAX_PIXELS[-1], 0)
            _limit(resource.RLIMIT_AS, _status("VmSize") + SPARE_BYTES + int(most))
        _limit(resource.RLIMIT_CORE, 0)
        with self.rows.open("a") as rows:
            for index in range(first, count, self.jobs):
                print(json.dumps({"at": index}), file=rows, flush=True)
                faulthandler.dump_traceback_later(ALARM_S, exit=True)
                row = self._perform(index)
                faulthandler.cancel_dump_traceback_later()
                print(json.dumps(row), file=rows, flush=True)

    def record_death(self, code: int) -> int:
        """Records that the process ended within a case. Returns the index of the next case.

        Raises:
            RuntimeError: It ended between cases: the worker has a fault of its own.
        """
        text = self.output.read_text(errors="replace")
        last = json.loads(self.rows.read_text().splitlines()[-1]) if self.rows.exists() else {}
        if "at" not in last:
            msg = f"worker {self.number} has a fault of its own ({code}): {text[-3000:]}"
            raise RuntimeError(msg)
        index = int(last["at"])
        kind = "hangs" if "Timeout (" in text else f"dies ({code})"
        finding = self._found(index, f"{kind} {_place(text)}", text)
        with self.rows.open("a") as rows:
            print(json.dumps({"index": index, "outcome": "a finding", "findings": [finding]}), file=rows)
        return index + self.jobs

    def _perform(self, index: int) -> dict[str, Any]:
        """Runs a case. Returns its row."""
        case, findings = Case.of(self.seed, index), []
        pixels, wavefronts = case.size()
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from what is in use
        before, started = _status("VmHWM"), time.process_time()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.filterwarnings("ignore", module=r"PIL\.")  # as the command does
            try:
                outcome = case.examine()
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a panic of Rust is no Exception
                outcome, text = "a finding", "".join(traceback.format_exception(error))
                place = str(error)[:40] if isinstance(error, fuzzing.Finding) else _place(text)
                findings.append((f"{type(error).__name__} {place}", text))
        seconds, used = time.process_time() - started, _status("VmHWM") - before
        for warning in caught:
            place = f"{Path(warning.filename).name}:{warning.lineno}"
            findings.append((f"{warning.category.__name__} {place}", str(warning.message)))
        written = self._written()
        if written and not case.kind.startswith("tiff"):  # libtiff reports what it meets in a damaged file
            findings.append((f"output: {' '.join(re.findall('[A-Za-z]{3,}', written)[:1])}", written))
        if self.has_memory and used > self.bounds.memory_bytes(pixels, sum(map(len, case.files.values()))):
            findings.append((f"memory {case.kind} {outcome}", f"{used / 1e6:.0f} MB for {pixels} pixels"))
        if self.has_times and seconds > SLOWER * self.bounds.seconds(pixels, wavefronts):
            findings.append((f"time {case.kind} {outcome}", f"{seconds:.1f} s for {pixels} pixels"))
        return {
            "index": index,
            "outcome": f"{'dfm' if case.kind == 'dfm' else 'image'} {outcome}",
            "findings": [self._found(index, *finding) for finding in findings],
            "s": round(seconds, 2),
            "MB": round(used / 1e6),
        }

    def _found(self, index: int, finding: str, text: str) -> str:
        """Writes the first case of a finding; returns its name."""
        folder, name = self.out / "findings", re.sub(r"[^A-Za-z0-9.]+", "-", finding)[:80]
        if not any(folder.glob(f"*-{name}.txt")):
            stem = f"{self.seed}-{index}-{name}"
            Case.of(self.seed, index).write(folder, stem)
            (folder / f"{stem}.txt").write_text(f"--case {self.seed}:{index}  {finding}\n{text}")
        return finding

    def _written(self) -> str:
        """Returns what was written to the outputs since the last call."""
        sys.stdout.flush()
        sys.stderr.flush()
        if os.fstat(1).st_size == 0:
            return ""
        text = self.output.read_text(errors="replace")
        os.truncate(1, 0)
        return text


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


def _limit(what: int, most: int) -> None:
    resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


def run_workers(workers: list[Worker], count: int, first: int = 0) -> dict[str, Any]:
    """Runs cases from a first one on, by processes that are started again if they die. Returns a
    summary.
    """
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # one thread for each product, as in the command

    def start(worker: Worker, index: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.fuzz.structured", "--seed", str(worker.seed), "--out", str(worker.out)]
        command += ["--jobs", str(worker.jobs), "--count", str(count)]
        command += [
            option
            for option, is_on in (("--no-times", worker.has_times), ("--no-memory", worker.has_memory))
            if not is_on
        ]
        command += ["--worker", str(worker.number), str(index)]
        return subprocess.Popen(command, cwd=ROOT, env=environment)

    running = [(worker, start(worker, first + worker.number)) for worker in workers]
    try:
        while running:
            worker, process = running.pop(0)
            if (code := process.wait()) != 0:
                running.append((worker, start(worker, worker.record_death(code))))
    finally:
        for _, process in running:
            process.kill()
    rows = [json.loads(line) for worker in workers for line in worker.rows.read_text().splitlines()]
    rows = [row for row in rows if "index" in row]
    return {
        "seed": workers[0].seed,
        "cases": len(rows),
        "outcomes": dict(sorted(collections.Counter(row["outcome"] for row in rows).items())),
        "findings": dict(collections.Counter(finding for row in rows for finding in row["findings"]).most_common()),
        "slowest_s": max((row.get("s", 0), row["index"]) for row in rows),
        "largest_MB": max((row.get("MB", 0), row["index"]) for row in rows),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="cases of all jobs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="a new seed, which is printed")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="a new folder for rows and findings")
    parser.add_argument("--case", metavar="SEED:INDEX", help="write this case to OUT and run it alone")
    parser.add_argument("--times", action=argparse.BooleanOptionalAction, default=True, help="bound processor time")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True, help="bound memory")
    parser.add_argument("--worker", nargs=2, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    out, seed, jobs, count, first = arguments.out, arguments.seed, arguments.jobs, arguments.count, 0
    if arguments.fresh:
        seed = secrets.randbelow(1 << 32)
    if arguments.case:
        seed, first = map(int, arguments.case.split(":"))
        jobs, count = 1, first + 1
    workers = [Worker(out, seed, n, jobs, Bounds(), arguments.times, arguments.memory) for n in range(jobs)]
    if arguments.worker:
        number, index = arguments.worker
        workers[number].run(index, count)
        return 0
    (out / "findings").mkdir(parents=True)
    print(f"seed {seed}", flush=True)
    if arguments.case:
        print(*Case.of(seed, first).write(out, f"{seed}-{first}"), sep="\n")
    found = run_workers(workers, count, first)
    if arguments.case:
        print(*(path.read_text() for path in sorted((out / "findings").glob("*.txt"))), sep="\n")
    print(json.dumps(found))
    return int(bool(found["findings"]))


if __name__ == "__main__":
    sys.exit(main())
