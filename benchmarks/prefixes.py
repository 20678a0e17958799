"""The PSNR of what prefixes of files decode to: python benchmarks/prefixes.py IMAGE... (table in
docs/results/trust.md).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from dfmcodec.codecs.decode import decode_best_effort
from dfmcodec.codecs.encode import encode_image
from dfmcodec.container import section_file_bytes
from dfmcodec.files.atomic import write_atomic
from dfmcodec.image.read_image import read_image
from dfmcodec.image.write_image import OUTPUT_FORMATS, image_to_bytes
from dfmcodec.perception import psnr
from dfmcodec.search.config import EncoderConfig

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--bpp", type=float, default=0.5, help="the size of the complete files in bits per pixel")
    parser.add_argument("--effort", type=int, default=EncoderConfig.effort, help="the effort of all encodings")
    parser.add_argument("--folder", type=Path, help="the folder to write the decoded images to")
    options = parser.parse_args(arguments)
    print("| image | bytes | checks | " + " | ".join(f"{share:.0%}" for share in SHARES) + " |")
    for path in options.images:
        image = read_image(path)
        result = encode_image(image, EncoderConfig(bpp=options.bpp, effort=options.effort, tune="psnr"))
        figures = []
        for share in SHARES:
            decoded, _ = decode_best_effort(result.data[: round(share * len(result.data))])
            figures.append(f"{psnr(image.pixels, decoded.pixels):.2f}")
            if options.folder is not None:
                png = image_to_bytes(decoded, OUTPUT_FORMATS["png"])
                write_atomic(options.folder / f"{path.stem}-{round(100 * share)}.png", png)
        body_bytes = result.report.section_bytes.get("checks")
        checks_bytes = 0 if body_bytes is None else section_file_bytes(body_bytes)
        part = f"{checks_bytes / len(result.data):.2%}"
        print(f"| {path.stem} | {len(result.data)} | {part} | " + " | ".join(figures) + " |", flush=True)


if __name__ == "__main__":
    main()
