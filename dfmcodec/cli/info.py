"""`dfm info`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dfmcodec.cli._common import describe_architecture, echo_json, input_argument, json_option
from dfmcodec.errors import FormatError

if TYPE_CHECKING:
    from dfmcodec.bitstream import Header


@click.command("info")
@input_argument
@json_option
def command(source: Path, as_json: bool) -> None:
    """Tell what a .dfm file holds: size, rate, network, sections, what is missing or damaged. Decodes nothing.

    \b
    dfm info photo.dfm
    dfm info photo.dfm --json

    Exit code 3 when the file is not whole; what its header says is told all the same.
    """
    from dfmcodec.bitstream import condition_of, read_header
    from dfmcodec.io import read_file
    from dfmcodec.metrics import bits_per_pixel

    data = read_file(source)
    header = read_header(data)
    problems = condition_of(data, header).problems
    rate = len(data) / header.raw_bytes
    bpp = bits_per_pixel(len(data), header.height * header.width)
    if as_json:
        echo_json(
            {
                "file": str(source),
                "bytes": len(data),
                "format_version": header.version,
                "width": header.width,
                "height": header.height,
                "bit_depth": header.bit_depth,
                "channels": header.channels,
                "alpha": header.has_alpha,
                "architecture": header.architecture.as_dict(),
                "step_levels": header.step / 64 if header.step else None,
                "rate": rate,
                "bpp": bpp,
                "section_bytes": header.section_bytes(),
                "problems": problems,
            }
        )
    else:
        _tell(source, len(data), header, rate, bpp)
    for problem in problems:
        click.echo(f"dfm: {source}: {problem}", err=True)
    if problems:
        sys.exit(FormatError.exit_code)


def _tell(source: Path, file_bytes: int, header: Header, rate: float, bpp: float) -> None:
    """For people."""
    arch = header.architecture
    kind = {1: "gray", 3: "RGB"}[header.channels] + (" with opacity" if header.has_alpha else "")
    parts = ", ".join(f"{name} {size}" for name, size in header.section_bytes().items())
    click.echo(f"{source}: {header.width}x{header.height} {kind}, {header.bit_depth} bits a sample")
    click.echo(f"  size      {file_bytes} bytes, rate {rate:.4f}, {bpp:.3f} bpp")
    click.echo(f"  network   {describe_architecture(arch)}")
    if header.step:
        click.echo(f"  step      {header.step / 64:.2f} levels")
    click.echo(f"  bytes     {parts}")
    click.echo(f"  format    version {header.version}")
