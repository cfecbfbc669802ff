"""How help is laid out: plain text of any width, with colour on a terminal alone."""

import os
import shutil
import sys
import textwrap
from collections.abc import Callable
from typing import TextIO

_MOST_COLUMNS = 100
_LEFT = 24
"""Columns of the names; help of longer ones begins on the next line."""

EVERYWHERE = (
    ("-q, --quiet", "Only results and errors."),
    ("-v, --verbose", "More about what is done, on standard error."),
    ("--debug", "Show the stack trace of an error (also VITSCALE_DEBUG=1)."),
    ("-h, --help", "Show this help."),
)
"""Flags of every command."""


def row(names: str, text: str, columns: int, *, left: int = _LEFT) -> list[str]:
    """Names, and beside or below them what they mean."""
    cyan = style("36")
    body = textwrap.wrap(text, columns - left - 2, break_on_hyphens=False) or [""]
    rest = [f"{'':{left + 2}}{line}" for line in body]
    if len(names) > left - 2:
        return [f"  {cyan(names)}", *rest]
    return [f"  {cyan(names)}{'':{left - len(names)}}{body[0]}".rstrip(), *rest[1:]]


def wrapped(text: str, columns: int) -> list[str]:
    """Text in lines."""
    return textwrap.wrap(text, columns, break_on_hyphens=False, break_long_words=False)


def width() -> int:
    """Columns to write in."""
    return min(shutil.get_terminal_size().columns, _MOST_COLUMNS)


def style(code: str, stream: TextIO | None = None) -> Callable[[str], str]:
    """A function that colours text where `stream` (standard output) shows colours."""
    if not coloured(sys.stdout if stream is None else stream):
        return lambda text: text
    return lambda text: f"\x1b[{code}m{text}\x1b[0m"


def coloured(stream: TextIO) -> bool:
    """Whether to colour what goes there: on a terminal, unless NO_COLOR is set; elsewhere where FORCE_COLOR
    is (https://no-color.org, https://force-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"
