"""Image files for fuzzing: small files of all formats that Pillow writes, with mutated bytes, and
PNG and TIFF files with mutated chunks and tags.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import PIL.Image
import tifffile
from mutation import below, chance, changed_bytes, edge
from PIL.PngImagePlugin import PngInfo

WIDTH, HEIGHT = 37, 29
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
TIFF_SIZES = (1, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8)  # bytes of a value of types 0..12
TIFF_ENTRY = struct.Struct("<HHII")
TIFF_TAGS = (254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338)
TIFF_COMPRESSIONS = ["raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "jpeg", "lzma"]
if int(PIL.__version__.split(".")[0]) >= 12:  # Pillow 11.3 has no zstd, and uses freed memory when it is asked for it
    TIFF_COMPRESSIONS.append("zstd")


def base() -> PIL.Image.Image:
    """A small picture with flat parts, an edge, a gradient and noise, RGBA."""
    rng = np.random.default_rng(7)
    pixels = np.full((HEIGHT, WIDTH, 4), 200, np.uint8)
    pixels[:, :, 0] = np.linspace(0, 255, WIDTH).astype(np.uint8)
    pixels[8:20, 10:30, 1] = 30
    pixels[15:, :20, :3] = rng.integers(0, 256, (HEIGHT - 15, 20, 3))
    pixels[:, :, 3] = np.linspace(0, 255, HEIGHT).astype(np.uint8)[:, None]
    return PIL.Image.fromarray(pixels, "RGBA")


def _variants() -> list[tuple[str, str, str, dict[str, Any]]]:
    """Name, mode, Pillow's name of the format, and the options of saving."""
    info = PngInfo()
    info.add_text("Title", "a" * 40)
    info.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>", zip=True)
    info.add_text("Comment", "b" * 300, zip=True)
    extra = {
        "icc_profile": b"icc profile" * 9,
        "exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0",
    }
    found: list[tuple[str, str, str, dict[str, Any]]] = []
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        found.append((f"png-{mode}", mode, "PNG", {}))
    found.append(("png-transparent", "P", "PNG", {"transparency": 3}))
    found.append(("png-extra", "RGB", "PNG", {"pnginfo": info, **extra}))
    found.append(("apng", "RGBA", "PNG", {"save_all": True, "frames": 3}))
    for mode in ("L", "RGB", "CMYK"):
        found.append((f"jpeg-{mode}", mode, "JPEG", {}))
    found.append(("jpeg-progressive", "RGB", "JPEG", {"progressive": True, "subsampling": 0, **extra}))
    found.append(("jpeg-restart", "RGB", "JPEG", {"restart_marker_blocks": 1, "optimize": True, "comment": b"c"}))
    for compression in TIFF_COMPRESSIONS:
        found.append((f"tiff-{compression}", "RGB", "TIFF", {"compression": compression}))
    for mode in ("1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"):
        found.append((f"tiff-{mode}", mode, "TIFF", extra if mode == "L" else {}))
    for compression in ("group3", "group4", "tiff_ccitt"):
        found.append((f"tiff-{compression}", "1", "TIFF", {"compression": compression}))
    found.append(("tiff-pages", "RGB", "TIFF", {"save_all": True, "frames": 3}))
    found.append(("tiff-big", "RGB", "TIFF", {"big_tiff": True}))
    found += [("gif", "P", "GIF", {}), ("gif-animated", "P", "GIF", {"save_all": True, "frames": 3})]
    found += [("webp", "RGB", "WEBP", extra), ("webp-lossless", "RGBA", "WEBP", {"lossless": True})]
    found.append(("webp-animated", "RGBA", "WEBP", {"save_all": True, "frames": 3}))
    found += [
        ("avif", "RGB", "AVIF", {"speed": 10}),
        ("avif-animated", "RGBA", "AVIF", {"speed": 10, "save_all": True, "frames": 2}),
    ]
    found += [("bmp", "RGB", "BMP", {}), ("bmp-palette", "P", "BMP", {}), ("dib", "RGB", "DIB", {})]
    found += [("tga", "RGB", "TGA", {}), ("tga-rle", "RGBA", "TGA", {"compression": "tga_rle"})]
    found += [
        ("ppm", "RGB", "PPM", {}),
        ("pgm", "L", "PPM", {}),
        ("pbm", "1", "PPM", {}),
        ("pgm-16", "I;16", "PPM", {}),
    ]
    found += [("pfm", "F", "PPM", {}), ("qoi", "RGBA", "QOI", {})]
    found += [("jp2", "RGB", "JPEG2000", {}), ("j2k", "L", "JPEG2000", {"no_jp2": True, "irreversible": True})]
    found += [("dds", "RGBA", "DDS", {}), ("dds-dxt5", "RGBA", "DDS", {"pixel_format": "DXT5"})]
    found.append(("mpo", "RGB", "MPO", {"save_all": True, "frames": 2}))
    return found


