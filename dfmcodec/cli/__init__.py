"""The `dfm` command. Its subcommands are imported when they run, so that start-up and help stay quick."""

from dfmcodec.cli._group import main

__all__ = ["main"]
