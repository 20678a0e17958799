"""Encodes all images of a folder to a PSNR floor and writes each .dfm file next to its image.

    python examples/archive_folder.py photos/ --psnr 40 --effort 3 --jobs 2

photo.png becomes photo.png.dfm. Existing files are kept. If a file fails, the others are still
encoded.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import dfmcodec

SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".ppm"}


def archive(source: Path, target: Path, psnr: float, effort: int) -> dfmcodec.EncodeReport:
    """Encodes one image and writes its file atomically."""
    result = dfmcodec.encode(source, psnr=psnr, effort=effort)
    result.save(target, overwrite=False)
    return result.report


def pending(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yields each image that has no .dfm file yet, and the path of that file."""
    for source in sorted(folder.iterdir()):
        target = source.with_name(source.name + ".dfm")
        if source.suffix.lower() in SUFFIXES and not target.exists():
            yield source, target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--psnr", type=float, default=40.0, help="minimum PSNR in dB (default: 40)")
    parser.add_argument("--effort", type=int, default=3, help="1, the fastest, 3, 5, 7 or 9 (default: 3)")
    parser.add_argument("--jobs", type=int, default=1, help="number of images at a time (default: 1)")
    options = parser.parse_args()

    # Without this, workers that are started with spawn or forkserver import modules from the
    # current folder.
    os.environ["PYTHONSAFEPATH"] = "1"
    failures = 0
    with ProcessPoolExecutor(options.jobs) as executor:
        sources = {
            executor.submit(archive, source, target, options.psnr, options.effort): source
            for source, target in pending(options.folder)
        }
        for future in as_completed(sources):
            name = sources[future].name
            try:
                report = future.result()
            except dfmcodec.DfmError as error:
                failures += 1
                print(f"{name}: {error}", file=sys.stderr)
            else:
                print(f"{name}: {report.file_bytes:,} bytes, {report.psnr_db:.2f} dB, {report.total_s:.1f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
