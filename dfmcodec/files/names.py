"""Names of files and codecs, and messages that hold them, as text that is safe to show."""

from __future__ import annotations

import unicodedata
from typing import Any

# Control, format and surrogate characters, and separators of lines and paragraphs.
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = {"\u200c", "\u200d"}  # of category Cf, but parts of words and emoji


def printable(text: str) -> str:
    r"""Text with escapes like \x1b for characters that are not shown but act.

    Such a character could command a terminal, end a line or turn the direction of writing. Bytes of
    a file's name that are not UTF-8 are escaped too, as no file could be written with them.
    """
    return "".join(character if _is_shown(character) else _escape(character) for character in text)


def _is_shown(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in _HIDDEN


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def as_unicode(value: Any) -> Any:
    r"""Text with escapes like \xff for bytes of a name that are not UTF-8, which Arrow cannot hold;
    all else stays, also what `printable` escapes. Other values as they are.
    """
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
