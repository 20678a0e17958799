"""The demo: what it writes, and that its page holds what it says."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import PIL.Image
import skimage.data
from click.testing import CliRunner

import dfmcodec
from dfmcodec.bench.same_size import Version, page
from dfmcodec.cli import main
from dfmcodec.metrics import psnr


def test_the_demo_lays_three_codecs_beside_the_original(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cat = np.ascontiguousarray(skimage.data.chelsea()[60:124, 130:210])
    PIL.Image.fromarray(cat).save("my cat.png")
    result = CliRunner().invoke(main, ["demo", "my cat.png", "--bpp", "2"])
    assert result.exit_code == 0, result.output
    data = Path("dfm_demo/my cat.dfm").read_bytes()
    assert len(data) <= 2 * cat.size / 3 / 8
    decoded = dfmcodec.decode(data).pixels
    html = Path("dfm_demo/index.html").read_text()
    shown = [
        np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(text))))
        for text in re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    ]
    captions = re.findall(r"<figcaption>([^<]+)<", html)
    assert [caption.split(":")[0] for caption in captions] == ["original", "dfm", "JPEG", "AVIF"]
    assert np.array_equal(shown[0], cat)
    assert np.array_equal(shown[1], decoded)
    for pixels, caption in zip(shown[1:], captions[1:], strict=True):
        size, quality = re.fullmatch(r"\w+: ([\d,]+) bytes, ([\d.]+) dB", caption).groups()
        assert int(size.replace(",", "")) <= len(data)
        assert abs(psnr(cat, pixels, None) - float(quality)) < 0.006
    encode = next(line for line in result.output.splitlines() if "dfm encode" in line)
    assert "'dfm_demo/my cat.png' -o 'dfm_demo/my cat.dfm' --bpp 2" in encode
    again = CliRunner().invoke(main, ["demo", "my cat.png"])
    assert again.exit_code == 1
    assert "exists" in again.output


def test_names_in_the_page_are_text():
    pixels = np.zeros((2, 2, 3), np.uint8)
    html = page("<script>a</script>", "b & <i>", [Version("<b>x</b>", pixels, 3, np.inf)], ["dfm encode '<u>'"])
    assert not re.search(r"<(script|i|b|u)>", html)
    assert "&lt;b&gt;x&lt;/b&gt;: 3 bytes, exact" in html
