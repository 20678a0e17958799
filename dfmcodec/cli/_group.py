"""Command group. It imports subcommands on demand and prints each error as one line with an exit
code.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import click

from dfmcodec import __version__
from dfmcodec.cli._common import echo
from dfmcodec.cli._failure import Failure, failure_of
from dfmcodec.cli._interrupt import EXIT_AFTER_INTERRUPT, ignore_interrupts, lost_interrupts_repeated
from dfmcodec.errors import is_installed

# Command -> its line in `dfm --help`. Printing the help imports none of the commands.
_COMMANDS = {
    "encode": "Encode images to .dfm files of a given size or quality.",
    "decode": "Decode .dfm files to images.",
    "info": "Show what .dfm files hold, without decoding them.",
    "verify": "Check that .dfm files are intact.",
    "view": "Show .dfm files in the browser or the system's viewer.",
    "compare": "Measure the difference between two images.",
    "corpus": "Encode many images, in shards, to a folder or an object store.",
    "bench": "Compare dfm with other codecs at equal file size.",
    "demo": "Encode and decode a photograph, beside JPEG and AVIF of the same size.",
}

# Errors without a file name, raised when standard output cannot be written.
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
        _print_any_text()
        try:
            with lost_interrupts_repeated():
                return super().main(*args, **kwargs)
        except KeyboardInterrupt:  # raised outside a command
            _end_interrupted()
        except OSError as error:  # raised by a command, or while it or click prints
            _discard_output()
            if error.filename is None and error.errno in _WRITE_ERRORS:
                _echo_error(f"cannot write to standard output: {error.strerror}; redirect it elsewhere")
            elif not isinstance(error, BrokenPipeError):
                _end(failure_of(error))
            sys.exit(1)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            with _usage_in_one_line():
                return super().make_context(*args, **kwargs)
        except KeyboardInterrupt:  # click would print a different message
            _end_interrupted()

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _usage_in_one_line(ctx):
                return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, OSError):  # handled by click or by `main`
            raise
        except (KeyboardInterrupt, click.Abort):
            _end_interrupted()
        except Exception as error:
            _end(failure_of(error, f"dfm {ctx.invoked_subcommand}"))


@contextmanager
def _usage_in_one_line(context: click.Context | None = None) -> Iterator[None]:
    """Prints one line for invalid arguments. Without any arguments, click shows the help. `context`
    is that of errors without their own, as that of an option without its value.
    """
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        context = error.ctx or context
        command = "dfm" if context is None else _command_path(context)
        message = error.format_message().removesuffix(".")
        _end(Failure(type(error).__name__, f"{message} (see {command} --help)", error.exit_code))


def _command_path(ctx: click.Context) -> str:
    """Returns the command of a context; for the group, with the command that was called."""
    return " ".join(filter(None, (ctx.command_path, ctx.invoked_subcommand)))


def _end(failure: Failure) -> NoReturn:
    _echo_error(failure.message)
    sys.exit(failure.exit_code)


def _end_interrupted() -> NoReturn:
    ignore_interrupts()
    with suppress(OSError):
        click.echo("dfm: interrupted; unfinished outputs were not written", err=True)
    sys.exit(EXIT_AFTER_INTERRUPT)


def _print_any_text() -> None:
    """Makes the standard streams escape characters that their encoding lacks, whatever the encoding
    and error handler are.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _keep_products_to_one_core() -> None:
    """Limits matrix products to one core for the entire command, which `threads.one_core_products`
    cannot do without threadpoolctl. Beside another busy program, products on all cores take several
    times as long.
    """
    if not is_installed("threadpoolctl"):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read by NumPy when it is imported later


def _echo_error(message: str) -> None:
    with suppress(OSError):
        echo(f"dfm: error: {message}", err=True)


def _discard_output() -> None:
    """Discards output that a stream refused; otherwise Python would try to write it again at
    exit.
    """
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
    "5 one or more of several files failed, 6 damaged installation, 7 out of memory, 130 ended by Ctrl-C.",
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
