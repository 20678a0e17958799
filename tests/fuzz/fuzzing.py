"""Mutated `.dfm` files: whatever comes in, only an image or a documented error comes out.

python tests/fuzz/fuzzing.py --count 100000               figures of a long run
python tests/fuzz/fuzzing.py --count 20000 --best-effort  and prefixes of all golden files
python tests/fuzz/fuzzing.py --codes                      codes of generative models alone
"""

from __future__ import annotations

import argparse
import collections
import json
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dfmcodec import bitstream
from dfmcodec.bitstream.contents import CodeArchitecture
from dfmcodec.decoder import decode_best_effort, decode_image
from dfmcodec.errors import FormatError
from dfmcodec.generative.model import GenerativeModel, read_model_file

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "v1"
GENERATORS = {model.id: model for model in map(read_model_file, GOLDEN.glob("generative/*.dfmg"))}
MAX_PIXELS = 1 << 16
MAX_SEED_BYTES = 1300
HEADER_BYTES = 27


def seeds() -> list[bytes]:
    """The small golden files: all models, all kinds of images, all priors."""
    files = [path.read_bytes() for path in sorted(GOLDEN.glob("*.dfm"))]
    return [data for data in files if len(data) <= MAX_SEED_BYTES] + codes()


def codes() -> list[bytes]:
    """The golden codes."""
    return [path.read_bytes() for path in sorted(GOLDEN.glob("generative/*.dfm"))]


def with_crc(content: bytes) -> bytes:
    """Content with the CRC-32 of a whole file."""
    return content + struct.pack("<I", zlib.crc32(content))


