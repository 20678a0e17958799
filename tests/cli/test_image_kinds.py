"""Tests of all kinds of images: depth, alpha, orientation and metadata are preserved."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import PIL.TiffImagePlugin
import pytest
import skimage.data
import tifffile

import dfmcodec
from dfmcodec.codecs.decode import decode_image
from dfmcodec.codecs.encode import encode_image
from dfmcodec.errors import ConfigError, CorruptError, ImageError, OutputError
from dfmcodec.image import Image, Metadata
from dfmcodec.image.deep_samples import report_depth
from dfmcodec.image.metadata import exif_with_orientation_1
from dfmcodec.image.read_image import image_from_bytes, upright
from dfmcodec.image.source import Source
from dfmcodec.image.write_image import OUTPUT_FORMATS, image_to_bytes, left_out
from dfmcodec.search.config import EncoderConfig

CAT = np.ascontiguousarray(skimage.data.chelsea()[60:124, 130:210])
GRAY = CAT[:, :, 1].copy()
DEEP = np.random.default_rng(0).integers(0, 65536, (13, 17, 4)).astype(np.uint16)
FAST = EncoderConfig(quality=70, effort=1)
NOT_OPAQUE = (np.add.outer(np.arange(64), np.arange(80)) * 2 % 256).astype(np.uint8)


def file_of(pixels, format_name="PNG", mode=None, **options):
    image = PIL.Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, format_name, **options)
    return buffer.getvalue()


def read(data, **options):
    """The image and what was said of it."""
    notices = []
    return image_from_bytes(data, "file", notify=notices.append, **options), " ".join(notices)


def deep_png(samples):
    """A PNG of 16 bits by its definition, without filters."""
    height, width = samples.shape[:2]
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    rows = samples.astype(">u2").reshape(height, -1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def deep_tiff(samples, **options):
    buffer = io.BytesIO()
    extra = {1: None, 2: ["unassalpha"], 3: None, 4: ["unassalpha"]}[samples.shape[2] if samples.ndim == 3 else 1]
    kind = "rgb" if samples.ndim == 3 and samples.shape[2] >= 3 else "minisblack"
    tifffile.imwrite(buffer, samples, photometric=kind, extrasamples=extra, planarconfig="contig", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "colours", "alpha"),
    [
        (file_of(GRAY), GRAY, None),
        (file_of(CAT), CAT, None),
        (file_of(CAT, "BMP"), CAT, None),
        (file_of(CAT, "PPM"), CAT, None),
        (file_of(CAT, "TIFF", compression="tiff_lzw"), CAT, None),
        (file_of(CAT, "WEBP", lossless=True), CAT, None),
        (file_of(np.dstack([GRAY, NOT_OPAQUE])), GRAY, NOT_OPAQUE),
        (file_of(np.dstack([CAT, NOT_OPAQUE])), CAT, NOT_OPAQUE),
        (file_of(np.dstack([CAT, NOT_OPAQUE]), "WEBP", lossless=True, exact=True), CAT, NOT_OPAQUE),
        (file_of(np.dstack([CAT, NOT_OPAQUE]), "TIFF"), CAT, NOT_OPAQUE),
        (file_of(GRAY > 99), (GRAY > 99).astype(np.uint8) * 255, None),
        (file_of(GRAY, mode="P"), np.repeat(GRAY[:, :, None], 3, axis=2), None),
        (file_of(CAT, transparency=tuple(map(int, CAT[3, 4]))), CAT, (CAT != CAT[3, 4]).any(axis=2) * np.uint8(255)),
        (file_of(GRAY, transparency=int(GRAY[3, 4])), GRAY, (GRAY != GRAY[3, 4]) * np.uint8(255)),
        (deep_png(DEEP[:, :, 0]), DEEP[:, :, 0], None),
        (deep_png(DEEP[:, :, :2]), DEEP[:, :, 0], DEEP[:, :, 1]),
        (deep_png(DEEP[:, :, :3]), DEEP[:, :, :3], None),
        (deep_png(DEEP), DEEP[:, :, :3], DEEP[:, :, 3]),
        (deep_tiff(DEEP[:, :, 0]), DEEP[:, :, 0], None),
        (deep_tiff(DEEP[:, :, :3]), DEEP[:, :, :3], None),
        (deep_tiff(DEEP[:, :, :3], byteorder=">"), DEEP[:, :, :3], None),
        (deep_tiff(DEEP[:, :, :3], compression="zlib", rowsperstrip=4), DEEP[:, :, :3], None),
        (deep_tiff(DEEP), DEEP[:, :, :3], DEEP[:, :, 3]),
        (b"P6\n17 13\n65535\n" + DEEP[:, :, :3].astype(">u2").tobytes(), DEEP[:, :, :3], None),
        (b"P5 # a remark\n17 13\n65535\n" + DEEP[:, :, 0].astype(">u2").tobytes(), DEEP[:, :, 0], None),
    ],
    ids=lambda value: None,
)
def test_every_sample_is_read(data, colours, alpha):
    image, notices = read(data)
    expected = colours if colours.ndim == 3 else colours[:, :, None]
    assert image.pixels.dtype == expected.dtype
    assert np.array_equal(image.pixels, expected)
    assert (image.alpha is None) == (alpha is None)
    assert alpha is None or np.array_equal(image.alpha, alpha)
    assert notices == ""


def test_conversions_are_said():
    cmyk = PIL.Image.fromarray(CAT).convert("CMYK")
    image, notices = read(file_of(cmyk, "JPEG", quality=95))
    assert "CMYK converted to sRGB" in notices
    assert np.abs(image.pixels.astype(int) - CAT).mean() < 6
    frames = [PIL.Image.fromarray(GRAY), PIL.Image.fromarray(255 - GRAY)]
    gif = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    image, notices = read(gif)
    assert "the first of several frames" in notices
    assert np.array_equal(image.pixels[:, :, 0], GRAY)
    pages = file_of(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert "the first of several pages" in read(pages)[1]
    image, notices = read(pages, page=2)
    assert notices == ""
    assert np.array_equal(image.pixels[:, :, 0], 255 - GRAY)
    with pytest.raises(ConfigError, match="there is no page 3"):
        read(pages, page=3)
    lab = PIL.ImageCms.profileToProfile(
        PIL.Image.fromarray(CAT),
        PIL.ImageCms.createProfile("sRGB"),
        PIL.ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    image, notices = read(file_of(lab, "TIFF"))
    assert "LAB converted" in notices
    assert np.abs(image.pixels.astype(int) - CAT).mean() < 4


@pytest.mark.parametrize("is_installed", [True, False])
@pytest.mark.parametrize(("flags", "bits"), [(0, None), (0x40, 10), (0x60, 12)])
def test_the_bits_of_an_avif_are_those_of_its_configuration(flags, bits, is_installed, monkeypatch):
    """Without libavif, which may refuse a file whose stream says otherwise."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: is_installed or None)
    notices = []
    source = Source.from_bytes(b"..av1C\x81\0" + bytes([flags]), "file")
    report_depth(SimpleNamespace(format="AVIF", mode="RGB"), source, notices.append)
    advice = "" if is_installed else "; pip install 'dfmcodec[heif]' reads all of them"
    expected = [] if bits is None else [f"it has {bits} bits per sample, but Pillow's AVIF reader keeps 8{advice}"]
    assert notices == expected


