"""Tests of reading images: errors of Pillow plugins, pages, and sources of metadata."""

from __future__ import annotations

import errno
import io
import os
import re
import struct
import threading
import zlib

import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
import tifffile

from dfmcodec.container.metadata import pack_metadata
from dfmcodec.errors import ConfigError, DfmError, ImageError
from dfmcodec.image import MAX_PIXELS, Image, Metadata, open_image, png, tiff
from dfmcodec.image import source as sources
from dfmcodec.image.open_image import MAX_HELD_BYTES
from dfmcodec.image.read_image import from_pil, image_from_bytes, image_from_source, read_image, to_image
from dfmcodec.image.source import Source

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)
IMAGE = PIL.Image.fromarray(PIXELS)
DEEP = np.random.default_rng(1).integers(0, 65536, (12, 10, 4)).astype(np.uint16)
DEEP[0, :5, 3] = 0, 1, 2, 0x8000, 0xFFFF
PROFILE = b"a profile" * 20
ALL_THAT_IS_KEPT = "only ICC, Exif and XMP are kept"


def file_of(format_name, image=IMAGE, **options):
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def read(data, **options):
    notices = []
    return image_from_bytes(data, "file", notify=notices.append, **options), " ".join(notices)


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_with(*chunks, base=None):
    """A PNG with more chunks after its header."""
    base = base or file_of("PNG")
    return base[:33] + b"".join(chunk(*each) for each in chunks) + base[33:]


def tiff_with(tag, kind, count, value):
    """A gray TIFF of 4x4 pixels with one field of any type."""
    own = {256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 273: 134, 277: 1, 278: 4, 279: 16}
    entries = [struct.pack("<HHII", t, 4, 1, v) for t, v in own.items()]
    entries.append(struct.pack("<HHI4s", tag, kind, count, value.ljust(4, b"\0")))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    assert len(head) == 134
    return head + bytes(range(16))


def test_formats_without_raw_modes_are_read():
    assert np.array_equal(read(file_of("QOI"))[0].pixels, PIXELS)


