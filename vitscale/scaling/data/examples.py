"""Squares cut out of numbered examples, whichever way the images of a data set are read."""

from collections.abc import Callable, Sequence
from typing import assert_never

import numpy as np
from jaxtyping import Int, UInt8

from vitscale.scaling.data.boxes import Boxes
from vitscale.scaling.data.cut import BoxesOf, cut_out
from vitscale.scaling.data.decoded import decoded_split
from vitscale.scaling.data.resize import resized
from vitscale.scaling.data.splits import Part
from vitscale.scaling.data.stored import Record, Records, StoredSet

Squares = Callable[
    [Int[np.ndarray, " n"], BoxesOf],
    tuple[UInt8[np.ndarray, "n size size channels"], Int[np.ndarray, " n"]],
]
"""Numbers of examples, and the parts to cut out of them, to square images and their labels."""


def squares_of(
    stored: StoredSet, parts: tuple[Part, ...], *, image_size: int, channels: int
) -> Squares:
    """What cuts squares of `image_size` pixels out of the examples of `parts`.

    Examples are numbered from 0 on, through all parts one after the other.
    """
    match stored.loader:
        case "decoded":
            return _from_decoded(stored, parts, image_size, channels)
        case "encoded":
            records = _joined(stored, parts)
            return lambda numbers, boxes_of: cut_out(
                stored,
                records,
                numbers.tolist(),
                boxes_of,
                image_size=image_size,
                channels=channels,
            )
        case _:
            assert_never(stored.loader)


def _from_decoded(
    stored: StoredSet, parts: tuple[Part, ...], image_size: int, channels: int
) -> Squares:
    splits = [decoded_split(stored, part.split, channels) for part in parts]

    def squares(
        numbers: Int[np.ndarray, " n"], boxes_of: BoxesOf
    ) -> tuple[UInt8[np.ndarray, "n size size channels"], Int[np.ndarray, " n"]]:
        height, width = splits[0].images.shape[1:3]
        images = np.empty((len(numbers), height, width, channels), np.uint8)
        labels = np.empty(len(numbers), np.int32)
        for part, split, chosen, within in _by_part(parts, numbers):
            images[chosen] = splits[split].images[within + part.start]
            labels[chosen] = splits[split].labels[within + part.start]
        boxes = boxes_of(np.full(len(numbers), height), np.full(len(numbers), width))
        if (height, width) == (image_size, image_size) and _are_whole(boxes, image_size):
            return images, labels
        return resized(images, boxes, image_size), labels

    return squares


def _are_whole(boxes: Boxes, size: int) -> bool:
    return bool(np.all(boxes.width == size) and np.all(boxes.height == size))


def _joined(stored: StoredSet, parts: tuple[Part, ...]) -> Records:
    """The examples of all parts as one."""
    opened = [stored.records(part.split) for part in parts]
    for part, records in zip(parts, opened, strict=True):
        if records.examples < part.stop:
            raise ValueError(
                f"data={stored.name!r} says that split {part.split!r} has {stored.splits[part.split]} "
                f"examples, but holds {records.examples}; prepare it again"
            )

    def read(numbers: Sequence[int]) -> list[Record]:
        found: list[Record | None] = [None] * len(numbers)
        for part, split, chosen, within in _by_part(parts, np.asarray(numbers)):
            records = opened[split].read((within + part.start).tolist())
            for place, record in zip(chosen.tolist(), records, strict=True):
                found[place] = record
        return [record for record in found if record is not None]

    def name_of(number: int) -> str:
        part, split, _, within = next(_by_part(parts, np.array([number])))
        return opened[split].name_of(int(within[0]) + part.start)

    return Records(examples=sum(part.examples for part in parts), read=read, name_of=name_of)


def _by_part(parts: tuple[Part, ...], numbers: Int[np.ndarray, " n"]):
    """For each part that is asked for: it, its number, which of `numbers` are in it, and where."""
    ends = np.cumsum([part.examples for part in parts])
    owner = np.searchsorted(ends, numbers, side="right")
    for split in np.unique(owner).tolist():
        chosen = np.flatnonzero(owner == split)
        start = ends[split] - parts[split].examples
        yield parts[split], split, chosen, numbers[chosen] - start
