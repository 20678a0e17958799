"""The photograph that comes with the package, to try the codec on; README.md has its licence."""

from __future__ import annotations

import io
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dfmcodec.image import Image

SHIPPED = "chelsea"


def photograph() -> Image:
    import PIL.Image

    from dfmcodec.image.read_image import to_image

    data = files("dfmcodec.photographs").joinpath(f"{SHIPPED}.png").read_bytes()
    with PIL.Image.open(io.BytesIO(data)) as image:
        return to_image(image)
