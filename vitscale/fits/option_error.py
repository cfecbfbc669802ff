"""Errors that name options: as keywords to who calls a function, as flags to who types a command."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Keyword:
    """A keyword of a function that is also a flag of a command; `value` where one is meant."""

    name: str
    value: Any = None

    @property
    def keyword(self) -> str:
        """In Python."""
        return self.name if self.value is None else f"{self.name}={self.value!r}"

    @property
    def flag(self) -> str:
        """On a command line."""
        flag = f"--{self.name.replace('_', '-')}"
        return flag if self.value is None else f"{flag} {self.value}"


class OptionError(ValueError):
    """A sentence made of text and options: `str()` has keywords, `in_flags` has flags."""

    def __init__(self, *parts: str | Keyword) -> None:
        self.in_flags = "".join(part if isinstance(part, str) else part.flag for part in parts)
        super().__init__("".join(part if isinstance(part, str) else part.keyword for part in parts))


def in_flags(error: Exception) -> str:
    """What `error` says, for a command line."""
    return error.in_flags if isinstance(error, OptionError) else str(error)
