"""One picture of what a generative model paints, as docs/generative/ has it of both presets.

    python benchmarks/generative_figure.py mnist-encoder-0.dfmg t10k-images-idx3-ubyte.gz docs/generative/mnist.png

From the left: samples, their pixels doubled; samples painted at four times the size; interpolations, held-out pictures
above what their codes paint, and samples above their nearest training pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from dfmcodec.generative.data import read_pictures
from dfmcodec.generative.figures import between_ends, grid, pairs
from dfmcodec.generative.measures import nearest
from dfmcodec.generative.model import read_model_file

GAP = 20  # pixels between parts
GRAY = 128
UInt8 = np.ndarray


def doubled(pictures: UInt8) -> UInt8:
    return pictures.repeat(2, axis=1).repeat(2, axis=2)


def beside(parts: list[UInt8], axis: int) -> UInt8:
    """Parts next to each other (axis 1) or under each other (axis 0), on gray."""
    other = max(part.shape[1 - axis] for part in parts)
    filled = []
    for part in parts:
        gaps = [(0, 0), (0, 0), (0, 0)]
        gaps[1 - axis] = (0, other - part.shape[1 - axis])
        gaps[axis] = (0, GAP if part is not parts[-1] else 0)
        filled.append(np.pad(part, gaps, constant_values=GRAY))
    return np.concatenate(filled, axis=axis)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model = read_model_file(arguments.model)
    train, held_out = read_pictures(arguments.data).split()
    rng = np.random.default_rng(arguments.seed)
    samples = model.paint(model.density.sample(64, rng))
    size = 4 * model.architecture.height, 4 * model.architecture.width
    ends = model.density.sample(12, rng).reshape(6, 2, -1)
    shown = held_out.pictures[:32]
    columns = [
        grid(doubled(samples), 8),
        grid(model.paint(model.density.sample(16, rng), *size), 4),
        beside(
            [
                grid(model.paint(between_ends(ends, 10)), 10),
                pairs(shown, model.paint(model.encode(shown)), 16),
                pairs(samples[:32], train.pictures[nearest(samples[:32], train.pictures)[0]], 16),
            ],
            axis=0,
        ),
    ]
    options = {"quality": 92} if arguments.out.suffix == ".jpg" else {}
    Image.fromarray(beside(columns, axis=1).squeeze()).save(arguments.out, **options)


if __name__ == "__main__":
    main()
