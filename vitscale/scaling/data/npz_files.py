"""Arrays of images in an .npz file.

`images` and `labels` are one split named "train"; `train_images`, `train_labels`, `test_images` and so
on are a split each. Images are bytes, (n, height, width) or (n, height, width, channels).
"""

import functools
import hashlib
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from vitscale.scaling.data.folders import in_data_folder
from vitscale.scaling.data.stored import SMALL_SIDE, Record, Records, StoredSet


def npz_set(place: str) -> StoredSet:
    """Facts of the .npz file at `place`; the images themselves are not read.

    Raises `ValueError` where it is missing or not an .npz file, for arrays of other kinds, and where
    another split has classes that no image of "train" has.
    """
    path = in_data_folder(place)
    try:
        shapes = {name: _header(path, name) for name in _arrays(path)}
    except FileNotFoundError:
        raise ValueError(f"data='npz:{place}': there is no file {path}") from None
    except (zipfile.BadZipFile, ValueError) as error:
        raise ValueError(f"data='npz:{place}': {path} is not an .npz file ({error})") from None
    prefixes = _prefixes(path, shapes)
    sizes = {_image_shape(path, f"{prefix}images", shapes) for prefix in prefixes.values()}
    labels = {split: _labels(path, prefix, shapes) for split, prefix in prefixes.items()}
    _check_classes(path, labels)
    if len(sizes) > 1:
        raise ValueError(f"{path}: images differ between splits: {sorted(sizes)}")
    (height, width, channels), status = sizes.pop(), path.stat()
    facts = (str(path), status.st_size, status.st_mtime_ns)
    return StoredSet(
        name=f"npz:{place}",
        location=path,
        classes=max(int(values.max()) for values in labels.values()) + 1,
        splits={split: len(values) for split, values in labels.items()},
        image_shape=(height, width),
        channels=channels,
        fingerprint=hashlib.sha256(repr(facts).encode()).hexdigest()[:16],
        # Smaller images are kept decoded on disk, and need not stay in memory for it.
        records=functools.partial(_records, path, prefixes, max(height, width) > SMALL_SIDE),
    )


def _records(path: Path, prefixes: dict[str, str], held: bool, split: str) -> Records:
    prefix, status = prefixes[split], path.stat()
    read_arrays = _held if held else _read
    images, labels = read_arrays(path, prefix, status.st_size, status.st_mtime_ns)

    def read(numbers: Sequence[int]) -> list[Record]:
        return [Record(images[number], int(labels[number])) for number in numbers]

    return Records(
        examples=len(images),
        read=read,
        name_of=lambda number: f"{prefix}images[{number}] of {path}",
    )


def _read(path: Path, prefix: str, size: int, mtime_ns: int) -> tuple[np.ndarray, np.ndarray]:
    """Images with an axis of channels, and labels; size and time tell one state of the file from
    another."""
    with np.load(path, allow_pickle=False) as arrays:
        images, labels = arrays[f"{prefix}images"], arrays[f"{prefix}labels"]
    images = images.reshape(*images.shape[:3], -1)
    images.flags.writeable = labels.flags.writeable = False  # all who open the split share them
    return images, labels


# Lanes and trials open the same few splits again and again. Four: what a set is trained and measured
# on, and the pool and test of one other to probe on.
_held = functools.lru_cache(maxsize=4)(_read)


def _arrays(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as file:
        return [name.removesuffix(".npy") for name in file.namelist() if name.endswith(".npy")]


def _header(path: Path, name: str) -> tuple[tuple[int, ...], np.dtype]:
    with zipfile.ZipFile(path) as file, file.open(f"{name}.npy") as array:
        version = np.lib.format.read_magic(array)
        reader = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = reader(array)
        return shape, dtype


def _prefixes(path: Path, arrays: Iterable[str]) -> dict[str, str]:
    """What the names of each split's arrays begin with."""
    prefixes = [name.removesuffix("images") for name in arrays if name.endswith("images")]
    unlabelled = [f"{prefix}images" for prefix in prefixes if f"{prefix}labels" not in arrays]
    if unlabelled:
        raise ValueError(
            f"{path} has {unlabelled[0]} without {unlabelled[0].removesuffix('images')}labels (its "
            f"arrays are {', '.join(arrays)}); add the labels, or take these images away"
        )
    if not prefixes:
        raise ValueError(
            f"{path} has the arrays {', '.join(arrays) or '(none)'}; it needs images and labels, or "
            f"train_images and train_labels, validation_images and validation_labels"
        )
    return {prefix.removesuffix("_") or "train": prefix for prefix in prefixes}


def _image_shape(
    path: Path, name: str, arrays: dict[str, tuple[tuple[int, ...], np.dtype]]
) -> tuple[int, int, int]:
    shape, dtype = arrays[name]
    if dtype != np.uint8 or len(shape) not in (3, 4):
        raise ValueError(
            f"{path}: {name} is {dtype} of shape {shape}; images are uint8 of shape "
            f"(n, height, width) or (n, height, width, channels)"
        )
    if 0 in shape:
        raise ValueError(
            f"{path}: {name} of shape {shape} holds no image; fill it, or take it and its labels away"
        )
    return shape[1], shape[2], shape[3] if len(shape) == 4 else 1


def _labels(
    path: Path, prefix: str, arrays: dict[str, tuple[tuple[int, ...], np.dtype]]
) -> np.ndarray:
    (images, _), (labels, dtype) = arrays[f"{prefix}images"], arrays[f"{prefix}labels"]
    if dtype.kind not in "iu" or len(labels) != 1 or labels[0] != images[0]:
        raise ValueError(
            f"{path}: {prefix}labels is {dtype} of shape {labels}; labels are whole numbers, one for "
            f"each of the {images[0]} images"
        )
    with np.load(path, allow_pickle=False) as file:
        values = file[f"{prefix}labels"]
    if values.min() < 0:
        raise ValueError(f"{path}: {prefix}labels holds {values.min()}; classes are counted from 0")
    return values


def _check_classes(path: Path, labels: dict[str, np.ndarray]) -> None:
    classes = {split: set(np.unique(values).tolist()) for split, values in labels.items()}
    trained = classes.get("train")
    if trained is None:
        return
    for split, found in classes.items():
        odd = sorted(found - trained)
        if odd:
            raise ValueError(
                f"{path}: train has {len(trained)} classes and {split} has {len(found)}; no image of "
                f"train has the label {', '.join(map(str, odd[:5]))}{', ...' if odd[5:] else ''}; "
                f"number the classes alike in both, or take these images out of {split}"
            )
