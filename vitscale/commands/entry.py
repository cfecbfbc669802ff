"""A row of the table of commands: its name, what it is for, and where its code is."""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Entry:
    """One command.

    - `group`: the heading that it stands under in the help of `vitscale`.
    - `where`: the module in `vitscale.commands`, the dataclass of its flags, and the function that runs it
      where that is not `run`: "fit:Fit", "worker:Resume:run_resume".
    - `summary`: what it is for, on one line.
    - `goes_on`: whether the same command, given again after it was interrupted, goes on.
    """

    name: str
    group: str
    where: str
    summary: str
    goes_on: bool = False

    def load(self) -> tuple[type, Callable[[Any], int]]:
        """The class of its flags, and what runs it; imports that one module."""
        module, name, *run = self.where.split(":")
        found = importlib.import_module(f"vitscale.commands.{module}")
        return getattr(found, name), getattr(found, run[0] if run else "run")
