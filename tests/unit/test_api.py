"""Tests of the Python API: arguments and results."""

from __future__ import annotations

import io
from dataclasses import fields
from pathlib import Path

import mypy.api
import numpy as np
import PIL.Image
import pytest

import dfmcodec
from dfmcodec.files.arrays import image_array

OPTIONS = {"size": 800, "effort": 1}


@pytest.fixture(scope="module")
def encoded(chelsea):
    return dfmcodec.encode(chelsea.pixels, **OPTIONS)


def test_all_kinds_of_sources_give_the_same_file(tmp_path, chelsea):
    options = {"quality": 50, "effort": 1}
    path = tmp_path / "cat.png"
    image = PIL.Image.fromarray(chelsea.pixels)
    image.save(path)
    data = path.read_bytes()
    sources = [path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), image, chelsea]
    sources += [chelsea.pixels[:, ::-1][:, ::-1], np.asfortranarray(chelsea.pixels)]
    files = {dfmcodec.encode(source, **options).data for source in sources}
    with path.open("rb") as file:
        files.add(dfmcodec.encode(file, **options).data)
    written = io.BytesIO()
    image.save(written, "PNG")
    files.add(dfmcodec.encode(written, **options).data)  # which stands at its end
    assert files == {dfmcodec.encode(chelsea.pixels, **options).data}


def test_all_kinds_of_files_are_decoded_alike(tmp_path, encoded):
    path = tmp_path / "cat.dfm"
    encoded.save(path)
    pixels = dfmcodec.decode(encoded.data).pixels
    assert pixels.dtype == np.uint8
    assert pixels.shape == (80, 96, 3)
    data = encoded.data
    for source in (path, str(path), bytearray(data), memoryview(data), io.BytesIO(data)):
        assert np.array_equal(dfmcodec.decode(source), pixels)
        header = dfmcodec.read_info(source if not isinstance(source, io.BytesIO) else io.BytesIO(data))
        assert (header.width, header.height, header.architecture.channels) == (96, 80, 3)
    assert np.array_equal(dfmcodec.decode(path).pixels, pixels)
    written = io.BytesIO()
    written.write(data)  # and stands at its end
    assert np.array_equal(dfmcodec.decode(written), pixels)
    behind = io.BytesIO(b"in front" + data)
    behind.seek(len(b"in front"))
    assert np.array_equal(dfmcodec.decode(behind), pixels)
    with pytest.raises(dfmcodec.TruncatedError, match="empty"):
        dfmcodec.decode(io.BytesIO())


CAT = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)  # every value of 8 bits
DEEP = CAT.astype(np.uint16) * 257


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (CAT > 127, np.where(CAT > 127, 255, 0).astype(np.uint8)),
        (CAT.astype(np.int64), CAT),
        (CAT.astype(">i4"), CAT),
        (DEEP.astype(np.int64), DEEP),
        (DEEP.astype(np.uint32), DEEP),
        (CAT.astype(np.float32), CAT),
        (CAT / np.float32(255), CAT),
        (CAT / 255, CAT),
        (CAT.astype(np.float16) / np.float16(255), CAT),
        (CAT / np.float32(127.5) - 1, CAT),
        (DEEP.astype(np.float64), DEEP),
        (CAT[:, :, 0].astype(np.int64).tolist(), CAT[:, :, 0]),
        (np.ascontiguousarray(CAT.transpose(2, 0, 1)), CAT),
        (CAT.transpose(2, 0, 1) / np.float32(255), CAT),
    ],
    ids=lambda value: f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else "list",
)
def test_the_advice_for_other_arrays_is_right(array, expected):
    with pytest.raises(dfmcodec.ImageError) as caught:
        dfmcodec.encode(array)
    message = str(caught.value)
    assert "\n" not in message
    advice = message.partition("; encode ")[2].partition(", or ")[0]
    converted = eval(advice, {"np": np, "array": np.asarray(array)})
    assert converted.dtype == expected.dtype
    assert np.array_equal(converted, expected)
    assert np.array_equal(image_array(converted), expected)  # which encode takes


