"""SIGTERM, by which schedulers take a machine back: noted, so that training can save and go."""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Self

PREEMPTED_EXIT = 75
"""The exit code of a process that was asked to go and goes on from what it saved: EX_TEMPFAIL of sysexits.h, "try
again later", which job schedulers can be told to requeue on."""


class Preemption:
    """Notes SIGTERM from when it is made, as a context manager until it is left; `asked` says whether one
    came.

    - `raising`: an exception to raise where the first one comes, in the main thread. Those that follow, as some
      schedulers send them, are noted alone: they must not cut short the saving that the first one began.
    """

    def __init__(self, *, raising: type[BaseException] | None = None) -> None:
        self.asked = False
        self._immediate = False
        self._raising = raising
        self._before = signal.signal(signal.SIGTERM, self._note)

    def __call__(self) -> bool:
        return self.asked

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def restore(self) -> None:
        """Leave SIGTERM to whoever had it before."""
        signal.signal(signal.SIGTERM, self._before)

    @contextlib.contextmanager
    def immediate(self) -> Iterator[None]:
        """While nothing is under way that has to be saved: SIGTERM ends the process at once."""
        self._immediate = True
        if self.asked:
            os._exit(PREEMPTED_EXIT)
        try:
            yield
        finally:
            self._immediate = False

    def _note(self, *_: object) -> None:
        first, self.asked = not self.asked, True
        if self._immediate:
            os._exit(PREEMPTED_EXIT)
        if self._raising is not None and first:
            raise self._raising
