"""Small images of one size, decoded once and mapped into memory from then on.

The decoded split is a folder of two .npy files, written aside and renamed, so that what is there is
whole. Processes on a machine share it, and with it the memory that it takes.
"""

import os
import shutil
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from vitscale.scaling.data.cut import labels_of, named
from vitscale.scaling.data.decode import DECODING_VERSION, opened, pixels
from vitscale.scaling.data.folders import decoded_folder
from vitscale.scaling.data.stored import Records, StoredSet

_CHUNK = 1024
_LONG = 50_000  # examples: decoding more takes long enough to say so


class Decoded(NamedTuple):
    """All images of a split at their stored size, and their labels."""

    images: UInt8[np.ndarray, "n height width channels"]
    labels: Int[np.ndarray, " n"]


def decoded_split(stored: StoredSet, split: str, channels: int) -> Decoded:
    """A split in grey (1 channel) or colour (3), decoded now where it has not been before.

    Raises `ValueError` that names the example for a damaged image, one of another size than the
    set's, and a label out of range.
    """
    folder = decoded_folder() / f"{stored.fingerprint}-{split}-{channels}-v{DECODING_VERSION}"
    if not folder.is_dir():
        _decode(stored, split, channels, folder)
    return Decoded(
        np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "labels.npy", mmap_mode="r")
    )


def _decode(stored: StoredSet, split: str, channels: int, folder: Path) -> None:
    assert stored.image_shape is not None
    records = stored.records(split)
    if records.examples > _LONG:
        print(
            f"decoding {records.examples:,} images of {stored.name} ({split}) into {folder}, once",
            file=sys.stderr,
        )
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    aside.mkdir(parents=True)
    try:
        images = np.lib.format.open_memmap(
            aside / "images.npy",
            mode="w+",
            dtype=np.uint8,
            shape=(records.examples, *stored.image_shape, channels),
        )
        labels = np.empty(records.examples, np.int32)

        def decode(start: int) -> None:
            numbers = range(start, min(start + _CHUNK, records.examples))
            _decode_chunk(stored, records, numbers, images, labels)

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(decode, range(0, records.examples, _CHUNK)))
        images.flush()
        with (aside / "labels.npy").open("wb") as file:
            np.save(file, labels)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave them empty behind the new name
        try:
            aside.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise  # and not merely another process that was faster
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _decode_chunk(
    stored: StoredSet, records: Records, numbers: range, images: np.ndarray, labels: np.ndarray
) -> None:
    read = records.read(numbers)
    labels[numbers.start : numbers.stop] = labels_of(stored, records, numbers, read)
    for number, record in zip(numbers, read, strict=True):
        with named(stored.name, records, number):
            image = pixels(opened(record), images.shape[-1])
        if image.shape != images.shape[1:]:
            raise ValueError(
                f"data={stored.name!r}: {records.name_of(number)} has {image.shape[0]} x "
                f"{image.shape[1]} pixels, but the set says {images.shape[1]} x {images.shape[2]}"
            )
        images[number] = image