def test_the_advice_for_floats_names_16_bits_too():
    with pytest.raises(dfmcodec.ImageError, match=r"float64 with values in 0\.\.1; encode") as caught:
        dfmcodec.encode(DEEP / 65535)
    advice = str(caught.value).partition(", or ")[2].removesuffix(" for 16 bits")
    assert np.array_equal(eval(advice, {"np": np, "array": DEEP / 65535}), DEEP)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (np.full((4, 4), np.nan), "NaN or infinite.*nan_to_num"),
        (np.full((4, 4), -3), r"int64 with values in -3\.\.-3; scale it to 0\.\.255 or 0\.\.65535 first"),
        (np.full((4, 4), 1e6), r"float64 with values in 1e\+06\.\.1e\+06; scale it"),
        (np.zeros((4, 4), np.complex64), "complex64; convert it"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"\[2, 4, 4, 3\]; encode the images of a batch one by one"),
        (np.zeros((6, 6, 5), np.uint8), r"C = 1, 2, 3 or 4; found the shape \[6, 6, 5\]"),
        (np.zeros((3, 4, 8), np.uint8), r"channels come last; encode array\.transpose\(1, 2, 0\)"),
        (np.zeros((0, 4, 3)), "no pixels"),
        (None, "an image is needed: .*found NoneType"),
        (["a.png"], "an image is needed: .*found list of"),
        ([[1, 2], [3]], "cannot be made one"),
    ],
)
def test_other_arrays_are_refused_with_what_is_wrong(source, says):
    with pytest.raises(dfmcodec.ImageError, match=says):
        dfmcodec.encode(source)


@pytest.mark.parametrize("order", ["<", ">", "="])
def test_arrays_of_any_byte_order(chelsea, order):
    deep = chelsea.pixels[:40, :40].astype(np.uint16) * 257
    native = dfmcodec.encode(deep, bpp=2, effort=1).data
    assert dfmcodec.encode(deep.astype(deep.dtype.newbyteorder(order)), bpp=2, effort=1).data == native
    assert dfmcodec.decode(native).dtype == np.uint16


def test_gray_is_one_channel(chelsea):
    gray = chelsea.pixels[:, :, 0]
    result = dfmcodec.encode(gray, size=500, effort=1)
    assert dfmcodec.encode(gray[:, :, None], size=500, effort=1).data == result.data
    decoded = dfmcodec.decode(result.data)
    assert decoded.shape == (80, 96, 1)
    assert decoded.squeeze().shape == (80, 96)
    assert decoded.to_pil().mode == "L"
    assert np.array_equal(np.asarray(decoded.to_pil()), decoded.squeeze())
    assert repr(decoded) == "<DecodeResult 96x80 gray, 8 bits>"


def test_alpha_and_metadata_come_with_the_image(chelsea):
    alpha = np.tile(np.arange(96, dtype=np.uint8), (80, 1))
    image = PIL.Image.fromarray(np.dstack([chelsea.pixels, alpha]))
    exif = PIL.Image.Exif()
    exif[0x010E] = "a cat"
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    data = dfmcodec.encode(buffer.getvalue(), quality=50, effort=1).data
    decoded = dfmcodec.decode(data)
    assert decoded.shape == (80, 96, 4)
    assert np.array_equal(decoded.pixels[:, :, 3], alpha)
    assert b"a cat" in decoded.metadata.exif
    assert decoded.to_pil().mode == "RGBA"
    assert decoded.to_pil().info["exif"] == decoded.metadata.exif
    stripped = dfmcodec.decode(dfmcodec.encode(buffer.getvalue(), quality=50, effort=1, strip="all").data)
    assert stripped.metadata.exif is None
    assert dfmcodec.decode(data, strip=["exif"]).metadata.exif is None
    with pytest.raises(dfmcodec.ConfigError, match="strip is 'True'"):
        dfmcodec.decode(data, strip=True)


