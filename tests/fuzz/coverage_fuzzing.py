"""Coverage-guided fuzzing of the decoder with atheris: inputs that reach new code are kept and
mutated further.

    python3.11 -m venv /tmp/atheris
    /tmp/atheris/bin/pip install atheris numpy msgpack pillow
    /tmp/atheris/bin/python tests/fuzz/coverage_fuzzing.py --seconds 600 --work /tmp/fuzz
    /tmp/atheris/bin/python tests/fuzz/coverage_fuzzing.py --models 3 --work /tmp/fuzz

The second one starts from files of the overfitted codec alone, whose sections it then changes.

What is mutated are files without their checksum, which is put right before decoding, so that what
is behind it meets the changes. An image must come out, or a documented error. Prints executions,
growth of the corpus, lines covered by the seeds and by the corpus, and findings; these stand in
WORK/findings. `--keep FOLDER` leaves the files of the corpus that cover more lines than the seeds
do: tests/fuzz/test_coverage_corpus.py decodes them.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import itertools
import json
import os
import re
import struct
import subprocess
import sys
import time
import traceback
import types
import zlib
from collections.abc import Container, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dfmcodec.codecs.wavelet.contents import tiling_of
from dfmcodec.codecs.overfitted.contents import QuantizedGrids

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # an environment without dfmcodec is enough

PACKAGE = ROOT / "dfmcodec"
MAX_PIXELS = 1 << 10  # small images: more of them a second
MAX_BYTES = 2048
BLIND_MUTANTS = 1000  # whose lines are counted for comparison
HEADER = struct.Struct("<4sBBBBHHBBBBB")
SECTION = struct.Struct("<BI")
CHECKS = 8  # id of the section
MODEL_BYTE = 5
DECODER = (  # modules whose lines are counted; they hold what writes files too
    *("image/__init__", "image/region", "image/resample", "weights/registry"),
    *(f"entropy/{name}" for name in ("coder", "context_networks", "streams", "tables")),
    *(f"fourier/{name}" for name in ("layer", "network", "quantize")),
    *(f"container/{name}" for name in ("contents", "header", "integrity", "layout", "models", "read_write", "sizes")),
    *(f"container/{name}" for name in ("alpha", "checks", "metadata")),
    *(f"codecs/{name}" for name in ("decode", "losses", "renderer")),
    *(f"codecs/wavelet/{name}" for name in ("adaptation", "colour", "contents", "context", "correction", "decode")),
    *(f"codecs/wavelet/{name}" for name in ("filter", "geometry", "neighbourhood", "passes", "quantizer", "salvage")),
    *(f"codecs/wavelet/{name}" for name in ("synthesis", "transform", "traversal", "trellis", "weights")),
    *(f"codecs/wavelet/sections/{name}" for name in ("adaptation", "filter", "latents")),
    *(f"codecs/overfitted/{name}" for name in ("contents", "context", "decode", "grids", "synthesis", "traversal")),
    *(f"codecs/overfitted/{name}" for name in ("weights", "sections/grids", "sections/networks")),
    *(f"codecs/coordinate/{name}" for name in ("contents", "decode", "sections")),
    *(f"codecs/generative/{name}" for name in ("contents", "decode", "density", "model", "network", "sections")),
)


def tiny_files() -> list[bytes]:
    """Files of few pixels with every section: symbols at random, no encoder."""
    from dfmcodec import container
    from dfmcodec.codecs.coordinate.contents import QuantizedNetwork
    from dfmcodec.codecs.wavelet.adaptation import ContextAdaptation
    from dfmcodec.codecs.wavelet.colour import Luma
    from dfmcodec.codecs.wavelet.contents import QuantizedLatents, TileSymbols, WaveletArchitecture
    from dfmcodec.codecs.wavelet.filter import ImageFilter, taps
    from dfmcodec.codecs.wavelet.geometry import Geometry
    from dfmcodec.codecs.wavelet.weights import weights_of
    from dfmcodec.container import read_write
    from dfmcodec.container.contents import QuantizedModel
    from dfmcodec.fourier.network import CoordinateArchitecture
    from dfmcodec.image import Metadata
    from dfmcodec.weights.registry import WAVELET

    rng = np.random.default_rng(0)
    files = []

    def add(model: QuantizedModel, ancillary: container.Ancillary) -> None:
        """With checks, which so small files do not get otherwise, and without."""
        files.append(container.write(model, container.ancillary_sections(ancillary), checked=False))
        usual, read_write.CHECKS_FRACTION = read_write.CHECKS_FRACTION, 1.0
        files.append(container.write(model, container.ancillary_sections(ancillary)))
        read_write.CHECKS_FRACTION = usual

    def symbols(count: int, scale: float) -> np.ndarray:
        return np.rint(rng.laplace(0, scale, count)).astype(np.int32)

    for depth, width, order, channels, bits in ((1, 1, 1, 1, 8), (3, 3, 1, 3, 8), (2, 4, 4, 3, 16)):
        network = CoordinateArchitecture(channels, depth, width, order)
        steps = tuple(int(step) for step in rng.integers(0, 60, depth))
        model = QuantizedNetwork(network, 9, 7, symbols(network.weight_count, 5), steps, bits)
        add(model, container.Ancillary(Metadata(exif=b"Exif", xmp=b"<x/>")))
    sizes = ((1, 1, 1, 1), (13, 10, 3, 2), (8, 9, 1, 4), (1, 520, 1, 2), (21, 5, 3, 6))
    for number, (height, width, channels, levels) in enumerate(sizes):
        tiles = 1, max(1, width // 256)
        architecture = WaveletArchitecture(channels, levels, 4, 60, list(Luma)[number % 2], WAVELET.id, *tiles)
        geometry = Geometry(height, width, channels, levels)
        radius = number % 5 + 1
        weights = symbols(channels * len(taps(radius)) * channels, 2).reshape(channels, -1, channels)
        adaptation = ContextAdaptation.none(weights_of(WAVELET.id).context, geometry)
        if tiles == (1, 1):
            adaptation = ContextAdaptation(
                symbols(adaptation.maps.size, 1).reshape(adaptation.maps.shape),
                symbols(adaptation.constants.size, 1).reshape(adaptation.constants.shape),
            )
        bits = 16 if number % 2 else 8
        values = symbols(height * width * channels, (0.5, 3, 1000)[number % 3])
        counts = [tile.geometry.symbol_count() for tile in tiling_of(architecture, height, width).tiles]
        model = QuantizedLatents(
            architecture,
            height,
            width,
            (1, 640, 65535, 300, 60)[number],
            number * 63,
            tuple(map(TileSymbols.of, np.split(values, np.cumsum(counts)[:-1]))),
            None,
            ImageFilter(radius, 8 * number, weights),
            adaptation,
            bits,
        )
        alpha = rng.integers(0, 1 << bits, (height, width)).astype(np.uint8 if bits == 8 else np.uint16)
        add(model, container.Ancillary(Metadata(icc=b"icc"), alpha, channels == 1))
    for number, (height, width, channels, scale) in enumerate(((1, 1, 1, 1), (9, 14, 3, 2), (17, 5, 3, 300))):
        add(tiny_grids(height, width, channels, scale, rng), container.Ancillary(gray_as_rgb=channels == 1))
        if number:
            changed = tiny_grids(height, width, channels, scale, rng, deltas=number)
            add(changed, container.Ancillary(Metadata(xmp=b"<x/>")))
    return files


def tiny_grids(
    height: int, width: int, channels: int, scale: float, rng: np.random.Generator, deltas: int = 0
) -> QuantizedGrids:
    """An overfitted codec of few pixels: symbols at random, a few weights of the networks
    changed.
    """
    from dfmcodec.codecs.overfitted.contents import OverfittedArchitecture, QuantizedGrids
    from dfmcodec.codecs.overfitted.grids import grid_sizes
    from dfmcodec.codecs.overfitted.weights import DELTA_NAMES, WeightDeltas, overfitted_weights_of
    from dfmcodec.weights.registry import OVERFITTED_SMALL

    weights = overfitted_weights_of(OVERFITTED_SMALL.id)
    sizes = grid_sizes(height, width)
    grids = tuple(np.rint(rng.laplace(0, scale, size)).astype(np.int32) for size in sizes)
    symbols = np.zeros(weights.weight_count, np.int32)
    symbols[rng.integers(0, len(symbols), deltas)] = 1
    exponents = tuple(int(exponent) for exponent in rng.integers(2, 8, len(DELTA_NAMES)))
    arch = OverfittedArchitecture(channels, len(sizes), 1, weights.width, 1, weights.checksum)
    networks = WeightDeltas(exponents, symbols) if deltas else None
    bits = 16 if deltas else 8
    return QuantizedGrids(arch, height, width, int(rng.integers(-24, 33)), grids, networks, bits)


def seeds(models: Container[int] = range(4)) -> list[bytes]:
    """Files of some models without checksums, small enough to be decoded."""
    import fuzzing

    files = [data for data in [*tiny_files(), *fuzzing.seeds()] if len(data) <= MAX_BYTES]
    of_models = [data for data in files if data[MODEL_BYTE] in models]
    return [data[:-4] for data in of_models if fuzzing.outcome(data, MAX_PIXELS) != "LimitError"]


def meet(content: bytes) -> str:
    """Examines a file without a checksum; what is done with it follows from its bytes."""
    import fuzzing

    return fuzzing.examine(fuzzing.with_crc(content), np.random.default_rng(zlib.crc32(content)), MAX_PIXELS)


class WeightDeltas:
    """Mutations that know what a file consists of."""

    def __init__(self, files: list[bytes]) -> None:
        self.bodies = [body for content in files for _, body in (parts(content) or (b"", []))[1]]

    def mutate(self, data: bytes, max_size: int, seed: int) -> bytes:
        """A changed file without its checksum; one of ten by bytes alone."""
        import atheris

        rng = np.random.default_rng(seed)
        found = parts(data)
        kind = int(rng.integers(10))
        if found is None or kind == 0:
            return bytes(atheris.Mutate(data, max_size))
        head, sections = found
        checked = bool(rng.integers(2))
        if kind <= 2:
            changed = bytearray(head)
            for _ in range(rng.integers(1, 3)):
                changed[rng.integers(5, len(head))] = rng.choice([0, 1, 2, 3, 8, 64, 255, rng.integers(256)])
            return joined(bytes(changed), sections, checked)[:max_size]
        at = int(rng.integers(len(sections))) if sections else 0
        if kind == 3 and len(sections) > 1:
            del sections[at]
        elif kind == 4:
            key = int(rng.integers(0, 10))
            sections.insert(at, (key, self.bodies[rng.integers(len(self.bodies))]))
        elif sections:
            key, body = sections[at]
            room = max(1, max_size - len(data) + len(body))
            sections[at] = (key, bytes(atheris.Mutate(body, room)) if body else rng.bytes(int(rng.integers(1, 9))))
        return joined(head, sections, checked)[:max_size]

    def cross(self, data: bytes, other: bytes, max_size: int, seed: int) -> bytes:
        """One file's header and another's sections."""
        rng = np.random.default_rng(seed)
        first, second = parts(data), parts(other)
        if first is None or second is None or not second[1]:
            return data[: max_size // 2] + other[: max_size // 2]
        sections = dict(first[1])
        key, body = second[1][rng.integers(len(second[1]))]
        sections[key] = body
        return joined(first[0], list(sections.items()), bool(rng.integers(2)))[:max_size]


def parts(content: bytes) -> tuple[bytes, list[tuple[int, bytes]]] | None:
    """Header with the model's fields, and sections; None where a file is not cut like that."""
    if len(content) < HEADER.size or content[5] == 2:  # too short, or a code, whose header is another
        return None
    *_, extension, count = HEADER.unpack_from(content)
    table = HEADER.size + extension
    start = table + count * SECTION.size
    if start > len(content):
        return None
    sections = []
    for entry in range(count):
        key, length = SECTION.unpack_from(content, table + entry * SECTION.size)
        sections.append((key, content[start : start + length]))
        start += length
    return content[:table], sections


