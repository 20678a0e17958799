"""What tests of several tiers need: where things are, and files that pass for whole."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden" / "v1"
GENERATIVE = GOLDEN / "generative"
SHARED = ROOT.parent / "shared" / "data"  # only where the project's own data is beside the clone


def with_crc(content: bytes) -> bytes:
    """Content with the CRC-32 of a whole file."""
    return content + struct.pack("<I", zlib.crc32(content))