def test_decoded_images_are_arrays(encoded):
    decoded = dfmcodec.decode(encoded.data)
    assert np.asarray(decoded) is decoded.pixels
    assert np.asarray(decoded, dtype=np.float32).dtype == np.float32
    assert np.array(decoded) is not decoded.pixels
    assert np.array_equal(decoded[10:20, :, 1], decoded.pixels[10:20, :, 1])
    assert (len(decoded), decoded.ndim, decoded.size) == (80, 3, 80 * 96 * 3)
    assert np.mean(decoded) == decoded.pixels.mean()
    with pytest.raises(ValueError, match="a copy is needed"):  # as NumPy 2 asks for no copy
        decoded.__array__(np.float32, copy=False)


def test_a_region_is_the_part_of_the_complete_image(encoded):
    complete = dfmcodec.decode(encoded.data).pixels
    for region in ((10, 20, 30, 25), dfmcodec.Region(top=20, left=10, bottom=45, right=40)):
        assert np.array_equal(dfmcodec.decode(encoded.data, region=region), complete[20:45, 10:40])
    assert dfmcodec.decode(encoded.data, scale=0.5).shape == (40, 48, 3)
    assert dfmcodec.decode(encoded.data, resize=(48, 20)).shape == (20, 48, 3)
    with pytest.raises(dfmcodec.LimitError):
        dfmcodec.decode(encoded.data, max_pixels=1000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"region": (0, 0, 5)},
            r"region is \(0, 0, 5\); it has to be \(left, top, width, height\) in pixels, all ",
        ),
        ({"region": (0, 0, 5.5, 5)}, "all integers"),
        ({"region": "0,0,5,5"}, "all integers"),
        ({"scale": 1e308}, "sides of 1 to 65535 are possible"),
        ({"resize": 40}, r"resize is 40; it has to be \(width, height\) in pixels, all integers"),
    ],
)
def test_regions_and_sizes_of_a_wrong_form_are_refused(encoded, options, message):
    with pytest.raises(dfmcodec.ConfigError, match=message):
        dfmcodec.decode(encoded.data, **options)


@pytest.mark.parametrize("options", [{"resize": (192, 160)}, {"scale": 2}])
def test_results_above_the_limit_are_refused(encoded, options):
    assert dfmcodec.decode(encoded.data, max_pixels=192 * 160, **options).shape == (160, 192, 3)
    with pytest.raises(dfmcodec.ConfigError, match="192x160 is more than the limit of 30719 pixels"):
        dfmcodec.decode(encoded.data, max_pixels=192 * 160 - 1, **options)


def test_a_file_opened_for_text_is_refused_before_it_is_read(tmp_path, encoded):
    path = tmp_path / "a.dfm"
    path.write_bytes(encoded.data)
    with path.open() as file, pytest.raises(dfmcodec.ConfigError, match="open in text mode"):
        dfmcodec.decode(file)


