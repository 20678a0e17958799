"""Tests of portable file names."""

from __future__ import annotations

import pytest

from dfmcodec.files.names import fault_of_name, printable


@pytest.mark.parametrize(
    "name", ["a.dfm", "a/b.dfm", ".a/..b", "con1.dfm", "console/a", "com10.png", "é" * 127, "a\udcff.png", "a b/c"]
)
def test_names(name):
    assert fault_of_name(name) is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *((name, "it has the part") for name in ("", "/a", "a/", "a//b", ".", "a/./b", "..", "../a", "a/..")),
        *(
            (name, "it has the character")
            for name in ("C:/a", "a:b", r"\a", r"..\a", r"\\host\a", "a\0b", "a\nb", "\x7f")
        ),
        *((name, "ends with") for name in ("a.", "a /b", "a/b...", " ")),
        *(
            (name, "is a device")
            for name in ("con", "a/NUL.png", "com1.tar.gz", "Lpt9", "aux .dfm", "com\u00b9", "CONIN$")
        ),
        ("a/" + "é" * 128, "a part of it has 256 bytes"),
        ("/".join(["n" * 200] * 6), "it has 1205 bytes, more than 1024"),
        ("\ud800.png", "it is not Unicode text"),
    ],
)
def test_impossible_names_are_refused(name, said):
    assert said in fault_of_name(name)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("bad\udcff\udc80.png", r"bad\xff\x80.png"),
        ("\x1b[0m\n", r"\x1b[0m\n"),
        ("\ud800", r"\ud800"),
        ("é\u202e", r"é\u202e"),
    ],
)
def test_names_in_messages(name, shown):
    assert printable(name) == shown
