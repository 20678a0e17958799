"""JAX set up for this package, and the networks' evaluation by it. The only door to JAX beside the encoder."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dfmcodec import fourier, synthesis
from dfmcodec.model import CoordinateArchitecture

Float32 = npt.NDArray[np.float32]

_CACHE_WARNING = "Error (reading|writing) persistent compilation cache"


def cache_folder() -> Path:
    """Where compiled programs are kept between runs: $XDG_CACHE_HOME/dfmcodec/jax."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "dfmcodec" / "jax"


def use_compilation_cache() -> None:
    """Turns on JAX's persistent compilation cache, unless the program that uses us has set one."""
    config: Any = jax.config
    if config.jax_compilation_cache_dir is None:
        with suppress(RuntimeError):  # a user without a home folder
            config.update("jax_compilation_cache_dir", str(cache_folder()))
            config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@contextmanager
def calls() -> Iterator[None]:
    """What compiled functions are called in: a useless cache is no matter, and lacking memory is one of its own.

    Where JAX cannot read one of our cache's files it compiles; we empty the cache then, as it would keep the file.

    Raises:
        MemoryError: Instead of JAX's own error, which is a RuntimeError.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", _CACHE_WARNING)
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise MemoryError(str(error)) from error
    of_cache = [warning for warning in caught if re.match(_CACHE_WARNING, str(warning.message))]
    for warning in caught:
        if warning not in of_cache:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if any("Error reading" in str(warning.message) for warning in of_cache):
        with suppress(OSError, RuntimeError):
            for path in cache_folder().glob("*-cache"):
                path.unlink()


def evaluator(flat: Float32, architecture: CoordinateArchitecture) -> Callable[[Float32], Float32]:
    """A function from positions float32 [N, 2] to samples float32 [N, channels], N <= BLOCK_PIXELS."""
    use_compilation_cache()
    with calls():
        weights = fourier.unpack(jnp.asarray(flat), architecture, jnp)

    @jax.jit
    def evaluate_block(weights: list[fourier.Weights], v: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):  # a GPU would use TF32
            samples: jax.Array = fourier.machine(weights, v, architecture.order, jnp)
        return samples

    def evaluate(v: Float32) -> Float32:
        padded = np.pad(v, ((0, fourier.BLOCK_PIXELS - len(v)), (0, 0)))  # one shape, compiled once
        with calls():
            return np.asarray(evaluate_block(weights, padded))[: len(v)]

    return evaluate


def machine_evaluator(machine: synthesis.Machine) -> synthesis.Evaluate:
    """The machine on features float32 [rows, columns, FEATURES]; see `synthesis.correction`."""
    use_compilation_cache()

    @jax.jit
    def evaluate_block(features: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            found: jax.Array = synthesis.correction(machine, features, jnp)
        return found

    def evaluate(features: Float32) -> Float32:
        rows, columns = (-(-side // 32) * 32 for side in features.shape[:2])  # few shapes, compiled once each
        missing = rows - features.shape[0], columns - features.shape[1]
        with calls():
            found = np.asarray(evaluate_block(np.pad(features, ((0, missing[0]), (0, missing[1]), (0, 0)))))
        return found[: found.shape[0] - missing[0], : found.shape[1] - missing[1]]

    return evaluate
