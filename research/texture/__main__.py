"""Adds a texture to files of the wavelet codec, and measures it.

    python -m research.texture photo.png --bpp 0.3 --strength 0.5 --out folder

Writes the decoded image without and with texture as PNG files, and prints the bytes of file and
texture and the SSIMULACRA2 and PSNR of both images.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

import dfmcodec
from dfmcodec import container
from dfmcodec.codecs.wavelet.contents import tiling_of
from dfmcodec.perception import psnr
from dfmcodec.perception.ssimulacra2 import ssimulacra2
from research.texture.fit import fitted_texture, measure, with_noise
from research.texture.noise import nonzero_masks
from research.texture.section import write_texture

_MOST_FRACTION = 0.01  # of the file, for the section of a texture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--bpp", type=float, default=0.3)
    parser.add_argument("--strength", type=float, default=0.5)
    parser.add_argument("--out", type=Path, help="A folder for the decoded images.")
    given = parser.parse_args()
    for path in given.images:
        original = np.asarray(PIL.Image.open(path).convert("RGB"))
        result = dfmcodec.encode(original, bpp=given.bpp, model="wavelet")
        model: Any = container.read(result.data)[0]
        tiles = tiling_of(model.architecture, model.height, model.width).tiles
        masks = [nonzero_masks(s.values, t.geometry) for s, t in zip(model.tile_symbols, tiles, strict=True)]
        plain = result.decoded.pixels
        texture = fitted_texture(
            measure(original, plain, model, masks), given.strength, _MOST_FRACTION * len(result.data)
        )
        if texture is None:
            print(f"{path}: {len(result.data)} bytes, no texture")
            continue
        noisy = with_noise(plain, texture, tiles, masks)
        scores = [f"{ssimulacra2(original, image):.2f}, {psnr(original, image):.2f} dB" for image in (plain, noisy)]
        print(
            f"{path}: {len(result.data)} + {len(write_texture(texture))} bytes; without {scores[0]}; with {scores[1]}"
        )
        if given.out is not None:
            given.out.mkdir(parents=True, exist_ok=True)
            for name, image in (("plain", plain), ("texture", noisy)):
                PIL.Image.fromarray(image).save(given.out / f"{path.stem}.{name}.png")


if __name__ == "__main__":
    main()