PQ = {"primaries": 9, "transfer": 16}
PROFILE = b"Display P3".ljust(200, b"\0")
INSTALL = "needs .venv/bin/pip install -e .[heif]"


def phone_exif():
    exif = PIL.Image.Exif()
    exif[0x010F], exif[0x0112] = "maker", 6
    return exif.tobytes()


def phone_jpeg():
    return file_of(CAT, "JPEG", quality=95, subsampling=0, exif=phone_exif(), icc_profile=PROFILE)


def phone_heic(bits, points=None):
    """A HEIC with a rotation property, as libheif writes it for the orientation in Exif."""
    heif = pytest.importorskip("pillow_heif", reason=INSTALL)
    samples = CAT if bits == 8 else (CAT.astype(np.uint16) << 8) + 77
    image = heif.from_bytes(mode="RGB;16" if bits > 8 else "RGB", size=(80, 64), data=samples.tobytes())
    names = {"primaries": "color_primaries", "transfer": "transfer_characteristics"}
    colours = {names[name]: value for name, value in points.items()} if points else {"icc_profile": PROFILE}
    buffer = io.BytesIO()
    image.save(buffer, quality=-1, chroma=444, matrix_coefficients=0, exif=phone_exif(), **colours)
    return buffer.getvalue()


def phone_avif(bits, points=None):
    if bits == 8:
        return file_of(CAT, "AVIF", quality=95, subsampling="4:4:4", speed=10, exif=phone_exif(), icc_profile=PROFILE)
    codecs = pytest.importorskip("imagecodecs", reason=INSTALL)
    samples = (CAT.astype(np.uint16) << (bits - 8)) + 3
    return codecs.avif_encode(samples, level=100, bitspersample=bits, speed=10, codec="aom", **(points or {}))


