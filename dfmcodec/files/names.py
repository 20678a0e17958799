"""Names of files and codecs: safe display of untrusted names, and checks of names for new files."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from dfmcodec.files.atomic import MAX_NAME_BYTES

# Control, format and surrogate characters, and separators of lines and paragraphs.
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
MAX_PATH_NAME_BYTES = 1024  # limit for a path below a folder, as in object stores
# Device names on Windows. They are reserved in every folder and with any extension.
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9\u00b9\u00b2\u00b3]) *(\.|$)", re.IGNORECASE)
_JOINERS = {"\u200c", "\u200d"}  # in category Cf, but part of words and emoji


def printable(text: str) -> str:
    r"""Escapes characters that terminals interpret or hide, and bytes that are not UTF-8: \x1b."""
    return "".join(
        one if one in _JOINERS or unicodedata.category(one) not in _HIDDEN else _escaped(one) for one in text
    )


def _escaped(one: str) -> str:
    if "\udc80" <= one <= "\udcff":  # stands for a byte (PEP 383)
        return f"\\x{ord(one) - 0xDC00:02x}"
    return one.encode("unicode_escape").decode()


def as_unicode(value: Any) -> Any:
    r"""Escapes bytes of a name that are not UTF-8, as \xff, because Arrow cannot store them."""
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def fault_of_path(name: str, verb: str) -> str | None:
    """Explains why no file has a name. The verb is what is done to the file: read or write."""
    if not name:  # which `Path` would take for the current folder
        return "the name is empty; name a file"
    return f"cannot {verb} {name!r}: no name has a zero byte" if "\0" in name else None


def fault_of_name(name: str) -> str | None:
    """Explains why a path is not a portable name below a folder, on any system.

    >>> fault_of_name("a/../b.dfm"), fault_of_name("a/b.dfm")
    ("it has the part '..'", None)
    """
    try:
        size = len(_encoded(name))
    except UnicodeEncodeError:
        return "it is not Unicode text"
    acting = next((one for one in name if one in "\\:" or unicodedata.category(one) == "Cc"), None)
    if acting is not None:
        return f"it has the character {acting!r}"
    if size > MAX_PATH_NAME_BYTES:
        return f"it has {size} bytes, more than {MAX_PATH_NAME_BYTES}"
    return next(filter(None, map(_part_fault, name.split("/"))), None)


def _part_fault(part: str) -> str | None:
    if part in ("", ".", ".."):
        return f"it has the part {part!r}"
    if part[-1] in ". ":
        return f"{part!r} ends with {part[-1]!r}"
    if _DEVICE.match(part):
        return f"{part!r} is a device on Windows"
    size = len(_encoded(part))
    return f"a part of it has {size} bytes, more than {MAX_NAME_BYTES}" if size > MAX_NAME_BYTES else None


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
