"""What training keeps between runs: arrays in npz files, which hold no code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from dfmcodec.arrays import read_arrays
from dfmcodec.prior.samples import DecodedCells


@dataclass(frozen=True)
class Checkpoint:
    """Where a training stands.

    Args:
        steps: Gradient steps done.
        trained: Tree of arrays: parameters, and the optimiser's state.
        rng: What chooses the next samples.
    """

    steps: int
    trained: Any
    rng: np.random.Generator

    def save(self, path: Path) -> None:
        """Writes a file in one piece or not at all."""
        state = np.frombuffer(json.dumps(self.rng.bit_generator.state).encode(), dtype=np.uint8)
        leaves = {f"leaf_{number}": np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(self.trained))}
        save_arrays(path, {"steps": np.array(self.steps), "rng": state, **leaves})

    @classmethod
    def load(cls, path: Path, like: Any) -> Checkpoint:
        """Reads what `save` wrote.

        Args:
            path: The file.
            like: What has the structure of the tree: as before the first step.
        """
        arrays = read_arrays(path)
        rng = np.random.default_rng()
        rng.bit_generator.state = json.loads(arrays["rng"].tobytes())
        structure: Any = jax.tree.structure(like)
        leaves = [arrays[f"leaf_{number}"] for number in range(structure.num_leaves)]
        return cls(int(arrays["steps"]), jax.tree.unflatten(structure, leaves), rng)


def save_arrays(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """An npz file in one piece or not at all."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    part.replace(path)


def save_pictures(path: Path, pictures: Sequence[DecodedCells]) -> None:
    """Decoded pictures, for training the machine."""
    arrays = {"steps": np.array([picture.step for picture in pictures])}
    for number, picture in enumerate(pictures):
        arrays |= {f"decoded_{number}": picture.decoded, f"original_{number}": picture.original}
    save_arrays(path, arrays)


def load_pictures(path: Path) -> list[DecodedCells]:
    """Inverse of `save_pictures`."""
    arrays = read_arrays(path)
    return [
        DecodedCells(arrays[f"decoded_{number}"], arrays[f"original_{number}"], int(step))
        for number, step in enumerate(arrays["steps"])
    ]
