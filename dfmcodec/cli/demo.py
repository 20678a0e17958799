"""`dfm demo`."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dfmcodec.cli._common import NamedPath, Number, echo, force_option, max_pixels_option, quiet_option

if TYPE_CHECKING:
    from dfmcodec.image import Image

_PHOTOGRAPH = "chelsea"
_BPP = 0.3
_PAGE = "index.html"


@click.command("demo")
@click.argument("source", metavar="[FILE]", required=False, type=NamedPath())
@click.option(
    "-O",
    "--output-folder",
    "folder",
    type=NamedPath(),
    default=Path("dfm_demo"),
    show_default=True,
    help="Write everything to this folder.",
)
@click.option("--bpp", type=Number(), default=_BPP, show_default=True, help="Size of the files in bits per pixel.")
@max_pixels_option
@force_option
@quiet_option
def command(source: Path | None, folder: Path, bpp: float, max_pixels: int, force: bool, quiet: bool) -> None:
    """Encode and decode a photograph, and lay it beside JPEG and AVIF of the same size.

    \b
    dfm demo                      a photograph that comes with scikit-image
    dfm demo photo.jpg --bpp 0.5  one of yours

    The folder then holds the photograph as PNG, the .dfm file, what it decodes to, and index.html
    with the original and all three codecs. The commands that do the same are printed.
    """
    from dfmcodec.bench.same_size import Version, page, same_size
    from dfmcodec.cli._common import make_folder
    from dfmcodec.cli._same_file import check_outputs_apart
    from dfmcodec.encoder import EncoderConfig, encode_image
    from dfmcodec.files.atomic import check_writable, write_atomic
    from dfmcodec.files.read_image import to_image
    from dfmcodec.files.strip import EVERYTHING
    from dfmcodec.files.write_image import OUTPUT_FORMATS, image_to_bytes

    config = EncoderConfig(bpp=bpp)
    name = _PHOTOGRAPH if source is None else source.stem
    original, encoded, decoded, index = (
        folder / part for part in (f"{name}.png", f"{name}.dfm", f"{name}_decoded.png", _PAGE)
    )
    outputs = (original, encoded, decoded, index)
    check_outputs_apart({f"a file of the demo, {path.name},": path for path in outputs}, [source])
    make_folder(folder)
    for path in outputs:
        check_writable(path, force)
    image = _photograph() if source is None else to_image(source, strip=EVERYTHING, max_pixels=max_pixels)
    if not image.is_plain:
        echo("dfm: the demo compares images of 8 bits without alpha", err=True)
        image = image.plain()
    png = OUTPUT_FORMATS["png"]
    write_atomic(original, image_to_bytes(image, png), force)
    if not quiet:
        echo(f"encoding {original} ({image.width}x{image.height}) at {bpp:g} bits per pixel ..")
    result = encode_image(image, config)
    write_atomic(encoded, result.data, force)
    write_atomic(decoded, image_to_bytes(result.decoded, png), force)
    if not quiet:
        echo("finding the best JPEG and AVIF files of that size ..")
    report = result.report
    left_out: list[str] = []
    others = same_size(image.pixels, report.file_bytes, notify=left_out.append)
    versions = [Version("original", image.pixels), Version.of(result), *others]
    sample = _command_line("sample", _PHOTOGRAPH, "-o", original)
    commands = [
        sample if source is None else f"# {original} is the image as PNG",
        _command_line("encode", original, "-o", encoded, "--bpp", f"{bpp:g}"),
        _command_line("decode", encoded, "-o", decoded),
    ]
    lead = f"{image.width}x{image.height} pixels in {report.bpp:.3f} bits per pixel, and other codecs at that size."
    lead = " ".join([lead, *(f"{notice}." for notice in left_out)])
    write_atomic(index, page(f"{name} as a .dfm file", lead, versions, commands).encode(), force)
    if not quiet:
        for version in versions[1:]:
            echo(f"  {version.caption}")
        for notice in left_out:
            echo(f"  {notice}")
        for line in (f"the page: {index}", "the same by hand:", *(f"  {line}" for line in commands)):
            echo(line)


def _command_line(*words: str | Path) -> str:
    """A line for the shell that runs a command of this program, over what the demo wrote."""
    return shlex.join([*started_as(), *map(str, words), "--force"])


def started_as() -> list[str]:
    """The words that started this program. Typed in the same folder, they start it again."""
    script = os.environ.get("DFM_STARTED_AS", sys.argv[0])  # bin/dfm says how it was called itself
    name = Path(script).name
    if name == "__main__.py":  # python -m dfmcodec
        return sys.orig_argv[: len(sys.orig_argv) - len(sys.argv[1:])]
    return [name if shutil.which(name) == shutil.which(script) else script]


def _photograph() -> Image:
    """The photograph of the demo."""
    from dfmcodec.errors import require
    from dfmcodec.files.read_image import to_image

    require("dfm demo", "skimage", otherwise="or name a photograph of your own")
    import skimage.data

    return to_image(getattr(skimage.data, _PHOTOGRAPH)())