@lru_cache(maxsize=1)
def seeds() -> dict[str, bytes]:
    """A file of each kind that the installed Pillow can write, by name."""
    found = made_here()
    for name, mode, kind, options in _variants():
        image = base().convert("RGB" if mode in ("LAB", "CMYK") else "L" if mode in ("I", "I;16", "F") else "RGBA")
        if mode == "I;16":
            image = PIL.Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
        image = image if image.mode == mode else image.convert(mode)
        frames = options.pop("frames", 0)
        if frames:
            options["append_images"] = [image.rotate(90 * turn) for turn in range(1, frames)]
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # formats that Pillow will drop
            try:
                image.save(buffer, kind, **options)
            except (KeyError, OSError, ValueError, SystemError, RuntimeError):
                continue  # this Pillow, or a library that it was built with, cannot
        found[name] = buffer.getvalue()
    return found


def made_here() -> dict[str, bytes]:
    """Files of kinds that Pillow reads but does not write."""
    pixels = np.asarray(base())
    deep = pixels[:, :, :3].astype(np.uint16) * 257
    small = io.BytesIO()
    base().resize((16, 16)).save(small, "PNG")
    icon = b"icp4" + struct.pack(">I", 8 + len(small.getvalue())) + small.getvalue()
    return {
        "png-interlaced": interlaced(pixels),
        "icns": b"icns" + struct.pack(">I", 8 + len(icon)) + icon,
        "tiff-tiled": _tiff(pixels, tile=(16, 16), compression="zlib"),
        "tiff-planar": _tiff(np.moveaxis(deep, 2, 0), planarconfig="separate"),
        "tiff-rgb-16": _tiff(deep, predictor=True, compression="zlib"),
        "tiff-big-endian": _tiff(deep, byteorder=">"),
    }


