"""Links between pages lead to files and headings that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "examples", "web", "conformance", "dfmcodec", "benchmarks", "research")
PAGES = [*sorted(ROOT.glob("*.md")), *(page for folder in FOLDERS for page in sorted((ROOT / folder).rglob("*.md")))]
SOURCES = [
    path
    for folder in ("dfmcodec", "research", "benchmarks", "conformance", "examples", "tests", "web")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".c", ".h", ".js")
]
CITED = re.compile(r"\bdocs/[\w/-]+\.md\b")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$|^ {4}[^\n]*$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Returns the anchors of the headings of a page, as GitHub and mkdocs form them."""
    headings = re.findall(r"^#+ (.*)$", without_code(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.strip().lower())) for heading in headings}


def broken(page: Path, text: str) -> Iterator[str]:
    """Yields the links of a text that lead nowhere from its page."""
    for link in LINK.findall(without_code(text)):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            yield link


def test_links_lead_to_files_and_headings():
    offenders = [
        f"{page.relative_to(ROOT)}: {link}" for page in PAGES for link in broken(page, page.read_text(encoding="utf-8"))
    ]
    assert offenders == []


def test_broken_links_are_listed():
    text = "# A\n[a](b.md) [c](README.md#no-such) [d](#links) [e](https://example.org) [f](README.md#dfmcodec)"
    assert list(broken(ROOT / "CONTRIBUTING.md", text)) == ["b.md", "README.md#no-such", "#links"]


def test_pages_that_code_cites_exist():
    offenders = [
        f"{path.relative_to(ROOT)}:{number}: {page}"
        for path in SOURCES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for page in CITED.findall(line)
        if not (ROOT / page).is_file()
    ]
    assert offenders == []
