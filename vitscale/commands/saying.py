"""What a command says beside its result, on standard error: less with --quiet, more with --verbose."""

import contextlib
import logging
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

_AFTER_S = 1.0
_EVERY_S = 0.2
_LINE_EVERY_S = 30.0

log = logging.getLogger("vitscale")
"""Details go here as `log.info`: they are seen with --verbose."""


class _State:
    """How much is said in this process; `set_saying` sets it for each command."""

    quiet = False
    verbose = False


def set_saying(*, quiet: bool, verbose: bool) -> None:
    """Say less or more from now on."""
    _State.quiet, _State.verbose = quiet, verbose
    for handler in list(log.handlers):
        log.removeHandler(handler)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("vitscale: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING)
    log.propagate = False


def quiet() -> bool:
    """Whether only results and errors are wanted."""
    return _State.quiet


def verbose() -> bool:
    """Whether more is wanted than the result."""
    return _State.verbose


def note(line: str) -> None:
    """One line about what happens, unless --quiet."""
    if not _State.quiet:
        print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Python's warnings to users as lines that begin with "note:", each once, without a file's path."""
    said: set[str] = set()
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(
            message: Any, category: type[Warning], filename: str, lineno: int, *rest: Any
        ) -> None:
            if not issubclass(category, UserWarning):
                shown(message, category, filename, lineno, *rest)
            elif str(message) not in said:
                said.add(str(message))
                note(f"note: {message}")

        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """While something takes its time: after a second, `what` with the seconds so far, redrawn in place on a
    terminal, a line every half minute elsewhere. With --verbose, also how long it took."""
    began = time.monotonic()
    over = threading.Event()
    shows = threading.Thread(target=_show, args=(what, began, over), daemon=True)
    if not _State.quiet:
        shows.start()
    try:
        yield
    finally:
        over.set()
        if not _State.quiet:
            shows.join()
        log.info("%s took %.2f s", what, time.monotonic() - began)


def _show(what: str, began: float, over: threading.Event) -> None:
    stream, live = sys.stderr, sys.stderr.isatty()
    wait, shown = _AFTER_S if live else _LINE_EVERY_S, ""
    while not over.wait(wait):
        shown = f"{what} ... {time.monotonic() - began:.0f} s"
        print(f"\r{shown}" if live else shown, end="" if live else "\n", file=stream, flush=True)
        wait = _EVERY_S if live else _LINE_EVERY_S
    if live and shown:
        print(f"\r{' ' * len(shown)}\r", end="", file=stream, flush=True)
