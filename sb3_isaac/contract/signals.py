"""SIGINT (Ctrl-C), SIGTERM (a cluster, ``kill``) and SIGHUP (a closed terminal): how a process ends on them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any, Callable, Dict, Iterator, Optional

NUMBERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SAME_REQUEST_S = 0.5
"""Signals that follow the first one so soon are the same request: a terminal that is closed sends SIGHUP twice,
``timeout`` SIGTERM to the process and to its group, and the parent of a study passes on what the terminal sent to all.
"""
Handlers = Dict[int, Any]


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to end; ``number`` is which one."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell reports of a process that the signal ended."""
        return 128 + self.number


def tell(text: str) -> None:
    """Write a line to standard error from within a signal handler, where ``print`` may be under way already."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """In this block the first signal raises :class:`Interrupted`, and the next one ends the process at once."""
    def end(number: int, _: Any) -> None:
        leave_to_system()
        raise Interrupted(number)

    with _handled_by(end):
        yield


def leave_to_system() -> None:
    """From now on a signal ends the process at once and without a word, also in the middle of a long C function."""
    for number in NUMBERS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, signal.SIG_DFL)


class Interrupts:
    """Remembers a signal until :meth:`check` is called; a second one does what it would do without this object.

    :param on_first: called in the signal handler with the number of the first signal.

    >>> with interrupts.held():
    ...     interrupts.check()  # raises Interrupted here, if at all
    """

    def __init__(self, on_first: Callable[[int], None] = lambda number: None) -> None:
        self.number: Optional[int] = None
        """The signal that has come."""
        self._on_first, self._at_s = on_first, 0.0

    @property
    def asked(self) -> bool:
        """Whether a signal has come."""
        return self.number is not None

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self.number is not None:
            raise Interrupted(self.number)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Signals wait for ``check`` in this block. Only a process's main thread can ask for that."""
        before: Handlers = {number: signal.getsignal(number) for number in NUMBERS}

        def remember(number: int, _: Any) -> None:
            """The handler: keeps the first signal for ``check``; one some time later has its usual effect at once."""
            now = time.monotonic()
            if self.number is None:
                self.number, self._at_s = number, now
                self._on_first(number)
            elif now - self._at_s > SAME_REQUEST_S:
                signal.signal(number, before[number])
                signal.raise_signal(number)

        with _handled_by(remember):
            yield


@contextlib.contextmanager
def _handled_by(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Signals go to `handler` in this block, but for those that are ignored, as ``nohup`` has it."""
    before: Handlers = {}
    try:
        for number in NUMBERS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    except ValueError:  # not the main thread
        before = {}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
