"""Manual page, generated from the help of the commands."""

from __future__ import annotations

import click

from dfmcodec import __version__
from dfmcodec.cli._group import main
from dfmcodec.cli._sections import SectionedCommand


def _escaped(text: str) -> str:
    """Escapes text for roff."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in text.split("\n"))


def _paragraphs(text: str) -> list[str]:
    """Returns the paragraphs of a docstring. Lines after a \\b line are not joined."""
    parts = []
    for paragraph in (text or "").strip().split("\n\n"):
        lines = [line.strip() for line in paragraph.split("\n")]
        if lines[0] == "\b":
            parts.append(".PP\n.nf\n" + "\n".join(_escaped(line) for line in lines[1:]) + "\n.fi")
        else:
            parts.append(".PP\n" + _escaped(" ".join(lines)))
    return parts


def _options(context: click.Context) -> list[str]:
    """Returns the options of a command with their help."""
    command = context.command
    if isinstance(command, SectionedCommand):
        sections = command.option_sections(context)
        return [line for title, records in sections for line in (f".SS {_escaped(title)}", *map(_option, records))]
    params = [param for param in command.get_params(context) if isinstance(param, click.Option)]
    return [_option(record) for param in params if (record := param.get_help_record(context))]


def _option(record: tuple[str, str]) -> str:
    return f".TP\n.B {_escaped(record[0])}\n{_escaped(record[1])}"


def _described(context: click.Context, name: str) -> list[str]:
    """Returns the usage, help and options of a command."""
    usage = " ".join(context.command.collect_usage_pieces(context))
    return [f".B {name}\n{_escaped(usage)}", *_paragraphs(context.command.help or ""), *_options(context)]


def manual_page() -> str:
    """Returns the complete manual page in roff."""
    context = click.Context(main, info_name="dfm", **main.context_settings)
    lines = [
        f'.TH DFM 1 "" "dfmcodec {__version__}" "User Commands"',
        ".SH NAME\ndfm \\- encode photographs to a size or quality, and decode them",
        ".SH SYNOPSIS\n.B dfm\n.I command\n[options] [arguments]",
        ".SH DESCRIPTION",
        *_paragraphs(main.help or ""),
    ]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        command_context = click.Context(command, context, info_name=name)
        lines += [f".SH {name.upper()}", *_described(command_context, f"dfm {name}")]
    codes = (main.epilog or "").removeprefix("Exit codes: ").rstrip(".").split(", ")
    lines.append(".SH EXIT STATUS")
    lines += [f".TP\n.B {code}\n{_escaped(what)}" for code, what in (entry.split(" ", 1) for entry in codes)]
    lines.append(".SH SEE ALSO\n.BR cwebp (1),\n.BR avifenc (1),\n.BR cjxl (1)")
    return "\n".join(lines) + "\n"
