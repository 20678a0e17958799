"""The hook of mkdocs.yml that prepares pages for the site, which holds docs/ alone.

Links out of docs/ become plain text, and the images out of it that pages show become files of the
site. A link to a file that does not exist is reported, which `mkdocs build --strict` counts as an
error. Citations such as [RFC2119] are kept from being read as links.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

_DOCS = Path(__file__).resolve().parent
_log = logging.getLogger("mkdocs.hooks.site_links")
_OUTWARD = re.compile(r"(?<!!)\[([^\]]*)\]\((\.\./[^)\s#]*)[^)]*\)")
_IMAGE = re.compile(r"(!\[[^\]]*\])\((\.\./[^)\s]*)\)")
_CITATION = re.compile(r"\[((?:RFC|ISO)\d+)\]")


def on_files(files: Any, config: Any) -> Any:
    """Adds the images out of docs/ that pages show."""
    for path in sorted({path for page in files.documentation_pages() for path in _images(page)}):
        files.append(File.generated(config, path.name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_others: Any) -> str:
    """Replaces `[text](../path)` by the text where the path leads out of docs/, finds images there
    at the root of the site, and escapes citations.
    """
    folder = Path(page.file.abs_src_path).parent
    to_root = "../" * page.file.src_uri.count("/")

    def unlinked(match: re.Match[str]) -> str:
        path = folder / match[2]
        if path.resolve().is_relative_to(_DOCS):
            return match[0]
        if not path.exists():
            _log.warning("%s: the link to %s leads nowhere", page.file.src_path, match[2])
        return match[1]

    def at_root(match: re.Match[str]) -> str:
        path = (folder / match[2]).resolve()
        return match[0] if path.is_relative_to(_DOCS) else f"{match[1]}({to_root}{path.name})"

    return _CITATION.sub(r"\\[\1\\]", _IMAGE.sub(at_root, _OUTWARD.sub(unlinked, markdown)))


def _images(page: Any) -> Iterator[Path]:
    """The images out of docs/ that a page shows."""
    for match in _IMAGE.finditer(page.content_string):
        path = (Path(page.abs_src_path).parent / match[2]).resolve()
        if not path.is_relative_to(_DOCS):
            yield path
