"""Checkpoints and decoded images in .npz files, which contain no code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dfmcodec.files.arrays import read_arrays, write_arrays
from research.training.examples import DecodedCells


@dataclass(frozen=True)
class Checkpoint:
    """State of a training.

    Args:
        steps: The number of finished training steps.
        trained: A tree of arrays: the parameters and the optimiser state.
        rng: The random generator for the next examples.
    """

    steps: int
    trained: Any
    rng: np.random.Generator

    @property
    def is_finite(self) -> bool:
        """Indicates whether all arrays are finite."""
        return all(bool(np.isfinite(leaf).all()) for leaf in jax.tree.leaves(self.trained))

    def save(self, path: Path) -> None:
        """Writes the checkpoint atomically."""
        state = np.frombuffer(json.dumps(self.rng.bit_generator.state).encode(), dtype=np.uint8)
        leaves = {f"leaf_{number}": np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(self.trained))}
        write_arrays(path, {"steps": np.array(self.steps), "rng": state, **leaves})

    @classmethod
    def load(cls, path: Path, like: Any) -> Checkpoint:
        """Reads a checkpoint written by `save`.

        Args:
            path: The file.
            like: A tree of the same structure as `trained`.
        """
        arrays = read_arrays(path)
        rng = np.random.default_rng()
        rng.bit_generator.state = json.loads(arrays["rng"].tobytes())
        structure: Any = jax.tree.structure(like)
        leaves = [arrays[f"leaf_{number}"] for number in range(structure.num_leaves)]
        return cls(int(arrays["steps"]), jax.tree.unflatten(structure, leaves), rng)


def save_images(path: Path, images: Sequence[DecodedCells]) -> None:
    """Writes decoded images for training the correction network."""
    arrays = {"steps": np.array([image.q_step for image in images])}
    for number, image in enumerate(images):
        arrays |= {f"decoded_{number}": image.decoded, f"original_{number}": image.original}
    write_arrays(path, arrays)


def load_images(path: Path) -> list[DecodedCells]:
    """Reads the result of `save_images`. It is not compressed, so the limit is the size of the
    file.
    """
    arrays = read_arrays(path, max_bytes=path.stat().st_size)
    return [
        DecodedCells(arrays[f"decoded_{number}"], arrays[f"original_{number}"], int(q_step))
        for number, q_step in enumerate(arrays["steps"])
    ]