@pytest.mark.parametrize("kind", [TypeError, KeyError, AttributeError, RecursionError, NotImplementedError, Warning])
def test_plugin_exceptions_become_image_errors(monkeypatch, kind):
    def fail(self):
        msg = "one\ntwo \x1b[2J\x07"
        raise kind(msg)

    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", fail)
    with pytest.raises(ImageError) as caught:
        image_from_bytes(file_of("BMP"), "x.bmp")
    message = str(caught.value)
    assert message.startswith(f"x.bmp cannot be read ({kind.__name__}: ")
    assert "two \\x1b[2J\\x07" in message
    assert message.isprintable()
    with pytest.raises(ImageError, match=r"^the Pillow image cannot be read"), io.BytesIO(file_of("BMP")) as file:
        from_pil(PIL.Image.open(file))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), MemoryError),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), MemoryError),
        (ImportError("libx.so: failed to map segment from shared object"), MemoryError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_lack_of_memory_and_ctrl_c_pass(monkeypatch, error, kind):
    def fail(self):
        raise error

    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", fail)
    with pytest.raises(kind):
        image_from_bytes(file_of("BMP"), "x.bmp")


@pytest.mark.parametrize("keyword", [b"icc_profile", b"xmp", b"exif", b"transparency", b"XML:com.adobe.xmp"])
@pytest.mark.parametrize("name", [b"tEXt", b"zTXt", b"iTXt"])
def test_texts_of_a_png_do_not_pose_as_metadata(keyword, name):
    if (name, keyword) == (b"iTXt", b"XML:com.adobe.xmp"):
        return  # this is where XMP is
    text = {b"tEXt": b"\0hello", b"zTXt": b"\0\0" + zlib.compress(b"hello"), b"iTXt": b"\0\0\0\0\0hello"}[name]
    data = png_with((name, keyword + text))
    image, notices = read(data)
    assert np.array_equal(image.samples, PIXELS)
    assert not image.metadata
    is_xmp = keyword == b"XML:com.adobe.xmp"
    assert notices == ("" if is_xmp else f"file: its PNG text ({keyword.decode()}) is left out; {ALL_THAT_IS_KEPT}")
    with PIL.Image.open(io.BytesIO(data)) as pil_image:
        assert np.array_equal(from_pil(pil_image).samples, PIXELS)


def test_texts_do_not_hide_what_they_are_named_after():
    exif = PIL.Image.Exif()
    exif[0x010E] = "a cat"
    base = file_of("PNG", IMAGE, icc_profile=PROFILE, exif=exif, transparency=tuple(map(int, PIXELS[3, 4])))
    texts = [(b"tEXt", name + b"\0hello") for name in (b"icc_profile", b"xmp", b"exif", b"transparency")]
    end = base.index(b"IEND") - 4
    packet = (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x>\xff</x>")
    image, _ = read(base[:end] + b"".join(chunk(*each) for each in (packet, *texts)) + base[end:])
    assert image.metadata.icc == PROFILE
    assert b"a cat" in image.metadata.exif
    assert image.metadata.xmp == b"<x>\xff</x>"
    assert image.alpha[3, 4] == 0


def test_damaged_metadata_of_a_png_is_left_out():
    bad_profile, large = b"name\0\0" + b"no zlib", b"name\0\0" + zlib.compress(bytes((1 << 24) + 1))
    for body in (bad_profile, large, b"no end", b"name\0\0" + zlib.compress(PROFILE)[:-9]):
        image, notices = read(png_with((b"iCCP", body)))
        assert not image.metadata
        assert "its ICC profile is damaged or has more than 16777216 bytes, and is left out" in notices
        assert read(png_with((b"iCCP", body)), strip="all,icc")[1] == ""
    image, notices = read(png_with((b"eXIf", b"garbage")))
    assert not image.metadata
    assert "its Exif block is damaged" in notices


def test_a_profile_of_a_png_with_a_wrong_checksum_is_left_out():
    body = b"name\0\0" + zlib.compress(PROFILE)
    data = bytearray(png_with((b"iCCP", body)))
    assert read(bytes(data))[0].metadata.icc == PROFILE
    data[33 + 8 + len(body)] ^= 1
    image, notices = read(bytes(data))
    assert not image.metadata
    assert "its ICC profile is damaged" in notices


def profile_of(size):
    return b"iCCP", b"name\0\0" + zlib.compress(bytes(size))


def exif_text(digits):
    return b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 1\n" + digits)


XMP_CHUNK = b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"
LARGE = "is damaged or has more than {} bytes, and is left out"


def png_metadata(*chunks, max_bytes):
    notices = []
    return png.read_metadata(io.BytesIO(png_with(*chunks)), max_bytes, notices.append), notices


def test_all_metadata_of_a_png_shares_one_budget():
    """Entries that cannot be used spend it too, so that many of them take no longer than one."""
    no_digits, large = exif_text(b"x" * 3000), LARGE.format(10_000)
    found, notices = png_metadata(*[no_digits] * 3, profile_of(900), XMP_CHUNK, max_bytes=10_000)
    assert (found.icc, found.xmp) == (bytes(900), b"<x/>")
    assert notices == [f"its Exif block {large}"]
    found, notices = png_metadata(*[no_digits] * 4, profile_of(900), XMP_CHUNK, max_bytes=10_000)
    assert not found
    assert notices == [f"its {entry} {large}" for entry in ("Exif block", "ICC profile", "XMP packet")]
    cut = b"iCCP", profile_of(50_000)[1][:-5]
    assert png_metadata(cut, XMP_CHUNK, max_bytes=10_000)[0].xmp is None


def test_the_first_entry_of_a_png_that_is_not_damaged_is_kept():
    damaged = b"iCCP", b"name\0\0no zlib"
    found, notices = png_metadata(*[damaged] * 3, profile_of(2), *[profile_of(3)] * 3, XMP_CHUNK, max_bytes=1000)
    assert (found.icc, found.xmp) == (bytes(2), b"<x/>")
    assert notices == ["it has more than one ICC profile; the first that is not damaged is kept"]


def test_few_chunks_of_metadata_are_read(monkeypatch):
    damaged = b"iCCP", b"name\0\0no zlib"
    read_bodies = []
    monkeypatch.setattr(png, "_checked_body", lambda chunk: read_bodies.append(chunk) or chunk[4:-4])
    found, notices = png_metadata(*[damaged] * 1000, XMP_CHUNK, max_bytes=1000)
    assert not found
    assert notices == [f"its {entry} {LARGE.format(1000)}" for entry in ("ICC profile", "XMP packet")]
    assert len(read_bodies) == png.MAX_METADATA_CHUNKS


def test_a_png_of_very_many_chunks_is_refused(monkeypatch):
    monkeypatch.setattr(png, "MAX_CHUNKS", 9)
    assert not read(png_with(*[(b"abCd", b"")] * 6))[0].metadata
    with pytest.raises(ImageError, match="file: it has more than 9 chunks, the limit for PNG files"):
        read(png_with(*[(b"abCd", b"")] * 7))


def test_exif_in_many_segments_of_a_jpeg_is_refused(monkeypatch):
    """Pillow joins them in a time that grows with the square of their number."""
    base = file_of("JPEG", IMAGE)
    segment = b"\xff\xe1" + struct.pack(">H", 1002) + b"Exif\0\0" + bytes(994)
    monkeypatch.setattr(open_image, "MAX_EXIF_BYTES", 5000)
    assert "damaged" in read(base[:2] + 5 * segment + base[2:])[1]
    with pytest.raises(ImageError, match="file: its Exif has more than 5000 bytes; remove it first"):
        read(base[:2] + 6 * segment + base[2:])


def test_fields_of_a_tiff_beyond_the_limit_are_not_read(monkeypatch):
    base = file_of("TIFF", icc_profile=bytes(5000))
    assert len(read(base)[0].metadata.icc) == 5000
    monkeypatch.setattr(tiff, "MAX_METADATA_BYTES", 4999)
    image, notices = read(base)
    assert image.metadata.icc is None
    assert f"its ICC profile {LARGE.format(16777216)}" in notices


@pytest.mark.parametrize("format_name", ["PNG", "WEBP"])
def test_metadata_that_does_not_fit_is_left_out(format_name):
    """What is left of the limit beside names and lengths, and one byte more."""
    limit = "a .dfm file has at most 16777216 bytes of metadata"
    for size, is_kept in [((1 << 24) - 10, True), ((1 << 24) - 9, False), ((1 << 24) - 1, False)]:
        image, notices = read(file_of(format_name, icc_profile=bytes(size), lossless=True))
        assert (image.metadata.icc is not None) == is_kept
        assert notices == ("" if is_kept else f"file: its ICC profile of {size} bytes is left out; {limit}")
        assert len(pack_metadata(image.metadata)) <= 1 << 24
    entries = Metadata(icc=bytes(9 << 20), exif=bytes(8 << 20), xmp=b"<x/>", cicp=b"\x09\x10\0\1")
    notices = []
    image = to_image(Image(PIXELS, entries), notify=notices.append)
    assert image.metadata == Metadata(exif=entries.exif, xmp=entries.xmp, cicp=entries.cicp)
    assert notices == [f"its ICC profile of {9 << 20} bytes is left out; {limit}"]


def test_exif_in_a_text_of_a_png_is_read():
    """As ImageMagick wrote it, before PNG had a chunk for it."""
    exif = PIL.Image.Exif()
    exif[0x010E] = "a cat"
    block = exif.tobytes()
    text = b"Raw profile type exif\0\nexif\n%8d\n%s\n" % (len(block), block.hex().encode())
    assert read(png_with((b"tEXt", text)))[0].metadata.exif == block


def test_a_profile_of_cmyk_is_left_out():
    image, notices = read(file_of("JPEG", IMAGE.convert("CMYK"), icc_profile=PROFILE))
    assert image.metadata.icc is None
    assert "CMYK converted to sRGB" in notices


def test_a_fourth_channel_of_no_stated_meaning_is_left_out():
    buffer, samples = io.BytesIO(), np.dstack([PIXELS, PIXELS[:, :, :1]])
    tifffile.imwrite(buffer, samples, photometric="rgb", extrasamples=["unspecified"], planarconfig="contig")
    image, notices = read(buffer.getvalue())
    assert np.array_equal(image.pixels, PIXELS)
    assert image.alpha is None
    assert "its fourth channel, of no stated meaning, is left out" in notices


@pytest.mark.parametrize(
    ("tag", "notice"),
    [(700, "XMP packet is damaged"), (34675, "ICC profile is damaged"), (270, ""), (37724, ""), (0x8769, "Exif is")],
)
@pytest.mark.parametrize("kind", [3, 4, 6, 11, 99])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's
def test_fields_of_another_type_do_not_end_the_reading(tag, notice, kind):
    image, notices = read(tiff_with(tag, kind, 1, b"\x07\0\1\0"))
    assert np.array_equal(image.pixels.ravel(), np.arange(16))
    assert notice in notices
    assert image.metadata.icc is None
    assert image.metadata.xmp is None


def test_exif_of_a_tiff_keeps_its_types():
    exif = PIL.Image.Exif()
    exif[0x010E], exif[0x0131], exif[0x011A] = "a cat", "scanner", 72.0
    image, notices = read(file_of("TIFF", exif=exif, icc_profile=PROFILE))
    again = PIL.Image.Exif()
    again.load(image.metadata.exif)
    assert (again[0x010E], again[0x0131], float(again[0x011A])) == ("a cat", "scanner", 72.0)
    assert image.metadata.icc == PROFILE
    assert notices == ""


def pages_of(format_name, count=3):
    frames = [PIL.Image.fromarray(np.roll(PIXELS, shift, 0)) for shift in range(count)]
    return file_of(format_name, frames[0], save_all=True, append_images=frames[1:])


def test_the_further_images_of_a_phone_are_no_frames():
    image, notices = read(pages_of("MPO", 2))
    assert notices == "file: its further image is left out"
    assert image.pixels.shape == PIXELS.shape


def test_pages_are_not_counted(monkeypatch):
    def refuse(self):
        pytest.fail("the pages were counted")

    data = {name: pages_of(name) for name in ("TIFF", "GIF")}
    monkeypatch.setattr(PIL.TiffImagePlugin.TiffImageFile, "n_frames", property(refuse))
    monkeypatch.setattr(PIL.GifImagePlugin.GifImageFile, "n_frames", property(refuse))
    assert "only the first of several pages is read; dfm encode --page selects another" in read(data["TIFF"])[1]
    assert "only the first of several frames is read; dfm encode --page selects another" in read(data["GIF"])[1]
    for page in (1, 2, 3):
        image, notices = read(data["TIFF"], page=page)
        assert np.array_equal(image.pixels, np.roll(PIXELS, page - 1, 0))
        assert notices == ""
    with pytest.raises(ConfigError, match="there is no page 0"):
        read(data["TIFF"], page=0)
    for page in (4, 1 << 40):
        with pytest.raises(ConfigError, match=f"has 3 pages; there is no page {page}"):
            read(data["TIFF"], page=page)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_each_page_is_compared_with_the_limit(dtype):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for side in (8, 64):
            writer.write(np.zeros((side, side, 3), dtype), photometric="rgb")
    assert read(buffer.getvalue(), max_pixels=64, page=1)[0].width == 8
    with pytest.raises(ImageError, match="the image is 64x64, more than the limit of 64 pixels"):
        read(buffer.getvalue(), max_pixels=64, page=2)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_directory_beyond_all_files_is_refused(order):
    head = struct.pack(order + "2sHHHQ", b"II" if order == "<" else b"MM", 43, 8, 0, 1 << 63)
    with pytest.raises(ImageError, match="cannot be read"):
        read(head + bytes(50))


def test_directories_above_a_limit_are_refused(monkeypatch):
    count = tiff.MAX_ENTRIES + 1
    large = b"II*\0\x08\0\0\0" + struct.pack("<H", count) + bytes(12 * count + 4)
    with pytest.raises(ImageError, match=f"has {count} entries, more than the limit of {tiff.MAX_ENTRIES}"):
        read(large)
    monkeypatch.setattr(tiff, "MAX_TOTAL_ENTRIES", 20)
    data = pages_of("TIFF")
    assert read(data)[0].width == 10
    with pytest.raises(ImageError, match="more than 20 entries, the limit for --page"):
        read(data, page=3)


@pytest.mark.parametrize("name", ["TIFF", "GIF"])
def test_a_damaged_page_does_not_hide_the_first(name):
    """Every prefix that holds the first page gives it."""
    data = pages_of(name)
    was_read = []
    for size in range(1, len(data)):
        try:
            image = image_from_bytes(data[:size], "file")
        except ImageError:
            was_read.append(False)
        else:
            was_read.append(True)
            assert image.pixels.shape == PIXELS.shape
    first = was_read.index(True)
    assert first < len(data) / 2
    assert all(was_read[first:])


def test_pipes_are_read_only_if_they_begin_as_an_image(tmp_path, monkeypatch):
    class Endless(io.RawIOBase):
        """A pipe that never ends, after a head."""

        def __init__(self, head):
            self.head, self.bytes_read = head, 0

        def read(self, size=-1):
            assert size >= 0
            self.bytes_read += size
            return (self.head if self.bytes_read == size else b"").ljust(size, b"y")

    pipe = Endless(b"y\n")
    with pytest.raises(ImageError, match="pipe is not an image that Pillow can read"):
        image_from_source(Source.from_stream(pipe, "pipe"))
    assert pipe.bytes_read <= 1 << 20
    assert MAX_HELD_BYTES >= 1 << 30
    monkeypatch.setattr(sources, "MAX_HELD_BYTES", 3 << 20)
    pipe = Endless(file_of("PNG"))
    with pytest.raises(ImageError, match="pipe has more than 3 MiB, the limit for a pipe; name a file"):
        Source.from_stream(pipe, "pipe")
    assert pipe.bytes_read <= 5 << 20
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(file_of("PNG"),))
    writer.start()
    assert np.array_equal(read_image(fifo).pixels, PIXELS)
    writer.join()


def test_paths_that_cannot_be_read(tmp_path):
    for path, error in ((tmp_path / "no", errno.ENOENT), (tmp_path, errno.EISDIR)):
        with pytest.raises(DfmError, match=f"^cannot read {re.escape(str(path))}: {os.strerror(error)}"):
            read_image(path)
    (tmp_path / "empty").touch()
    with pytest.raises(ImageError, match="is empty"):
        read_image(tmp_path / "empty")


def deep_tiff(samples, photometric="rgb", extra=None, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, photometric=photometric, extrasamples=extra and [extra], **options)
    return buffer.getvalue()


def lost(bits, format_name):
    return f"it has {bits} bits per sample, but Pillow's {format_name} reader keeps 8"


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_cmyk_of_16_bits_is_converted_with_notices(order, compression):
    data = deep_tiff(DEEP, "separated", byteorder=order, compression=compression)
    image, notices = read(data)
    expected = PIL.Image.fromarray((DEEP >> 8).astype(np.uint8), "CMYK").convert("RGB")
    assert np.array_equal(image.pixels, np.asarray(expected))
    assert image.alpha is None
    assert lost(16, "TIFF") in notices
    assert "CMYK converted to sRGB" in notices


def undone(samples):
    """Premultiplied samples, divided by their alpha."""
    alpha = samples[:, :, 3:].astype(np.int64)
    colours = (2 * 65535 * samples[:, :, :3].astype(np.int64) + alpha) // np.maximum(2 * alpha, 1)
    return np.where(alpha > 0, colours.clip(0, 65535), 0)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"rowsperstrip": 5}, {"planarconfig": "separate"}])
