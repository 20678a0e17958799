"""`dfm decode`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from dfmcodec.cli._common import (
    derived_output,
    echo_json,
    force_option,
    input_argument,
    json_option,
    output_option,
    quiet_option,
)


@click.command("decode")
@input_argument
@output_option("Picture to write, its format by the extension. Default: FILE with .png.")
@click.option(
    "--backend",
    type=click.Choice(["numpy", "jax"]),
    default="numpy",
    show_default=True,
    help="What evaluates the network; jax uses a GPU where there is one.",
)
@force_option
@json_option
@quiet_option
def command(source: Path, output: Path | None, backend: str, force: bool, as_json: bool, quiet: bool) -> None:
    """Decode a .dfm file to a picture.

    \b
    dfm decode photo.dfm                  writes photo.png
    dfm decode photo.dfm -o out.tif
    """
    from dfmcodec.decoder import decode_image
    from dfmcodec.io import check_output_format, check_writable, image_to_bytes, read_file, write_atomic

    started = time.perf_counter()
    output = output or derived_output(source, ".png")
    format_name = check_output_format(output)
    data = read_file(source)
    check_writable(output, force)
    image = decode_image(data, backend)
    write_atomic(output, image_to_bytes(image, format_name))
    seconds = time.perf_counter() - started
    if as_json:
        echo_json(
            {
                "output": str(output),
                "width": image.width,
                "height": image.height,
                "channels": image.channels,
                "seconds": round(seconds, 3),
            }
        )
    elif not quiet:
        click.echo(f"{output}: {image.width}x{image.height}, {seconds:.2f} s")
