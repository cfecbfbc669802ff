"""Image files in a folder for each class, read as they are.

Either FOLDER/train/CLASS/*.jpg with FOLDER/validation or FOLDER/test beside it, or FOLDER/CLASS/*.jpg,
which is one split named "train". Classes are numbered in the order of their sorted names.
"""

import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vitscale.scaling.data.folders import in_data_folder
from vitscale.scaling.data.stored import Record, Records, StoredSet

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Files with other endings are not taken for images."""

SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
"""Names of folders that are splits, not classes, and the split of each."""


def folder_set(place: str) -> StoredSet:
    """Facts of the image folder at `place`; its images may have any size.

    Raises `ValueError` where it does not exist, has no images, or has other classes in one split
    than in another.
    """
    folder = in_data_folder(place)
    found = _found(folder)
    return StoredSet(
        name=f"folder:{place}",
        location=folder,
        classes=len(found.names),
        class_names=found.names,
        splits={split: sum(map(len, by_class.values())) for split, by_class in found.files.items()},
        image_shape=None,
        channels=None,
        fingerprint="",  # only what is kept decoded needs one
        records=functools.partial(_records, folder, found),
    )


def class_files(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """Image files by split and class, sorted.

    Raises `ValueError` where the folder does not exist, where it is a prepared data set or mixes
    folders of splits with others, and where a class has no image.
    """
    if not folder.exists():
        raise ValueError(
            f"{folder} does not exist; name a folder that has one for each class in it"
        )
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    if any(folder.glob("*/dataset_info.json")):
        raise ValueError(
            f"{folder} is a prepared data set, not a folder of images; name it "
            f"data='tfds:{folder.name}', or name the folder of your images by its absolute path"
        )
    inside = _folders(folder)
    splits = [path for path in inside if path.name in SPLITS]
    others = [path.name for path in inside if path.name not in SPLITS]
    if not splits:
        return {"train": _by_class(folder)}
    if others:
        raise ValueError(
            f"{folder} has folders of splits ({', '.join(path.name for path in splits)}) beside "
            f"others ({', '.join(others[:5])}); put each class into a split, or take the splits away"
        )
    files: dict[str, dict[str, list[Path]]] = {}
    for path in splits:
        if SPLITS[path.name] in files:
            raise ValueError(f"{folder} has two folders for the split {SPLITS[path.name]!r}")
        files[SPLITS[path.name]] = _by_class(path)
    return files


def class_names(folder: Path, files: dict[str, dict[str, list[Path]]]) -> tuple[str, ...]:
    """Sorted names of the classes. Raises `ValueError` where splits differ in them."""
    first, *others = files
    for other in others:
        odd = sorted(files[first].keys() ^ files[other].keys())
        if odd:
            raise ValueError(
                f"{folder}: split {first!r} has {len(files[first])} classes and split {other!r} "
                f"has {len(files[other])}; only one of them has {', '.join(map(repr, odd[:5]))}"
            )
    return tuple(sorted(files[first]))


def hash_of(folder: Path, path: Path) -> bytes:
    """What puts the files of a folder into an order that has nothing to do with their names."""
    return hashlib.sha256(path.relative_to(folder).as_posix().encode()).digest()


def _by_class(folder: Path) -> dict[str, list[Path]]:
    found = {path.name: _images(path) for path in _folders(folder)}
    if not found:
        raise ValueError(f"{folder} has no folder of a class; images go to {folder}/CLASS/*.jpg")
    empty = [name for name, files in found.items() if not files]
    if empty:
        raise ValueError(
            f"{folder}: class {', '.join(map(repr, empty[:5]))} has no image "
            f"({', '.join(suffix[1:] for suffix in SUFFIXES)}); fill its folder or take it away"
        )
    return found


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


class _Found(NamedTuple):
    """What a walk through a folder found, and when each folder in it had last changed."""

    files: dict[str, dict[str, list[Path]]]
    names: tuple[str, ...]
    changed: dict[str, int]
    labelled: dict[str, list[tuple[Path, int]]]
    """Files and labels of the splits that have been opened, in the order of their numbers."""


_FOUND: dict[Path, _Found] = {}
"""Of each folder the latest walk: one through a million files takes long, and every trial asks."""


def _found(folder: Path) -> _Found:
    found = _FOUND.get(folder)
    if found is None or not _unchanged(found.changed):
        changed = _changed(folder)  # before the walk, so that no change during it goes unseen
        files = class_files(folder)
        found = _FOUND[folder] = _Found(files, class_names(folder, files), changed, {})
    return found


def _changed(folder: Path) -> dict[str, int]:
    """When each folder from `folder` down last changed, in ns: a file that comes or goes changes its
    folder, so files need no look."""
    times = {}
    for at, inside, _ in os.walk(folder, followlinks=True):
        times[at] = os.stat(at).st_mtime_ns
        if len(Path(at).relative_to(folder).parts) > 1:
            # Splits and classes may be links; within a class they are not followed.
            inside[:] = [name for name in inside if not os.path.islink(os.path.join(at, name))]
    return times


def _unchanged(times: dict[str, int]) -> bool:
    try:
        return all(os.stat(at).st_mtime_ns == time for at, time in times.items())
    except OSError:  # a folder is gone
        return False


def _records(folder: Path, found: _Found, split: str) -> Records:
    if split not in found.labelled:
        of_split = found.files[split]
        labelled = [
            (path, label) for label, name in enumerate(found.names) for path in of_split[name]
        ]
        # In the order of a hash, as TFDS has them, so that a slice of the split has all classes in it.
        found.labelled[split] = sorted(labelled, key=lambda example: hash_of(folder, example[0]))
    labelled = found.labelled[split]

    def read(numbers: Sequence[int]) -> list[Record]:
        chosen = [labelled[int(number)] for number in numbers]
        return [Record(path.read_bytes(), label) for path, label in chosen]

    return Records(
        examples=len(labelled), read=read, name_of=lambda number: str(labelled[number][0])
    )
