"""Rendering of codes with generative models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Pixels
from dfmcodec.codecs.generative.contents import CodeArchitecture, CodedImage
from dfmcodec.codecs.renderer import Decoded, DecodeRequest, Renderer
from dfmcodec.container.header import Header
from dfmcodec.image.region import Region
from dfmcodec.image.resample import Sampling

if TYPE_CHECKING:
    from dfmcodec.codecs.generative.model import GenerativeModel


class CodeRenderer(Renderer):
    """Renders the image of a code. It always renders the complete image, which is small: products
    with fewer columns round differently, and a network may amplify the difference.
    """

    def multiply_adds(self, architecture: CodeArchitecture, generator: GenerativeModel | None) -> int:
        return 0 if generator is None else generator.architecture.multiply_adds

    def evaluated(self, region: Region, header: Header) -> Region:
        return Region(0, 0, header.height, header.width)

    def render(self, decoded: Decoded, region: Region, request: DecodeRequest) -> Pixels:
        rows, columns = np.arange(decoded.height), np.arange(decoded.width)
        complete = _painted(decoded.model, rows, columns, request.generator)
        return np.ascontiguousarray(complete[region.rows, region.columns])

    def render_at(
        self, decoded: Decoded, sampling: Sampling, seen: Region, level: int, request: DecodeRequest
    ) -> Pixels:
        at = sampling.rows().positions, sampling.columns().positions
        return _painted(decoded.model, *at, request.generator)


RENDERER = CodeRenderer()


def _painted(
    model: CodedImage, rows: npt.NDArray[Any], columns: npt.NDArray[Any], generator: GenerativeModel | None
) -> Pixels:
    """Renders a code at rows and columns of its image, in pixels; see `decode_code` for errors."""
    from dfmcodec.codecs.generative.sections import decode_code

    code, own_generator = decode_code(model, generator)
    images = own_generator.paint_at(code[None], rows / model.height, columns / model.width, model.bit_depth)
    pixels: Pixels = images[0]
    return pixels
