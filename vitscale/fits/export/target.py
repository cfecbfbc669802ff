"""What is emitted, and what every target does."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vitscale.fits.shape_file import ModelSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """How the model is to be trained.

    - `base`: name of the recipe that it starts from; `recipe`: all fields of the recipe, as they are
      to be used. `learning_rate`: the peak for this shape. `cooldown_steps`: for this length.
    - `examples`: images to train on, a multiple of the batch size.
    """

    base: str
    recipe: Mapping[str, Any]
    learning_rate: float
    cooldown_steps: int
    examples: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Emission:
    """A model, how to train it where that is known, and what the folder that a target's files go to is
    called in them."""

    spec: ModelSpec
    folder: Path
    training: Training | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """Something that reads our files.

    - `reader`: who reads them, in words. `folder`: theirs within the folder that is asked for.
    - `files`: their texts, by their paths within that folder.
    - `lacks`: why this model cannot be emitted for it; "" where it can. Takes how the model is to be
      trained, or why that is not known. `left_out`: the same for which of its files.
    """

    reader: str
    folder: str
    files: Callable[[Emission], dict[str, str]]
    lacks: Callable[[ModelSpec, Training | str], str] = lambda spec, training: ""
    left_out: Callable[[ModelSpec, Training | str], str] = lambda spec, training: ""
