"""Command `dfm info`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from dfmcodec.cli import _options
from dfmcodec.cli._common import (
    counted,
    display_name,
    echo,
    echo_json,
    errors_named,
    notify,
    read_source,
)
from dfmcodec.cli._failure import failure_of
from dfmcodec.cli._inputs import DfmFiles
from dfmcodec.errors import FormatError

if TYPE_CHECKING:
    from dfmcodec.codecs.wavelet.texture import Texture
    from dfmcodec.container.contents import Architecture
    from dfmcodec.container.header import Header
    from dfmcodec.image import Metadata

_METADATA_LABELS = {
    **{"icc": "ICC profile", "exif": "Exif", "xmp": "XMP", "cicp": "CICP"},
    **{"bits": "significant bits", "gainmap": "gain map"},
}


@click.command("info")
@_options.sources
@_options.recursive
@_options.json
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Print more: the dimensions of the model, the q_step, the bytes of each section, the format version.",
)
def command(sources: tuple[Path, ...], recursive: bool, as_json: bool, verbose: bool) -> None:
    """Show what .dfm files hold, without decoding them.

    \b
    dfm info photo.dfm
    dfm info -r archive/
    dfm info *.dfm --json
    cat photo.dfm | dfm info -

    Print the dimensions, the size, the model, the metadata, and what is missing or damaged. A file
    does not contain the target for which it was encoded. The exit code is 3 if a single file is
    truncated or damaged, and 5 if some of several files are. The contents of the header are printed
    in any case.
    """
    if len(sources) == 1 and not os.path.isdir(sources[0]):
        if _show(_read_info(sources[0]), as_json, verbose):
            sys.exit(FormatError.exit_code)
        return
    files = DfmFiles(sources, recursive)
    codes = [_exit_code(path, as_json, verbose) for path in files]
    files.report_others()
    files.end(codes)


def _exit_code(source: Path, as_json: bool, verbose: bool) -> int:
    """Prints the information about one of several files, or the error, and returns the exit code
    for it.
    """
    try:
        file = _read_info(source)
    except Exception as error:  # any error concerns only this file
        failure = failure_of(error)
        message = failure.message_for(source)
        notify(message)
        if as_json:
            echo_json({"source": str(source), "error": message, **failure.as_dict()})
        return failure.exit_code
    # Outside `try`, because errors of standard output do not concern a file.
    return FormatError.exit_code if _show(file, as_json, verbose) else 0


class _FileInfo(NamedTuple):
    """File whose header was read."""

    source: Path
    file_bytes: int
    header: Header
    metadata: Metadata | None  # None if they cannot be read
    texture: Texture | None  # None if there is none, or it cannot be read
    losses: list[str]  # descriptions of missing and damaged parts

    @property
    def name(self) -> str:
        """Returns the name for messages."""
        return display_name(self.source)

    @property
    def rate(self) -> float:
        """Returns the file size divided by the size of the raw samples."""
        return self.file_bytes / self.header.raw_bytes

    @property
    def bpp(self) -> float:
        """Returns the bits per pixel."""
        from dfmcodec.perception import bits_per_pixel

        return bits_per_pixel(self.file_bytes, self.header.height * self.header.width)

    @property
    def icc_description(self) -> str | None:
        """Returns the description in the ICC profile; None if there is none."""
        from dfmcodec.image.metadata import icc_description

        profile = self.metadata and self.metadata.icc
        return icc_description(profile) or None if profile else None


def _read_info(source: Path) -> _FileInfo:
    from dfmcodec.container.header import read_header
    from dfmcodec.container.integrity import examine
    from dfmcodec.container.layout import Section
    from dfmcodec.container.metadata import unpack_metadata
    from dfmcodec.image import LARGEST_PIXELS

    data = read_source(source)
    with errors_named(display_name(source)):
        header = read_header(data, LARGEST_PIXELS)
    state = examine(data, header)
    losses = list(state.problems)

    def read(section: Section, parse: Callable[[bytes | None], Any]) -> Any:
        """Returns the contents of a section; None if it cannot be read."""
        try:
            return parse(state.section(section) if section in header.sections else None)
        except FormatError as error:
            losses.extend({str(error)}.difference(losses))
            return None

    metadata = read(Section.METADATA, lambda body: unpack_metadata(body, header.bit_depth))
    texture = read(Section.TEXTURE, lambda body: body and _read_texture(body, header))
    return _FileInfo(source, len(data), header, metadata, texture, losses)


def _read_texture(body: bytes, header: Header) -> Texture:
    from dfmcodec.codecs.wavelet.sections.texture import read_texture

    return read_texture(body, header.height, header.width, header.architecture.channels)


def _show(file: _FileInfo, as_json: bool, verbose: bool) -> list[str]:
    """Prints the information about a file and returns its losses."""
    if as_json:
        echo_json(_report(file))
    else:
        _echo_info(file, verbose)
    for loss in file.losses:
        notify(f"{file.name}: {loss}")
    return file.losses


def _report(file: _FileInfo) -> dict[str, Any]:
    """Returns the information as plain values for JSON."""
    header, metadata = file.header, file.metadata
    sizes = None if metadata is None else {name: len(value) for name, value in metadata.present().items()}
    return {
        "source": str(file.source),
        "file_bytes": file.file_bytes,
        "format_version": header.format_version,
        "width": header.width,
        "height": header.height,
        "bit_depth": header.bit_depth,
        "channels": header.channels,
        "has_alpha": header.has_alpha,
        "architecture": header.architecture.as_dict(),
        "rate": file.rate,
        "bpp": file.bpp,
        "section_bytes": header.section_bytes(),
        "metadata_bytes": sizes,
        "significant_bits": None if metadata is None else metadata.significant_bits,
        "icc_description": file.icc_description,
        "texture": file.texture
        and {
            "strength": file.texture.relative_strength,
            "cell_pixels": 1 << file.texture.cell_bits,
        },
        "losses": file.losses,
        "header": dict(header.fields),
    }


def _echo_info(file: _FileInfo, verbose: bool) -> None:
    """Prints the information as text."""
    header = file.header
    kind = {1: "gray", 3: "RGB"}[header.channels] + (" with alpha" if header.has_alpha else "")
    echo(f"{file.name}: {header.width}x{header.height} {kind}, {header.bit_depth} bits per sample")
    echo(f"  size      {file.file_bytes:,} bytes, {file.bpp:.3f} bpp, {100 * file.rate:.1f} % of the raw samples")
    echo(f"  model     {_model_text(header.architecture, verbose)}")
    if file.texture is not None:
        echo(f"  texture   strength {file.texture.relative_strength:g}, cells of {1 << file.texture.cell_bits} pixels")
    echo(f"  metadata  {_metadata_text(file)}")
    columns, rows = header.fields.get("tile_columns", 1), header.fields.get("tile_rows", 1)
    if (columns, rows) != (1, 1):
        echo(f"  tiles     {columns}x{rows}")
    if verbose:
        _echo_internals(file)


def _echo_internals(file: _FileInfo) -> None:
    """Prints details for users who know the format."""
    from dfmcodec.codecs.wavelet.quantizer import Q_STEP_UNIT

    header, sections = file.header, file.header.section_bytes()
    networks = sections.get("networks")
    if networks is not None:
        share = 100 * networks / file.file_bytes
        echo(f"  networks  {networks:,} bytes fitted to this image, {share:.1f} % of the file")
    if q_step := header.fields.get("q_step"):
        echo(f"  q_step    {q_step / Q_STEP_UNIT:.2f} code values")
    echo(f"  bytes     {', '.join(f'{name} {size:,}' for name, size in sections.items())}")
    echo(f"  format    version {header.format_version}")


def _model_text(architecture: Architecture, verbose: bool) -> str:
    """Returns the name of the model, with its architecture if `verbose`."""
    if not verbose:
        return str(architecture.model.value)
    dimensions = architecture.as_dict()
    del dimensions["model"], dimensions["channels"]
    described = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in dimensions.items())
    return f"{architecture.model.value}, {described}"


def _metadata_text(file: _FileInfo) -> str:
    """Returns the entries of the metadata, with their sizes."""
    if file.metadata is None:
        return "cannot be read"
    described = {"icc": file.icc_description}
    if file.metadata.cicp:
        from dfmcodec.image.colour_description import colours_text

        described["cicp"] = colours_text(file.metadata.cicp)
    described["bits"] = str(file.metadata.significant_bits)
    entries = [
        f"{_METADATA_LABELS[name]}{f' ({text})' if (text := described.get(name)) else ''} {counted(len(value), 'byte')}"
        for name, value in file.metadata.present().items()
    ]
    return ", ".join(entries) or "none"
