"""Tests of truncated and damaged files: intact parts are decoded, losses are reported, and damage
is located.
"""

from __future__ import annotations

import bisect
import json
import re
from dataclasses import replace
from pathlib import Path

import fuzzing
import numpy as np
import pytest
from common import dfm

import dfmcodec
from dfmcodec import container
from dfmcodec.codecs.decode import DecodeRequest, decode_best_effort, decode_image, render
from dfmcodec.codecs.encode import encode_image
from dfmcodec.codecs.wavelet.contents import tiling_of
from dfmcodec.codecs.wavelet.transform import synthesise_level
from dfmcodec.container import read_write
from dfmcodec.container.checks import CHECKS_FRACTION
from dfmcodec.errors import CorruptError, FormatError, TruncatedError
from dfmcodec.image import Image, Metadata, tiles
from dfmcodec.image.region import Region
from dfmcodec.perception import psnr
from dfmcodec.search.config import EncoderConfig

HEADER_FIELDS = range(18, 25)  # of a wavelet file: step, chroma angle, checksum of the pretrained weights


@pytest.fixture(scope="module")
def photograph() -> Image:
    """A piece of scikit-image's astronaut, with metadata and opacity; its file has adaptation and
    a filter.
    """
    import skimage.data

    pixels = np.ascontiguousarray(skimage.data.astronaut()[100:356, 100:420])
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:40, :40] = np.random.default_rng(0).integers(1, 255, (40, 40))
    return Image(pixels, Metadata(exif=b"Exif\0\0" + bytes(200)), alpha)


@pytest.fixture(scope="module")
def encoded(photograph):
    with pytest.MonkeyPatch.context() as patch:  # no small image's file would have them
        patch.setattr(read_write, "CHECKS_FRACTION", 1.0)
        return encode_image(photograph, EncoderConfig(quality=85, effort=3, tune="psnr"))


