"""The `dfm` command. Each subcommand is imported when it runs, so that start-up and help stay
fast.
"""

import warnings

from dfmcodec.cli._group import main

__all__ = ["main"]

# Of damaged and large images, which the command reports in its own words; in worker processes, too.
warnings.filterwarnings("ignore", module=r"PIL\.")
