"""The `dfm` command. Each subcommand is imported when it runs, so that start-up and help stay
fast.
"""

from dfmcodec.cli._group import main

__all__ = ["main"]
