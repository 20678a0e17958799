"""The command group: lazy subcommands, and errors as one line with their exit code."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from contextlib import suppress
from typing import Any

import click

from dfmcodec import __version__
from dfmcodec.errors import NO_MEMORY, OUT_OF_MEMORY, DfmError, InstallationError

# command -> its one-line help, so that `dfm --help` imports none of them
_COMMANDS = {
    "encode": "Encode a picture to a .dfm file of a given size or quality.",
    "decode": "Decode a .dfm file to a picture.",
    "info": "Tell what a .dfm file holds, decoding nothing.",
    "verify": "Check that .dfm files are whole.",
    "compare": "Measure the difference between two pictures.",
    "generate": "New pictures, from a generative model trained on a set of them.",
    "bench": "Compare with other codecs at equal file size.",
    "sample": "Write out a sample photograph to try the codec on.",
}

# Errors of writing, by which standard output shows that it takes no more.
_OF_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}


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
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            _forget_output()
            if error.errno == errno.ENOMEM:
                _fail(NO_MEMORY)
                sys.exit(OUT_OF_MEMORY)
            if error.filename is not None:
                _fail(f"{error.filename}: {error.strerror}")
            elif error.errno in _OF_WRITING:
                _fail(f"cannot write standard output: {error.strerror}; send it elsewhere")
            elif not isinstance(error, BrokenPipeError):
                _fail(f"the system refused to go on: {error.strerror or error}")
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DfmError as error:
            _fail(str(error))
            sys.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            with suppress(OSError):
                click.echo("dfm: stopped; what was not finished was not written", err=True)
            sys.exit(130)
        except MemoryError:
            _fail(NO_MEMORY)
            sys.exit(OUT_OF_MEMORY)
        except ImportError as error:
            if "failed to map segment" in str(error):  # a library did not fit in what memory is left
                _fail(NO_MEMORY)
                sys.exit(OUT_OF_MEMORY)
            _fail(f"a part of the program cannot be loaded: {error}; install dfmcodec again")
            sys.exit(InstallationError.exit_code)


def _fail(message: str) -> None:
    with suppress(OSError):
        click.echo(f"dfm: error: {message}", err=True)


def _forget_output() -> None:
    """What standard output did not take is not tried again when Python ends."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
            continue
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(nothing, stream.fileno())


@click.command(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 error, 2 wrong usage, 3 unreadable .dfm file, 4 target out of reach, "
    "5 some of several files failed, 6 the installation is damaged, 7 out of memory.",
)
@click.version_option(__version__, prog_name="dfm")
def main() -> None:
    """A lossy image codec whose files are small neural networks.

    \b
    dfm encode photo.png -o photo.dfm --rate 0.18    at most 18 % of the raw bytes
    dfm decode photo.dfm -o out.png
    dfm info photo.dfm
    """
