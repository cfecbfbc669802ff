"""What is known of a stored set of labelled images, and its examples by number.

Pure Python but for numpy: a plan is checked against the facts without opening an image.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8

SMALL_SIDE = 64
"""Longest side, in pixels, of images that are kept decoded."""

Loader = Literal["decoded", "encoded"]
"""Small images of one size are decoded once for all; others are decoded each time they are read."""


class Record(NamedTuple):
    """One example: an encoded image, or the pixels where they are stored as such, and its class."""

    image: bytes | UInt8[np.ndarray, "height width channels"]
    label: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Records:
    """Examples of one split by number.

    - `read(numbers)`: the records of these numbers, in their order.
    - `name_of(number)`: what to call an example in a message.
    """

    examples: int
    read: Callable[[Sequence[int]], list[Record]]
    name_of: Callable[[int], str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredSet:
    """Facts of a data set on disk.

    - `name`: as recipes call it. `location`: the folder or file.
    - `classes`: labels are from 0 to `classes` - 1; `class_names` may be empty.
    - `splits`: examples of each split.
    - `image_shape`: height and width in pixels, or None where they vary or are not known.
    - `channels`: 1, 3 or what the pixels have; None where they vary or are not known.
    - `fingerprint`: changes with the content, as far as names, sizes and times tell; may be empty
      where images have no common size.
    - `records(split)`: its examples. Opening them may import TFDS.
    """

    name: str
    location: Path
    classes: int
    class_names: tuple[str, ...] = ()
    splits: dict[str, int]
    image_shape: tuple[int, int] | None
    channels: int | None
    fingerprint: str
    records: Callable[[str], Records]

    @property
    def loader(self) -> Loader:
        """How the images are read: a property of the data set, so that no batch depends on a machine."""
        small = self.image_shape is not None and max(self.image_shape) <= SMALL_SIDE
        return "decoded" if small else "encoded"
