"""Tests of curves from tables, and of BD-rates against them."""

from __future__ import annotations

import json
from math import log2
from pathlib import Path

import PIL.Image
import pytest
import skimage.data
from click.testing import CliRunner

from dfmcodec.bench.curves import Curve, read_curves
from dfmcodec.bench.report import as_dict, as_text
from dfmcodec.bench.summary import bd_rates
from dfmcodec.cli import main
from dfmcodec.errors import ConfigError

NAMES = {Path("photos/cat.png"): "cat", Path("photos/dog.jpg"): "dog"}
POINTS = "codec,image,bpp,psnr_db\nHM,cat,0.5,30\nHM,cat,1,33\nHM,dog.jpg,0.5,31.5\nVTM,dog,0.4,30\n"


def table(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def read(*paths: Path, taken: tuple[str, ...] = ("dfm", "JPEG")) -> dict[str, Curve]:
    return {curve.label: curve for curve in read_curves(paths, NAMES, taken)}


def test_images_are_found_by_name_or_file(tmp_path):
    curves = read(table(tmp_path, POINTS))
    assert curves["HM"].by_image == {"cat": ((0.5, 30), (1, 33)), "dog": ((0.5, 31.5),)}
    assert curves["VTM"].by_image == {"dog": ((0.4, 30),)}


@pytest.mark.parametrize(
    "text",
    [
        POINTS.replace(",", "\t"),
        POINTS.replace(",", ";"),
        POINTS.replace("\n", "\r\n"),
        "\ufeff" + POINTS,
        "\n" + POINTS + "\n\n",
        POINTS.replace("image", "seq_name").replace("bpp", "rate_bpp").replace("psnr_db", "PSNR"),
        "\n".join(f"{line},{at}" for at, line in enumerate(POINTS.splitlines())),
        POINTS.replace("0.5", ' "0.5" ').replace(' "', '"').replace('" ', '"'),
    ],
)
def test_tabs_semicolons_other_headings_and_further_columns(tmp_path, text):
    assert read(table(tmp_path, text)) == {
        label: Curve(label, str(tmp_path / "table.csv"), curve.by_image)
        for label, curve in read(table(tmp_path, POINTS, "plain.csv")).items()
    }


def test_published_tables_are_read_as_they_are(tmp_path):
    """The layouts of Cool-chic's results and of HM's, whose codec is the name of the file."""
    coolchic = "lmbda\tseq_name\tn_pixels\tloss\tpsnr_db\trate_bpp\n0.0001\tcat\t393216\t0.29\t40.75\t2.08\n"
    hm = "seq_name\tres\tn_pixels\tlmbda\tbytes\trate_bpp\tpsnr_db\ncat\t768x512\t393216\t22\t117532\t2.39\t39.65\n"
    curves = read(table(tmp_path, coolchic, "coolchic.tsv"), table(tmp_path, hm, "hm16.tsv"))
    assert curves["coolchic"].by_image == {"cat": ((2.08, 40.75),)}
    assert curves["hm16"].by_image == {"cat": ((2.39, 39.65),)}


def test_a_name_that_is_taken_gets_that_of_its_file(tmp_path):
    first = table(tmp_path, "codec,image,bpp,psnr\njpeg,cat,1,30\nHM,cat,1,30\n", "a.csv")
    second = table(tmp_path, "codec,image,bpp,psnr\nHM,cat,1,30\nVTM,cat,1,30\n", "b.csv")
    assert set(read(first, second)) == {"jpeg (a.csv)", "HM (a.csv)", "HM (b.csv)", "VTM"}
    with pytest.raises(ConfigError, match="twice"):
        read(first, first)


def test_two_images_of_one_stem_need_their_paths(tmp_path):
    names = {Path("a/cat.png"): "a/cat.png", Path("b/cat.png"): "b/cat.png"}
    path = table(tmp_path, "image,bpp,psnr\ncat,1,30\n")
    with pytest.raises(ConfigError, match="line 2: 'cat' is the name of several images"):
        read_curves([path], names, [])
    (curve,) = read_curves([table(tmp_path, "image,bpp,psnr\na/cat.png,1,30\n")], names, [])
    assert set(curve.by_image) == {"a/cat.png"}


WRONG = [
    ("", "line 1: the file is empty"),
    ("\n\n", "the file is empty"),
    ("codec,image,bpp,psnr_db\n", "line 2: no point below the headings"),
    ("codec,bpp,psnr_db\nHM,1,30\n", "line 1: no column image"),
    ("codec,image,psnr_db\nHM,cat,30\n", "line 1: no column bpp in the headings codec, image, psnr_db"),
    ("codec,image,bpp\nHM,cat,30\n", "line 1: no column psnr_db"),
    ("image,bpp,rate_bpp,psnr\ncat,1,1,30\n", "line 1: two columns for bpp"),
    (POINTS + "HM,cat,2;5,36\n", "line 6: bpp is '2;5'; write a number with a decimal point"),
    (POINTS + "HM,cat,2,nan\n", "line 6: psnr_db is 'nan'"),
    (POINTS + "HM,cat,2,Infinity\n", "line 6: psnr_db is 'Infinity'"),
    (POINTS + "HM,cat,,36\n", "line 6: bpp is ''"),
    (POINTS + "HM,cat,0,36\n", "line 6: bpp is 0; it must be above 0"),
    (POINTS + "HM,cat,2,5,36\n", "line 6: 5 values under 4 headings"),
    (POINTS + "HM,kodim99,2,36\n", "line 6: image 'kodim99' is not in this run (cat, dog)"),
    (POINTS + "\n\nHM,\x1b[2J,2,36\n", "line 8: image '\\x1b[2J' is not in this run"),
    (POINTS + "HM,,2,36\n", "line 6: image '' is not in this run"),
    (POINTS + ",cat,2,36\n", "line 6: no name under codec"),
    (POINTS + 'HM,"cat,2,36\n', "not a table"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_table_errors_are_one_line_with_the_line_number(tmp_path, text, message):
    with pytest.raises(ConfigError) as caught:
        read(table(tmp_path, text))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'table.csv'}, line ")
    assert str(caught.value).isprintable()
    assert caught.value.exit_code == 2


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"codec,bpp,psnr\nHM,1,30\n\xff\xfe,1,30\n")
    with pytest.raises(ConfigError, match="line 3: not text in UTF-8"):
        read(path)


def test_the_command_refuses_a_table_before_any_encoding(tmp_path, monkeypatch):
    import dfmcodec

    def refuse(*arguments, **options):
        msg = "encoded"
        raise AssertionError(msg)

    monkeypatch.setattr(dfmcodec, "encode", refuse)
    PIL.Image.fromarray(skimage.data.chelsea()[60:124, 130:194]).save(tmp_path / "cat.png")
    wrong = table(tmp_path, POINTS)
    for path, message in [(wrong, "table.csv, line 4: image 'dog.jpg'"), (tmp_path / "none.csv", "cannot read")]:
        result = CliRunner().invoke(main, ["bench", str(tmp_path / "cat.png"), "--curves", str(path)])
        assert result.exit_code == 2
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1


def quality(bpp: float) -> float:
    """PSNR of the images of `compared`: 6 dB for twice the rate."""
    return 30 + 6 * log2(bpp)


def curve(label: str, factor: float, names: tuple[str, ...] = ("cat", "dog")) -> Curve:
    """A codec that needs `factor` times the rate of dfm's measurements in `compared`."""
    rates = [24 * rate for rate in (0.01, 0.02, 0.04, 0.08, 0.16)]
    return Curve(
        label,
        "table.csv",
        {name: tuple((factor * bpp, quality(bpp) + ("cat", "dog").index(name)) for bpp in rates) for name in names},
    )


def test_bd_rates_are_those_of_the_curves(compared):
    short = Curve("short", "table.csv", {"cat": ((1.0, 30.0),)})
    comparison = compared(curves=(curve("HM", 2, ("dog",)), curve("VTM", 0.5), short))
    rates = {rate.anchor: rate for rate in bd_rates(comparison) if rate.measure == "psnr_db"}
    assert set(rates) == {"JPEG", "HM", "VTM"}
    assert rates["HM"].by_image == pytest.approx({"dog": -50}, abs=0.01)
    assert rates["VTM"].by_image == pytest.approx({"cat": 100, "dog": 100}, abs=0.01)
    lines = [line.split() for line in as_text(comparison).splitlines()]
    assert ["HM", "-", "-50.0", "%", "(1/0)"] in lines
    assert ["short", "-", "-"] in lines
    data = json.loads(json.dumps(as_dict(comparison), allow_nan=False))
    assert data["curves"][0]["by_image"]["dog"][0] == pytest.approx([0.48, quality(0.24) + 1])
