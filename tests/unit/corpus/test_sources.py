"""Tests of sources: patterns, folders, duplicates, and the shards made of them."""

from __future__ import annotations

import pytest
from corpora import png, write_images, write_tar

from dfmcodec.corpus.sources import Shard, braces, shards_of
from dfmcodec.errors import ConfigError, DfmError, OutputError


@pytest.fixture
def store(tmp_path):
    return str(tmp_path / "out")


def names(shards):
    return [file.name for shard in shards for file in shard.source]


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("a", ["a"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{a,b}{1..2}", ["a1", "a2", "b1", "b2"]),
        ("a{}b", ["a{}b"]),
        ("{1..}", ["{1..}"]),
    ],
)
def test_braces_are_expanded(pattern, texts):
    assert list(braces(pattern)) == texts


def test_folders_without_hidden_files_and_other_extensions(tmp_path, store):
    write_images(tmp_path / "in", 2)
    for name in (".hidden.png", "a.txt", "b.nef"):
        (tmp_path / "in" / name).touch()
    notices = []
    shards = shards_of([str(tmp_path / "in")], store, recursive=True, notify=notices.append)
    assert names(shards) == ["000.png", "more/001.png"]
    assert notices == ["skipped 2 files with other extensions, such as a.txt"]
    assert names(shards_of([str(tmp_path / "in")], store)) == ["000.png"]


def test_names_start_at_the_folder_common_to_all_matches(tmp_path, store):
    write_images(tmp_path / "in", 4)
    assert names(shards_of([f"{tmp_path}/in/*/*.png"], store)) == ["more/001.png", "more/003.png"]
    assert names(shards_of([f"{tmp_path}/in/000.png"], store)) == ["000.png"]


@pytest.mark.parametrize("scheme", ["memory", "other"])
def test_names_in_an_object_store_start_there_too(scheme, store):
    """The file system may have other names for the scheme."""
    fsspec = pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem

    class Other(MemoryFileSystem):
        protocol = ("another", "other")

        @classmethod
        def _strip_protocol(cls, path):
            return super()._strip_protocol(path.replace("other://", "memory://"))

    fsspec.register_implementation("other", Other, clobber=True)
    for name in ("a", "more/b"):
        fsspec.filesystem("memory").pipe(f"/names/{name}.png", b"")
    (shard,) = shards_of([f"{scheme}://names/**/*.png"], store)
    assert names([shard]) == ["a.png", "more/b.png"]
    assert shard.source[0].source == f"{scheme}://names/a.png"


def test_files_named_twice_are_encoded_once(tmp_path, store):
    folder = write_images(tmp_path / "in", 2)
    sources = [str(folder), str(folder / "000.png"), f"{folder}/more/*.png"]
    assert names(shards_of(sources, store, recursive=True)) == ["000.png", "more/001.png"]


def test_later_files_with_the_same_output_refer_to_the_first(tmp_path, store):
    for name in ("a.jpg", "a.png", "b.png"):
        (tmp_path / name).touch()
    (shard,) = shards_of([str(tmp_path)], store)
    assert [file.same_as for file in shard.source] == ["", str(tmp_path / "a.jpg"), ""]


def test_a_range_needs_no_listing(store):
    shards = shards_of(["s3://in/{00..02}.tar"], store)
    assert shards == [Shard(f"s3://in/0{number}.tar", store, f"0{number}.tar", "tar") for number in range(3)]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path, store):
    (tmp_path / "a[1].png").touch()
    assert names(shards_of([f"{tmp_path}/a[1].png"], store)) == ["a[1].png"]


@pytest.mark.parametrize("form", ["tar", "parquet"])
def test_names_of_numbered_shards_depend_on_their_files(tmp_path, store, form):
    folder = write_images(tmp_path / "in", 5)
    shards = [shard.name for shard in shards_of([str(folder)], store, form, recursive=True, shard_size=2)]
    assert [name[:6] + name[14:] for name in shards] == [f"0000{number}-.{form}" for number in range(3)]
    (folder / "003.png").touch()
    others = [shard.name for shard in shards_of([str(folder)], store, form, recursive=True, shard_size=2)]
    assert (shards[0] == others[0], shards[1] == others[1]) == (True, False)


