"""One figure of what a generative model paints, as in docs/generative/.

    python benchmarks/generative_figure.py mnist-encoder-0.dfmg t10k-images-idx3-ubyte.gz
    docs/generative/mnist.png

From the left, it shows samples at twice the pixels' size; samples painted at four times the size;
interpolations; held-out images above what their codes paint; and samples above their nearest
training images.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from dfmcodec.codecs.generative.model import read_model_file
from dfmcodec.codecs.generative.training.data import read_images
from dfmcodec.codecs.generative.training.grids import between_ends, grid, pairs
from dfmcodec.codecs.generative.training.measures import nearest

UInt8 = npt.NDArray[np.uint8]
GAP = 20  # pixels between parts
GRAY = 128
JPEG_QUALITY = 92


def doubled(images: UInt8) -> UInt8:
    """Images with every pixel as 2x2 pixels, [N, H, W, C] -> [N, 2 H, 2 W, C]."""
    return images.repeat(2, axis=1).repeat(2, axis=2)


def joined(parts: list[UInt8], axis: int) -> UInt8:
    """Images [H, W, C] side by side (axis 1) or one above the other (axis 0), on gray."""
    other = max(part.shape[1 - axis] for part in parts)
    filled = []
    for part in parts:
        gaps = [(0, 0), (0, 0), (0, 0)]
        gaps[1 - axis] = (0, other - part.shape[1 - axis])
        gaps[axis] = (0, GAP if part is not parts[-1] else 0)
        filled.append(np.pad(part, gaps, constant_values=GRAY))
    return np.concatenate(filled, axis=axis)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the .dfmg file of the model, which needs an encoder")
    parser.add_argument("data", type=Path, help="the set of images that it was trained on")
    parser.add_argument("out", type=Path, help="the file of the figure, .png or .jpg")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the samples")
    options = parser.parse_args(arguments)
    model = read_model_file(options.model)
    train, held_out = read_images(options.data).split()
    rng = np.random.default_rng(options.seed)
    samples = model.paint(model.density.sample(64, rng))
    size = 4 * model.architecture.height, 4 * model.architecture.width
    ends = model.density.sample(12, rng).reshape(6, 2, -1)
    originals = held_out.images[:32]
    columns = [
        grid(doubled(samples), 8),
        grid(model.paint(model.density.sample(16, rng), *size), 4),
        joined(
            [
                grid(model.paint(between_ends(ends, 10)), 10),
                pairs(originals, model.paint(model.encode(originals)), 16),
                pairs(samples[:32], train.images[nearest(samples[:32], train.images)[0]], 16),
            ],
            axis=0,
        ),
    ]
    figure = PIL.Image.fromarray(joined(columns, axis=1).squeeze())
    if options.out.suffix == ".jpg":
        figure.save(options.out, quality=JPEG_QUALITY)
    else:
        figure.save(options.out)


if __name__ == "__main__":
    main()
