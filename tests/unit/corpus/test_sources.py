"""Tests of sources: patterns, folders, and duplicates."""

from __future__ import annotations

from dataclasses import replace

import pytest
from corpora import pack_job, write_images

from dfmcodec.corpus.sources import Item, absolute_sources, braces
from dfmcodec.corpus.sources import shards_of as shards_of_job
from dfmcodec.errors import ConfigError, DfmError


def shards_of(*named, recursive=True, size=100, skips_links=False):
    job = replace(pack_job(*named, size=size, skips_links=skips_links), recursive=recursive)
    return list(shards_of_job(job, bool, str, lambda url: 25))


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
def test_braces(pattern, texts):
    assert list(braces(pattern)) == texts


def test_a_folder_without_what_is_hidden_and_without_records(tmp_path):
    write_images(tmp_path, 2)
    (tmp_path / ".hidden.png").touch()
    (tmp_path / "_dfm").mkdir()
    (tmp_path / "_dfm" / "x.png").touch()
    assert [item.name for item in shards_of(tmp_path)[0]] == ["000.png", "more/001.png"]
    assert [item.name for item in shards_of(tmp_path, recursive=False)[0]] == ["000.png"]


def test_names_of_a_pattern_begin_where_it_varies(tmp_path):
    write_images(tmp_path / "in", 4)
    assert [item.name for item in shards_of(tmp_path / "in" / "*" / "*.png")[0]] == ["more/001.png", "more/003.png"]
    assert [item.name for item in shards_of(tmp_path / "in" / "000.png")[0]] == ["000.png"]


@pytest.mark.parametrize("scheme", ["memory", "other"])
def test_names_of_a_pattern_in_a_store_begin_there_too(scheme):
    """Whatever other schemes its file system goes by."""
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
    found = shards_of(f"{scheme}://names/**/*.png")[0]
    assert [item.name for item in found] == ["a.png", "more/b.png"]
    assert found[0].source == f"{scheme}://names/a.png"


def test_links_are_left_out_where_that_is_asked_for(tmp_path):
    folder = write_images(tmp_path / "in", 2)
    write_images(tmp_path / "private", 1)
    (folder / "link.png").symlink_to(tmp_path / "private" / "000.png")
    (folder / "linked").symlink_to(tmp_path / "private")
    (tmp_path / "in2").symlink_to(folder)
    both = ["000.png", "more/001.png"]

    def names(*named, skips_links):
        return [item.name for shard in shards_of(*named, skips_links=skips_links) for item in shard]

    for place in (folder, tmp_path / "in2"):  # which was named itself
        assert names(place, skips_links=False) == ["000.png", "link.png", "more/001.png"]
        assert names(place, skips_links=True) == both
        assert names(place / "**" / "*.png", skips_links=True) == both
    assert names(folder / "**" / "*.png", skips_links=False) == [
        "000.png",
        "link.png",
        "linked/000.png",
        "more/001.png",
    ]
    assert names(folder / "link.png", folder / "000.png", skips_links=True) == ["000.png"]


@pytest.mark.parametrize("form", ["tar", "parquet"])
def test_links_to_tars_and_tables_are_left_out_too(tmp_path, form):
    (tmp_path / f"a.{form}").touch()
    (tmp_path / f"b.{form}").symlink_to(tmp_path / f"a.{form}")
    for named in ([f"*.{form}"], [f"b.{form}", f"a.{form}"]):
        found = {item.source for shard in shards_of(*map(tmp_path.joinpath, named), skips_links=True) for item in shard}
        assert found == {str(tmp_path / f"a.{form}")}


def test_a_range_needs_no_listing():
    found = shards_of("s3://in/{00..02}.tar")
    assert found == [[Item(f"s3://in/0{i}.tar")] for i in range(3)]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    (tmp_path / "a[1].png").touch()
    assert [item.name for item in shards_of(tmp_path / "a[1].png")[0]] == ["a[1].png"]


def test_no_shard_holds_rows_of_two_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.parquet").touch()
    found = shards_of(tmp_path / "*.parquet", size=20)
    assert [(item.source[-9], item.start, item.stop) for (item,) in found] == [
        ("a", 0, 20),
        ("a", 20, 25),
        ("b", 0, 20),
        ("b", 20, 25),
    ]


@pytest.mark.parametrize("named", [[], ["a.tar", "b.png"]])
def test_sources_have_one_form(named):
    with pytest.raises(ConfigError, match="must have one form"):
        absolute_sources(named)


@pytest.mark.parametrize("name", ["missing", "missing.tar"])
def test_a_source_that_is_not_there(tmp_path, name):
    with pytest.raises(DfmError, match=f"{name} is not there"):
        shards_of(tmp_path / name)


def test_a_pattern_of_too_many_names(monkeypatch):
    monkeypatch.setattr("dfmcodec.corpus.sources._MAX_NAMES", 10)
    with pytest.raises(ConfigError, match="stands for more than 10 names"):
        shards_of("s3://in/{1..1000000000000}.tar")
