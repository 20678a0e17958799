"""The `dfm` command. Each subcommand is imported when it runs, so that start-up and help stay
fast.
"""

import signal
import threading
import warnings

# Ctrl-C while modules are loaded ends a new process without a traceback.
_is_new = threading.current_thread() is threading.main_thread() and (
    signal.getsignal(signal.SIGINT) is signal.default_int_handler
)
if _is_new:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
from dfmcodec.cli._group import main  # noqa: E402

if _is_new:
    signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["main"]

# Of damaged and large images, which the command reports in its own words; in worker processes, too.
warnings.filterwarnings("ignore", module=r"PIL\.")
