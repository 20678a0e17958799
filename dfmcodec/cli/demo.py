"""Command `dfm demo`."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from dfmcodec.cli import _options
from dfmcodec.cli._common import echo, make_folder, notify
from dfmcodec.cli.outputs import check_outputs_apart
from dfmcodec.errors import OutputError
from dfmcodec.files.atomic import check_writable, write_atomic

_BPP = 0.3
_PAGE = "index.html"


@click.command("demo")
@click.argument("source", metavar="[FILE]", required=False, type=_options.NamedPath())
@click.option(
    "-O",
    "--output-folder",
    "folder",
    type=_options.NamedPath(),
    default=Path("dfm_demo"),
    show_default=True,
    help="Write everything to this folder.",
)
@click.option(
    "--bpp", type=_options.number(), default=_BPP, show_default=True, help="Size of the files in bits per pixel."
)
@_options.force
@_options.quiet
def command(source: Path | None, folder: Path, bpp: float, force: bool, quiet: bool) -> None:
    """Encode and decode a photograph, and compare it with JPEG and AVIF of the same size.

    \b
    dfm demo                      a photograph that comes with the package
    dfm demo photo.jpg --bpp 0.5  one of yours

    The folder then contains the photograph as PNG, the .dfm file, the decoded image, and
    index.html, which shows the original and all three codecs. The equivalent commands are printed.
    Images are compared in 8 bits, without alpha.
    """
    from dfmcodec.bench.same_size import Version, page, same_size
    from dfmcodec.codecs.encode import encode_image
    from dfmcodec.container import Ancillary, ancillary_sections, sections_file_bytes
    from dfmcodec.image.read_image import ignore, to_image
    from dfmcodec.image.write_image import OUTPUT_FORMATS, image_to_bytes
    from dfmcodec.perception import bits_per_pixel
    from dfmcodec.photographs import SHIPPED, photograph
    from dfmcodec.search.config import EncoderConfig

    config, target = EncoderConfig(bpp=bpp), ("--bpp", f"{bpp:g}")
    name = SHIPPED if source is None else source.stem
    original, encoded, decoded, index = (
        folder / part for part in (f"{name}.png", f"{name}.dfm", f"{name}_decoded.png", _PAGE)
    )
    outputs = (original, encoded, decoded, index)
    check_outputs_apart({f"a file of the demo, {path.name},": path for path in outputs}, [source])
    _check_outputs(folder, outputs, force)
    notify_of, say = partial(notify, quiet=quiet), ignore if quiet else echo
    image = photograph() if source is None else to_image(source, "all", notify_of)
    if changes := image.plain_notice():
        notify_of(f"{source}: shown {changes}")
    image = image.plain()
    profile_bytes = sections_file_bytes(ancillary_sections(Ancillary(image.metadata)))
    if profile_bytes:  # the other files are compared without a profile
        size = int(bpp * image.pixel_count / 8) + profile_bytes
        config, target = EncoderConfig(size=size), ("--size", str(size))
    png = OUTPUT_FORMATS["png"]
    say(f"encoding {name} ({image.width}x{image.height}) at {bpp:g} bits per pixel ..")
    result = encode_image(image, config)
    report = result.report
    coded_bytes = report.file_bytes - profile_bytes
    say(f"finding the best JPEG and AVIF files not larger than {coded_bytes:,} bytes ..")
    remarks: list[str] = []
    if profile_bytes:
        remarks.append(f"The .dfm file also holds the colour profile, {profile_bytes:,} bytes, which do not count")
    others = same_size(image.pixels, coded_bytes, notify=remarks.append)
    versions = [Version("original", image.pixels), Version.of(result, image.pixels), *others]
    commands = [
        _command_line("encode", original, "-o", encoded, *target),
        _command_line("decode", encoded, "-o", decoded),
    ]
    coded_bpp = bits_per_pixel(coded_bytes, image.pixel_count)
    sizes = [f"{version.label} {version.file_bytes:,} bytes" for version in others]
    compared = f"; the best files of other codecs not larger than that: {', '.join(sizes)}" if sizes else ""
    lead = f"{image.width}x{image.height} pixels in {coded_bytes:,} bytes, {coded_bpp:.3f} bits per pixel{compared}."
    lead = " ".join([lead, *(f"{remark}." for remark in remarks)])
    html = page(f"{name} as a .dfm file", lead, versions, commands, image.metadata.icc)
    contents = image_to_bytes(image, png), result.data, image_to_bytes(result.decoded, png), html.encode()
    make_folder(folder)
    for path, data in zip(outputs, contents, strict=True):
        write_atomic(path, data, force)
    for line in (*(version.caption for version in versions[1:]), *remarks):
        say(f"  {line}")
    for line in (f"the page: {index}", "the same by hand:", *(f"  {line}" for line in commands)):
        say(line)


def _check_outputs(folder: Path, outputs: Sequence[Path], force: bool) -> None:
    """Raises an error, before any work, for a folder that cannot be made, and for an output that
    exists or cannot be written.
    """
    missing = [part for part in (folder, *folder.parents) if not os.path.lexists(part)]
    if not (missing[-1].parent if missing else folder).is_dir():
        make_folder(folder)  # raises the error
    for path in missing[-1:] or outputs:
        if path.exists() and not path.is_dir() and not force:
            msg = f"{path} exists; name another folder with -O, or use -f to replace it"
            raise OutputError(msg)
        check_writable(path, force)


def _command_line(*words: str | Path) -> str:
    """Returns a shell command line of this program that overwrites the files of the demo."""
    return shlex.join([*started_as(), *map(str, words), "--force"])


def started_as() -> list[str]:
    """Returns the words that start this program from the same folder."""
    script = os.environ.get("DFM_STARTED_AS", sys.argv[0])  # set by bin/dfm to its own name
    name = Path(script).name
    if name == "__main__.py":  # started as python -m dfmcodec
        return sys.orig_argv[: len(sys.orig_argv) - len(sys.argv[1:])]
    return [name if shutil.which(name) == shutil.which(script) else script]
