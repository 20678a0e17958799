"""Tests of forms: writing and reading, invalid members, and readers of other packages."""

from __future__ import annotations

import io
import json
import sys
import tarfile

import pytest
from corpora import (
    dfm_file,
    encode_job,
    failures,
    objects,
    pack_job,
    planned,
    png,
    read_tar,
    run,
    write_images,
    write_tar,
)

from dfmcodec.corpus.store import open_store
from dfmcodec.errors import ConfigError, DfmError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def table_of(store, number=0):
    return parquet.read_table(pyarrow.BufferReader(store.read(f"{number:05d}.parquet")))


def write_parquet(path, images, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table({**columns, "picture": images}), path, row_group_size=2)
    return path


def images_of(count):
    return [{"bytes": png(i), "path": f"x/{i}.png"} for i in range(count)]


def files_below(folder):
    """The files that a run wrote or is to read, by their paths."""
    return {name: data for name, data in objects(folder).items() if not name.startswith("_dfm/")}


def test_there_and_back(tmp_path):
    write_images(tmp_path / "in", 5)
    stores = {name: open_store(str(tmp_path / name)) for name in ("tar", "parquet", "files")}
    run(stores["tar"], pack_job(tmp_path / "in", form="tar"))
    run(stores["parquet"], pack_job(tmp_path / "tar" / "*.tar", form="parquet"))
    _, progress = run(stores["files"], pack_job(tmp_path / "parquet" / "*.parquet", form="files", size=2))
    assert (progress.total.images_done, progress.total.images_failed) == (5, 0)
    assert files_below(tmp_path / "files") == files_below(tmp_path / "in")
    assert list(read_tar(stores["tar"].read("00001.tar"))) == ["more/001.png", "more/003.png"]


def test_a_tar_keeps_what_lies_beside_images(tmp_path):
    members = {"a.png": png(1), "a.json": b"{}", "b/c.left.png": png(2), "b/c.cls": b"7"}
    store = open_store(str(tmp_path / "out"))
    run(store, encode_job(write_tar(tmp_path / "in.tar", members)))
    found = read_tar(store.read("00000.tar"))
    assert list(found) == ["a.dfm", "a.json", "b/c.left.dfm", "b/c.cls"]
    assert (found["a.json"], found["b/c.cls"]) == (b"{}", b"7")


def test_a_tar_of_a_folder(tmp_path):
    """`tar cf in.tar -C in .` names members `./` and `./000.png`."""
    (write_images(tmp_path / "in", 2) / "000.json").write_bytes(b"{}")
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        tar.add(tmp_path / "in", ".")
        assert tar.getnames() == [".", "./000.json", "./000.png", "./more", "./more/001.png"]
    encoded, packed, files = (open_store(str(tmp_path / name)) for name in ("encoded", "packed", "files"))
    for store, job in ((encoded, encode_job), (packed, pack_job)):
        results, progress = run(store, job(tmp_path / "in.tar"))
        assert (progress.total.images_done, failures(results)) == (2, [])
    assert list(read_tar(encoded.read("00000.tar"))) == ["000.json", "000.dfm", "more/001.dfm"]
    assert read_tar(packed.read("00000.tar")) == {"000.json": b"{}", "000.png": png(0), "more/001.png": png(1)}
    run(files, pack_job(tmp_path / "in.tar", form="files"))
    assert files_below(tmp_path / "files") == {"000.png": png(0), "more/001.png": png(1)}


def test_two_spellings_of_one_member_are_one_output(tmp_path):
    source = write_tar(tmp_path / "in.tar", {"a.png": png(1), "b.png": png(3), "././a.png": png(2)})
    store = open_store(str(tmp_path / "out"))
    results, progress = run(store, pack_job(source))
    assert (progress.total.images_done, progress.total.images_failed) == (1, 2)
    ours, theirs = f"{source}#a.png", f"{source}#././a.png"
    assert failures(results) == [
        f"{ours} has the same output as {theirs}, a.png; rename one of them",
        f"{theirs} has the same output as {ours}, a.png; rename one of them",
    ]
    assert read_tar(store.read("00000.tar")) == {"b.png": png(3)}