def test_best_effort_reports_what_is_lost(encoded):
    assert dfmcodec.decode(encoded.data, best_effort=True).losses == ()
    prefix = encoded.data[: len(encoded.data) // 2]
    decoded = dfmcodec.decode(prefix, best_effort=True)
    assert decoded.losses
    assert repr(decoded).endswith(f"{len(decoded.losses)} losses>")
    with pytest.raises(dfmcodec.TruncatedError):
        dfmcodec.decode(prefix)


def test_results_are_saved_completely_or_not_at_all(tmp_path, encoded):
    path = tmp_path / "cat.dfm"
    path.write_bytes(b"old")
    with pytest.raises(dfmcodec.OutputError, match=r"^\S+cat\.dfm exists; .* overwrite=True to replace it$"):
        encoded.save(path, overwrite=False)
    assert path.read_bytes() == b"old"
    encoded.save(tmp_path / "new.dfm", overwrite=False)
    assert (tmp_path / "new.dfm").read_bytes() == encoded.data
    with pytest.raises(dfmcodec.OutputError, match="missing") as missing:
        encoded.save(tmp_path / "missing" / "cat.dfm", overwrite=False)
    assert "overwrite" not in str(missing.value)
    encoded.save(str(path))
    assert path.read_bytes() == encoded.data
    assert repr(encoded).startswith(f"<EncodeResult {len(encoded.data):,} bytes, ")


def test_the_trace_reports_every_iteration(chelsea):
    report = dfmcodec.encode(chelsea.pixels, size=800, effort=3).report
    trace = report.codec["trace"]
    assert [point["iteration"] for point in trace] == list(range(1, len(trace) + 1))
    assert report.iterations == len(trace) >= 3
    best = max(point["psnr_db"] for point in trace if point["file_bytes"] <= 800)
    assert best == pytest.approx(report.psnr_db, abs=0.02)
    assert report.codec["q_step"] in {point["q_step"] for point in trace}
    assert report.stop_reason in ("target met", "converged", "iteration limit")
    assert report.as_dict()["codec"] == report.codec


def test_progress_is_reported_and_a_fit_can_be_stopped(chelsea):
    seen: list[dfmcodec.Progress] = []
    report = dfmcodec.encode(chelsea.pixels, size=800, effort=5, on_progress=seen.append).report
    assert len(seen) == len(report.codec["trace"]) + 1
    parts = [progress.fraction for progress in seen]
    assert parts == sorted(parts)
    assert parts[-1] == 1
    assert seen[-1].psnr_db == report.psnr_db
    stopped = dfmcodec.encode(chelsea.pixels, size=800, effort=5, should_stop=lambda: True).report
    assert stopped.stop_reason == "interrupted"
    assert len(stopped.codec["trace"]) < len(report.codec["trace"])


def test_options_are_the_settings_and_no_others():
    settings = {field.name for field in fields(dfmcodec.EncoderConfig)}
    others = {"strip", "page", "max_pixels", "on_progress", "should_stop"}
    assert set(dfmcodec.EncodeOptions.__annotations__) == settings | others


@pytest.mark.parametrize(
    "source",
    [np.zeros((4, 4, 3)), np.zeros((4, 4, 5), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros(5, np.uint8), 3, b"a"],
)
def test_other_sources_are_refused(source):
    with pytest.raises(dfmcodec.ImageError):
        dfmcodec.encode(source)


def test_limit_and_page_hold_for_what_is_in_memory(chelsea):
    for source in (chelsea, chelsea.pixels, PIL.Image.fromarray(chelsea.pixels)):
        with pytest.raises(dfmcodec.ImageError, match="96x80, more than the limit of 100 pixels"):
            dfmcodec.encode(source, max_pixels=100)
        with pytest.raises(dfmcodec.ConfigError, match="page"):
            dfmcodec.encode(source, page=2)


def test_settings_that_make_no_sense_are_refused(chelsea):
    with pytest.raises(dfmcodec.ConfigError, match=r"unknown option 'qualty'; dfmcodec\.EncodeOptions lists"):
        dfmcodec.encode(chelsea, qualty=3)
    with pytest.raises(dfmcodec.ConfigError, match="wrong type"):
        dfmcodec.encode(chelsea, quality="best")
    with pytest.raises(dfmcodec.ConfigError, match="not both"):
        dfmcodec.encode(chelsea, dfmcodec.EncoderConfig(effort=1), size=800)
    with pytest.raises(dfmcodec.ConfigError, match="model"):
        dfmcodec.EncoderConfig(model="generative")
    with pytest.raises(dfmcodec.ConfigError, match="rb"):
        dfmcodec.decode(io.StringIO("text"))
    with pytest.raises(dfmcodec.ConfigError, match="int"):
        dfmcodec.decode(3)


@pytest.mark.parametrize("value", [1e13, 1e308, np.inf, 10**400, pytest.param(10**5000, id="long")])
@pytest.mark.parametrize("target", ["size", "bpp", "psnr", "lmbda", "time_limit_s"])
def test_extreme_numbers_are_refused(target, value):
    with pytest.raises(dfmcodec.ConfigError, match=rf"{target} is too large; it must be above 0 and at most 1e\+12"):
        dfmcodec.EncoderConfig(**{target: value})


@pytest.mark.parametrize(
    ("option", "value", "needed"),
    [
        ("seed", 1.5, "an integer"),
        ("seed", None, "an integer"),
        ("training_steps", 2.5, "an integer"),
        ("effort", "5", "an integer"),
        ("effort", True, "an integer"),
        ("rate", "0.2", "a number, such as 0.18, is needed"),
        ("size", "20k", "a number of bytes, such as 20000, is needed"),
        ("quality", "75", "a number is needed"),
    ],
)
def test_settings_of_a_wrong_type_are_refused(option, value, needed):
    with pytest.raises(dfmcodec.ConfigError, match=f"{option} is {value!r}, which is of the wrong type; {needed}"):
        dfmcodec.EncoderConfig(model="coordinate" if option == "training_steps" else "auto", **{option: value})
    assert dfmcodec.EncoderConfig(effort=np.int64(3), rate=np.float32(0.5)).effort == 3


@pytest.mark.parametrize("value", [0, -1, -np.inf, np.nan])
def test_targets_are_positive(value):
    with pytest.raises(dfmcodec.ConfigError, match="must be above 0 and at most"):
        dfmcodec.EncoderConfig(bpp=value)


def test_the_largest_target_is_met(chelsea):
    assert dfmcodec.encode(chelsea, size=10**12, effort=1).report.psnr_db > 40


TYPED = """
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

import dfmcodec

result: dfmcodec.EncodeResult = dfmcodec.encode("a.png", quality=75, effort=3, on_progress=lambda progress: None)
dfmcodec.encode(Path("a.png"), strip="gps,xmp")
dfmcodec.encode(np.zeros((4, 4), np.uint8))
dfmcodec.encode(PIL.Image.new("L", (4, 4)), size=100)
decoded: dfmcodec.DecodeResult = dfmcodec.decode(result.data, region=(0, 0, 2, 2))
pixels: npt.NDArray[np.unsignedinteger[Any]] = dfmcodec.decode(io.BytesIO(result.data)).pixels
header: dfmcodec.Header = dfmcodec.read_info("a.dfm")
dfmcodec.encode(3)  # refused
dfmcodec.encode("a.png", qualty=3)  # refused
dfmcodec.encode("a.png", quality="best")  # refused
dfmcodec.decode(3)  # refused
dfmcodec.decode("a.dfm", "jax")  # refused
"""


def test_mypy_knows_the_types(tmp_path):
    root, path = Path(__file__).parents[2], tmp_path / "user.py"
    path.write_text(TYPED)
    # silent: the package's own code is checked with the stubs of one version of NumPy
    settings = [
        "--strict",
        "--follow-imports",
        "silent",
        "--config-file",
        str(root / "pyproject.toml"),
        "--cache-dir",
        str(root / ".mypy_cache"),
    ]
    out, _, _ = mypy.api.run([*settings, str(path)])
    found = {int(line.split(":")[1]) for line in out.splitlines() if ": error:" in line}
    refused = {number for number, line in enumerate(TYPED.splitlines(), start=1) if line.endswith("# refused")}
    assert found == refused, out


def test_names():
    assert all(getattr(dfmcodec, name) is not None for name in dfmcodec.__all__)
    with pytest.raises(AttributeError):
        dfmcodec.no_such_thing  # noqa: B018


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "the name is empty; name a file"),
        ("a\0b", r"cannot write 'a\x00b': no name has a zero byte"),
        (".", ". is the name of a folder; name a file"),
        ("/", "/ is the name of a folder; name a file"),
        ("new/", "new/ is the name of a folder; name a file"),
        (Path("."), ". is the name of a folder; name a file"),
    ],
    ids=repr,
)
def test_names_that_no_output_has(name, said, encoded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(dfmcodec.OutputError) as caught:
        encoded.save(name)
    assert str(caught.value) == said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("function", [dfmcodec.encode, dfmcodec.decode, dfmcodec.read_info])
def test_names_that_no_input_has(function):
    with pytest.raises(dfmcodec.MissingFileError, match=r"^the name is empty; name a file$"):
        function("")
    with pytest.raises(dfmcodec.MissingFileError, match=r"^cannot read 'a\\x00b': no name has a zero byte$"):
        function("a\0b")


def test_results_are_equal_only_to_themselves(encoded):
    copy = dfmcodec.Image(encoded.decoded.pixels)
    for one in (encoded, encoded.decoded, dfmcodec.read_info(encoded.data)):
        assert one in [copy, one]
        assert one != copy
        assert isinstance(hash(one), int)
