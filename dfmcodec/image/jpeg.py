"""Structure of JPEG files (ITU-T T.81), and scans that end early, which Pillow ignores."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Notify
from dfmcodec.errors import ImageError
from dfmcodec.image.open_image import MAX_HELD_BYTES, load_samples, open_image
from dfmcodec.image.source import Source

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

START = b"\xff\xd8"
APP1, APP2 = 0xE1, 0xE2
APPLICATION = range(0xE0, 0xF0)
_END, _START_OF_SCAN = 0xD9, 0xDA
_RESTARTS = range(0xD0, 0xD8)
_ARITHMETIC = range(0xC9, 0xCC)  # frames whose scans may legally end early
_BASELINE = (0xC0, 0xC1)
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_OTHER_END = b"\x5a\x36\xc9\x93" * 6  # as the last bytes of a scan
_UNUSED = 2 * _OTHER_END  # decodes to visible samples wherever a scan lacks data


class Segment(NamedTuple):
    """A marker segment: its marker code, and the offsets of its start, contents and end."""

    marker: int
    start: int
    body: int
    end: int


@dataclass(frozen=True)
class Layout:
    """Layout of the first image in the bytes of a JPEG file."""

    segments: tuple[Segment, ...]  # with a length, in order
    scan_ends: tuple[int, ...]  # offsets of the markers that end a scan or a part of it
    end: int | None  # offset after the image; None if there is no end marker


def read_layout(data: bytes, start: int = 0) -> Layout | None:
    """Reads the layout of the image that begins at an offset; None if none begins there."""
    if data[start : start + 2] != START:
        return None
    segments: list[Segment] = []
    scan_ends: list[int] = []
    at = start + 2
    while (match := _MARKER.match(data, at)) is not None:
        marker, body = match[1][0], match.end()
        if marker == _END:
            return Layout(tuple(segments), tuple(scan_ends), body)
        if marker in _RESTARTS or marker == 1:  # without a length
            at = body
            continue
        end = body + int.from_bytes(data[body : body + 2], "big")
        if end < body + 2 or end > len(data):
            break
        segments.append(Segment(marker, match.start(), body + 2, end))
        at = end
        if marker == _START_OF_SCAN:
            scan_ends += _scan_ends(data, end)
            at = max([end, *scan_ends[-1:]])
    return Layout(tuple(segments), tuple(scan_ends), None)


def _scan_ends(data: bytes, start: int) -> Iterator[int]:
    """Yields the offsets of the restart markers of a scan, and of the marker after it."""
    for match in _MARKER.finditer(data, start):
        yield match.start()
        if match[1][0] not in _RESTARTS:
            return


def segments_with(data: bytes, layout: Layout, marker: int, prefix: bytes) -> list[bytes]:
    """Returns the bodies of the segments that begin with a prefix, without it."""
    segments = [s for s in layout.segments if s.marker == marker and data.startswith(prefix, s.body, s.end)]
    return [data[s.body + len(prefix) : s.end] for s in segments]


def write_segment(marker: int, body: bytes) -> bytes:
    """Returns a marker segment."""
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def after_application_segments(data: bytes) -> int:
    """Returns the offset after the application segments at the beginning of a JPEG file."""
    layout = read_layout(data)
    others = [s.start for s in layout.segments if s.marker not in APPLICATION] if layout else []
    return others[0] if others else len(START)


def check_scans(pil_image: ImageFile, source: Source, max_pixels: int, notify: Notify) -> None:
    """Raises ImageError if a scan of a loaded JPEG ends early, or the end marker is missing.

    libjpeg fills the missing part with gray. The image is decoded again, with additional bytes at
    the end of each scan: decoders skip them unless samples are missing. A notice says if the last
    bytes of a baseline scan have no effect, because a flipped bit can make the other bytes give too
    many samples.
    """
    if source.size_bytes > MAX_HELD_BYTES:
        return
    with source.open() as file:
        data = file.read()
    layout = read_layout(data)
    frames = set() if layout is None else {segment.marker for segment in layout.segments}
    if layout is None or not frames.isdisjoint(_ARITHMETIC):
        return
    if layout.end is None:
        msg = "it has no end marker, so it is damaged or cut off"
        raise ImageError(msg)
    if not _are_in_order(data, layout.scan_ends):
        msg = "its restart markers are out of order, so samples are missing; the file is damaged"
        raise ImageError(msg)
    bounds = [0, *layout.scan_ends, layout.end]
    pixels = np.asarray(pil_image)
    if not np.array_equal(_decoded(_UNUSED.join(data[a:b] for a, b in pairwise(bounds)), max_pixels), pixels):
        msg = "its compressed samples end early, so a part would be gray; the file is damaged or cut off"
        raise ImageError(msg)
    last = layout.scan_ends[-1]
    start = max(last - len(_OTHER_END), data.rfind(b"\xff", 0, last - len(_OTHER_END)) + 2)  # after a stuffed byte
    if not frames.isdisjoint(_BASELINE) and start > layout.segments[-1].end:  # else the scan is too short
        changed = data[:start] + _OTHER_END + data[last : layout.end]
        if np.array_equal(_decoded(changed, max_pixels), pixels):
            notify("it has more compressed samples than pixels, so it may be damaged; look at the decoded image")


def _decoded(data: bytes, max_pixels: int) -> npt.NDArray[Any]:
    """Returns the samples of a changed JPEG."""
    with open_image(io.BytesIO(data), max_pixels, ("JPEG",)) as pil_image:
        load_samples(pil_image)
        return np.asarray(pil_image)


def _are_in_order(data: bytes, scan_ends: Sequence[int]) -> bool:
    """Indicates whether the restart markers of each scan count from 0 to 7 again and again."""
    expected = 0
    for match in (_MARKER.match(data, at) for at in scan_ends):
        is_restart = match is not None and match[1][0] in _RESTARTS
        if match is not None and is_restart and match[1][0] != _RESTARTS[expected]:
            return False
        expected = (expected + 1) % len(_RESTARTS) if is_restart else 0
    return True