def phone_png():
    """A PNG of 16 bits with code points and orientation, as editors export HDR photographs."""
    data = deep_png(CAT.astype(np.uint16) * 257)
    bodies = [(b"cICP", bytes((9, 16, 0, 1))), (b"eXIf", phone_exif().removeprefix(b"Exif\0\0"))]
    chunks = [struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in bodies]
    return data[:33] + b"".join(chunks) + data[33:]


@pytest.mark.parametrize(
    ("make", "orientation", "bits", "icc", "cicp"),
    [
        (phone_jpeg, 6, None, PROFILE, None),
        (lambda: phone_heic(8), 6, None, PROFILE, None),
        (lambda: phone_heic(10), 6, 10, PROFILE, None),
        (lambda: phone_heic(10, PQ), 6, 10, None, (9, 16, 0, 1)),
        (lambda: phone_heic(10, PQ | {"transfer": 18}), 6, 10, None, (9, 18, 0, 1)),
        (lambda: phone_avif(8), 6, None, PROFILE, None),
        (lambda: phone_avif(10, PQ), 1, 10, None, (9, 16, 0, 1)),
        (lambda: phone_avif(12, PQ | {"transfer": 18}), 1, 12, None, (9, 18, 0, 1)),
        (phone_png, 6, None, None, (9, 16, 0, 1)),
    ],
)
def test_photographs_of_phones_come_back(make, orientation, bits, icc, cicp):
    """The table of docs/results/images.md."""
    image, notices = read(make())
    assert notices == ""
    expected = upright(CAT, orientation)
    scale = 65535 / 255 if image.bit_depth == 16 else 1
    assert np.abs(image.pixels / scale - expected).mean() < 2
    metadata = decode_image(encode_image(image, FAST).data).metadata
    assert metadata == image.metadata
    assert (metadata.significant_bits, metadata.icc, metadata.cicp) == (bits, icc, bytes(cicp) if cicp else None)
    again, notices = read(image_to_bytes(replace(image, metadata=metadata), OUTPUT_FORMATS["png"]))
    assert notices == ""
    assert again.metadata == metadata
    assert np.array_equal(again.pixels, image.pixels)


def test_heic_through_its_plugin():
    pytest.importorskip("pillow_heif").register_heif_opener()
    image, _ = read(file_of(CAT, "HEIF", quality=90))
    assert image.pixels.shape == CAT.shape
    assert np.abs(image.pixels.astype(int) - CAT).mean() < 6


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (file_of(np.zeros((4, 4), np.float32), "TIFF"), "floating-point"),
        (deep_tiff(np.zeros((4, 4, 3), np.float32)), "floating-point"),
        (b"#?RADIANCE\n" + bytes(50), "floating-point"),
        (b"P6\n17 13\n65535\n" + bytes(100), "cut off"),
        (file_of(np.full((4, 4), 1 << 20, np.int32), "TIFF"), "convert it to 16 bits"),
        (b"\x89DFM\x01", "dfm decode"),
        (file_of(CAT)[:3000], "cut off"),
        (b"", "empty"),
        (b"nothing of the kind", "not an image"),
        (b"PAR1" + bytes(300), "it is a Parquet file: `dfm corpus FILE.parquet -O FOLDER`"),
    ],
)
def test_unsupported_images_are_refused_with_advice(data, message):
    with pytest.raises(ImageError, match=message):
        read(data)


def test_too_many_channels():
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((4, 4, 6), np.uint8), photometric="rgb", planarconfig="contig")
    with pytest.raises(ImageError, match="6 channels"):
        read(buffer.getvalue())


