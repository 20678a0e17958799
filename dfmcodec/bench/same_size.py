"""Comparison of one image encoded by several codecs at the same file size, as an HTML page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from dfmcodec._types import Notify, Pixels
from dfmcodec.bench.codecs import Avif, Codec, Jpeg
from dfmcodec.bench.matching import Match, OutOfReach, SizeSearch
from dfmcodec.bench.measurement import with_channels_of
from dfmcodec.files.names import printable
from dfmcodec.image import Image, Metadata
from dfmcodec.image.read_image import ignore
from dfmcodec.image.write_image import OUTPUT_FORMATS, image_to_bytes
from dfmcodec.perception import psnr
from dfmcodec.perception.ssimulacra2 import ssimulacra2

if TYPE_CHECKING:
    from dfmcodec.report import EncodeResult

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
  :root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
  body {{ max-width: 1200px; margin: 0 auto; padding: 1rem; }}
  main {{ display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); }}
  figure {{ margin: 0; }}
  img {{ width: 100%; height: auto; display: block; }}
  figcaption {{ padding-top: .25rem; }}
  pre {{ overflow-x: auto; padding: .75rem; border: 1px solid #8888; border-radius: 4px; }}
</style>
<h1>{title}</h1>
<p>{lead}</p>
<main>
{figures}
</main>
<h2>The same by hand</h2>
<pre>{commands}</pre>
</html>
"""


@dataclass(frozen=True)
class Version:
    """Image encoded by one codec."""

    label: str
    pixels: Pixels  # decoded, uint8 [H, W, C]
    file_bytes: int | None = None  # None for the original
    psnr_db: float | None = None  # likewise
    ssimulacra2: float | None = None  # likewise, and for images with a side below 8

    @classmethod
    def of(cls, result: EncodeResult, original: Pixels) -> Version:
        """Creates the version encoded by dfm."""
        decoded, report = result.decoded.pixels, result.report
        return cls("dfm", decoded, report.file_bytes, report.psnr_db, ssimulacra2(original, decoded))

    @property
    def quality(self) -> float:
        """Returns the value by which versions are compared: SSIMULACRA2, or else PSNR."""
        return (self.psnr_db or 0.0) if self.ssimulacra2 is None else self.ssimulacra2

    @property
    def caption(self) -> str:
        """Returns a caption of one line."""
        if self.file_bytes is None or self.psnr_db is None:
            return self.label
        quality = f"{self.psnr_db:.2f} dB" if np.isfinite(self.psnr_db) else "exact"
        score = "" if self.ssimulacra2 is None else f"SSIMULACRA2 {self.ssimulacra2:.1f}, "
        return f"{self.label}: {self.file_bytes:,} bytes, {score}{quality}"


def same_size(
    pixels: Pixels, limit_bytes: int, codecs: Sequence[Codec] | None = None, notify: Notify = ignore
) -> list[Version]:
    """Encodes an image, uint8 [H, W, C], with other codecs, by default JPEG and AVIF, to files up
    to a size limit. For each codec, the best of its forms is returned. Codecs that are not
    installed, or cannot reach the limit, are skipped with a notice.
    """
    versions = []
    for codec in [Jpeg(), Avif()] if codecs is None else codecs:
        missing = codec.missing()
        if missing is not None:
            notify(f"{codec.label} is left out: it needs {missing}")
            continue
        matches = [SizeSearch(codec, form, pixels).largest_within(limit_bytes) for form in codec.forms]
        files = [_version(codec, match.data, pixels) for match in matches if isinstance(match, Match)]
        if files:
            versions.append(max(files, key=lambda version: version.quality))
        else:
            smallest_bytes = min(match.smallest_bytes for match in matches if isinstance(match, OutOfReach))
            notify(f"{codec.label} is left out: its smallest file has {smallest_bytes:,} bytes")
    return versions


def _version(codec: Codec, data: bytes, original: Pixels) -> Version:
    decoded = with_channels_of(original, codec.decode(data))
    return Version(codec.label, decoded, len(data), psnr(original, decoded, None), ssimulacra2(original, decoded))


def page(title: str, lead: str, versions: Sequence[Version], commands: Sequence[str], icc: bytes | None = None) -> str:
    """Returns a self-contained HTML page without scripts and external content: a sentence, the
    images with an ICC profile, and equivalent command lines.
    """
    figures = "\n".join(_figure(version, icc) for version in versions)
    lines = "\n".join(map(_as_text, commands))
    return _PAGE.format(title=_as_text(title), lead=_as_text(lead), figures=figures, commands=lines)


def _as_text(line: str) -> str:
    """Escapes a line for HTML, including control characters in file names."""
    return escape(printable(line))


def _figure(version: Version, icc: bytes | None) -> str:
    png = image_to_bytes(Image(np.ascontiguousarray(version.pixels), Metadata(icc)), OUTPUT_FORMATS["png"])
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    caption = _as_text(version.caption)
    return f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
