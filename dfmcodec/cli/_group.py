"""The command group: lazy subcommands, and errors as one line with their exit code."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from dfmcodec import __version__
from dfmcodec.errors import DfmError

# command -> its one-line help, so that `dfm --help` imports none of them
_COMMANDS = {
    "encode": "Encode a picture to a .dfm file of a given size or quality.",
    "decode": "Decode a .dfm file to a picture.",
    "info": "Tell what a .dfm file holds, decoding nothing.",
    "verify": "Check that .dfm files are whole.",
    "compare": "Measure the difference between two pictures.",
    "bench": "Compare with other codecs at equal file size.",
    "sample": "Write out a sample photograph to try the codec on.",
}


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

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DfmError as error:
            click.echo(f"dfm: error: {error}", err=True)
            sys.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            click.echo("dfm: stopped; nothing was written", err=True)
            sys.exit(130)
        except BrokenPipeError:
            sys.exit(1)
        except MemoryError:
            click.echo("dfm: error: out of memory; nothing was written, use a smaller picture or network", err=True)
            sys.exit(1)


@click.command(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 error, 2 wrong usage, 3 unreadable .dfm file, 4 target out of reach, "
    "5 some of several files failed.",
)
@click.version_option(__version__, prog_name="dfm")
def main() -> None:
    """A lossy image codec whose files are small neural networks.

    \b
    dfm encode photo.png -o photo.dfm --rate 0.18    at most 18 % of the raw bytes
    dfm decode photo.dfm -o out.png
    dfm info photo.dfm
    """
