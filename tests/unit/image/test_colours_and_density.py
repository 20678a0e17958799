"""Tests of colour descriptions, kept or dropped, and of the resolution in Exif."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
import tifffile

import dfmcodec
from dfmcodec.codecs.decode import decode_image
from dfmcodec.container.metadata import pack_metadata, unpack_metadata
from dfmcodec.errors import ImageError
from dfmcodec.image import Image, Metadata
from dfmcodec.image.density import density_of
from dfmcodec.image.read_image import from_pil, image_from_bytes
from dfmcodec.image.write_image import OUTPUT_FORMATS, image_to_bytes, left_out

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)
SRGB = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
WIDE = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
PROFILE = b"name\0\0" + zlib.compress(b"a profile")
LOST = "is left out, so colours will look different; convert the image to sRGB or embed an ICC profile"


def file_of(format_name, **options):
    buffer = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(buffer, format_name, **options)
    return buffer.getvalue()


def read(data, **options):
    notices = []
    return image_from_bytes(data, "file", notify=notices.append, **options), notices


def png_with(*chunks):
    base = file_of("PNG")
    made = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    ]
    return base[:33] + b"".join(made) + base[33:]


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([(b"cICP", bytes([9, 16, 1, 1]))], "cICP (BT.2020, PQ)"),  # no RGB
        ([(b"cICP", bytes([22, 13, 0, 2]))], "cICP (primaries 22)"),  # no range
        ([(b"cICP", bytes([13, 13, 0, 1]))], "cICP (primaries 13)"),  # reserved
        ([(b"cICP", bytes([9, 3, 0, 1]))], "cICP (BT.2020, transfer 3)"),
        ([(b"gAMA", struct.pack(">I", 100000))], "gAMA (gamma 1)"),
        ([(b"cHRM", WIDE)], "cHRM (other primaries than sRGB)"),
        (
            [(b"gAMA", struct.pack(">I", 55556)), (b"cHRM", WIDE)],
            "gAMA (gamma 1.8) and cHRM (other primaries than sRGB)",
        ),
        ([(b"cICP", bytes([1, 13, 0, 1]))], None),
        ([(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45455)), (b"cHRM", SRGB)], None),
        ([(b"gAMA", struct.pack(">I", 45455)), (b"cHRM", SRGB)], None),
        ([(b"gAMA", struct.pack(">I", 100000)), (b"iCCP", PROFILE)], None),
        ([(b"gAMA", b"\0\0\0\0"), (b"cHRM", b"short"), (b"cICP", b"")], None),
    ],
)
def test_colours_of_a_png(chunks, expected):
    _, notices = read(png_with(*chunks))
    assert notices == ([] if expected is None else [f"file: its colour description {expected} {LOST}"])
    assert read(png_with(*chunks), strip="icc")[1] == []


@pytest.mark.parametrize(
    ("points", "others", "is_kept"),
    [
        (bytes([9, 16, 0, 1]), [], True),
        (bytes([9, 18, 0, 0]), [(b"iCCP", PROFILE)], True),
        (bytes([12, 13, 0, 1]), [(b"sRGB", b"\0")], True),
        (bytes([22, 13, 0, 1]), [(b"gAMA", struct.pack(">I", 100000))], True),
        (bytes([1, 13, 0, 1]), [(b"iCCP", PROFILE)], True),  # goes before the profile
        (bytes([1, 13, 0, 1]), [], False),
    ],
)
def test_code_points_of_a_png_come_back(points, others, is_kept):
    image, notices = read(png_with((b"cICP", points), *others))
    assert notices == []
    assert image.metadata.cicp == (points if is_kept else None)
    decoded = decode_image(dfmcodec.encode(image, quality=30, effort=1).data)
    assert decoded.metadata == image.metadata
    again, _ = read(image_to_bytes(decoded, OUTPUT_FORMATS["png"]))
    assert again.metadata == image.metadata
    assert left_out(decoded, OUTPUT_FORMATS["jpeg"]) == (["cicp"] if is_kept else [])
    assert not read(png_with((b"cICP", points), *others), strip="icc")[0].metadata


@pytest.mark.parametrize(
    ("primaries", "transfer", "expected"),
    [
        (9, 16, (9, 16, 0, 1)),
        (12, 13, (12, 13, 0, 1)),
        (1, 8, (1, 8, 0, 1)),
        (1, 1, None),
        (2, 2, None),
        (9, 19, "nclx (BT.2020, transfer 19)"),  # reserved
        (300, 1, "nclx (primaries 300)"),
    ],
)
def test_code_points_of_an_avif(primaries, transfer, expected):
    data = bytearray(file_of("AVIF"))
    at = data.index(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", primaries, transfer)
    image, notices = read(bytes(data))
    is_lost = isinstance(expected, str)
    assert notices == ([f"file: its colour description {expected} {LOST}"] if is_lost else [])
    assert image.metadata.cicp == (bytes(expected) if expected and not is_lost else None)


@pytest.mark.parametrize(
    "points", [(9, 16, 9, 1), (9, 16, 0, 7), (0, 16, 0, 1), (23, 1, 0, 1), (9, 19, 0, 1), (9, 16, 0), (9, 16, 0, 1, 0)]
)
def test_invalid_code_points_are_refused(points):
    with pytest.raises(ImageError, match="cicp is"):
        Metadata(cicp=bytes(points))


def test_colours_of_a_tiff():
    def tiff_of(*extra):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, PIXELS, photometric="rgb", metadata=None, extratags=extra)
        return buffer.getvalue()

    def primaries(body):
        numbers = struct.unpack(">8I", body)[2:]
        return 319, 5, 6, [part for number in numbers for part in (number, 100_000)], True

    assert read(tiff_of())[1] == []
    assert read(tiff_of(primaries(SRGB)))[1] == []
    named = "PrimaryChromaticities (other than those of sRGB)"
    assert read(tiff_of(primaries(WIDE)))[1] == [f"file: its colour description {named} {LOST}"]


@pytest.mark.parametrize("output", ["png", "jpeg", "tiff"])
@pytest.mark.parametrize("source", ["PNG", "JPEG", "BMP", "TIFF"])
def test_density_is_kept(source, output):
    image, notices = read(file_of(source, dpi=(300, 150)))
    assert notices == []
    assert density_of(image.metadata.exif) == pytest.approx((300, 150), abs=0.02)
    with PIL.Image.open(io.BytesIO(image_to_bytes(image, OUTPUT_FORMATS[output]))) as written:
        assert tuple(map(float, written.info["dpi"])) == pytest.approx((300, 150), abs=0.02)
    assert read(file_of(source, dpi=(300, 150)), strip="exif")[0].metadata == Metadata()


def test_density_of_a_png_is_the_very_same_number():
    data = file_of("PNG", dpi=(300, 299))
    image, _ = read(data)
    deep = Image(image.pixels.astype(np.uint16) * 257, image.metadata)
    for each in (image, deep):
        written = image_to_bytes(each, OUTPUT_FORMATS["png"])
        at, before = written.index(b"pHYs"), data.index(b"pHYs")
        assert written[at : at + 13] == data[before : before + 13]
    with PIL.Image.open(io.BytesIO(data)) as pil_image:
        assert from_pil(pil_image).metadata == image.metadata


@pytest.mark.parametrize(("dpi", "size"), [((300, 300), 52), ((300, 150), 60), ((299.9994, 299.9994), 52)])
def test_a_density_takes_few_bytes(dpi, size):
    image, _ = read(file_of("PNG", dpi=dpi))
    assert density_of(image.metadata.exif) == pytest.approx(dpi, abs=0.02)
    assert len(image.metadata.exif) == size
    packed = pack_metadata(image.metadata)
    assert len(packed) == size + 2  # "exif" and its length, without the six bytes in front
    assert unpack_metadata(packed) == image.metadata
    exif = PIL.Image.Exif()
    exif.load(image.metadata.exif)
    assert (float(exif[282]), float(exif[283])) == pytest.approx(dpi, abs=0.02)


@pytest.mark.parametrize(("dpi", "is_held"), [(65_535, True), (65_536, False), (99_000, False)])
def test_a_jpeg_states_no_density_that_it_cannot_hold(dpi, is_held):
    image, _ = read(file_of("PNG", dpi=(300, dpi)))
    for name in ("png", "jpeg"):
        data = image_to_bytes(image, OUTPUT_FORMATS[name])
        assert density_of(read(data)[0].metadata.exif) == pytest.approx((300, dpi), abs=0.02)
        with PIL.Image.open(io.BytesIO(data)) as written:
            if name == "png":
                assert written.info["dpi"] == pytest.approx((300, dpi), abs=0.02)
            else:
                assert written.info.get("jfif_density") == ((300, dpi) if is_held else (1, 1))


@pytest.mark.parametrize("dpi", [None, (72, 72), (96, 96), (0, 0)])
def test_the_density_of_screens_takes_no_bytes(dpi):
    options = {} if dpi is None else {"dpi": dpi}
    for format_name in ("JPEG", "BMP"):
        image, notices = read(file_of(format_name, **options))
        assert not image.metadata
        assert notices == []


def test_exif_that_is_there_is_not_changed_for_a_density():
    exif = PIL.Image.Exif()
    exif[0x010E] = "a cat"
    image, notices = read(file_of("JPEG", dpi=(300, 300), exif=exif))
    assert image.metadata.exif == exif.tobytes()
    assert notices == [
        "file: its 300 dpi are not kept: its Exif, which is kept unchanged, has none; write "
        "them into the Exif to keep them"
    ]
    exif[282], exif[283], exif[296] = 118.11, 118.11, 3  # the same in centimetres
    assert read(file_of("JPEG", dpi=(300, 300), exif=exif))[1] == []
    exif[282] = 40.0
    assert read(file_of("JPEG", dpi=(300, 300), exif=exif))[1] == [
        "file: its 300 dpi are not kept: its Exif, which is kept unchanged, states 102x300"
    ]


@pytest.mark.parametrize(
    "dpi", ["300", (300,), (float("nan"), 1.0), (float("inf"), 300), ("a", "b"), (None, 3), (-5, -5)]
)
def test_invalid_densities_are_ignored(dpi):
    pil_image = PIL.Image.fromarray(PIXELS)
    pil_image.info["dpi"] = dpi
    assert not from_pil(pil_image).metadata