def test_shards_of_another_list_of_files_are_refused(tmp_path, store):
    folder = write_images(tmp_path / "in", 5)
    (tmp_path / "out").mkdir()
    first, second, _ = shards_of([str(folder)], store, "tar", recursive=True, shard_size=2)
    for shard in (first, second):
        (tmp_path / "out" / shard.name).touch()
    assert len(shards_of([str(folder)], store, "tar", recursive=True, shard_size=2)) == 3
    (folder / "005.png").touch()
    with pytest.raises(ConfigError, match=f"{second.name} was made from other files or in other shards"):
        shards_of([str(folder)], store, "tar", recursive=True, shard_size=2)


@pytest.mark.parametrize(("form", "name"), [(None, "a/x.tar"), ("parquet", "a/x.parquet"), ("files", "a/x")])
def test_outputs_of_tars_have_their_names(tmp_path, store, form, name):
    tar = write_tar(tmp_path / "in" / "a" / "x.tar", {})
    (shard,) = shards_of([f"{tmp_path}/in/*/*.tar"], store, form)
    assert (shard.source, shard.name) == (str(tar), name)


def test_tars_with_the_same_output_are_refused(tmp_path, store):
    for folder in "ab":
        write_tar(tmp_path / folder / "x.tar", {})
    with pytest.raises(ConfigError, match=r"b/x.tar have the same output, x.tar; name a store for each"):
        shards_of([f"{tmp_path}/a/x.tar", f"{tmp_path}/b/x.tar"], store)


def test_a_source_is_never_an_output(tmp_path):
    write_tar(tmp_path / "in" / "x.tar", {"a.png": png(1)})
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for store in ("in", "link"):
        with pytest.raises(ConfigError, match=r"x.tar is a source and would be replaced; name another store"):
            shards_of([f"{tmp_path}/in/*.tar"], str(tmp_path / store))


def test_a_source_in_an_object_store_is_never_an_output():
    pytest.importorskip("s3fs", reason="S3 needs a package; to have it: pip install -e .[cloud]")
    with pytest.raises(ConfigError, match=r"s3://in/x.tar is a source and would be replaced"):
        shards_of(["s3://in/{x,y}.tar"], "s3://in/")


def test_a_tar_whose_name_is_not_portable_is_refused(tmp_path, store):
    write_tar(tmp_path / "a:b.tar", {})
    with pytest.raises(ConfigError, match=r"a:b.tar cannot name an output: it has the character ':'"):
        shards_of([f"{tmp_path}/*.tar"], store)


@pytest.mark.parametrize("named", [[], ["a.tar", "b.png"]])
def test_sources_have_one_form(store, named):
    with pytest.raises(ConfigError, match="must have one form"):
        shards_of(named, store)


@pytest.mark.parametrize("name", ["missing", "missing.tar"])
def test_missing_sources_are_refused(tmp_path, store, name):
    with pytest.raises(DfmError, match=f"{name} is not there"):
        shards_of([str(tmp_path / name)], store)


def test_a_folder_of_tars_says_how_to_name_them(tmp_path, store):
    write_tar(tmp_path / "in" / "x.tar", {})
    with pytest.raises(DfmError, match=r"no images in .* name tars and Parquet files: folder/\*.tar"):
        shards_of([str(tmp_path / "in")], store, recursive=True)


def test_a_store_that_is_a_file_is_refused(tmp_path):
    write_images(tmp_path, 1)
    with pytest.raises(OutputError, match="is a file; outputs go to a folder"):
        shards_of([str(tmp_path)], str(tmp_path / "000.png"))
