"""A trained generative model, and its file (see README.md, "Files")."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from dfmcodec._types import Float32, Float64, UInt8
from dfmcodec.errors import ConfigError, CorruptError
from dfmcodec.files.arrays import read_arrays, write_arrays
from dfmcodec.image import samples_to_values
from research.generative.density import CodeDensity
from research.generative.network import (
    GenerativeArchitecture,
    checked_network,
    encode_images,
    exact_cos_sin,
    first_features,
    inputs_at,
    network_shapes,
    paint,
)

_DENSITY = ("weights", "means", "axes", "deviations")
_MAX_BYTES = 1 << 29  # of the arrays of a model
_BLOCK_POSITIONS = 1 << 16  # maximum positions of all images that are rendered at a time
_BLOCK_FLOATS = 1 << 24  # maximum intermediate values and coefficients of a block, which limits memory


@dataclass(frozen=True, eq=False)
class GenerativeModel:
    """A trained generative model. It is always used with the values of its file: parameters are
    rounded to float16 before any measurement.
    """

    architecture: GenerativeArchitecture
    parameters: Mapping[str, Float32]  # of the networks, float32, by the names of `network.network_shapes`
    density: CodeDensity  # of the training images' codes
    report: Mapping[str, Any] = field(default_factory=dict)  # of the training: recipe, seed, data, steps, seconds

    @property
    def has_encoder(self) -> bool:
        """Indicates whether the model has an encoder network."""
        return "encoder_w0" in self.parameters

    @cached_property
    def id(self) -> int:
        """Returns the CRC-32 of architecture and arrays, by which files of codes name the model."""
        checksum = zlib.crc32(json.dumps(asdict(self.architecture)).encode())
        for _, array in sorted(self._arrays().items()):
            checksum = zlib.crc32(array.tobytes(), checksum)
        return checksum

    def _arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """Returns parameters and density, float16, little-endian."""
        density = {f"density_{name}": getattr(self.density, name) for name in _DENSITY}
        return {name: array.astype("<f2") for name, array in (*self.parameters.items(), *density.items())}

    def write(self, path: Path) -> None:
        """Writes the model to a file."""
        about = {"architecture": asdict(self.architecture), "report": dict(self.report)}
        write_arrays(path, {"about": json.dumps(about), **self._arrays()})

    def rounded(self) -> GenerativeModel:
        """Returns the model with the values of its file, rounded to float16."""
        return _model_of(self.architecture, self._arrays(), self.report)

    def coefficients(self, codes: Float32) -> Float32:
        """Computes the coefficients of codes, float32 [N, code_dim]: float32 [N,
        coefficient_count].

        Raises:
            CorruptError: See `network.checked_network`.
        """
        return checked_network(self.parameters_of("decoder"), "decoder", codes.astype(np.float32))

    def paint(self, codes: Float32, height: int | None = None, width: int | None = None) -> UInt8:
        """Renders the images of codes, float32 [N, code_dim]: uint8 [N, height, width, channels].

        The default size is that of the training images.
        """
        arch = self.architecture
        height, width = height or arch.height, width or arch.width
        x2, x1 = np.arange(height) / height, np.arange(width) / width
        images = np.empty((len(codes), height, width, arch.channels), np.uint8)
        together = max(1, _BLOCK_FLOATS // arch.coefficient_count)
        for start in range(0, len(codes), together):
            coefficients = self.coefficients(codes[start : start + together])
            self._paint_blocks(coefficients, x2, x1, images[start : start + together])
        return images

    def _paint_blocks(self, coefficients: Float32, x2: Float64, x1: Float64, images: UInt8) -> None:
        """Renders the images of coefficients into an array, in blocks that bound the memory."""
        arch = self.architecture
        positions = max(1, min(_BLOCK_POSITIONS, _BLOCK_FLOATS // arch.floats_per_position))
        columns = min(len(x1), positions)
        rows = min(len(x2), positions // columns)
        batch = positions // (rows * columns)
        for top, left in product(range(0, len(x2), rows), range(0, len(x1), columns)):
            block_x2, block_x1 = x2[top : top + rows], x1[left : left + columns]
            v = inputs_at(block_x2, block_x1, arch.octaves)
            first = first_features(v, arch, np, exact_cos_sin)
            for start in range(0, len(coefficients), batch):
                painted = paint(coefficients[start : start + batch], first, v, arch, np, exact_cos_sin)
                values = samples_to_values(painted, 8)
                shaped = values.reshape(len(values), arch.channels, len(block_x2), len(block_x1))
                target = images[start : start + batch, top : top + rows, left : left + columns]
                target[...] = shaped.transpose(0, 2, 3, 1)

    def encode(self, images: UInt8) -> Float32:
        """Computes the codes of images, uint8 [N, H, W, C], with the encoder network: float32 [N,
        code_dim]. Raises ConfigError if the model has no encoder network.
        """
        if not self.has_encoder:
            msg = "the model has no encoder network, because it was trained with a table of codes"
            raise ConfigError(msg)
        return encode_images(self.parameters, images)

    def parameters_of(self, prefix: str) -> dict[str, Float32]:
        """Returns the parameters of one network, "decoder" or "encoder"."""
        return {name: value for name, value in self.parameters.items() if name.startswith(prefix)}


def read_model(path: Path) -> GenerativeModel:
    """Reads the file of a model. Raises DfmError if it cannot be read or is not one of a model."""
    arrays = read_arrays(path, max_bytes=_MAX_BYTES)
    try:
        about = json.loads(str(arrays.pop("about")))
        values = about["architecture"]
        values |= {"hidden": tuple(values["hidden"]), "octaves": tuple(values["octaves"])}
        return _model_of(GenerativeArchitecture(**values), arrays, about["report"])
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{path} is not the file of a generative model, or it is damaged: {error!r}"
        raise CorruptError(msg) from error


def _model_of(
    architecture: GenerativeArchitecture, arrays: Mapping[str, np.ndarray[Any, Any]], report: Mapping[str, Any]
) -> GenerativeModel:
    """Returns the model of arrays as a file has them. Raises ValueError if they do not fit the
    architecture, or a value is invalid.
    """
    parameters = {name: array.astype(np.float32) for name, array in arrays.items()}
    density = CodeDensity(*(parameters.pop(f"density_{name}") for name in _DENSITY))
    expected = network_shapes("decoder", architecture.decoder_sizes())
    if "encoder_w0" in parameters:
        expected |= network_shapes("encoder", architecture.encoder_sizes())
    components, dim = len(density.weights), architecture.code_dim
    shapes = [getattr(density, name).shape for name in _DENSITY]
    problem = None
    if {name: array.shape for name, array in parameters.items()} != expected:
        problem = "the networks do not fit the architecture"
    elif components == 0 or shapes != [(components,), (components, dim), (components, dim, dim), (components, dim)]:
        problem = "the density does not fit the architecture"
    elif not all(np.isfinite(array).all() for array in arrays.values()):
        problem = "a value is NaN or infinite"
    elif (density.weights < 0).any() or not density.weights.any() or (density.deviations <= 0).any():
        problem = "the density has invalid weights or deviations"
    if problem:
        raise ValueError(problem)
    return GenerativeModel(architecture, parameters, density, report)
