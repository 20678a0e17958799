"""Writes the table of layers in docs/architecture.md and the drawing docs/architecture.svg.

    python docs/make_layers.py

The layers are those of tests/unit/test_imports.py, which also tests the imports.
tests/unit/test_layers.py compares the table and the drawing with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE, DRAWING = ROOT / "docs" / "architecture.md", ROOT / "docs" / "architecture.svg"
TABLE = re.compile(r"(?<=<!-- layers -->\n\n)(?:\|[^\n]*\n)*")
CONTENTS = {  # by module or folder of dfmcodec/
    "__main__": "`python -m dfmcodec`",
    "cli": "the command",
    "pillow": "registers the Pillow plugin",
    "bench": "comparison with other codecs",
    "corpus": "corpora in shards",
    "plugins": "Pillow",
    "": "the public names",
    "api": "the public functions",
    "codecs.encode": "encodes with each codec, writes the file, decodes it again",
    "choice": "the score of a file",
    "codecs.textured": "adds a texture to the finished file",
    "codecs.source": "reads the image to encode",
    "report": "the figures of an encoding",
    "codecs.*.codec": "the record of each codec",
    "codecs.*.encode": "encoders",
    "codecs.wavelet.encode": "iterations of rate-distortion optimisation",
    "codecs.overfitted.encode": "fits of latents and networks",
    "codecs.coordinate.encode": "training of a network on one image",
    "search": "targets, rate control, the driver of all searches",
    "search.config": "settings of an encoding",
    "viewer": "`dfm view`",
    "codecs.decode": "decodes images, regions and other sizes",
    "codecs.*.decode": "pixels of each codec",
    "codecs.renderer": "the interface of these",
    "codecs.record": "the form of the records of codecs",
    "models": "the list of codecs, a line each",
    "container": "header, sections, checks, metadata",
    "codecs.*": "transform, context, synthesis, weights and sections of each codec",
    "codecs.losses": "losses of a damaged file",
    "fourier": "Fourier layers, quantised weights",
    "perception": "PSNR, SSIM, SSIMULACRA2, Butteraugli, BD-rate",
    "perception.distortion": "weights of errors, shifted targets",
    "photographs": "sample photograph",
    "entropy": "range coder, probability tables",
    "weights": "shipped weights",
    "image": "pixels, metadata, image files",
    "processes": "worker processes",
    "options": "options of `encode`",
    "kernels": "C kernels",
    "files": "atomic writes, file names",
    "errors": "exceptions and exit codes",
    "_types": "array types",
    "threads": "threads",
    "codecs": "an empty package",
}
ENCODE = {  # steps of an encoding, by the module or folder where they happen
    "image": "1  read the image",
    "codecs.encode": "2  codecs to try",
    "choice": "7  choose the best file",
    "search": "3  target",
    "codecs.*": "4  transform, symbols, synthesis",
    "container": "5  sections, header",
    "codecs.decode": "6  decode the file again",
}
DECODE = {
    "container": "1  header, sections",
    "codecs.*": "2  symbols, synthesis",
    "codecs.*.decode": "3  pixels",
    "codecs.decode": "4  image or region",
    "image": "5  write an image file",
}
_WIDTH, _BOX_LEFT, _BOX_WIDTH, _TOP, _LINE = 1330, 220, 900, 50, 17


def layers() -> list[tuple[str, ...]]:
    """Returns the layers from top to bottom. Names that all codecs have become `codecs.*`."""
    spec = spec_from_file_location("test_imports", ROOT / "tests" / "unit" / "test_imports.py")
    assert spec is not None
    assert spec.loader is not None
    imports = module_from_spec(spec)
    spec.loader.exec_module(imports)
    return [_grouped(row, imports.CODECS) for row in reversed(imports.ROWS)]


def _grouped(row: Sequence[str], codecs: Iterable[str]) -> tuple[str, ...]:
    """Replaces names that a row has for each codec by one with `*`."""
    for suffix in ("", ".encode", ".decode", ".codec"):
        names = [f"codecs.{codec}{suffix}" for codec in codecs]
        if set(names) <= set(row):
            return (f"codecs.*{suffix}", *(name for name in row if name not in names))
    return tuple(row)


def path(name: str) -> str:
    """Returns the path of a module or folder, relative to dfmcodec/."""
    inner = name.replace(".", "/")
    is_folder = "*" in name or (ROOT / "dfmcodec" / inner).is_dir()
    if name in ("", "codecs"):
        return f"{inner}/__init__.py".lstrip("/")
    return f"{inner}/" if is_folder and not name.endswith(("*.decode", "*.codec")) else f"{inner}.py"


def table() -> str:
    """Returns the table of layers in Markdown."""
    lines = ["| layer | contents |", "|---|---|"]
    for row in layers():
        names = ", ".join(f"`{path(name)}`" for name in row)
        lines.append(f"| {names} | {'; '.join(CONTENTS[name] for name in row)} |")
    return "\n".join(lines) + "\n"


def drawing() -> str:
    """Returns the drawing of the layers, with the steps of encoding and decoding."""
    top, boxes = _TOP, []
    for row in layers():
        title = ", ".join(map(path, row))
        about = "; ".join(CONTENTS[name].replace("`", "") for name in row)
        height = 2 * _LINE + 10
        boxes += [
            f'<rect x="{_BOX_LEFT}" y="{top}" width="{_BOX_WIDTH}" height="{height}" rx="5" fill="#f4f1ea" '
            'stroke="#8a8272"/>',
            _text(_BOX_LEFT + 10, top + _LINE, title, 'font-weight="600"'),
            _text(_BOX_LEFT + 10, top + 2 * _LINE, about, 'fill="#444"'),
        ]
        for steps, x, anchor, colour in (
            (ENCODE, _BOX_LEFT - 14, "end", "#b3441e"),
            (DECODE, _BOX_LEFT + _BOX_WIDTH + 14, "start", "#1b6ca8"),
        ):
            boxes += [
                _text(x, top + 27, steps[name], f'fill="{colour}" text-anchor="{anchor}"')
                for name in row
                if name in steps
            ]
        top += height + 6
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top + 10}" width="{_WIDTH}" '
        f'height="{top + 10}" font-family="system-ui, sans-serif" font-size="12" role="img">',
        "<title>The layers of dfmcodec. Each imports only from layers below it.</title>",
        f'<rect width="{_WIDTH}" height="{top + 10}" fill="#ffffff"/>',
        _text(_BOX_LEFT - 14, 30, "encode", 'font-weight="600" fill="#b3441e" text-anchor="end"'),
        _text(_BOX_LEFT + 10, 30, "Each layer imports only from layers below it.", 'fill="#444"'),
        _text(_BOX_LEFT + _BOX_WIDTH + 14, 30, "decode", 'font-weight="600" fill="#1b6ca8"'),
    ]
    return "\n".join([*head, *boxes, "</svg>", ""])


def _text(x: int, y: int, text: str, attributes: str) -> str:
    return f'<text x="{x}" y="{y}" {attributes}>{escape(text)}</text>'


if __name__ == "__main__":
    PAGE.write_text(TABLE.sub(lambda _: table(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    DRAWING.write_text(drawing(), encoding="utf-8")
