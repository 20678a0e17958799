"""The hook of mkdocs.yml that prepares pages for the site, which holds docs/ alone.

Links out of docs/ become plain text. A link to a file that does not exist is reported, which
`mkdocs build --strict` counts as an error. Citations such as [RFC2119] are kept from being read as
links.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

_log = logging.getLogger("mkdocs.hooks.site_links")
_OUTWARD = re.compile(r"(?<!!)\[([^\]]*)\]\((\.\./[^)\s#]*)[^)]*\)")
_CITATION = re.compile(r"\[((?:RFC|ISO)\d+)\]")


def on_page_markdown(markdown: str, page: Any, **_others: Any) -> str:
    """Replaces `[text](../path)` by the text where the path leads out of docs/, and escapes
    citations.
    """
    folder = Path(page.file.abs_src_path).parent
    docs = Path(__file__).resolve().parent

    def unlinked(match: re.Match[str]) -> str:
        if (folder / match[2]).resolve().is_relative_to(docs):
            return match[0]
        if not (folder / match[2]).exists():
            _log.warning("%s: the link to %s leads nowhere", page.file.src_path, match[2])
        return match[1]

    return _CITATION.sub(r"\\[\1\\]", _OUTWARD.sub(unlinked, markdown))
