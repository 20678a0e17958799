"""Tests of the page as one file: its contents, and unsupported sources."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import zlib

import pytest
from common import ROOT
from dfmcodec.web import build as module
from dfmcodec.web import make_weights
from dfmcodec.web.make_weights import weights_bytes

from dfmcodec.weights.registry import REGISTRY


@pytest.fixture(scope="module")
def html(viewer) -> str:
    return viewer.read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of modules that is linked instead of web/."""
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    return tmp_path


def test_the_page_asks_for_nothing_but_what_is_in_it(html):
    assert not re.search(r'\b(?:src|href)="(?!data:)', html)
    assert re.search(r'<script type="text/plain" id="dfm-weights">([^<]*)</script>', html)[1] == (
        base64.b64encode(weights_bytes()).decode()
    )
    gallery = (ROOT / "web" / "page" / "gallery.webp").read_bytes()
    assert re.search(r'id="dfm-gallery">([^<]*)</script>', html)[1] == base64.b64encode(gallery).decode()
    assert 'id="dfm-file-0"' not in html


def test_the_policy_names_the_script_and_the_style(html):
    policy = re.search(r'http-equiv="Content-Security-Policy"\s+content="([^"]*)"', html)[1]
    for name, tag in (("script", '<script type="module">'), ("style", "<style>")):
        text = html.split(tag)[1].split(f"</{name}>")[0]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert "unsafe-inline" not in policy


def test_files_are_named_in_the_page_whatever_their_names():
    name = '</script><b>"ä&.dfm'
    html = module.build([(name, b"<content>")], {"maxPixels": 7})
    found = re.search(r'<script type="application/json" id="dfm-given">(.*?)</script>', html)
    assert json.loads(found[1]) == {"names": [name], "limits": {"maxPixels": 7}}
    assert re.search(r'id="dfm-file-0">([^<]*)</script>', html)[1] == base64.b64encode(b"<content>").decode()
    assert 'id="dfm-gallery"' not in html


def test_the_worker_is_a_script_that_node_reads(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    for entry in ("worker.js", "page/viewer.js"):
        script = tmp_path / "linked.js"
        script.write_text(module.linked(entry), encoding="utf-8")
        # The page's script is a module: only it may have import.meta.
        name = script if entry == "worker.js" else script.rename(tmp_path / "linked.mjs")
        subprocess.run([node, "--check", str(name)], check=True)


def test_exports_reach_their_importers(folder):
    (folder / "a.js").write_text(
        'import { two as second, f } from "./sub/b.js";\nimport * as b from "./sub/b.js";\nout = [second, f(), b.C];\n'
        'export { one, two as twice } from "./sub/b.js";\n'
    )
    (folder / "sub").mkdir()
    (folder / "sub" / "b.js").write_text(
        'import { one } from "../c.js";\n\nexport const two = one + 1;\nexport function f() {}\nexport class C {}\n'
    )
    (folder / "c.js").write_text("/** One. */\nexport const one = 1;\n")
    assert module.linked("a.js") == "\n".join(
        [
            '"use strict";',
            *["// c.js", "const module0 = (() => {", "const one = 1;", "return { one };", "})();"],
            *["// sub/b.js", "const module1 = (() => {", "const { one } = module0;", "const two = one + 1;"],
            *["function f() {}", "class C {}", "return { two, f, C };", "})();"],
            *["// a.js", "const module2 = (() => {", "const { two: second, f } = module1;", "const b = module1;"],
            *["out = [second, f(), b.C];", "return { one: module1.one, twice: module1.two };", "})();"],
        ]
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("export default 1;\n", "does not support"),
        ("export let x = 1;\n", "does not support"),
        ('import "./b.js";\n', "does not support"),
        ('const b = import("./b.js");\n', "does not support"),
        ('import { x } from "./a.js";\n', "import each other"),
        ("const x = '</script>';\n", "cannot be within"),
    ],
)
def test_unresolved_symbols_are_a_build_error(folder, source, message):
    (folder / "a.js").write_text(source)
    with pytest.raises(ValueError, match=message):
        module.linked("a.js")


def test_the_package_names_files_that_are_there():
    package = json.loads((ROOT / "web" / "package.json").read_text())
    paths = [package["types"]]
    for target in package["exports"].values():
        paths += [target] if isinstance(target, str) else target.values()
    for path in paths:
        assert path == "./weights.bin" or (ROOT / "web" / path).is_file(), path
    assert "weights.bin" in package["files"]


def test_weights_bin_has_all_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["make_weights.py", "-o", str(tmp_path)])
    make_weights.main()
    data = (tmp_path / "weights.bin").read_bytes()
    assert data == weights_bytes()
    found = [(each["model"], each["id"]) for each in head_of(data)["weights"]]
    assert found == [(row.model.value, row.id) for row in REGISTRY]


def head_of(data: bytes) -> dict:
    content = zlib.decompress(data[len(make_weights.MAGIC) :])
    return json.loads(content[4 : 4 + int.from_bytes(content[:4], "little")])