@pytest.mark.parametrize(
    ("format_name", "orientation"),
    [
        *(("JPEG", orientation) for orientation in range(1, 9)),
        *(
            pytest.param(name, orientation, marks=[pytest.mark.slow] * (orientation != 6))
            for name in ("PNG", "TIFF", "WEBP")
            for orientation in range(1, 9)
        ),
    ],
)
def test_orientation_is_baked_in_and_the_rest_of_exif_kept(orientation, format_name):
    exif = PIL.Image.Exif()
    exif[0x010E] = "a cat"
    exif[0x0112] = orientation
    exif[0x8769] = {0x829A: 0.25}  # exposure time
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="%d">hello</x:xmpmeta>' % orientation
    options = {"exif": exif, "icc_profile": b"not really a profile"}
    if format_name in ("JPEG", "WEBP"):
        options["xmp"] = xmp
    if format_name == "WEBP":
        options["lossless"] = True
    if format_name == "TIFF":  # Exif is tags of the file
        tags = PIL.TiffImagePlugin.ImageFileDirectory_v2()
        tags[0x010E], tags[0x0112], tags[0x8769] = "a cat", orientation, {0x829A: 0.25}
        del options["exif"]
        options["tiffinfo"] = tags
    data = file_of(CAT, format_name, **options)
    expected = upright(CAT, orientation)
    image, _ = read(data)
    assert np.array_equal(image.pixels, expected) or (
        format_name == "JPEG" and np.abs(image.pixels.astype(int) - expected).mean() < 5
    )
    found = PIL.Image.Exif()
    found.load(image.metadata.exif)
    assert found.get(0x0112, 1) == 1
    assert found[0x010E] == "a cat"
    assert float(found.get_ifd(0x8769)[0x829A]) == 0.25
    assert image.metadata.icc == b"not really a profile"
    if "xmp" in options:
        assert image.metadata.xmp == xmp.replace(b'"%d"' % orientation, b'"1"')
    result = encode_image(image, FAST)
    assert decode_image(result.data).metadata == image.metadata
    assert result.report.section_bytes["metadata"] >= len(image.metadata.exif)


def test_upright_is_what_pillow_does():
    image = PIL.Image.fromarray(CAT)
    for orientation in range(1, 9):
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        copy = image.copy()
        copy.info["exif"] = exif.tobytes()
        copy._exif = None
        turned = PIL.ImageOps.exif_transpose(copy)
        assert np.array_equal(upright(CAT, orientation), np.asarray(turned))


def test_exif_blocks_are_changed_in_one_place_only():
    exif = PIL.Image.Exif()
    exif[0x010E], exif[0x0112] = "x" * 40, 6
    block = exif.tobytes()
    reset = exif_with_orientation_1(block)
    assert sum(a != b for a, b in zip(block, reset, strict=True)) == 1
    assert exif_with_orientation_1(b"Exif\0\0II*\0\xff\xff\xff\xff") is None
    assert exif_with_orientation_1(b"Exif\0\0") is None


KINDS = {
    "gray": Image(GRAY[:, :, None]),
    "rgb": Image(CAT),
    "gray as rgb": Image(np.repeat(GRAY[:, :, None], 3, axis=2)),
    "gray, opacity": Image(GRAY[:, :, None], alpha=NOT_OPAQUE),
    "rgb, opacity": Image(CAT, alpha=NOT_OPAQUE),
    "gray 16": Image(np.kron(GRAY, np.ones((2, 2), int)).astype(np.uint16)[:, :, None] * 201 + 13),
    "rgb 16": Image(CAT.astype(np.uint16) * 257),
    "rgb 16, opacity": Image(CAT.astype(np.uint16) * 257, alpha=NOT_OPAQUE.astype(np.uint16) * 251),
}


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        *(("wavelet", kind) for kind in KINDS),
        *(pytest.param("coordinate", kind, marks=pytest.mark.slow) for kind in KINDS),
    ],
)
def test_files_give_back_kind_depth_and_opacity(kind, model):
    image = KINDS[kind]
    config = FAST if model == "wavelet" else EncoderConfig(model=model, rate=0.1, training_steps=64)
    result = encode_image(image, config)
    decoded = decode_image(result.data)
    assert decoded.pixels.dtype == image.pixels.dtype
    assert decoded.pixels.shape == image.pixels.shape
    assert (decoded.alpha is None) == (image.alpha is None)
    assert image.alpha is None or np.array_equal(decoded.alpha, image.alpha)
    header = dfmcodec.read_info(result.data)
    assert (header.bit_depth, header.channels) == (image.bit_depth, image.channels)
    assert header.raw_bytes == image.raw_bytes
    assert sum(result.report.section_bytes.values()) == len(result.data)
    if model == "wavelet":
        assert result.report.psnr_db > 34
    if kind == "gray as rgb" and model == "wavelet":
        alone = encode_image(KINDS["gray"], FAST)
        assert len(result.data) == len(alone.data) + 5
    for budget in (900, 1500):
        assert len(encode_image(image, EncoderConfig(size=budget, effort=1)).data) <= budget


def test_deep_gradients_have_no_bands():
    """A slow ramp of 16 bits is nearer to the original than any rounding to 8 bits could be."""
    ramp = np.add.outer(np.linspace(20000, 23000, 200), np.linspace(0, 1500, 300))
    pixels = np.rint(ramp).astype(np.uint16)[:, :, None]
    rounded = np.rint(pixels / 257).astype(np.uint8).astype(float) * 257
    of_8_bits = 10 * np.log10(65535**2 / np.mean((rounded - pixels) ** 2))
    result = dfmcodec.encode(pixels, rate=0.01, effort=1)
    assert result.report.psnr_db > of_8_bits + 6
    assert len(result.data) <= 0.01 * pixels.nbytes
    assert dfmcodec.decode(result.data).dtype == np.uint16