@pytest.mark.parametrize("order", ["<", ">"])
def test_premultiplied_samples_are_divided_by_alpha_at_16_bits(order, options):
    samples = DEEP.transpose(2, 0, 1) if "planarconfig" in options else DEEP
    image, notices = read(deep_tiff(samples, "rgb", "assocalpha", byteorder=order, **options))
    assert image.pixels.dtype == np.uint16
    assert np.array_equal(image.pixels, undone(DEEP))
    assert np.array_equal(image.alpha, DEEP[:, :, 3])
    assert notices == ""


@pytest.mark.parametrize("options", [{}, {"rowsperstrip": 5}, {"tile": (16, 16)}])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [3, 4])
def test_planes_of_16_bits_are_read(channels, order, options):
    samples = np.tile(DEEP, (2, 3, 1))[:, :, :channels]
    extra = "unassalpha" if channels == 4 else None
    planes = samples.transpose(2, 0, 1)
    image, notices = read(deep_tiff(planes, "rgb", extra, byteorder=order, planarconfig="separate", **options))
    assert np.array_equal(image.samples, samples)
    assert notices == ""


def test_planes_of_16_bits_that_pillow_cannot_read():
    """It takes the high bytes of compressed ones, and those of CMYK for samples of 8 bits."""
    planes = DEEP.transpose(2, 0, 1)
    image, notices = read(deep_tiff(planes[:3], planarconfig="separate", compression="zlib"))
    assert np.array_equal(image.pixels, DEEP[:, :, :3] >> 8)
    assert lost(16, "TIFF") in notices
    with pytest.raises(ImageError, match="are in separate planes, which Pillow cannot read; convert it to PNG"):
        read(deep_tiff(planes, "separated", planarconfig="separate"))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_gray_of_16_bits_whose_zero_is_white_is_inverted(compression):
    gray = DEEP[:, :, 0]
    image, notices = read(deep_tiff(gray, "miniswhite", byteorder="<", compression=compression))
    assert np.array_equal(image.pixels[:, :, 0], 65535 - gray)
    assert notices == ""


