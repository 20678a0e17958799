"""Handling of Ctrl-C: the first press ends the work with the best result so far, the second ends it
immediately.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

from dfmcodec.processes import ask_to_stop, forget_to_stop, is_asked_to_stop

EXIT_AFTER_INTERRUPT = 130  # shell convention


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
