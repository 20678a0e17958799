"""Commands whose help groups the options in sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

Records = list[tuple[str, str]]  # an option with its parameters, and its help


class SectionedCommand(click.Command):
    """Command with many options. The sections have titles and names of parameters, in order. The
    last one also contains all other options.
    """

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections

    def option_sections(self, ctx: click.Context) -> Iterator[tuple[str, Records]]:
        """Yields the sections, with the options as shown in the help."""
        options = {param.name: param for param in self.get_params(ctx) if isinstance(param, click.Option)}
        titled = [(title, [options.pop(name) for name in names]) for title, names in self.sections.items()]
        titled[-1][1].extend(options.values())
        for title, section_options in titled:
            yield title, [record for option in section_options if (record := option.get_help_record(ctx))]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, records in self.option_sections(ctx):
            with formatter.section(title):
                formatter.write_dl(records)
