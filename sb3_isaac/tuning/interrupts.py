"""Ctrl-C and SIGTERM at moments of our choice: a study's storage must not be left in the middle of an entry."""

from __future__ import annotations

import contextlib
import signal
from typing import Any, Iterator


class Interrupts:
    """Remembers SIGINT and SIGTERM until :meth:`check` is called.

    >>> with interrupts.held():
    ...     interrupts.check()  # raises KeyboardInterrupt here, if at all
    """

    def __init__(self) -> None:
        self.asked = False
        """Whether SIGINT or SIGTERM has come."""

    def check(self) -> None:
        """Raise KeyboardInterrupt if SIGINT or SIGTERM has come."""
        if self.asked:
            raise KeyboardInterrupt

    def _remember(self, number: int, _: Any) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt  # the second Ctrl-C ends at once
        self.asked = True

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Signals wait for ``check`` in this block. Only a process's main thread can ask for that."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        try:
            before = [signal.signal(number, self._remember) for number in numbers]
        except ValueError:
            yield
            return
        try:
            yield
        finally:
            for number, handler in zip(numbers, before):
                signal.signal(number, handler)
