"""Prints the header of a .dfm file, the size of each section, and the losses if it is damaged.

python examples/inspect_file.py photo.dfm
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import dfmcodec


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()

    try:
        header = dfmcodec.read_info(options.file)
        decoded = dfmcodec.decode(options.file, best_effort=True)
    except dfmcodec.DfmError as error:
        print(f"{options.file}: {error}", file=sys.stderr)
        return 1

    kind = {1: "gray", 3: "RGB"}[header.channels] + (" with alpha" if header.has_alpha else "")
    print(f"{options.file}: {header.width}x{header.height} {kind}, {header.bit_depth} bits per sample")
    print(f"format version {header.format_version}, {header.architecture}")
    if "q_step" in header.fields:
        print(f"q_step {header.fields['q_step'] / 64:.2f} code values")
    for name, size in header.section_bytes().items():
        print(f"{size:>10,} bytes  {size / header.file_bytes:6.1%}  {name}")
    print(f"{header.file_bytes:>10,} bytes  {header.file_bytes / header.raw_bytes:6.2%}  of the raw samples")
    for loss in decoded.losses:
        print(f"lost: {loss}")
    return 1 if decoded.losses else 0


if __name__ == "__main__":
    sys.exit(main())
