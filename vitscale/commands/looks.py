"""The look of the pictures that a command draws."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import ClassVar, Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Looks:
    """Fields of every command that draws; `drawn_to` names the field that says where to."""

    drawn_to: ClassVar[str] = "figure"

    theme: Literal["light", "dark"] = "light"
    """Of pictures: on a white or on a dark background."""
    size: Literal["paper", "slide"] = "paper"
    """Of pictures: for a page of a paper, or larger words and lines for a slide."""


@contextlib.contextmanager
def looking(command: object) -> Iterator[None]:
    """Pictures drawn meanwhile look as `command` says.

    Raises `ValueError` where a look is given and there is nothing to draw.
    """
    if not isinstance(command, Looks):
        yield
        return
    if getattr(command, command.drawn_to) is None:
        usual = {field.name: field.default for field in dataclasses.fields(Looks)}
        for name, default in usual.items():
            if getattr(command, name) != default:
                raise ValueError(
                    f"--{name} is of a picture, and none is asked for; add --{command.drawn_to}"
                )
        yield
        return
    from vitscale.fits.plots.looks import look

    with look(command.theme, command.size):
        yield
