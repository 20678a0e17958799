"""Runs `dfm verify` and `dfm decode` on a corpus with 3 % damaged files.

    python tests/fuzz/damaged_corpus.py --files 1000

Parts of scikit-image's photographs are encoded at several qualities; then 3 % of the files get
flipped bits, lose their end, have a part replaced by another file's, or get bytes added. Every
damaged file must be named, every other one decoded, to the pixels that the encoder said.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

import dfmcodec

IMAGES = ("astronaut", "chelsea", "coffee", "camera")


def encoded(number: int, rng: np.random.Generator) -> tuple[bytes, int]:
    """A file of a part of a photograph, and the CRC-32 of what it decodes to."""
    photo = getattr(skimage.data, IMAGES[number % len(IMAGES)])()
    height, width = (int(side) for side in rng.integers(24, 72, 2))
    top, left = (int(rng.integers(0, side - part)) for side, part in zip(photo.shape, (height, width), strict=False))
    pixels = np.ascontiguousarray(photo[top : top + height, left : left + width])
    result = dfmcodec.encode(pixels, quality=float(rng.integers(20, 95)), effort=1)
    return result.data, zlib.crc32(result.decoded.samples.tobytes())


def damaged(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The file with one kind of damage."""
    at = int(rng.integers(1, len(data)))
    kinds = (
        data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :],
        data[:at],
        data[:at] + other[at:] if data[:at] != other[:at] and data[at:] != other[at:] else data[:at],
        data + rng.bytes(int(rng.integers(1, 20))),
    )
    return kinds[int(rng.integers(len(kinds)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--images", type=int, default=120, help="different ones among the files")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    sources = [encoded(number, rng) for number in range(arguments.images)]
    bad = set(rng.choice(arguments.files, round(0.03 * arguments.files), replace=False).tolist())
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "in").mkdir()
        for number in range(arguments.files):
            data, _ = sources[number % len(sources)]
            other, _ = sources[(number + 1) % len(sources)]
            (folder / "in" / f"{number:05}.dfm").write_bytes(damaged(data, other, rng) if number in bad else data)
        command = [sys.executable, "-m", "dfmcodec"]
        verify = subprocess.run([*command, "verify", "-r", "in", "--json"], cwd=folder, capture_output=True, text=True)
        reports = [json.loads(line) for line in verify.stdout.splitlines()]
        named = {int(Path(report["source"]).stem) for report in reports if "error" in report}
        decode = subprocess.run(
            [*command, "decode", "in", "-O", "out", "--quiet"], cwd=folder, capture_output=True, text=True
        )
        right = 0
        for path in (folder / "out").glob("*.png"):
            with Image.open(path) as image:
                right += zlib.crc32(np.asarray(image).tobytes()) == sources[int(path.stem) % len(sources)][1]
        reported = f"verify named {len(named & bad)} of them and {len(named - bad)} others"
        print(f"{arguments.files} files, {len(bad)} damaged: {reported}")
        errors = len(decode.stderr.splitlines())
        print(f"decode: exit code {decode.returncode}, {right} images right, {errors} lines of errors")
        sys.exit(0 if named == bad and right == arguments.files - len(bad) else 1)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
