"""Cutting images out of examples that are decoded one at a time."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from vitscale.scaling.data.boxes import Boxes
from vitscale.scaling.data.decode import ERRORS, in_mode, opened, pixels, unreadable
from vitscale.scaling.data.stored import Record, Records, StoredSet

BoxesOf = Callable[[Int[np.ndarray, " n"], Int[np.ndarray, " n"]], Boxes]
"""Parts to cut out of images, from their heights and widths."""


def cut_out(
    stored: StoredSet,
    records: Records,
    numbers: Sequence[int],
    boxes_of: BoxesOf,
    *,
    image_size: int,
    channels: int,
) -> tuple[UInt8[np.ndarray, "n size size channels"], Int[np.ndarray, " n"]]:
    """The parts of these examples as squares of `image_size` pixels, and the examples' labels.

    Raises `ValueError` that names the example for a damaged image and for a label out of range.
    """
    read = records.read(numbers)
    labels = labels_of(stored, records, numbers, read)
    images = []
    for number, record in zip(numbers, read, strict=True):
        with named(stored.name, records, number):
            images.append(opened(record))
    heights, widths = (np.array([image.size[axis] for image in images]) for axis in (1, 0))
    boxes = boxes_of(heights, widths)
    squares = np.empty((len(read), image_size, image_size, channels), np.uint8)
    for place, (image, *box) in enumerate(zip(images, *boxes, strict=True)):
        with named(stored.name, records, numbers[place]):
            squares[place] = _square(image, box, image_size, channels)
    return squares, labels


def labels_of(
    stored: StoredSet, records: Records, numbers: Sequence[int], read: Sequence[Record]
) -> Int[np.ndarray, " n"]:
    """The labels of these records. Raises `ValueError` for one that is no class of the set."""
    labels = np.array([record.label for record in read], np.int32)
    for number, label in zip(numbers, labels, strict=True):
        if not 0 <= label < stored.classes:
            raise ValueError(
                f"data={stored.name!r}: {records.name_of(number)} has label {label}, but the set has "
                f"{stored.classes} classes, from 0 to {stored.classes - 1}"
            )
    return labels


@contextlib.contextmanager
def named(data: str, records: Records, number: int) -> Iterator[None]:
    """Turns the error of a damaged image into a `ValueError` that names the image."""
    try:
        yield
    except ERRORS as error:
        raise unreadable(data, records.name_of(number), error) from error


def _square(
    image: Image.Image, box: Sequence[float], size: int, channels: int
) -> UInt8[np.ndarray, "size size channels"]:
    left, top, width, height = box
    full_width, full_height = image.size
    # JPEG decodes at a half, quarter or eighth in a fraction of the time, where that is enough.
    image.draft(None, (int(full_width * size / width), int(full_height * size / height)))
    x, y = image.size[0] / full_width, image.size[1] / full_height
    right, bottom = min((left + width) * x, image.size[0]), min((top + height) * y, image.size[1])
    part = (left * x, top * y, right, bottom)
    image = in_mode(image, channels)
    if part != (0, 0, size, size) or image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=part)
    return pixels(image, channels)