def joined(head: bytes, sections: list[tuple[int, bytes]], checked: bool = False) -> bytes:
    """Inverse of `parts`, with right lengths, and where it is asked for with right checks of the
    sections.
    """
    from dfmcodec.container.checks import CHECK_BYTES, write_checks

    head = head[: HEADER.size - 1] + bytes([len(sections) & 255]) + head[HEADER.size :]
    table = b"".join(SECTION.pack(key, len(body)) for key, body in sections)
    bodies = [body for key, body in sections if key != CHECKS]
    if checked and len(bodies) < len(sections):
        old = dict(sections)[CHECKS]
        size, start = CHECK_BYTES, CHECK_BYTES * (1 + len(bodies))
        of_symbols = [int.from_bytes(old[at : at + size], "little") for at in range(start, len(old) - size, size)]
        new = write_checks(head + table, bodies, of_symbols)
        sections = [(key, new[: len(body)] if key == CHECKS else body) for key, body in sections]
    return head + table + b"".join(body for _, body in sections)


def fuzz(work: Path, seconds: int, models: Container[int]) -> None:
    """Runs atheris until the time is over; does not return."""
    import atheris

    with atheris.instrument_imports(include=["dfmcodec"]):
        import dfmcodec.codecs.decode
        import dfmcodec.codecs.wavelet.weights  # noqa: F401
    deltas = WeightDeltas(seeds(models))
    seen: collections.Counter[str] = collections.Counter()
    written = time.monotonic()

    def one_input(data: bytes) -> None:
        nonlocal written
        try:
            seen[meet(data)] += 1
        except Exception as error:
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if str(ROOT) in frame.filename]
            where = f"{type(error).__name__} {Path(frames[-1].filename).name}:{frames[-1].lineno}"
            seen[where] += 1
            target = work / "findings" / re.sub(r"\W+", "-", where)
            if not target.with_suffix(".dfm").exists():
                import fuzzing

                target.with_suffix(".dfm").write_bytes(fuzzing.with_crc(data))
                target.with_suffix(".txt").write_text("".join(traceback.format_exception(error)))
        if time.monotonic() - written > 5:
            written = time.monotonic()
            (work / "outcomes.json").write_text(json.dumps(seen))

    options = [f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", "-timeout=30", "-rss_limit_mb=6144", "-seed=1"]
    atheris.Setup(
        [sys.argv[0], str(work / "corpus"), *options, f"-artifact_prefix={work / 'findings'}{os.sep}"],
        one_input,
        custom_mutator=deltas.mutate,
        custom_crossover=deltas.cross,
    )
    atheris.Fuzz()


def decoder_lines() -> set[tuple[str, int]]:
    """All lines of functions of the modules that decode."""
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.removesuffix(".py") in DECODER:
            for line in _function_lines(compile(path.read_text(), str(path), "exec")):
                found.add((name, line))
    return found


def _function_lines(code: types.CodeType, inside: bool = False) -> Iterable[int]:
    is_function = inside or bool(code.co_flags & 2)  # CO_NEWLOCALS and CO_OPTIMIZED are for functions
    if is_function:
        yield from (line for _, _, line in code.co_lines() if line and line != code.co_firstlineno)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _function_lines(constant, bool(constant.co_flags & 1))


class Lines:
    """Collects the lines of the decoder that run while it is entered, over all times that it is."""

    def __init__(self) -> None:
        self.every = decoder_lines()
        self.found: set[tuple[str, int]] = set()
        self._missing: dict[types.CodeType, set[int]] = {}

    def __enter__(self) -> Lines:
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def of(self, content: bytes) -> int:
        """How many new lines decoding a file without a checksum runs."""
        before = len(self.found)
        with self:
            try:
                meet(content)
            except Exception:  # it is among the findings
                pass
        return len(self.found) - before

    def _call(self, frame: types.FrameType, event: str, argument: object) -> object:
        code = frame.f_code
        if code not in self._missing:
            ours = code.co_filename.startswith(str(PACKAGE))
            self._missing[code] = set(_function_lines(code, True)) if ours else set()
        return self._line if self._missing[code] else None

    def _line(self, frame: types.FrameType, event: str, argument: object) -> object:
        missing = self._missing[frame.f_code]
        if event == "line" and frame.f_lineno in missing:
            missing.remove(frame.f_lineno)
            name = Path(frame.f_code.co_filename).relative_to(PACKAGE).as_posix()
            if (name, frame.f_lineno) in self.every:
                self.found.add((name, frame.f_lineno))
        return self._line


def measure(work: Path, keep: Path | None, models: Container[int]) -> dict[str, object]:
    """Lines that seeds, blind mutants and corpus cover; the corpus's files that cover more go to
    `keep`.
    """
    import fuzzing

    for content in seeds(models):  # fill caches, and import what is imported late
        meet(content)
    blind, lines = Lines(), Lines()
    for content in seeds(models):
        blind.of(content)
        lines.of(content)
    by_seeds = len(lines.found)
    mutants = fuzzing.mutants(fuzzing.seeds(), np.random.default_rng(0))
    for _, data in itertools.islice(mutants, BLIND_MUTANTS):
        blind.of(data[:-4])
    corpus = sorted((path.read_bytes() for path in (work / "corpus").iterdir()), key=len)
    kept = [content for content in corpus if lines.of(content)]
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        for content in kept:
            (keep / f"{hashlib.sha256(content).hexdigest()[:12]}.dfm").write_bytes(fuzzing.with_crc(content))
    missing = collections.Counter(name for name, _ in lines.every - lines.found)
    return {
        "lines": len(lines.every),
        "lines_by_seeds": by_seeds,
        f"lines_by_seeds_and_{BLIND_MUTANTS}_blind_mutants": len(blind.found),
        "lines_by_corpus": len(lines.found),
        "corpus_files": len(corpus),
        "corpus_bytes": sum(map(len, corpus)),
        "kept_files": len(kept),
        "kept_bytes": sum(map(len, kept)),
        "not_covered": dict(missing.most_common()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--work", type=Path, required=True, help="Corpus, findings and the log stay there.")
    parser.add_argument("--keep", type=Path, help="Folder for the files of the corpus that cover new lines.")
    parser.add_argument(
        "--models", type=int, nargs="+", choices=range(4), default=list(range(4)), help="of the seeds; 3 is fitted"
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        fuzz(options.work, options.seconds, options.models)
        return
    for folder in ("corpus", "findings"):
        (options.work / folder).mkdir(parents=True, exist_ok=True)
    for content in seeds(options.models):
        (options.work / "corpus" / hashlib.sha256(content).hexdigest()[:12]).write_bytes(content)
    log = options.work / "log.txt"
    with log.open("w") as output:
        arguments = ["--inside", "--work", str(options.work), "--seconds", str(options.seconds)]
        arguments += ["--models", *map(str, options.models)]
        subprocess.run(
            [sys.executable, __file__, *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            check=False,
        )
    executions = [int(number) for number in re.findall(r"^#(\d+)\s", log.read_text(), re.MULTILINE)]
    outcomes = options.work / "outcomes.json"
    found = {
        "executions": max(executions, default=0),
        "outcomes": json.loads(outcomes.read_text()) if outcomes.exists() else {},
        "findings": sorted(path.name for path in (options.work / "findings").iterdir()),
        **measure(options.work, options.keep, options.models),
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
