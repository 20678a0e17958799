"""ICC profile, Exif block and XMP packet of an image file, with the orientation set to upright."""

from __future__ import annotations

import io
import re
import struct
from typing import TYPE_CHECKING

from dfmcodec.image import Metadata

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

ORIENTATION_TAG = 0x0112
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
# The tags that describe the layout of a TIFF file, as ranges (first, last). They are not Exif.
_TIFF_LAYOUT = (
    *((254, 259), (262, 263), (266, 266), (273, 273), (277, 281), (284, 284), (288, 293), (297, 301), (317, 325)),
    *((330, 332), (338, 347), (512, 521), (529, 532), (700, 700), (33723, 33723), (34377, 34377), (34675, 34675)),
)
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))\d")


def pillow_info(metadata: Metadata) -> dict[str, bytes]:
    """The entries of a Pillow image's `info` that hold the metadata."""
    names = {"icc": "icc_profile", "exif": "exif", "xmp": "xmp"}
    return {names[name]: value for name, value in metadata.present().items()}


def read_metadata_apart(data: bytes, page: int) -> Metadata:
    """Reads the metadata of a page from a file that is opened for this alone.

    Reading Exif changes what Pillow does when it loads the samples, and loading changes what it
    reads.

    Args:
        data: The bytes of the file.
        page: The page, from 0.
    """
    import PIL.Image

    with PIL.Image.open(io.BytesIO(data)) as pil_image:
        if page:
            pil_image.seek(page)
        return read_metadata(pil_image)


def read_metadata(pil_image: PilImage) -> Metadata:
    """Reads the metadata of an open Pillow image, with the orientation set to 1."""
    xmp = pil_image.info.get("xmp") or pil_image.info.get("XML:com.adobe.xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if xmp:
        xmp = _XMP_ORIENTATION.sub(rb"\g<1>1", bytes(xmp))
    return Metadata(pil_image.info.get("icc_profile") or None, _exif_of(pil_image), xmp or None)


def _exif_of(pil_image: PilImage) -> bytes | None:
    """Returns the Exif block as it is in the file, except that the orientation becomes 1."""
    raw = pil_image.info.get("exif")
    if isinstance(raw, bytes) and raw:
        block = raw if raw.startswith(b"Exif\0\0") else b"Exif\0\0" + raw
        with_reset = exif_with_orientation_1(block)
        if with_reset is not None:
            return with_reset
    exif = pil_image.getexif()
    for tag in (_EXIF_IFD, _GPS_IFD):
        exif.get_ifd(tag)
    layout = _TIFF_LAYOUT if pil_image.format == "TIFF" else ()
    for tag in [tag for tag in exif if tag == ORIENTATION_TAG or any(low <= tag <= high for low, high in layout)]:
        del exif[tag]
    return exif.tobytes() if len(exif) else None


def exif_with_orientation_1(block: bytes) -> bytes | None:
    r"""Sets the orientation of an Exif block, if it has one, to 1; the rest is unchanged.

    Args:
        block: The block, with its six bytes "Exif\0\0" in front.

    Returns:
        The block; None where it is not well formed.
    """
    start = len(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[start : start + 2])
    try:
        if order is None:
            return None
        (first,) = struct.unpack_from(order + "I", block, start + 4)
        (count,) = struct.unpack_from(order + "H", block, start + first)
        for entry in range(count):
            at = start + first + 2 + 12 * entry
            tag, kind, _ = struct.unpack_from(order + "HHI", block, at)
            if tag == ORIENTATION_TAG:
                value = struct.pack(order + ("I" if kind == 4 else "HH"), *([1] if kind == 4 else [1, 0]))
                return block[: at + 8] + value + block[at + 12 :]
    except struct.error:
        return None
    return block