def test_simple_alpha_takes_few_bytes():
    plain = len(dfmcodec.encode(CAT, quality=70, effort=1).data)
    opaque = Image(CAT, alpha=np.full(CAT.shape[:2], 255, np.uint8))
    assert len(encode_image(opaque, FAST).data) == plain + 10
    y, x = np.mgrid[:64, :80]
    logo = Image(CAT, alpha=(np.hypot(y - 32, x - 40) < 25).astype(np.uint8) * 255)
    result = encode_image(logo, FAST)
    assert result.report.section_bytes["alpha"] < 200
    assert len(result.data) < plain  # colours that nobody sees cost less than they did
    assert result.report.psnr_db > 33
    invisible = Image(CAT, alpha=np.zeros(CAT.shape[:2], np.uint8))
    assert len(encode_image(invisible, FAST).data) < 120


def test_damaged_opacity_is_refused():
    from dfmcodec.container.alpha import read_alpha, write_alpha

    body = write_alpha(NOT_OPAQUE)
    assert np.array_equal(read_alpha(body, 64, 80, 8), NOT_OPAQUE)
    for wrong in (body[:3], body[:-1], body + b"x", b"\x07" + body[1:], body[:5] + bytes(len(body) - 5)):
        with pytest.raises(CorruptError):
            read_alpha(wrong, 64, 80, 8)
    with pytest.raises(CorruptError):
        read_alpha(body, 64, 81, 8)
    large = np.zeros((40, 5000), np.uint16)
    large[:, 2000:] = np.arange(3000)
    assert np.array_equal(read_alpha(write_alpha(large), 40, 5000, 16), large)


METADATA = Metadata(icc=b"profile", exif=PIL.Image.Exif().tobytes(), xmp=b"<x:xmpmeta>hi</x:xmpmeta>")


@pytest.mark.parametrize("name", OUTPUT_FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_hold_everything_or_are_refused(name, kind):
    output, image = OUTPUT_FORMATS[name], KINDS[kind]
    image = Image(image.pixels, METADATA, image.alpha)
    if (image.bit_depth > 8 and not output.deep) or (image.alpha is not None and not output.alpha):
        with pytest.raises(OutputError, match="use png"):
            image_to_bytes(image, output)
        return
    data = image_to_bytes(image, output)
    if name == "npy":
        samples = np.load(io.BytesIO(data))
        expected = image.pixels if image.alpha is None else np.dstack([image.pixels, image.alpha])
        assert np.array_equal(samples, expected.squeeze())
        return
    again, _ = read(data)
    if name == "jpeg":
        assert np.abs(again.pixels.astype(int) - image.pixels).mean() < 3
    else:
        assert np.array_equal(again.pixels[:, :, : image.channels], image.pixels)  # WebP has no gray
        assert again.pixels.dtype == image.pixels.dtype
    assert (again.alpha is None) == (image.alpha is None)
    assert image.alpha is None or np.array_equal(again.alpha, image.alpha)
    lost = left_out(image, output)
    for entry in ("icc", "xmp"):
        assert (getattr(again.metadata, entry) == getattr(image.metadata, entry)) == (entry not in lost)


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (7, 13), (61, 53)])
def test_odd_sizes_with_opacity_and_depth(shape):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 65536, (*shape, 3)).astype(np.uint16)
    alpha = rng.integers(0, 3, shape).astype(np.uint16) * 32767
    decoded = decode_image(encode_image(Image(pixels, alpha=alpha), FAST).data)
    assert decoded.pixels.shape == pixels.shape
    assert np.array_equal(decoded.alpha, alpha)


def test_arrays_with_opacity_through_the_api(tmp_path):
    both = np.dstack([CAT, NOT_OPAQUE])
    data = dfmcodec.encode(both, quality=60, effort=1).data
    assert dfmcodec.decode(data).shape == both.shape
    assert np.array_equal(dfmcodec.decode(data)[:, :, 3], NOT_OPAQUE)
    path = Path(tmp_path / "anim.gif")
    PIL.Image.fromarray(GRAY).save(path, save_all=True, append_images=[PIL.Image.fromarray(255 - GRAY)])
    with pytest.warns(UserWarning, match="the first of several frames"):
        dfmcodec.encode(path, quality=30, effort=1)