@pytest.fixture(scope="module")
def small(photograph):
    """A sixth of the photograph, for tests that decode many times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_write, "CHECKS_FRACTION", 1.0)
        return encode_image(Image(photograph.pixels[64:192, 96:208]), EncoderConfig(quality=85, effort=3, tune="psnr"))


@pytest.fixture(scope="module")
def tiled():
    """Two tiles, as images of such a size have none."""
    import skimage.data

    pixels = np.ascontiguousarray(skimage.data.astronaut()[:256])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "TILE_SIDE", 256)
        patch.setattr(read_write, "CHECKS_FRACTION", 1.0)
        return encode_image(Image(pixels), EncoderConfig(quality=50, effort=1, tune="psnr")).data


@pytest.fixture
def unchecked(encoded):
    """The same model and what is beside it, without checks."""
    model, ancillary = container.read(encoded.data)
    return container.write(model, container.ancillary_sections(ancillary), checked=False)


def section(data: bytes, name: str) -> tuple[int, int]:
    """Start and end."""
    header = container.read_header(data)
    ((start, length),) = (at for key, at in header.sections.items() if key.title == name)
    return start, start + length


def flipped(data: bytes, position: int) -> bytes:
    damaged = bytearray(data)
    damaged[position] ^= 0x10
    return bytes(damaged)


def prefix(data: bytes, part: float) -> bytes:
    """So much of the latents, and all that is before them."""
    start, end = section(data, "latents")
    return data[: start + round(part * (end - start))]


def test_an_intact_file_is_decoded_alike(encoded, unchecked, tiled):
    for data in (encoded.data, unchecked, tiled):
        image, losses = decode_best_effort(data)
        assert not losses
        complete = decode_image(data)
        assert np.array_equal(image.pixels, complete.pixels)
        assert image.metadata == complete.metadata
        assert (image.alpha is None) == (complete.alpha is None)
        assert image.alpha is None or np.array_equal(image.alpha, complete.alpha)


def test_all_golden_files_are_decoded_alike():
    for data in fuzzing.seeds():
        image, losses = decode_best_effort(data)
        assert not losses
        assert np.array_equal(image.samples, decode_image(data).samples)


def test_sections_come_in_the_order_of_their_use(encoded, photograph):
    names = list(container.read_header(encoded.data).section_bytes())
    assert names == ["container", "checks", "adaptation", "filter", "metadata", "latents", "alpha"]
    large = container.ancillary_sections(container.Ancillary(Metadata(icc=bytes(len(encoded.data))), photograph.alpha))
    names = list(container.read_header(container.write(container.read(encoded.data)[0], large)).section_bytes())
    assert names[-3:] == ["latents", "alpha", "metadata"]


@pytest.mark.parametrize("has_checks", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_more_of_a_file_is_a_better_image(encoded, unchecked, photograph, has_checks):
    data = encoded.data if has_checks else unchecked
    figures = []
    for part in (0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
        image, losses = decode_best_effort(prefix(data, part))
        figures.append(psnr(photograph.pixels, image.pixels))
        assert image.alpha is None
        assert image.metadata == photograph.metadata
        assert any("opaque" in loss for loss in losses)
        assert any(loss.startswith("the finest details") for loss in losses) == (part < 1)
    assert figures == sorted(figures)
    assert figures[0] < figures[2] < figures[-1]
    assert figures[-1] == psnr(photograph.pixels, decode_image(data).pixels)


def test_a_prefix_is_the_coarser_levels_exactly(small):
    """The shortest prefix with all of level 1 has the samples of the complete file's levels 1..,
    and zeros below.
    """
    start, end = section(small.data, "latents")

    def is_enough(size):
        losses: list[str] = []
        container.read_region(small.data[:size], None, losses=losses)
        return "the finest details, of up to 2 pixels, are missing" in " ".join(losses)

    size = bisect.bisect_left(range(end), True, start + 200, end - 200, key=is_enough)
    assert is_enough(size)
    assert not is_enough(size - 1)
    model, _, _ = container.read_region(small.data[:size], None, losses=[])
    coarse, _, _ = container.read_region(small.data, None, finest_level=1)
    geometry = tiling_of(model.architecture, model.height, model.width).tiles[0].geometry
    zeros = [np.zeros((3, *geometry.band_size(0, orientation)), np.int32) for orientation in range(3)]
    assert not model.symbols[geometry.symbol_count(1) :].any()
    assert np.array_equal(model.samples, synthesise_level(coarse.samples, zeros))
    assert np.array_equal(model.symbols[: geometry.symbol_count(1)], coarse.symbols)


def test_smaller_images_and_regions_of_a_prefix(encoded):
    part = prefix(encoded.data, 0.5)
    small, losses = decode_best_effort(part, DecodeRequest(scale=0.25))
    assert not any("detail" in loss for loss in losses)  # what is missing is finer
    assert np.array_equal(small.pixels, decode_image(encoded.data, DecodeRequest(scale=0.25)).pixels)
    region = Region(100, 50, 160, 120)
    of_region, _ = decode_best_effort(part, DecodeRequest(region=region))
    complete, _ = decode_best_effort(part)
    assert np.array_equal(of_region.pixels, complete.pixels[region.rows, region.columns])


def test_flipped_bits_are_located(encoded):
    for name in ("checks", "adaptation", "filter", "metadata", "latents", "alpha"):
        start, end = section(encoded.data, name)
        for position in {start + 3, end - 1}:
            with pytest.raises(CorruptError, match=rf"the {name} section \(bytes {start}\.\.{end - 1}\) is damaged"):
                decode_image(flipped(encoded.data, position))
    with pytest.raises(CorruptError, match=r"only the CRC-32 .* is damaged"):
        decode_image(flipped(encoded.data, len(encoded.data) - 2))
    for position in HEADER_FIELDS:
        for decode in (decode_image, decode_best_effort):
            with pytest.raises(FormatError, match=r"the header \(bytes 0\.\.\d+\) is damaged; .* get another copy"):
                decode(flipped(encoded.data, position))


def test_damaged_levels_are_left_out(small, photograph):
    """Levels before the damage stay exactly; what comes out is never worse than what they alone
    give.
    """
    complete, _ = container.read(small.data)
    geometry = tiling_of(complete.architecture, complete.height, complete.width).tiles[0].geometry
    start, end = section(small.data, "latents")
    figures = []
    for position in range(start + 300, end, (end - start) // 8):
        losses: list[str] = []
        model, _, _ = container.read_region(flipped(small.data, position), None, losses=losses)
        (pixels,) = (int(found[1]) for loss in losses if (found := re.search(r"of up to (\d+) pixels", loss)))
        count = geometry.symbol_count(pixels.bit_length() - 1)
        assert np.array_equal(model.symbols[:count], complete.symbols[:count])
        assert not model.symbols[count:].any()
        image, _ = decode_best_effort(flipped(small.data, position))
        figures.append(psnr(photograph.pixels[64:192, 96:208], image.pixels))
    assert figures == sorted(figures)
    assert figures[0] < figures[-1]


def test_without_checks_all_that_decodes_is_taken(unchecked):
    _, end = section(unchecked, "latents")
    with pytest.raises(CorruptError, match="no checks that show where"):
        decode_image(flipped(unchecked, end - 40))
    losses: list[str] = []
    found, _, _ = container.read_region(flipped(unchecked, end - 40), None, losses=losses)
    assert "no checks that show where" in losses[0]
    complete, _ = container.read(unchecked)
    geometry = tiling_of(complete.architecture, complete.height, complete.width).tiles[0].geometry
    before = geometry.symbol_count(1)  # all that the last 40 bytes have nothing of
    assert np.array_equal(found.symbols[:before], complete.symbols[:before])
    assert found.symbols[before:].any()
    assert not np.array_equal(found.symbols, complete.symbols)


def test_a_damaged_filter_is_done_without(encoded, photograph):
    image, losses = decode_best_effort(flipped(encoded.data, section(encoded.data, "filter")[0] + 9))
    assert len(losses) == 1
    assert "decoded without it" in losses[0]
    model, _ = container.read(encoded.data)
    assert model.image_filter is not None
    assert np.array_equal(image.pixels, render(replace(model, image_filter=None)))
    assert np.array_equal(image.alpha, photograph.alpha)


def test_damaged_alpha_and_metadata_are_left_out(encoded, photograph):
    complete = decode_image(encoded.data)
    image, losses = decode_best_effort(flipped(encoded.data, section(encoded.data, "alpha")[0] + 30))
    assert image.alpha is None
    assert len(losses) == 1
    assert "opaque" in losses[0]
    assert np.array_equal(image.pixels, complete.pixels)
    image, losses = decode_best_effort(flipped(encoded.data, section(encoded.data, "metadata")[0] + 30))
    assert not image.metadata
    assert len(losses) == 1
    assert "the metadata section" in losses[0]
    assert np.array_equal(image.pixels, complete.pixels)
    assert np.array_equal(image.alpha, photograph.alpha)


def test_damage_to_required_sections_is_an_error(encoded):
    start, end = section(encoded.data, "adaptation")
    with pytest.raises(CorruptError, match="the adaptation section"):
        decode_best_effort(flipped(encoded.data, start + 8))
    with pytest.raises(TruncatedError, match=r"the adaptation section .* ends early"):
        decode_best_effort(encoded.data[: end - 1])
    with pytest.raises(FormatError, match="nothing of the image or region"):
        decode_best_effort(encoded.data[: section(encoded.data, "latents")[0] + 5])
    with pytest.raises(TruncatedError, match="inside its header; it is truncated"):
        decode_best_effort(encoded.data[:20])
    network = next(fuzzing.GOLDEN.glob("coordinate-*.dfm")).read_bytes()
    with pytest.raises(TruncatedError, match=r"the weights section .* ends early"):
        decode_best_effort(network[:-8])


def test_bytes_after_the_end_are_reported(encoded):
    with pytest.raises(CorruptError, match=f"3 extra bytes after the expected {len(encoded.data)}"):
        decode_image(encoded.data + b"abc")
    image, losses = decode_best_effort(encoded.data + b"abc")
    assert len(losses) == 1
    assert np.array_equal(image.pixels, decode_image(encoded.data).pixels)


def test_damage_is_confined_to_its_tile(tiled):
    start, end = section(tiled, "latents")
    first = int.from_bytes(tiled[start : start + 4], "little")
    begin = start + 8 + first  # of the second tile
    complete = decode_image(tiled).pixels
    away = 40  # columns from the tiles' border that nothing of the other tile reaches
    image, losses = decode_best_effort(tiled[: begin + 4])
    assert any("1 of 2 tiles are missing, the first is number 2; they are mid-gray" in loss for loss in losses)
    assert np.array_equal(image.pixels[:, : 256 - away], complete[:, : 256 - away])
    assert np.abs(image.pixels[:, 256 + away :].astype(int) - 128).max() <= 1
    image, losses = decode_best_effort(tiled[: (begin + end) // 2])
    missing = r"the finest details of tile 2 of 2, of up to \d+ pixels, are missing; the image is blurrier there"
    assert any(re.fullmatch(missing, loss) for loss in losses)
    assert np.array_equal(image.pixels[:, : 256 - away], complete[:, : 256 - away])
    assert psnr(complete[:, 256:], image.pixels[:, 256:]) > psnr(
        complete[:, 256:], np.full_like(complete[:, 256:], 128)
    )
    image, losses = decode_best_effort(flipped(tiled, begin - 100))
    damaged = "the finest details of tile 1 of 2, of up to 2 pixels, are damaged; the image is blurrier there"
    assert damaged in losses
    assert np.array_equal(image.pixels[:, 256 + away :], complete[:, 256 + away :])
    of_first, _ = decode_best_effort(tiled[: begin + 4], DecodeRequest(region=Region(0, 0, 50, 50)))
    assert np.array_equal(of_first.pixels, complete[:50, :50])


def test_symbols_that_are_not_those_written_are_an_error(encoded):
    """A file whose CRC-32 is right, decoded to other symbols: by a fault of writer or reader."""
    start, end = section(encoded.data, "latents")
    content = flipped(encoded.data, (start + end) // 2)[:-4]
    with pytest.raises(CorruptError, match=r"symbols of decomposition level \d are not|not a valid range-coder"):
        decode_image(fuzzing.with_crc(content))


@pytest.mark.parametrize("model", ["wavelet", pytest.param("coordinate", marks=pytest.mark.slow)])
def test_checks_are_few(photograph, model, monkeypatch):
    """Written where they are at most 0.2 % of the file, and within the size target; here 2 % of
    small networks.
    """
    config = {"effort": 1} if model == "wavelet" else {"model": "coordinate", "training_steps": 20}
    limits, part = {"wavelet": ((4000, 20_000), CHECKS_FRACTION), "coordinate": ((300, 1200), 10 * CHECKS_FRACTION)}[
        model
    ]
    for module in ("container.read_write", "codecs.encode"):
        monkeypatch.setattr(f"dfmcodec.{module}.CHECKS_FRACTION", part)
    plain = Image(photograph.pixels)
    for limit, has_checks in zip(limits, (False, True), strict=True):
        result = encode_image(plain, EncoderConfig(size=limit, **config))
        assert len(result.data) <= limit
        sizes = container.read_header(result.data).section_bytes()
        assert ("checks" in sizes) == has_checks
        assert sizes.get("checks", 0) + 5 <= max(5, part * len(result.data))
        assert abs(result.report.estimated_bytes - len(result.data)) <= 0.005 * len(result.data) + 4


def test_commands_report_what_is_wrong(tmp_path, monkeypatch, encoded):
    monkeypatch.chdir(tmp_path)
    Path("whole.dfm").write_bytes(encoded.data)
    Path("cut.dfm").write_bytes(prefix(encoded.data, 0.6))
    Path("flip.dfm").write_bytes(flipped(encoded.data, section(encoded.data, "filter")[0] + 9))
    Path("header.dfm").write_bytes(flipped(encoded.data, 19))
    dfm("decode", "whole.dfm", "--best-effort", "-o", "whole.png")
    dfm("decode", "whole.dfm", "-o", "again.png")
    assert Path("whole.png").read_bytes() == Path("again.png").read_bytes()
    result = dfm("decode", "cut.dfm", code=3)
    assert "missing; get a complete copy, or decode what is left with dfm decode --best-effort" in result.stderr
    assert not Path("cut.decoded.png").exists()
    result = dfm("decode", "cut.dfm", "--best-effort", code=3)
    lost = r"finest details, of up to \d+ pixels, are missing; the image is blurrier; the rest is in cut\.decoded\.png$"
    assert re.search(lost, result.stderr, re.M)
    assert Path("cut.decoded.png").exists()
    report = json.loads(dfm("decode", "flip.dfm", "--best-effort", "--json", code=3).stdout)
    assert len(report["losses"]) == 1
    dfm("decode", "header.dfm", "--best-effort", code=3)
    assert not Path("header.decoded.png").exists()
    dfm("decode", "-", "-o", "piped.png", "--best-effort", code=3, data=prefix(encoded.data, 0.6))
    assert Path("piped.png").read_bytes() == Path("cut.decoded.png").read_bytes()
    result = dfm("decode", "whole.dfm", "cut.dfm", "--best-effort", "-O", "out", code=5)
    assert sorted(path.name for path in Path("out").glob("*.png")) == ["cut.png", "whole.png"]
    assert "the rest is in out/cut.png" in result.stderr

    result = dfm("info", "cut.dfm", code=3)
    assert "320x256" in result.stdout
    assert " missing" in result.stderr
    report = json.loads(dfm("info", "flip.dfm", "--json", code=3).stdout)
    assert report["width"] == 320
    assert "the filter section" in report["losses"][0]
    assert json.loads(dfm("info", "whole.dfm", "--json").stdout)["losses"] == []
    assert "the filter section" in dfm("verify", "flip.dfm", code=3).stdout


def test_python_function(encoded):
    decoded = dfmcodec.decode(prefix(encoded.data, 0.6), best_effort=True)
    assert decoded.shape == (256, 320, 3)
    assert decoded.losses
    decoded = dfmcodec.decode(encoded.data, best_effort=True)
    assert decoded.shape == (256, 320, 4)
    assert not decoded.losses
