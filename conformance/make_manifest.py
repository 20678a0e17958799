"""Writes manifest.tsv, a row for each golden file: python conformance/make_manifest.py

Rows of files that are in the manifest already must come out as they are; see README.md. A new row
gets the version of the program, the first whose files of this kind decode forever.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import PIL.Image
from make_golden import GOLDEN, REASONS

from dfmcodec import __version__, container
from dfmcodec.codecs.overfitted.contents import OverfittedArchitecture, QuantizedGrids
from dfmcodec.codecs.wavelet.contents import WaveletArchitecture
from dfmcodec.container.contents import QuantizedModel

MANIFEST = Path(__file__).resolve().with_name("manifest.tsv")
COLUMNS = (
    *("file", "bytes", "sha256", "model", "weights", "width", "height", "channels", "alpha", "bit_depth"),
    *("sections", "symbols_sha256", "image", "samples_sha256", "reason", "since"),
)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def symbols_of(model: QuantizedModel) -> bytes:
    """The symbols as int32, little-endian, in coding order.

    Those of grids are row by row, from grid 6 to grid 0.
    """
    if isinstance(model, QuantizedGrids):
        return b"".join(grid.astype("<i4").tobytes() for grid in reversed(model.grids))
    return model.symbols.astype("<i4").tobytes()


def row(path: Path, since: str) -> dict[str, str]:
    """The row of a golden file that a version of the program was the first to have."""
    data = path.read_bytes()
    header = container.read_header(data)
    arch = header.architecture
    model, _ = container.read(data)
    weights = ""
    if isinstance(arch, WaveletArchitecture | OverfittedArchitecture):
        weights = f"{arch.weights_id:08x}"
    image = path.with_suffix(".png")
    with PIL.Image.open(image) as opened:
        samples = np.asarray(opened)
    values = (
        *(path.relative_to(GOLDEN).as_posix(), len(data), sha256(data), arch.model.value, weights),
        *(header.width, header.height, header.channels, int(header.has_alpha), header.bit_depth),
        *("+".join(section.title for section in header.sections), sha256(symbols_of(model))),
        *(image.relative_to(GOLDEN).as_posix(), sha256(samples.tobytes())),
        *(REASONS[path.relative_to(GOLDEN).with_suffix("").as_posix()], since),
    )
    return dict(zip(COLUMNS, map(str, values), strict=True))


def read() -> list[dict[str, str]]:
    """The rows of the manifest."""
    lines = MANIFEST.read_text(encoding="utf-8").splitlines()
    names = lines[0].split("\t")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:]]


def main() -> None:
    recorded = {one["file"]: one for one in read()} if MANIFEST.exists() else {}
    rows = {}
    for path in sorted(GOLDEN.rglob("*.dfm")):
        name = path.relative_to(GOLDEN).as_posix()
        rows[name] = row(path, recorded[name]["since"] if name in recorded else __version__)
    if changed := [name for name, one in recorded.items() if rows.get(name) != one]:
        sys.exit(f"golden files are never changed or removed: {', '.join(changed)}")
    lines = ["\t".join(COLUMNS), *("\t".join(one.values()) for one in rows.values())]
    MANIFEST.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