def mutants(files: list[bytes], rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Endless; nearly all have a right checksum, so that what is behind it meets them."""
    while True:
        content = bytearray(files[rng.integers(len(files))][:-4])
        kind = ("bits", "header", "bytes", "cut", "spliced", "longer", "unchecked")[rng.integers(7)]
        if kind in ("bits", "unchecked"):
            for _ in range(rng.integers(1, 9)):
                content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        elif kind == "header":
            for _ in range(rng.integers(1, 4)):
                content[rng.integers(5, min(HEADER_BYTES + 20, len(content)))] = rng.integers(256)
        elif kind == "bytes":
            start = rng.integers(len(content))
            stop = min(len(content), start + rng.integers(1, 40))
            content[start:stop] = rng.bytes(int(stop - start))
        elif kind == "cut":
            content = content[: rng.integers(1, len(content))]
        elif kind == "spliced":
            content = bytearray(_spliced(bytes(content), files[rng.integers(len(files))], rng))
        else:
            content += rng.bytes(int(rng.integers(1, 30)))
        yield kind, bytes(content) + bytes(4) if kind == "unchecked" else with_crc(bytes(content))


def _spliced(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The header of one file with a section's body of another, of the right length or not."""
    header = bitstream.read_header(content + bytes(4))
    start, length = list(header.sections.values())[rng.integers(len(header.sections))]
    donor = bitstream.read_header(other)
    body_start, body_length = list(donor.sections.values())[rng.integers(len(donor.sections))]
    body = other[body_start : body_start + body_length]
    if rng.integers(2):
        body = (body + bytes(length))[:length]
    return content[:start] + body + content[start + length :]


def broken(files: list[bytes], rng: np.random.Generator) -> Iterator[bytes]:
    """Endless, as transfers and disks break files: bits flipped, the end lost, bytes added;
    checksums as they were.
    """
    while True:
        data = bytearray(files[rng.integers(len(files))])
        if rng.integers(3) == 0:
            data = data[: rng.integers(1, len(data))]
        elif rng.integers(4) == 0:
            data += rng.bytes(int(rng.integers(1, 30)))
        for _ in range(rng.integers(0, 5)):
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        yield bytes(data)


def prefixes(files: list[bytes]) -> Iterator[bytes]:
    """All of all files."""
    return (data[:size] for data in files for size in range(len(data)))


def hostile_headers(rng: np.random.Generator) -> Iterator[bytes]:
    """Headers of random fields with a right checksum and little behind them."""
    while True:
        model = int(rng.integers(3))
        if model == 2:
            yield _hostile_code_header(rng)
            continue
        channels, depth = int(rng.choice([1, 3])), int(rng.choice([8, 16]))
        width, height = (int(2 ** rng.uniform(0, 16)) - 1 for _ in range(2))
        fields = b""
        network = [int(rng.integers(1, 65)) for _ in range(3)]
        if model:
            fields = struct.pack("<BHBI", rng.integers(1, 7), rng.integers(1, 65536), rng.integers(256), 0xA25C47C2)
            fields += bytes(map(int, rng.integers(0, 67, 2))) if rng.integers(2) else b""  # 1..64 tiles
            network = [4, 60, 1]
        key = 3 if model else 1
        body = rng.bytes(int(rng.integers(0, 40)))
        length = len(body) if rng.integers(4) else int(rng.integers(0, 1 << 32))
        head = struct.pack(
            "<4sBBBBHHBBBBB", b"\x89DFM", 1, model, channels, depth, width, height, *network, len(fields), 1
        )
        yield with_crc(head + fields + struct.pack("<BI", key, length) + body)


def _hostile_code_header(rng: np.random.Generator) -> bytes:
    """A code's header of random sizes, kinds and lengths, of a model that is there."""
    model = list(GENERATORS.values())[rng.integers(len(GENERATORS))]
    arch = model.architecture
    sides = rng.integers(0, 256, 2) if rng.integers(2) else (arch.width - 1, arch.height - 1)
    head = struct.pack("<4sBBIBBB", b"\x89DFM", 1, 2, model.id, *map(int, sides), int(rng.integers(0, 16)))
    return with_crc(head + rng.bytes(int(rng.integers(1, 60))))


def generator_of(data: bytes) -> GenerativeModel | None:
    """The model of a code, if it is one that is there."""
    try:
        architecture = bitstream.read_header(data).architecture
    except FormatError:
        return None
    return GENERATORS.get(architecture.generator_id) if isinstance(architecture, CodeArchitecture) else None


def outcome(data: bytes, max_pixels: int = MAX_PIXELS) -> str:
    """What decoding comes to: "image" or the name of a documented error; anything else is
    raised.
    """
    try:
        decode_image(data, max_pixels=max_pixels, generator=generator_of(data))
    except FormatError as error:
        return type(error).__name__ if "\n" not in str(error) else "an error of several lines"
    return "image"


def best_effort_outcome(data: bytes, max_pixels: int = MAX_PIXELS) -> str:
    """As `outcome`, of what is there; "a part" where something is not."""
    try:
        _, losses = decode_best_effort(data, max_pixels=max_pixels, generator=generator_of(data))
    except FormatError as error:
        return type(error).__name__ if "\n" not in str(error) else "an error of several lines"
    return "a part" if losses else "image"


def main() -> None:
    import resource  # not on Windows, where the tests use the rest of this module

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--headers", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--best-effort", action="store_true")
    parser.add_argument("--codes", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    found: collections.Counter[str] = collections.Counter()
    slowest = 0.0
    examine = best_effort_outcome if options.best_effort else outcome
    files = codes() if options.codes else seeds()
    sources = [(options.count, (data for _, data in mutants(files, rng))), (options.headers, hostile_headers(rng))]
    if options.best_effort:
        sources += [(options.count, broken(files, rng)), (sum(map(len, files)), prefixes(files))]
    for count, source in sources:
        for _, data in zip(range(count), source, strict=False):
            started = time.perf_counter()
            try:
                found[examine(data)] += 1
            except BaseException:
                Path("fuzz-failure.dfm").write_bytes(data)
                raise
            slowest = max(slowest, time.perf_counter() - started)
            if sum(found.values()) % 5000 == 0:
                print(sum(found.values()), dict(found), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"outcomes": found, "slowest_s": round(slowest, 3), "peak_MiB": round(peak)}))


if __name__ == "__main__":
    main()
