"""Tests of forms: tars and Parquet files, invalid members, and readers of other packages."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from corpora import counts, failures, objects, only_output, png, read_tar, run, write_images, write_tar

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def table_of(folder):
    return parquet.read_table(pyarrow.BufferReader(only_output(folder)))


def write_parquet(path, images, **columns):
    parquet.write_table(pyarrow.table({**columns, "picture": images}), path, row_group_size=2)
    return path


def images_of(count):
    return [{"bytes": png(i), "path": f"x/{i}.png"} for i in range(count)]


@pytest.mark.parametrize("form", ["tar", "parquet", "files"])
def test_the_same_files_in_every_form(tmp_path, out, form):
    folder = write_images(tmp_path / "in", 5)
    tar = write_tar(tmp_path / "x.tar", objects(folder))
    rows = [{"bytes": data, "path": name} for name, data in objects(folder).items()]
    table = write_parquet(tmp_path / "x.parquet", rows)
    run(tmp_path / "expected", folder)
    expected = objects(tmp_path / "expected")
    for source in (tar, table):
        store = out / source.suffix[1:]
        assert counts(run(store, source, form=form)) == (5, 0, 0)
        if form == "files":
            assert objects(store / "x") == expected
        elif form == "tar":
            assert read_tar((store / "x.tar").read_bytes()) == expected
        else:
            column = "picture" if source is table else "image"
            images = table_of(store)[column].to_pylist()
            assert {image["path"]: image["bytes"] for image in images} == expected


def test_a_tar_keeps_other_members(tmp_path, out):
    members = {"a.png": png(1), "a.json": b"{}", "b/c.left.png": png(2), "b/c.cls": b"7", "d.dfm": b"x"}
    tar = write_tar(tmp_path / "in.tar", members)
    run(out, tar)
    found = read_tar(only_output(out))
    assert list(found) == ["a.dfm", "a.json", "b/c.left.dfm", "b/c.cls", "d.dfm"]
    assert (found["a.json"], found["b/c.cls"], found["d.dfm"]) == (b"{}", b"7", b"x")
    (result,) = run(tmp_path / "files", tar, form="files")
    assert result.notices == [f"{tar}: skipped 3 members with other extensions"]


def test_a_tar_of_a_folder(tmp_path, out):
    """`tar cf in.tar -C in .` names members `./` and `./000.png`."""
    (write_images(tmp_path / "in", 2) / "000.json").write_bytes(b"{}")
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        tar.add(tmp_path / "in", ".")
        assert tar.getnames() == [".", "./000.json", "./000.png", "./more", "./more/001.png"]
    assert counts(run(out, tmp_path / "in.tar")) == (2, 0, 0)
    assert list(read_tar(only_output(out))) == ["000.json", "000.dfm", "more/001.dfm"]


@pytest.mark.parametrize("form", ["files", "tar", "parquet"])
def test_of_members_with_one_output_the_first_is_encoded(tmp_path, out, form):
    """As `tar rf` leaves them behind; `./a.png` is another spelling."""
    members = [("a.png", png(1)), ("a.json", b"1"), ("./a.png", png(2)), ("a.json", b"2"), ("a.gif", png(3))]
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    for _ in range(2):
        results = run(out, tmp_path / "in.tar", form=form)
        source = f"{tmp_path / 'in.tar'}#"
        prefix = "in/" if form == "files" else ""
        assert [line for line in failures(results) if "json" not in line] == [
            f"{source}{name} has the same output as {source}a.png, {prefix}a.dfm; rename one of them"
            for name in ("./a.png", "a.gif")
        ]
        assert len(failures(results)) == (3 if form == "tar" else 2)
    run(tmp_path / "expected", write_tar(tmp_path / "expected.tar", {"a.png": png(1)}))
    expected = read_tar(only_output(tmp_path / "expected"))["a.dfm"]
    if form == "tar":
        assert read_tar((out / "in.tar").read_bytes()) == {"a.dfm": expected, "a.json": b"1"}
    elif form == "files":
        assert only_output(out) == expected
    else:
        assert [row["bytes"] for row in parquet.read_table(out / "in.parquet")["image"].to_pylist()] == [expected]


def test_tars_hold_no_times_and_users(tmp_path, out):
    run(out, write_images(tmp_path / "in", 1), form="tar")
    with tarfile.open(fileobj=io.BytesIO(only_output(out))) as tar:
        assert [(member.mtime, member.uid, member.uname) for member in tar] == [(0, 0, "")]


@pytest.mark.parametrize("form", ["tar", pytest.param("files", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        *(("../x.png", "cannot name an output"), ("/x.png", "cannot name an output")),
        *(("./../x.png", "cannot name an output"), (".//x.png", "cannot name an output")),
        (r"..\..\win.png", "it has the character"),
        ("C:x.png", "it has the character ':'"),
        ("a.png:stream.png", "it has the character ':'"),
        ("more/con.png", "is a device on Windows"),
        ("more /x.png", "ends with ' '"),
        ("/".join(["n" * 200] * 25) + "/x.png", "more than 1024"),
    ],
)
def test_members_with_unsafe_names_fail(tmp_path, out, form, name, said):
    source = write_tar(tmp_path / "in.tar", {"a.png": png(1), name: png(2), "b.png": png(3)})
    results = run(out, source, form=form)
    assert counts(results) == (2, 0, 1)
    assert said in failures(results)[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tar", "out"]


def test_a_member_that_is_a_link_fails(tmp_path, out):
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        link = tarfile.TarInfo("x.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert "x.png is a link or a device, not a file" in failures(run(out, tmp_path / "in.tar"))[0]


@pytest.mark.parametrize("cut", [0, 100, 550, 700, 2048, 2500])
def test_a_tar_that_is_cut_off_is_not_done(tmp_path, out, cut):
    source = write_tar(tmp_path / "in.tar", {f"{i}.png": png(i) for i in range(3)})
    complete = source.read_bytes()
    source.write_bytes(complete[:cut])
    (result,) = run(out, source)
    assert "in.tar is not a complete tar: " in result.error
    assert "\n" not in result.error
    assert not out.exists()
    source.write_bytes(complete)
    assert counts(run(out, source)) == (3, 0, 0)


def test_a_missing_tar_of_a_range_is_not_done(tmp_path, out):
    write_tar(tmp_path / "0.tar", {"a.png": png(1)})
    first, second = run(out, f"{tmp_path}/{{0..1}}.tar")
    assert (first.images_done, first.error) == (1, None)
    assert "1.tar: No such file" in second.error
    assert list(objects(out)) == ["0.tar"]


def test_parquet_keeps_its_other_columns_and_rows(tmp_path, out):
    images = images_of(5)
    images[1] = None
    source = write_parquet(tmp_path / "in.parquet", images, label=pyarrow.array([3, 1, 4, 1, 5], pyarrow.int8()))
    results = run(out, source)
    assert counts(results) == (4, 0, 1)
    assert failures(results) == [f"{source}#1: the row has no image; a path or URL in its place is not read"]
    table = parquet.read_table(out / "in.parquet")
    assert table.schema.field("label").type == pyarrow.int8()
    assert table["label"].to_pylist() == [3, 1, 4, 1, 5]
    found = table["picture"].to_pylist()
    assert [image and image["path"] for image in found] == [None if i == 1 else f"x/{i}.dfm" for i in range(5)]
    assert found[0]["bytes"][1:4] == b"DFM"


@pytest.mark.parametrize("form", ["parquet", "tar"])
def test_columns_of_bytes_have_numbers_for_names(tmp_path, out, form):
    source = write_parquet(tmp_path / "in.parquet", [png(0), png(1)], label=[1, 2])
    assert counts(run(out, source, form=form)) == (2, 0, 0)
    expected = ["000000000.dfm", "000000001.dfm"]
    if form == "tar":
        assert list(read_tar(only_output(out))) == expected
    else:
        assert [image["path"] for image in table_of(out)["picture"].to_pylist()] == expected


@pytest.mark.parametrize(
    ("columns", "column", "said"),
    [
        ({"other": images_of(1)}, None, "which column has the images"),
        ({}, "missing", "has no column missing"),
        ({"label": [1]}, "label", "has no column label of images"),
        ({"url": ["https://a.org/a.png"]}, "url", "has no column url of images"),
    ],
)
def test_a_column_without_images_is_refused(tmp_path, out, columns, column, said):
    source = write_parquet(tmp_path / "in.parquet", images_of(1), **columns)
    (result,) = run(out, source, column=column)
    assert said in result.error
    assert not out.exists()


def test_the_column_is_chosen_by_name(tmp_path, out):
    source = write_parquet(tmp_path / "in.parquet", images_of(1), other=[{"bytes": png(7), "path": "b.png"}])
    assert counts(run(out, source, column="other")) == (1, 0, 0)
    table = table_of(out)
    assert table["other"].to_pylist()[0]["path"] == "b.dfm"
    assert table["picture"].to_pylist() == images_of(1)


def test_a_damaged_parquet_file_is_not_done(tmp_path, out):
    (tmp_path / "in.parquet").write_bytes(b"PAR1" + bytes(50))
    (result,) = run(out, tmp_path / "in.parquet")
    assert "is not a complete Parquet file" in result.error
    assert not out.exists()


def test_hugging_face_knows_the_column_with_images(tmp_path, out):
    run(out, write_images(tmp_path / "in", 2), form="parquet")
    features = json.loads(table_of(out).schema.metadata[b"huggingface"])["info"]["features"]
    assert features == {"image": {"_type": "Image"}}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves tars open
def test_webdataset_reads_the_tars(tmp_path, out):
    webdataset = pytest.importorskip("webdataset", reason="to have it: pip install webdataset")
    run(out, write_images(tmp_path / "in", 4), form="tar")
    tars = [str(path) for path in sorted(out.glob("*.tar"))]
    samples = list(webdataset.WebDataset(tars, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["000", "002", "more/001", "more/003"]
    assert all(sample["dfm"][1:4] == b"DFM" for sample in samples)


def test_datasets_reads_the_parquet_files(tmp_path, out):
    datasets = pytest.importorskip("datasets", reason="to have it: pip install -e .[recipes]")
    import dfmcodec.pillow  # noqa: F401

    run(out, write_images(tmp_path / "in", 4), form="parquet")
    files = [str(path) for path in sorted(out.glob("*.parquet"))]
    rows = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert [row["image"].size for row in rows] == [(32, 32)] * 4