@pytest.mark.parametrize("form", ["files", "tar", "parquet"])
def test_two_members_of_one_name_both_fail(tmp_path, form):
    """As `tar rf` leaves them behind."""
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        for name, data in (("a.png", png(1)), ("a.json", b"1"), ("a.png", png(2)), ("a.json", b"2")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    results, progress = run(open_store(str(tmp_path / "out")), pack_job(tmp_path / "in.tar", form=form))
    assert (progress.total.images_done, progress.total.images_failed) == (0, 4 if form == "tar" else 2)
    first = failures(results)[0]
    assert first.startswith(f"{tmp_path / 'in.tar'}#a.png has the same output as another one of its name, ")


def test_tars_hold_nothing_of_the_moment(tmp_path):
    store = open_store(str(tmp_path / "out"))
    run(store, pack_job(write_images(tmp_path / "in", 1), form="tar"))
    with tarfile.open(fileobj=io.BytesIO(store.read("00000.tar"))) as tar:
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
def test_bad_names_of_members_are_rows(tmp_path, form, name, said):
    if form == "files" and name.startswith("/"):
        name = "//x.png"
    source = write_tar(tmp_path / "in.tar", {"a.png": png(1), name: png(2), "b.png": png(3)})
    store = open_store(str(tmp_path / "out"))
    results, progress = run(store, encode_job(source, form=form))
    assert (progress.total.images_done, progress.total.images_failed, progress.is_complete) == (2, 1, True)
    assert said in failures(results)[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tar", "out"]


def test_a_member_that_is_no_file_is_a_row(tmp_path):
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        link = tarfile.TarInfo("x.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    results, _ = run(open_store(str(tmp_path / "out")), pack_job(tmp_path / "in.tar"))
    assert "x.png is a link or a device, not a file" in failures(results)[0]


@pytest.mark.parametrize(("cut", "number"), [(0, 0), (100, 0), (550, 0), (700, 1), (2048, 2), (2500, 2)])
def test_a_tar_that_is_cut_off_gives_what_is_complete(tmp_path, cut, number):
    source = write_tar(tmp_path / "in.tar", {f"{i}.png": png(i) for i in range(3)})
    complete = source.read_bytes()
    source.write_bytes(complete[:cut])
    store = open_store(str(tmp_path / "out"))
    results, progress = run(store, pack_job(source))
    assert (progress.total.images_done, progress.is_complete) == (number, True)
    assert failures(results)
    assert all("\n" not in line and "in.tar" in line for line in failures(results))
    assert read_tar(store.read("00000.tar")) == {f"{i}.png": png(i) for i in range(number)}


def test_a_missing_tar_of_a_range_is_a_row(tmp_path):
    write_tar(tmp_path / "0.tar", {"a.png": png(1)})
    results, progress = run(open_store(str(tmp_path / "out")), pack_job(f"{tmp_path}/{{0..1}}.tar"))
    assert (progress.total.images_done, progress.total.images_failed) == (1, 1)
    assert "1.tar" in failures(results)[0]


def test_parquet_keeps_its_other_columns_and_rows(tmp_path):
    images = images_of(5)
    images[1] = None
    source = write_parquet(tmp_path / "in.parquet", images, label=pyarrow.array([3, 1, 4, 1, 5], pyarrow.int8()))
    store = open_store(str(tmp_path / "out"))
    results, progress = run(store, encode_job(source, size=3))
    assert (progress.total.images_done, progress.total.images_failed) == (4, 1)
    assert failures(results) == [f"{source}#1: the row has no image"]
    table = pyarrow.concat_tables([table_of(store, 0), table_of(store, 1)])
    assert table.schema.field("label").type == pyarrow.int8()
    assert table["label"].to_pylist() == [3, 1, 4, 1, 5]
    found = table["picture"].to_pylist()
    assert [None if image is None else image["path"] for image in found] == [
        None if i == 1 else f"x/{i}.dfm" for i in range(5)
    ]
    assert found[0]["bytes"][1:4] == b"DFM"


def test_columns_of_bytes_and_of_names(tmp_path):
    (tmp_path / "0.png").write_bytes(png(0))
    names = write_parquet(tmp_path / "names.parquet", [str(tmp_path / "0.png"), str(tmp_path / "1.png")])
    store = open_store(str(tmp_path / "out"))
    results, progress = run(store, pack_job(names, column="picture", places=[tmp_path]))
    assert (progress.total.images_done, progress.total.images_failed) == (1, 1)
    assert "cannot read" in failures(results)[0]
    assert table_of(store).column_names == ["picture", "image"]
    assert table_of(store)["image"].to_pylist() == [{"bytes": png(0), "path": "00000/000000000.png"}, None]
    data = write_parquet(tmp_path / "bytes.parquet", [png(0), png(1)])
    store = open_store(str(tmp_path / "out2"))
    run(store, pack_job(data))
    assert [image["bytes"] for image in table_of(store)["picture"].to_pylist()] == [png(0), png(1)]


@pytest.mark.parametrize(
    ("columns", "column", "said"),
    [
        ({"other": images_of(1)}, None, "which column has the images"),
        ({}, "missing", "has no column missing"),
        ({"label": [1]}, "label", "has no column label of images"),
    ],
)
def test_a_column_that_cannot_be_it_is_refused_before_work(tmp_path, columns, column, said):
    source = write_parquet(tmp_path / "in.parquet", images_of(1), **columns)
    with pytest.raises(ConfigError, match=said):
        planned(open_store(str(tmp_path / "out")), pack_job(source, column=column))
    assert not (tmp_path / "out").exists()


def test_what_is_no_parquet_is_refused_before_work(tmp_path):
    (tmp_path / "in.parquet").write_bytes(b"PAR1" + bytes(50))
    with pytest.raises(DfmError, match="is not a complete Parquet file"):
        planned(open_store(str(tmp_path / "out")), pack_job(tmp_path / "in.parquet"))
    assert not (tmp_path / "out").exists()


def test_hugging_face_is_reported_which_column_has_images(tmp_path):
    store = open_store(str(tmp_path / "out"))
    run(store, encode_job(write_images(tmp_path / "in", 2), form="parquet"))
    features = json.loads(table_of(store).schema.metadata[b"huggingface"])["info"]["features"]
    assert features == {"image": {"_type": "Image"}}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves tars open
def test_webdataset_reads_the_tars(tmp_path):
    webdataset = pytest.importorskip("webdataset", reason="to have it: pip install webdataset")
    run(open_store(str(tmp_path / "out")), encode_job(write_images(tmp_path / "in", 4), form="tar"))
    samples = list(webdataset.WebDataset(f"{tmp_path}/out/{{00000..00001}}.tar", shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["000", "002", "more/001", "more/003"]
    assert all(sample["dfm"][1:4] == b"DFM" for sample in samples)


def test_datasets_reads_the_parquet_files(tmp_path):
    datasets = pytest.importorskip("datasets", reason="to have it: pip install -e .[recipes]")
    import dfmcodec.pillow  # noqa: F401

    run(open_store(str(tmp_path / "out")), encode_job(write_images(tmp_path / "in", 4), form="parquet"))
    files = [str(path) for path in sorted((tmp_path / "out").glob("*.parquet"))]
    rows = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert [row["image"].size for row in rows] == [(32, 32)] * 4


# Names that a way through other forms could change or take for one another
NAMES = [
    *("a.dfm", "a.png", "sub/a.dfm", "sub/deeper/a.dfm", "my photo.png", "two  spaces/b c.png"),
    *("caf\u00e9.png", "cafe\u0301.png", "\u5199\u771f/\u5199\u771f.dfm", "\U0001f600.png"),
    *("v1.2.3.png", "a.b/c.d.e.dfm", "x.tar.png", "-a.png", "{a,b}[1].png"),
    *("A.dfm", "a.PNG", "Sub/a.dfm", "00000/000000001.png", f"{'n' * 120}/{'m' * 120}.png"),
]


@pytest.mark.skipif(sys.platform != "linux", reason="names that differ only in case, or in how they are composed")
@pytest.mark.parametrize("forms", [("tar",), ("parquet",), ("tar", "parquet"), ("parquet", "tar")])
def test_names_and_bytes_are_the_same_after_all_ways(tmp_path, forms):
    for number, name in enumerate(NAMES):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dfm_file(number) if name.endswith("dfm") else png(number))
    source = tmp_path / "in"
    for form in (*forms, "files"):
        results, progress = run(open_store(str(tmp_path / form)), pack_job(source, form=form, size=5))
        assert (progress.total.images_done, failures(results)) == (len(NAMES), [])
        assert progress.shards > 1
        source = tmp_path / form / f"*.{form}"
    assert files_below(tmp_path / "files") == files_below(tmp_path / "in")


def test_tables_without_names_come_back_by_number(tmp_path):
    for name in "ab":
        write_parquet(tmp_path / "in" / f"{name}.parquet", [png(0), dfm_file(1)])
    source = tmp_path / "in" / "*.parquet"
    for form in ("tar", "files"):
        _, progress = run(open_store(str(tmp_path / form)), pack_job(source, form=form))
        assert progress.total.images_done == 4
        source = tmp_path / form / f"*.{form}"
    rows = {"000000000.img": png(0), "000000001.dfm": dfm_file(1)}
    assert files_below(tmp_path / "files") == {
        f"{shard}/{name}": data for shard in ("00000", "00001") for name, data in rows.items()
    }
