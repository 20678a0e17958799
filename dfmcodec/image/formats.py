"""The formats of image files that are read, with the traits that readers depend on.

The plugins of these formats decode the samples in this process, from the bytes of the file alone.
Excluded are formats whose plugins start a program (EPS: Ghostscript; WMF: the Windows printing
system), pass the bytes to code registered by another package (BUFR, GRIB, HDF5), open embedded
content as a file of any format (IPTC, MIC, FPX), or cannot decode samples (MPEG). Formats of
measurements, icons and obsolete formats are excluded too.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Traits:
    """Traits of a format, as Pillow reads it."""

    is_held: bool = False  # whether the plugin holds the complete file in memory
    has_pages: bool = False  # whether several images are pages, rather than frames of an animation
    is_sequential: bool = False  # whether decoding a frame decodes the earlier ones
    is_turned: bool = False  # whether loading the samples turns them upright
    has_scans: bool = False  # whether missing samples at the end of a scan are filled with gray
    hides_zeros: bool = False  # whether a file that ends in zero bytes is decoded without an error
    first_seek: int = 0  # the number that Pillow gives the first image


# By Pillow's names, in the order in which they are tried. TGA comes last: it has no signature.
FORMATS = {
    "PNG": Traits(is_held=True, is_sequential=True),
    "JPEG": Traits(has_scans=True),
    "TIFF": Traits(has_pages=True, is_turned=True),
    "WEBP": Traits(is_held=True, is_sequential=True, hides_zeros=True),
    "AVIF": Traits(is_held=True, hides_zeros=True),
    "HEIF": Traits(is_held=True, has_pages=True, hides_zeros=True),
    "JXL": Traits(is_held=True),
    "JPEG2000": Traits(),
    "GIF": Traits(is_sequential=True),
    "BMP": Traits(),
    "DIB": Traits(),
    "PPM": Traits(),
    "QOI": Traits(),
    "PSD": Traits(has_pages=True, first_seek=1),
    "DDS": Traits(),
    "TGA": Traits(),
}


def traits_of(name: str | None) -> Traits:
    """Returns the traits of the format of a Pillow image."""
    return FORMATS.get("JPEG" if name == "MPO" else name or "", Traits())  # MPO: a JPEG with further images
