"""The `dfm` command. Subcommands are imported when they run, to keep start-up and help fast."""

import signal
import threading
import warnings

# Ctrl-C during the import of modules ends a new process without a traceback.
_is_new = threading.current_thread() is threading.main_thread() and (
    signal.getsignal(signal.SIGINT) is signal.default_int_handler
)
if _is_new:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
from dfmcodec.cli._group import main  # noqa: E402

if _is_new:
    signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["main"]

# Warnings about damaged and large images are reported by the command itself, also in worker
# processes.
warnings.filterwarnings("ignore", module=r"PIL\.")
