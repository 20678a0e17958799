"""Tests of the Pillow plugin: opening, verifying, loading and saving `.dfm` files."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys

import imageio.v3
import numpy as np
import PIL.Image
import PIL.ImageFile
import PIL.ImageOps
import PIL.TiffImagePlugin
import pytest
import skimage.io
from common import GOLDEN, with_crc

import dfmcodec
from dfmcodec.perception import psnr
from dfmcodec.plugins.pillow import register

REGISTRIES = ("ID", "OPEN", "SAVE", "EXTENSION", "MIME")
# 96x80 RGB with alpha, metadata and checks: 2186 bytes
CHECKED = (GOLDEN / "checked-all.dfm").read_bytes()
PLAIN = (GOLDEN / "wavelet-rgb.dfm").read_bytes()  # without checks
DEEP_ALPHA = (GOLDEN / "wavelet-deep-alpha.dfm").read_bytes()  # gray of 16 bits, with alpha
SMALL = (GOLDEN / "wavelet-narrow.dfm").read_bytes()  # 89 bytes
FAST = {"effort": 1, "quality": 50}
KINDS = {
    "coordinate": "RGB",
    "wavelet-deep": "RGB",
    "wavelet-deep-alpha": "LA",
    "overfitted-deep-gray": "I;16",
    "overfitted-alpha": "RGBA",
    "gray-as-rgb": "RGB",
    "wavelet-gray": "L",
    "wavelet-alpha": "RGBA",
}


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    """`.dfm` files are registered for one test."""
    PIL.Image.init()
    for name in REGISTRIES:
        monkeypatch.setattr(PIL.Image, name, getattr(PIL.Image, name).copy())
    register()


@pytest.fixture
def best_effort(monkeypatch):
    monkeypatch.setattr(PIL.ImageFile, "LOAD_TRUNCATED_IMAGES", True)


def opened(data):
    return PIL.Image.open(io.BytesIO(data))


def flipped(data, at, bit=0):
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


def saved(image, **options):
    file = io.BytesIO()
    image.save(file, "DFM", **{**FAST, **options})
    return file.getvalue()


def run(program, folder):
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_registers_and_needs_no_jax(tmp_path):
    (tmp_path / "a.dfm").write_bytes(PLAIN)
    program = """
import sys, PIL.Image
try:
    PIL.Image.open("a.dfm")
except PIL.UnidentifiedImageError:
    print("unknown")
import dfmcodec.pillow
with PIL.Image.open("a.dfm") as image:
    image.save("b.dfm", effort=1, quality=50)
with PIL.Image.open("b.dfm") as image:
    image.verify()
with PIL.Image.open("b.dfm") as image:
    image.load()
    print(image.format, *image.size)
assert not {"jax", "jaxlib", "optax", "scipy", "skimage"} & set(sys.modules)
"""
    assert run(program, tmp_path).split() == ["unknown", "DFM", "97", "81"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of descriptors are POSIX")
def test_open_images_hold_no_descriptors(tmp_path):
    (tmp_path / "a.dfm").write_bytes(PLAIN)
    (tmp_path / "bad.dfm").write_bytes(CHECKED[:20])
    program = """
import resource
import numpy as np, PIL.Image
import dfmcodec.pillow
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (80, hard))
images = [PIL.Image.open("a.dfm") for _ in range(100)]
failed = 0
for _ in range(100):
    try:
        PIL.Image.open("bad.dfm")
    except PIL.UnidentifiedImageError:
        failed += 1
files = [open("a.dfm", "rb") for _ in range(40)]  # what is left
sums = {int(np.asarray(image).sum(dtype=int)) for image in images[:3]}
print(len(images), failed, len(files), len(sums))
for file in files:
    file.close()
