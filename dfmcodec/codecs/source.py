"""Decoding of a `.dfm` file as the source of another encoding."""

from __future__ import annotations

from dfmcodec._types import Notify
from dfmcodec.codecs.decode import DecodeRequest, decode_image
from dfmcodec.errors import ConfigError, FormatError
from dfmcodec.files.atomic import MAGIC
from dfmcodec.image import Image
from dfmcodec.image.source import Source


def image_of_dfm(source: Source, max_pixels: int, page: int | None, notify: Notify) -> Image | None:
    """Decodes a `.dfm` file; returns None for any other file. `notify` receives the notice that the
    image comes from a lossy encoding. Raises ConfigError if there is no such page, counted from 1,
    and FormatError if the file cannot be decoded; the message names it.
    """
    with source.open() as file:
        if file.read(len(MAGIC)) != MAGIC:
            return None
        data = MAGIC + file.read()
    if page not in (None, 1):
        msg = f"{source.name} has 1 page; there is no page {page}"
        raise ConfigError(msg)
    try:
        image = decode_image(data, DecodeRequest(max_pixels=max_pixels))
    except FormatError as error:
        raise type(error)(f"{source.name}: {error}") from error  # noqa: EM102
    notify(f"{source.name}: made of a lossy .dfm file: the losses of both encodings add up")
    return image