@pytest.mark.parametrize(("peak", "bits"), [(255, None), (1000, 10), (65535, 16)])
def test_a_plain_ppm_is_not_cut_silently(peak, bits):
    image, notices = read(b"P3\n2 1\n%d\n0 1 2 3 4 %d\n" % (peak, peak))
    assert image.pixels.dtype == np.uint8
    assert notices == ("" if bits is None else f"file: {lost(bits, 'PPM')}")


@pytest.mark.parametrize("data", [b"P1\n2 1\n0 1\n", b"P2\n2 1\n65535\n65535 0\n", b"P4\n2 1\n\x40"])
def test_other_plain_and_bitonal_files_lose_nothing(data):
    image, notices = read(data)
    assert image.pixels.ravel().tolist() == [image.pixels.max(), 0]
    assert notices == ""


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_transparent_gray_of_a_png_is_found_at_any_depth(bits):
    """Also where bits are set that the depth does not have, which the PNG specification ignores."""
    peak = (1 << bits) - 1
    values = np.arange(8) & peak
    packed = np.packbits(np.unpackbits(values.astype(np.uint8)[:, None], axis=1)[:, -bits:])
    body = zlib.compress(b"\0" + packed.tobytes())
    for clear in {0, peak, peak // 2} if bits > 1 else {0, 1}:
        above = 1 << 12 if bits > 1 else 0
        chunks = (b"IHDR", struct.pack(">IIBBBBB", 8, 1, bits, 0, 0, 0, 0)), (b"tRNS", struct.pack(">H", clear | above))
        data = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in (*chunks, (b"IDAT", body), (b"IEND", b"")))
        with PIL.Image.open(io.BytesIO(data)) as pil_image:
            for image in (read(data)[0], from_pil(pil_image)):
                assert np.array_equal(image.pixels[0, :, 0], values * (255 // peak))
                assert np.array_equal(image.alpha[0], np.where(values == clear, 0, 255))


@pytest.mark.parametrize("format_name", ["TIFF", "GIF", "PNG"])
def test_a_page_of_a_pillow_image_is_taken(format_name):
    frames = [np.full((4, 4, 3), gray, np.uint8) for gray in (0, 90, 180)]
    first, *others = map(PIL.Image.fromarray, frames)
    pages = file_of(format_name, first, save_all=True, append_images=others)
    with PIL.Image.open(io.BytesIO(pages)) as pil_image:
        for page in (2, 3, 1, 3, 2):
            assert np.array_equal(to_image(pil_image, page=page).pixels, frames[page - 1])
            assert np.array_equal(to_image(pil_image).pixels, frames[page - 1])  # where it stands
        for page in (0, 4):
            with pytest.raises(ConfigError, match=f"there is no page {page}"):
                to_image(pil_image, page=page)
    assert np.array_equal(to_image(IMAGE, page=1).pixels, PIXELS)
    with pytest.raises(ConfigError, match="the Pillow image has 1 page; there is no page 2"):
        to_image(IMAGE, page=2)


def test_a_limit_that_is_given_holds_for_all_sources(monkeypatch, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(file_of("PNG"))
    with PIL.Image.open(path) as pil_image:
        sources = [path, path.read_bytes(), pil_image, IMAGE, PIXELS, Image(PIXELS)]
        with monkeypatch.context() as changed:
            changed.setattr(PIL.ImageFile.ImageFile, "load", lambda self: pytest.fail("the pixels were read"))
            for source in sources:
                with pytest.raises(ImageError, match="10x12, more than the limit of 119 pixels"):
                    to_image(source, max_pixels=119)
        for source in sources:
            assert np.array_equal(to_image(source, max_pixels=120).pixels, PIXELS)


def test_the_default_limit_is_for_files():
    flat = np.broadcast_to(np.zeros(1, np.uint8), (MAX_PIXELS // 10_000 + 1, 10_000))
    assert to_image(flat).pixel_count > MAX_PIXELS