"""
    assert run(program, tmp_path).split() == ["100", "100", "40", "1"]


def test_open_files_of_the_caller_stay_open(tmp_path):
    path = tmp_path / "a.dfm"
    path.write_bytes(PLAIN)
    with path.open("rb") as file:
        with PIL.Image.open(file) as image:
            image.load()
        assert not file.closed
        assert file.seek(0) == 0
        assert file.read() == PLAIN
    path.unlink()  # and the name is free again


def test_an_image_loads_after_its_file_is_replaced(tmp_path):
    path = tmp_path / "a.dfm"
    path.write_bytes(PLAIN)
    image = PIL.Image.open(path)
    path.write_bytes(CHECKED)
    assert np.array_equal(np.asarray(image), dfmcodec.decode(PLAIN))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_file_loads_as_it_decodes(kind):
    path = GOLDEN / f"{kind}.dfm"
    decoded = dfmcodec.decode(path)
    with PIL.Image.open(path) as image:
        image.load()
        assert image.info.keys() == decoded.to_pil().info.keys()
        assert image.losses == ()
    assert (image.mode, image.size) == (KINDS[kind], (decoded.shape[1], decoded.shape[0]))
    assert decoded.to_pil().mode == image.mode
    if decoded.dtype == np.uint8 or image.mode == "I;16":
        assert np.array_equal(np.asarray(image), decoded.squeeze())


@pytest.mark.parametrize("load_first", [False, True])
def test_images_are_copied_and_pickled(load_first):
    with opened(CHECKED) as image:
        if load_first:
            image.load()
        pixels = dfmcodec.decode(CHECKED).pixels
        for other in (image.copy(), copy.copy(image), copy.deepcopy(image), pickle.loads(pickle.dumps(image))):
            other.load()
            assert np.array_equal(np.asarray(other), pixels)
            assert other.info == image.info


def test_bytes_that_come_piece_by_piece():
    parser = PIL.ImageFile.Parser()
    for start in range(0, len(PLAIN), 100):
        parser.feed(PLAIN[start : start + 100])
    assert np.array_equal(np.asarray(parser.close()), dfmcodec.decode(PLAIN))


def test_bad_headers_are_not_identified():
    head = min(start for start, _ in dfmcodec.read_info(CHECKED).sections.values())
    prefixes = [CHECKED[:end] for end in range(4, head)]
    newer = [b"\x89DFM\x02" + CHECKED[5:]]
    for data in prefixes + newer:
        with pytest.raises(PIL.UnidentifiedImageError):
            opened(data)
    identified = 0
    for at in range(head):  # the checks of the file tell, unless it is their own entry that is damaged
        try:
            image = opened(flipped(CHECKED, at, at % 8))
        except PIL.UnidentifiedImageError:
            continue
        identified += 1
        with pytest.raises(OSError, match="CRC-32 does not match"):
            image.load()
    assert identified <= 1


def body_of(data):
    """Where the part of a file begins whose damage its header survives."""
    sections = dfmcodec.read_info(data).sections
    start = min(start for start, _ in sections.values())
    return start + 2 if dfmcodec.container.Section.CHECKS in sections else start  # after the check of the header


def test_files_that_are_not_intact_open_and_do_not_load():
    head = body_of(CHECKED)
    cut = [CHECKED[:end] for end in range(head, len(CHECKED), 50)]
    damaged = [flipped(CHECKED, at, at % 8) for at in range(head, len(CHECKED), 50)]
    for data in [*cut, *damaged, CHECKED + b"\0"]:
        with opened(data) as image:
            assert image.size == (96, 80)
            for _ in range(2):
                with pytest.raises(OSError, match=r"^cannot decode the \.dfm file: [^\n]*; get [^\n]*copy"):
                    image.load()


def outcome(data):
    """What a program meets that opens and loads an image."""
    try:
        with opened(data) as image:
            image.load()
    except PIL.UnidentifiedImageError:
        return "not identified"
    except OSError:
        return "not loaded"
    return "loaded"


def test_every_prefix_and_every_changed_byte_raises_what_pillow_expects():
    prefixes = [SMALL[:end] for end in range(len(SMALL))]
    changed = [
        SMALL[:at] + bytes([SMALL[at] ^ bits]) + SMALL[at + 1 :] for at in range(len(SMALL)) for bits in (1, 255)
    ]
    assert {outcome(data) for data in prefixes + changed} == {"not identified", "not loaded"}
    with_right_crc = {outcome(with_crc(data[:-4])) for data in changed[:-8]}
    assert with_right_crc == {"not identified", "not loaded", "loaded"}


@pytest.mark.parametrize("error", [IndexError("7"), PIL.Image.DecompressionBombError("large"), ZeroDivisionError()])
def test_decoder_bugs_become_os_errors_of_pillow(monkeypatch, error):
    def broken(*_args, **_options):
        raise error

    monkeypatch.setattr("dfmcodec.codecs.decode.decode_image", broken)
    with opened(SMALL) as image, pytest.raises(OSError, match=type(error).__name__):
        image.load()
    monkeypatch.setattr("dfmcodec.plugins.pillow.examine", broken)
    with pytest.raises(PIL.UnidentifiedImageError):
        opened(SMALL)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            dfmcodec.InstallationError("pretrained weights are damaged"),
            dfmcodec.InstallationError,
            "pretrained weights are damaged",
        ),
        (ImportError("x.so: undefined symbol"), dfmcodec.InstallationError, "x.so: undefined symbol; install dfmcodec"),
        (ImportError("x.so: failed to map segment from shared object"), MemoryError, "failed to map segment"),
        (RuntimeError("can't start new thread"), MemoryError, "new thread"),
    ],
)
def test_host_errors_are_not_reported_as_image_errors(monkeypatch, error, kind, words):
    def broken(*_args, **_options):
        raise error

    monkeypatch.setattr("dfmcodec.codecs.decode.decode_image", broken)
    with opened(SMALL) as image, pytest.raises(kind, match=words):
        image.load()
    monkeypatch.setattr("dfmcodec.plugins.pillow.examine", broken)
    with pytest.raises(kind, match=words):
        opened(SMALL)


def test_pixel_limit_is_that_of_pillow(monkeypatch):
    pixels = 97 * 81
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", pixels // 2 - 1)
    with pytest.raises(PIL.Image.DecompressionBombError):
        opened(PLAIN)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", pixels - 1)
    with pytest.warns(PIL.Image.DecompressionBombWarning), opened(PLAIN) as image:
        image.load()
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", None)
    with opened(PLAIN) as image:
        monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1000)  # lowered before the pixels are decoded
        with pytest.raises(OSError, match="limit"):
            image.load()


@pytest.mark.parametrize("data", [CHECKED, PLAIN], ids=["with checks", "without"])
def test_verify_uses_the_checks_of_the_file(data, monkeypatch):
    def refused(*_args, **_options):
        pytest.fail("pixels were decoded")

    monkeypatch.setattr("dfmcodec.codecs.decode._decode", refused)
    start = body_of(data)
    with opened(data) as image:
        image.verify()
    for at in range(start, len(data)):
        with opened(flipped(data, at, at % 8)) as image, pytest.raises(OSError, match=r"damaged|does not match"):
            image.verify()
    for end in range(start, len(data), 20):
        with opened(data[:end]) as image, pytest.raises(OSError, match=r"truncated.* missing"):
            image.verify()


def test_verify_tells_where_the_damage_is():
    for section, (start, length) in dfmcodec.read_info(CHECKED).sections.items():
        with opened(flipped(CHECKED, start + length // 2)) as image:
            expected = rf"the {section.title} section \(bytes {start}\.\.{start + length - 1}\) is damaged"
            with pytest.raises(OSError, match=expected):
                image.verify()
    with opened(CHECKED) as image:
        image.load()
        with pytest.raises(RuntimeError, match="directly after open"):
            image.verify()


def test_truncated_images_load_on_best_effort(best_effort):
    original = np.asarray(PIL.Image.open(GOLDEN / "checked-all.png"))
    for part in (0.6, 0.8, 0.95):
        data = CHECKED[: int(part * len(CHECKED))]
        expected = dfmcodec.decode(data, best_effort=True)
        with opened(data) as image:
            image.load()
        assert image.mode == "RGBA"
        assert image.losses == expected.losses != ()
        assert np.array_equal(np.asarray(image)[:, :, :3], expected.pixels[:, :, :3])
        assert psnr(np.asarray(image)[:, :, :3], original[:, :, :3]) > 20
    with opened(CHECKED) as image:
        image.load()
    assert image.losses == ()
    assert np.array_equal(np.asarray(image), original)


@pytest.mark.parametrize("data", [CHECKED, DEEP_ALPHA], ids=["RGBA", "LA"])
def test_lost_alpha_is_opaque(data, best_effort):
    start, length = dfmcodec.read_info(data).sections[dfmcodec.container.Section.ALPHA]
    with opened(data[: start + length // 3]) as image:
        mode = image.mode
        image.load()
    assert image.mode == mode
    assert mode in ("LA", "RGBA")
    assert (np.asarray(image)[:, :, -1] == 255).all()
    assert any("opaque" in loss for loss in image.losses)


def test_damaged_metadata_is_left_out(best_effort):
    start, length = dfmcodec.read_info(CHECKED).sections[dfmcodec.container.Section.METADATA]
    with opened(CHECKED) as complete:
        assert complete.info.keys() & {"exif", "icc_profile", "xmp"}
    with opened(flipped(CHECKED, start + length // 2)) as image:
        assert image.info == {}
        assert np.array_equal(np.asarray(image), dfmcodec.decode(CHECKED))
        assert any("metadata" in loss for loss in image.losses)


@pytest.fixture
def photo(chelsea):
    """32x24 RGB, with an ICC profile and Exif of its own."""
    image = PIL.Image.fromarray(np.ascontiguousarray(chelsea.pixels[:24, :32]))
    own = PIL.Image.Exif()
    own[0x010E] = "own"
    image.info.update(icc_profile=b"own profile", exif=own.tobytes(), dpi=(72, 72))
    return image


def exif_of(description, orientation=None):
    exif = PIL.Image.Exif()
    exif[0x010E] = description
    if orientation is not None:
        exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("form", ["object", "bytes", "bytes without prefix"])
def test_exif_of_save_replaces_that_of_the_image(photo, form):
    exif = exif_of("given")
    exif.get_ifd(0x8769)[0x9003] = "2025:11:27 10:00:00"
    written = PIL.Image.Exif()
    written.load(exif.tobytes())
    option = {"object": exif, "bytes": exif.tobytes(), "bytes without prefix": exif.tobytes()[6:]}[form]
    with opened(saved(photo, exif=option)) as image:
        assert image.getexif()[0x010E] == "given"
        assert image.getexif().get_ifd(0x8769) == written.get_ifd(0x8769)
        assert image.info["icc_profile"] == b"own profile"


@pytest.mark.parametrize("empty", [PIL.Image.Exif(), b"", None], ids=["object", "bytes", "None"])
def test_an_empty_exif_leaves_it_out(photo, empty):
    with opened(saved(photo, exif=empty)) as image:
        assert "exif" not in image.info
        assert image.info["icc_profile"] == b"own profile"
    with opened(saved(photo)) as image:
        assert image.getexif()[0x010E] == "own"


def test_the_orientation_of_a_given_exif_is_applied(photo):
    data = saved(photo, exif=exif_of("turned", 6), quality=90)
    upright = dfmcodec.decode(data).pixels
    assert psnr(upright, np.rot90(np.asarray(photo), -1)) > 35
    with opened(data) as image:
        assert image.getexif()[0x0112] == 1
    photo.info["exif"] = exif_of("own", 6).tobytes()
    assert photo.getexif()[0x0112] == 6  # which Pillow remembers
    data = saved(photo, exif=exif_of("upright"), quality=90)
    assert psnr(dfmcodec.decode(data).pixels, np.asarray(photo)) > 35


@pytest.mark.parametrize("exif", [b"no Exif", 3])
def test_invalid_exif_is_refused(photo, exif):
    with pytest.raises(ValueError, match=r"exif is not an Exif block; give a PIL\.Image\.Exif"):
        saved(photo, exif=exif)


def test_the_info_of_the_image_is_untouched(photo):
    photo.info["XML:com.adobe.xmp"] = "<own/>"
    info, before = photo.info, dict(photo.info)
    data = saved(photo, exif=exif_of("given"), icc_profile=None, xmp=b"<given/>")
    assert photo.info is info
    assert info == before
    with opened(data) as image:
        assert image.info == {"exif": image.info["exif"], "xmp": b"<given/>"}


@pytest.mark.parametrize("options", [{}, {"exif": exif_of("given")}], ids=["", "exif"])
def test_a_page_is_saved(photo, options):
    file = io.BytesIO()
    photo.save(file, "TIFF", save_all=True, append_images=[PIL.ImageOps.invert(photo)])
    with opened(file.getvalue()) as pages:
        for page, expected in ((2, PIL.ImageOps.invert(photo)), (1, photo)):
            data = saved(pages, page=page, quality=90, **options)
            assert psnr(dfmcodec.decode(data).pixels, np.asarray(expected)) > 35
        with pytest.raises(ValueError, match="there is no page 3"):
            saved(pages, page=3, **options)
    with pytest.raises(OSError, match="more than the limit of 100 pixels"):
        saved(photo, max_pixels=100, **options)


def test_unknown_options_are_ignored_with_a_warning(photo):
    """A misspelled quality was ignored without a word."""
    with pytest.warns(UserWarning, match="ignores the options dpi, qualty; it takes exif, icc_profile, xmp"):
        data = saved(photo, qualty=3, dpi=(72, 72))
    assert data == saved(photo)
    assert saved(photo, size=400, quality=None) != saved(photo)
    config = dfmcodec.EncoderConfig(effort=1, quality=50)
    file = io.BytesIO()
    photo.save(file, "DFM", config=config)
    assert file.getvalue() == saved(photo)
    assert dfmcodec.encode(photo, **FAST).data == saved(photo)


DEEP_NOISE = PIL.Image.fromarray(np.random.default_rng(1).integers(0, 65536, (16, 16), dtype=np.uint16))


@pytest.mark.parametrize(
    ("image", "options", "of_pillow", "of_dfmcodec"),
    [
        (PIL.Image.new("F", (16, 16)), FAST, OSError, dfmcodec.ImageError),
        (DEEP_NOISE, {"effort": 1, "psnr": 200}, OSError, dfmcodec.TargetUnreachableError),
        (DEEP_NOISE, {"effort": 1, "size": 10}, OSError, dfmcodec.TargetUnreachableError),
        (DEEP_NOISE, {**FAST, "quality": 200}, ValueError, dfmcodec.ConfigError),
        (DEEP_NOISE, {**FAST, "quality": "keep"}, ValueError, dfmcodec.ConfigError),
        (DEEP_NOISE, {**FAST, "size": 10}, ValueError, dfmcodec.ConfigError),
    ],
    ids=["float", "psnr", "size", "range", "type", "two targets"],
)
def test_save_errors_have_types_of_pillow_and_dfmcodec(image, options, of_pillow, of_dfmcodec, tmp_path):
    path = tmp_path / "a.dfm"
    with pytest.raises(of_pillow) as raised:
        image.save(path, **options)
    assert isinstance(raised.value, dfmcodec.DfmError)
    assert not path.exists()
    with pytest.raises(of_dfmcodec) as encoded:
        dfmcodec.encode(image, **options)
    assert str(raised.value) == str(encoded.value)


def test_an_error_of_save_can_be_pickled():
    """A process of a pool returns it so."""
    with pytest.raises(OSError, match="the target of 10 bytes") as raised:
        saved(DEEP_NOISE, quality=None, size=10)
    again = pickle.loads(pickle.dumps(raised.value))
    assert (type(again), str(again)) == (type(raised.value), str(raised.value))


def test_failed_save_keeps_old_files_of_results(photo, tmp_path):
    """Pillow empties the file before a plugin is called, whatever the format."""
    for name, options in (("a.dfm", {"quality": 200}), ("a.jpg", {"qtables": "none"})):
        path = tmp_path / name
        photo.save(path)
        with pytest.raises(ValueError, match=r"quality is 200|quantization"):
            photo.save(path, **options)
        assert path.read_bytes() == b""
    path = tmp_path / "b.dfm"
    dfmcodec.encode(photo, **FAST).save(path)
    before = path.read_bytes()
    with pytest.raises(dfmcodec.ConfigError):
        dfmcodec.encode(photo, quality=200).save(path)
    assert path.read_bytes() == before


def test_an_image_is_saved_over_its_own_file(tmp_path):
    path = tmp_path / "a.dfm"
    path.write_bytes(DEEP_ALPHA)
    before = dfmcodec.decode(path).pixels / 257
    with PIL.Image.open(path) as image:
        image.save(path, **FAST)
    after = dfmcodec.decode(path).pixels
    assert np.array_equal(after[:, :, 1], np.rint(before[:, :, 1]))
    visible = before[:, :, 1] > 0
    assert psnr(after[visible, 0], np.rint(before[visible, 0]).astype(np.uint8)) > 30


def test_drafts_thumbnails_and_readers_that_use_pillow(tmp_path):
    path = tmp_path / "a.dfm"
    path.write_bytes(PLAIN)
    with PIL.Image.open(path) as image:
        assert image.get_format_mimetype() == "image/x-dfm"
        image.draft(None, (20, 20))  # not smaller than that
        assert np.asarray(image).shape == (21, 25, 3)
    with PIL.Image.open(path) as image:
        image.thumbnail((10, 10))
        assert max(image.size) == 10
    for read in (imageio.v3.imread, skimage.io.imread):
        assert np.array_equal(read(path), dfmcodec.decode(PLAIN))
