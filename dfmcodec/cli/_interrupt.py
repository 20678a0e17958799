"""Handling of Ctrl-C: the first press ends the work with the best result so far, the second ends it
immediately.
"""

from __future__ import annotations

import _thread
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer, get_ident
from types import FrameType

import click

from dfmcodec.processes import ask_to_stop, forget_to_stop, is_asked_to_stop

EXIT_AFTER_INTERRUPT = 130  # shell convention

_REPEAT_AFTER_S = 0.05  # until the callback that lost the interruption has returned


@contextmanager
def interruptible(message: str) -> Iterator[Callable[[], bool]]:
    """Provides a function that indicates whether Ctrl-C was pressed in this process or its parent.
    The first press prints the message. A second press raises KeyboardInterrupt.
    """

    def on_interrupt(_signal: int, _frame: FrameType | None) -> None:
        if is_asked_to_stop():
            raise KeyboardInterrupt
        ask_to_stop()
        click.echo(f"\ndfm: {message}; press Ctrl-C again to abort", err=True)

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield is_asked_to_stop
    finally:
        signal.signal(signal.SIGINT, previous)
        forget_to_stop()


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
