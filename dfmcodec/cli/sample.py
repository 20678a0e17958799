"""Command `dfm sample`."""

from __future__ import annotations

from pathlib import Path

import click

from dfmcodec.cli import _options
from dfmcodec.cli._common import echo
from dfmcodec.errors import require
from dfmcodec.files.atomic import check_writable, write_atomic

_NAMES = ("chelsea", "astronaut", "coffee", "camera")


@click.command("sample")
@click.argument("name", metavar="NAME", type=click.Choice(_NAMES))
@_options.output("Output image. Default: NAME.png in the current folder.")
@_options.force
@_options.quiet
def command(name: str, output: Path | None, force: bool, quiet: bool) -> None:
    """Write a sample photograph.

    \b
    dfm sample chelsea                    writes chelsea.png (451x300)

    NAME is chelsea, which comes with the package, or astronaut, coffee or camera, which come with
    scikit-image.
    """
    from dfmcodec.image.read_image import to_image
    from dfmcodec.image.write_image import image_to_bytes, output_format
    from dfmcodec.photographs import SHIPPED, photograph

    output = output or Path(f"{name}.png")
    chosen_format = output_format(output, None)
    check_writable(output, force)
    if name == SHIPPED:
        image = photograph()
    else:
        require(f"dfm sample {name}", "skimage", otherwise=f"or take {SHIPPED}")
        import skimage.data

        image = to_image(getattr(skimage.data, name)())
    write_atomic(output, image_to_bytes(image, chosen_format), force)
    if not quiet:
        echo(f"{output}: {image.width}x{image.height}")
