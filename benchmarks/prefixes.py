"""PSNR of what prefixes of files decode to: python benchmarks/prefixes.py PICTURE... (table in docs/results.md)."""

from __future__ import annotations

import argparse
from pathlib import Path

from dfmcodec.decoder import decode_best_effort
from dfmcodec.encoder import EncoderConfig, encode_image
from dfmcodec.io import write_atomic
from dfmcodec.metrics import psnr
from dfmcodec.reading import read_image
from dfmcodec.writing import OUTPUT_FORMATS, image_to_bytes

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--bpp", type=float, default=0.5)
    parser.add_argument("--folder", type=Path, help="Where the decoded pictures go.")
    options = parser.parse_args()
    print("| picture | bytes | checks | " + " | ".join(f"{share:.0%}" for share in SHARES) + " |")
    for path in options.pictures:
        image = read_image(path)
        result = encode_image(image, EncoderConfig(bpp=options.bpp))
        figures = []
        for share in SHARES:
            decoded, _ = decode_best_effort(result.data[: round(share * len(result.data))])
            figures.append(f"{psnr(image.pixels, decoded.pixels):.2f}")
            if options.folder is not None:
                png = image_to_bytes(decoded, OUTPUT_FORMATS["png"])
                write_atomic(options.folder / f"{path.stem}-{round(100 * share)}.png", png)
        checks = result.report.section_bytes.get("checks", 0) + 5
        part = f"{checks / len(result.data):.2%}"
        print(f"| {path.stem} | {len(result.data)} | {part} | " + " | ".join(figures) + " |", flush=True)


if __name__ == "__main__":
    main()
