"""The command group: subcommands that are imported on demand, and errors as one line with an exit
code.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from contextlib import suppress
from typing import Any

import click

from dfmcodec import __version__
from dfmcodec.errors import (
    NO_MEMORY,
    OUT_OF_MEMORY,
    PACKAGES,
    DfmError,
    InstallationError,
    is_installed,
    missing_package,
)

# Command -> its line in `dfm --help`, which imports none of the commands.
_COMMANDS = {
    "encode": "Encode images to .dfm files of a given size or quality.",
    "decode": "Decode .dfm files to images.",
    "info": "Show what .dfm files hold, without decoding them.",
    "verify": "Check that .dfm files are intact.",
    "compare": "Measure the difference between two images.",
    "generate": "Train a generative model and draw new images from it.",
    "bench": "Compare dfm with other codecs at equal file size.",
    "demo": "Encode and decode a photograph, beside JPEG and AVIF of the same size.",
    "sample": "Write a sample photograph to try the codec on.",
}

# Errors without a file name that come from writing to standard output.
_WRITE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"dfmcodec.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def main(self, *args: Any, **kwargs: Any) -> Any:
        _keep_products_to_one_core()
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            _discard_output()
            if error.errno == errno.ENOMEM:
                _echo_error(NO_MEMORY)
                sys.exit(OUT_OF_MEMORY)
            if error.filename is not None:
                _echo_error(f"{error.filename}: {error.strerror}")
            elif error.errno in _WRITE_ERRORS:
                _echo_error(f"cannot write to standard output: {error.strerror}; redirect it elsewhere")
            elif not isinstance(error, BrokenPipeError):
                _echo_error(f"the operating system reports: {error.strerror or error}")
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DfmError as error:
            _echo_error(str(error))
            sys.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            with suppress(OSError):
                click.echo("dfm: interrupted; unfinished outputs were not written", err=True)
            sys.exit(130)
        except MemoryError:
            _echo_error(NO_MEMORY)
            sys.exit(OUT_OF_MEMORY)
        except ImportError as error:
            if "failed to map segment" in str(error):  # too little memory to load a library
                _echo_error(NO_MEMORY)
                sys.exit(OUT_OF_MEMORY)
            package = (error.name or "").partition(".")[0]
            if isinstance(error, ModuleNotFoundError) and package in PACKAGES:
                missing = missing_package(f"dfm {ctx.invoked_subcommand}", package)
                _echo_error(str(missing))
                sys.exit(missing.exit_code)
            _echo_error(f"cannot load a part of the program: {error}; install dfmcodec again")
            sys.exit(InstallationError.exit_code)


def _keep_products_to_one_core() -> None:
    """Does for the whole command what `threads.one_core_products` cannot without threadpoolctl:
    beside a busy program, products on all cores take several times as long.
    """
    if not is_installed("threadpoolctl"):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy reads it when it is imported, later


def _echo_error(message: str) -> None:
    with suppress(OSError):
        click.echo(f"dfm: error: {message}", err=True)


def _discard_output() -> None:
    """Discards what a stream refused, or Python would try to write it again at exit."""
    null_device = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
            continue
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(null_device, stream.fileno())


@click.command(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 success, 1 error, 2 wrong usage, 3 unreadable .dfm file, 4 target out of reach, "
    "5 some of several files failed, 6 damaged installation, 7 out of memory, 130 ended by Ctrl-C.",
)
@click.version_option(__version__, prog_name="dfm")
def main() -> None:
    """A lossy image codec for photographs, with small neural networks.

    \b
    dfm demo                                   see what it does
    dfm encode photo.png                       photo.dfm, at quality 75
    dfm encode photo.png --rate 18%            at most 18 % of the raw bytes
    dfm decode photo.dfm -o out.png

    Run 'dfm COMMAND --help' for the options of a command.
    """
