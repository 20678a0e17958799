"""Writes the manual page dfm.1 from the commands' own help: `python docs/make_man.py > docs/dfm.1`."""

from __future__ import annotations

import click

from dfmcodec import __version__
from dfmcodec.cli import main


def escaped(text: str) -> str:
    """Text as roff takes it literally."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in text.split("\n"))


def paragraphs(text: str) -> list[str]:
    """A docstring's paragraphs; those after a \\b line are kept line by line."""
    parts = []
    for paragraph in (text or "").strip().split("\n\n"):
        lines = [line.strip() for line in paragraph.split("\n")]
        if lines[0] == "\b":
            parts.append(".PP\n.nf\n" + "\n".join(escaped(line) for line in lines[1:]) + "\n.fi")
        else:
            parts.append(".PP\n" + escaped(" ".join(lines)))
    return parts


def options(context: click.Context) -> list[str]:
    """Each option of a command with what it does."""
    chosen = (param for param in context.command.get_params(context) if isinstance(param, click.Option))
    records = [option.get_help_record(context) for option in chosen]
    return [f".TP\n.B {escaped(record[0])}\n{escaped(record[1])}" for record in records if record]


def described(context: click.Context, name: str) -> list[str]:
    """A command's usage, help and options."""
    usage = " ".join(context.command.collect_usage_pieces(context))
    return [f".B {name}\n{escaped(usage)}", *paragraphs(context.command.help or ""), *options(context)]


def page() -> str:
    """The whole page."""
    context = click.Context(main, info_name="dfm", **main.context_settings)
    lines = [
        f'.TH DFM 1 "" "dfmcodec {__version__}" "User Commands"',
        ".SH NAME\ndfm \\- encode pictures as small neural networks, and decode them",
        ".SH SYNOPSIS\n.B dfm\n.I command\n[options] [arguments]",
        ".SH DESCRIPTION",
        *paragraphs(main.help or ""),
    ]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        of_command = click.Context(command, context, info_name=name)
        lines += [f".SH {name.upper()}", *described(of_command, f"dfm {name}")]
        if isinstance(command, click.Group):
            for part in command.list_commands(of_command):
                of_part = click.Context(command.commands[part], of_command, info_name=part)
                lines += [f".SS {name} {part}", *described(of_part, f"dfm {name} {part}")]
    codes = (main.epilog or "").removeprefix("Exit codes: ").rstrip(".").split(", ")
    lines.append(".SH EXIT STATUS")
    lines += [f".TP\n.B {code}\n{escaped(what)}" for code, what in (entry.split(" ", 1) for entry in codes)]
    lines.append(".SH SEE ALSO\n.BR cwebp (1),\n.BR avifenc (1),\n.BR cjxl (1)")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