def _tiff(pixels: np.ndarray[Any, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="rgb", metadata=None, **options)
    return buffer.getvalue()


def interlaced(pixels: np.ndarray[Any, Any]) -> bytes:
    """An interlaced PNG of pixels, uint8 [H, W, 4]."""
    rows = b""
    for top, left, down, right in ADAM7:
        part = pixels[top::down, left::right]
        rows += b"".join(b"\0" + row.tobytes() for row in part) if part.size else b""
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 6, 0, 0, 1)
    return joined_chunks([(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


def image_case(rng: np.random.Generator) -> tuple[str, bytes]:
    """The name of a kind and a changed file of it."""
    names = sorted(seeds())
    name = names[below(rng, len(names))]
    data = seeds()[name]
    kind = below(rng, 20)
    if kind == 0:
        return name, data
    if kind == 1:  # the beginning of one file and the end of another
        other = seeds()[names[below(rng, len(names))]]
        return name, data[: below(rng, min(len(data), 512))] + other[below(rng, min(len(other), 512)) :]
    if kind <= 10:
        if data.startswith(PNG_MAGIC):
            return name, changed_png(data, rng)
        if data.startswith(b"II*\0"):
            return name, changed_tiff(data, rng)
    if chance(rng, 0.5):  # near its head, where most of the meaning is
        head = data[:128]
        return name, changed_bytes(head, rng, 1) + data[128:]
    return name, changed_bytes(data, rng)


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The kinds and bodies of a PNG's chunks."""
    found, at = [], len(PNG_MAGIC)
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += length + 12
    return found


def joined_chunks(parts: list[tuple[bytes, bytes]], lies: dict[int, int] | None = None) -> bytes:
    """A PNG of chunks with right checksums; `lies` has other lengths for some of them."""
    pieces = [PNG_MAGIC]
    for number, (kind, body) in enumerate(parts):
        length = (lies or {}).get(number, len(body))
        pieces.append(struct.pack(">I", length) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
    return b"".join(pieces)


def changed_png(data: bytes, rng: np.random.Generator) -> bytes:
    """A PNG with chunks changed, moved, repeated or left out."""
    parts = chunks(data)
    lies: dict[int, int] = {}
    for _ in range(1 + below(rng, 2)):
        at = below(rng, len(parts))
        kind, body = parts[at]
        change = below(rng, 8)
        if change == 0:
            del parts[at]
        elif change == 1:
            parts.insert(below(rng, len(parts) + 1), parts[at])
        elif change == 2:
            others = [*chain.from_iterable(chunks(seed) for seed in seeds().values() if seed.startswith(PNG_MAGIC))]
            parts.insert(1 + below(rng, len(parts)), others[below(rng, len(others))])
        elif change == 3:
            lies[at] = edge(rng, 4)
        elif change == 4 and kind in (b"IDAT", b"zTXt", b"iTXt", b"iCCP"):
            start = 0 if kind == b"IDAT" else body.find(b"\x78")
            unpacked = _unpacked(body[start:])
            bomb = bytes(1 << 24) if chance(rng, 0.1) else changed_bytes(unpacked, rng)
            parts[at] = kind, body[:start] + zlib.compress(bomb)
        elif change == 5:
            parts[0] = b"IHDR", changed_bytes(parts[0][1], rng, 1)[:13].ljust(13, b"\0")
        else:
            parts[at] = kind, changed_bytes(body, rng)
        if not parts:
            break
    return joined_chunks(parts, lies)


def _unpacked(body: bytes) -> bytes:
    """What a zlib stream holds; of one that was changed before, itself."""
    try:
        return zlib.decompressobj().decompress(body)
    except zlib.error:
        return body


def changed_tiff(data: bytes, rng: np.random.Generator) -> bytes:
    """A TIFF with a tag of the first page changed: its number, type, count, value or what it points
    to.
    """
    content = bytearray(data)
    (at,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, at)
    for _ in range(1 + below(rng, 3)):
        place = at + 2 + below(rng, count) * TIFF_ENTRY.size
        tag, kind, number, value = TIFF_ENTRY.unpack_from(content, place)
        change = below(rng, 7)
        if change == 0:
            tag = TIFF_TAGS[below(rng, len(TIFF_TAGS))]
        elif change == 1:
            kind = below(rng, 14)
        elif change == 2:
            number = edge(rng, 4) if chance(rng, 0.5) else below(rng, 10)
        elif change == 3:
            value = edge(rng, 4)
        elif change == 4:
            value = min(max(0, value + below(rng, 5) - 2), (1 << 32) - 1)
        elif change == 5 and kind < len(TIFF_SIZES) and number * TIFF_SIZES[kind] > 4:
            content[value : value + 8] = changed_bytes(bytes(content[value : value + 8]), rng, 1)[:8].ljust(8, b"\0")
        else:
            value = below(rng, 1 << 16)
        TIFF_ENTRY.pack_into(content, place, tag, kind, number, value)
    return bytes(content)
