"""Handling of Ctrl-C, which ends the command. Unfinished outputs are discarded."""

from __future__ import annotations

import _thread
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer, get_ident

EXIT_AFTER_INTERRUPT = 130  # shell convention

_REPEAT_AFTER_S = 0.05  # until the callback that lost the interruption has returned


def ignore_interrupts() -> None:
    """Ignores Ctrl-C from now on, in a process that is ending after Ctrl-C."""
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, lambda _signal, _frame: None)


@contextmanager
def lost_interrupts_repeated() -> Iterator[None]:
    """Repeats Ctrl-C if Python ignored its KeyboardInterrupt. Python ignores exceptions in
    `__del__` and in callbacks of the garbage collector; JAX has such a callback.
    """
    report = sys.unraisablehook
    timers: list[Timer] = []

    def repeat(unraisable: sys.UnraisableHookArgs) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            report(unraisable)
            return
        timers.append(timer := Timer(_REPEAT_AFTER_S, _interrupt, [get_ident()]))
        timer.daemon = True
        timer.start()

    sys.unraisablehook = repeat
    try:
        yield
    finally:
        sys.unraisablehook = report
        for timer in timers:
            timer.cancel()


def _interrupt(thread: int) -> None:
    if hasattr(signal, "pthread_kill"):  # also ends a wait of the thread
        signal.pthread_kill(thread, signal.SIGINT)
    else:
        _thread.interrupt_main()
