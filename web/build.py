"""Builds the viewer page as one HTML file, which works from a local folder without a network.

    python web/build.py -o viewer.html

The modules of the page become one script. Those of the worker become another one, which the page
starts from its text. The pretrained weights are embedded as base64, and so are the files that the
page opens by itself, or else the gallery. A Content-Security-Policy contains the hashes of script
and style, so that no other code can run.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
_PAGE = "page/index.html"
_STYLE = "page/style.css"
_PAGE_MODULE = "page/viewer.js"
_WORKER_MODULE = "worker.js"
_GALLERY = "page/gallery.webp"

# Supported forms of import and export in this folder. Any other form is an error.
_IMPORT = re.compile(r'^import (?:\{([^}]*)\}|\* as (\w+)) from "(\.[^"]+)";\n', re.MULTILINE)
_PASSED_ON = re.compile(r'^export \{([^}]*)\} from "(\.[^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function\*?|class|const) (\w+)", re.MULTILINE)
_OTHER_FORM = re.compile(r"^(?:import|export)\b.*|\bimport\(.*", re.MULTILINE)
_BLOCK_COMMENT = re.compile(r"^[ \t]*/\*\*.*?\*/\n", re.MULTILINE | re.DOTALL)


def build(files: Sequence[tuple[str, bytes]] = (), limits: Mapping[str, int] | None = None) -> str:
    """Returns the page as one HTML file.

    Args:
        files: The name and the contents of each file that the page opens by itself; without files,
            it offers the gallery.
        limits: The limits of the page, `maxPixels` and `maxMultiplyAdds`; missing limits have the
            decoder's defaults.

    Raises:
        ValueError: A module has an unsupported form of import or export, or modules import each
            other in a circle.
        FileNotFoundError: A part is missing.
    """
    html = (FOLDER / _PAGE).read_text(encoding="utf-8")
    style = _text_of(_STYLE)
    script = linked(_PAGE_MODULE)
    given = json.dumps({"names": [name for name, _ in files], "limits": dict(limits or {})})
    parts = [
        _data("dfm-worker", "text/plain", linked(_WORKER_MODULE)),
        _data("dfm-weights", "text/plain", base64.b64encode(_weights()).decode()),
        _data("dfm-given", "application/json", given.replace("<", "\\u003c")),
    ]
    contents = [(f"dfm-file-{number}", data) for number, (_, data) in enumerate(files)]
    for name, data in contents or [("dfm-gallery", (FOLDER / _GALLERY).read_bytes())]:
        parts.append(_data(name, "text/plain", base64.b64encode(data).decode()))
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}' 'wasm-unsafe-eval'; worker-src blob:; "
        f"style-src '{_hash(style)}'; img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
    )
    policy_tag = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    html = _replaced(html, r'<meta http-equiv="Content-Security-Policy"[^>]*>', policy_tag)
    html = _replaced(html, r'<link rel="stylesheet"[^>]*>', f"<style>{style}</style>")
    last = "\n".join([*parts, f'<script type="module">{script}</script>'])
    return _replaced(html, r'<script type="module" src="[^"]*"></script>', last)


def linked(entry: str) -> str:
    """Returns a module and all its imports as one script.

    Each module becomes a function that returns its exports and is called after those that it
    imports.

    Args:
        entry: The path of the module in this folder.

    Raises:
        ValueError: A module has an unsupported form of import or export, or modules import each
            other in a circle.
    """
    names: dict[str, str] = {}
    bodies: list[str] = []

    def add(path: str, importers: tuple[str, ...]) -> str:
        if path in importers:
            msg = f"modules import each other: {' -> '.join([*importers, path])}"
            raise ValueError(msg)
        if path not in names:
            source = _text_of(path)
            found = [*_IMPORT.finditer(source), *_PASSED_ON.finditer(source)]
            modules = {target: add(_resolved(path, target), (*importers, path)) for *_, target in map(_groups, found)}
            names[path] = f"module{len(names)}"
            bodies.append(_as_function(path, names[path], source, modules))
        return names[path]

    add(entry, ())
    return "\n".join(['"use strict";', *bodies])


def _as_function(path: str, name: str, source: str, modules: Mapping[str, str]) -> str:
    """Converts a module to a function that is called immediately and returns the exports.

    Args:
        path: The path of the module.
        name: The variable for its exports.
        source: The text of the module.
        modules: The variables of the imported modules, by the path in the import.
    """
    bindings = []
    for named, everything, target in map(_groups, _IMPORT.finditer(source)):
        bound = everything or f"{{ {', '.join(': '.join(pair) for pair in _pairs(named))} }}"
        bindings.append(f"const {bound} = {modules[target]};")
    exported = [match[2] for match in _EXPORT.finditer(source)]
    for named, target in map(_groups, _PASSED_ON.finditer(source)):
        exported += [f"{pair[-1]}: {modules[target]}.{pair[0]}" for pair in _pairs(named)]
    body = _EXPORT.sub(r"\1 \2", _PASSED_ON.sub("", _IMPORT.sub("", source)))
    body = _BLOCK_COMMENT.sub("", body).strip()
    if other := _OTHER_FORM.search(body):
        msg = f"{path}: {other[0]!r} is a form of import or export that web/build.py does not support"
        raise ValueError(msg)
    result = f"return {{ {', '.join(exported)} }};"
    return "\n".join([f"// {path}", f"const {name} = (() => {{", *bindings, body, result, "})();"])


def _groups(match: re.Match[str]) -> tuple[str, ...]:
    return match.groups(default="")


def _pairs(named: str) -> list[list[str]]:
    """Returns the names between braces, each with its alias if there is one."""
    return [name.split(" as ") for name in map(str.strip, named.split(",")) if name]


def _resolved(importer: str, target: str) -> str:
    return (FOLDER / importer).parent.joinpath(target).resolve().relative_to(FOLDER).as_posix()


def _text_of(path: str) -> str:
    """Returns a source file, after checking that it does not end the element that contains it.

    Raises:
        ValueError: The text would end the element.
    """
    text = (FOLDER / path).read_text(encoding="utf-8")
    if found := re.search(r"</(?:script|style)|<!--", text, re.IGNORECASE):
        msg = f"{path}: {found[0]!r} cannot be within an HTML element"
        raise ValueError(msg)
    return text


def _data(name: str, media_type: str, text: str) -> str:
    return f'<script type="{media_type}" id="{name}">{text}</script>'


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _replaced(html: str, pattern: str, by: str) -> str:
    """Replaces the single match of a pattern in the page.

    Raises:
        ValueError: There is no match, or more than one.
    """
    result, count = re.subn(pattern, lambda match: by, html)
    if count != 1:
        msg = f"{_PAGE}: {count} places match {pattern}, expected 1"
        raise ValueError(msg)
    return result


def _weights() -> bytes:
    from dfmcodec.web.make_weights import weights_bytes

    weights: bytes = weights_bytes()
    return weights


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("viewer.html"))
    output = parser.parse_args().output
    output.write_text(build(), encoding="utf-8")
    print(f"{output}: {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
