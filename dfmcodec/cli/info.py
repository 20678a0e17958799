"""`dfm info`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from dfmcodec.cli._batch import SOME_FAILED
from dfmcodec.cli._common import (
    describe_architecture,
    display_name,
    echo,
    echo_json,
    json_option,
    read_source,
    sources_argument,
)
from dfmcodec.cli._failure import failure_of
from dfmcodec.cli._inputs import check_standard_input
from dfmcodec.errors import FormatError

if TYPE_CHECKING:
    from dfmcodec.bitstream.header import Header

_Q_STEP_UNITS = 64  # a q_step of the header is in 1/64 code values


@click.command("info")
@sources_argument
@json_option
def command(sources: tuple[Path, ...], as_json: bool) -> None:
    """Show what .dfm files hold, without decoding them.

    \b
    dfm info photo.dfm
    dfm info *.dfm --json
    cat photo.dfm | dfm info -

    Print the dimensions, the rate, the model, the sections, and what is missing or damaged. The
    exit code is 3 if the file is truncated or damaged, and 5 if some of several are; what its
    header says is printed anyway.
    """
    if len(sources) == 1:
        if _show(_examined(sources[0]), as_json):
            sys.exit(FormatError.exit_code)
        return
    check_standard_input(sources)
    failed = False
    for source in sources:
        try:
            file = _examined(source)
        except Exception as error:  # whatever it is, it is about this file alone
            failed = True
            failure = failure_of(error)
            message = failure.of_file(source)
            echo(f"dfm: {message}", err=True)
            if as_json:
                echo_json({"file": str(source), "error": message, "kind": failure.kind})
        else:  # not in `try`: what standard output refuses is about no file
            failed |= bool(_show(file, as_json))
    if failed:
        sys.exit(SOME_FAILED)


class _Examined(NamedTuple):
    """A file whose header was read: its name in messages, its size, and what is wrong with it."""

    name: str
    file_bytes: int
    header: Header
    problems: list[str]


def _examined(source: Path) -> _Examined:
    """Reads a file.

    Raises:
        DfmError: It cannot be read.
    """
    from dfmcodec.bitstream.header import read_header
    from dfmcodec.bitstream.integrity import examine
    from dfmcodec.image import LARGEST_PIXELS

    data = read_source(source)
    header = read_header(data, LARGEST_PIXELS)
    return _Examined(display_name(source), len(data), header, examine(data, header).problems)


def _show(file: _Examined, as_json: bool) -> list[str]:
    """Prints the information about a file, and gives what is wrong with it."""
    from dfmcodec.metrics import bits_per_pixel

    name, file_bytes, header, problems = file
    rate = file_bytes / header.raw_bytes
    bpp = bits_per_pixel(file_bytes, header.height * header.width)
    if as_json:
        echo_json(
            {
                "file": name,
                "bytes": file_bytes,
                "format_version": header.version,
                "width": header.width,
                "height": header.height,
                "bit_depth": header.bit_depth,
                "channels": header.channels,
                "alpha": header.has_alpha,
                "architecture": header.architecture.as_dict(),
                "step_levels": header.q_step / _Q_STEP_UNITS if header.q_step else None,
                "rate": rate,
                "bpp": bpp,
                "section_bytes": header.section_bytes(),
                "problems": problems,
                "header": dict(header.values),
            }
        )
    else:
        _echo_info(name, file_bytes, header, rate, bpp)
    for problem in problems:
        echo(f"dfm: {name}: {problem}", err=True)
    return problems


def _echo_info(name: str, file_bytes: int, header: Header, rate: float, bpp: float) -> None:
    """Prints the information for people."""
    kind = {1: "gray", 3: "RGB"}[header.channels] + (" with alpha" if header.has_alpha else "")
    sections = ", ".join(f"{name} {size}" for name, size in header.section_bytes().items())
    echo(f"{name}: {header.width}x{header.height} {kind}, {header.bit_depth} bits per sample")
    echo(f"  size      {file_bytes} bytes, rate {rate:.4f}, {bpp:.3f} bpp")
    echo(f"  model     {describe_architecture(header.architecture)}")
    networks = header.section_bytes().get("networks")
    if networks is not None:
        echo(f"  networks  {networks} bytes fitted to this image, {100 * networks / file_bytes:.1f} % of the file")
    if header.q_step:
        echo(f"  q_step    {header.q_step / _Q_STEP_UNITS:.2f} code values")
    echo(f"  bytes     {sections}")
    echo(f"  format    version {header.version}")
