"""Data sets in the format of TensorFlow Datasets, read without TensorFlow.

Facts come from the JSON files beside the records; the records themselves are read by TFDS from
array_record files, which give random access.
"""

import functools
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vitscale.scaling.data.folders import data_folder
from vitscale.scaling.data.stored import Record, Records, StoredSet

_NAME = re.compile(r"(?P<name>\w+)(/(?P<config>[\w.-]+))?(:(?P<version>[\d.]+))?")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_INFO, _FEATURES = "dataset_info.json", "features.json"
_FORMAT = "array_record"


def tfds_set(place: str) -> StoredSet:
    """Facts of the TFDS data set `place`: NAME, NAME/CONFIG, and either with :VERSION.

    Raises `ValueError` where it is not there (and says which command prepares it), has another
    format than array_record, or does not hold one image and one class label an example.
    """
    folder = _folder(place)
    info, features = (_json(folder / name) for name in (_INFO, _FEATURES))
    if info.get("fileFormat", "tfrecord") != _FORMAT:
        raise ValueError(
            f"data='tfds:{place}' is stored as {info.get('fileFormat', 'tfrecord')}, which "
            f"TensorFlow alone reads; prepare it again with `{_command(place)} --overwrite`"
        )
    image, label = _image_and_label(place, info, features)
    shape = [int(size) for size in image[1]["image"].get("shape", {}).get("dimensions", [])]
    height, width, channels = shape if len(shape) == 3 else (-1, -1, -1)
    splits = {
        split["name"]: sum(int(length) for length in split.get("shardLengths", ()))
        for split in info.get("splits", ())
    }
    return StoredSet(
        name=f"tfds:{place}",
        location=folder,
        classes=int(label[1]["classLabel"]["numClasses"]),
        class_names=_class_names(folder, label[0]),
        splits={name: examples for name, examples in splits.items() if examples},
        image_shape=(height, width) if min(height, width) > 0 else None,
        channels=channels if channels > 0 else None,
        fingerprint=_fingerprint(folder),
        records=functools.partial(_records, folder, image[0], label[0]),
    )


def prepared_sets() -> list[str]:
    """Names of the TFDS data sets in the data folder."""
    found = {path.parent for path in data_folder().glob(f"*/*/{_INFO}")}
    found |= {path.parent for path in data_folder().glob(f"*/*/*/{_INFO}")}
    return sorted({path.parent.relative_to(data_folder()).as_posix() for path in found})


def _records(folder: Path, image: str, label: str, split: str) -> Records:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.proto import tf_example_pb2

    parse = tf_example_pb2.Example.FromString  # pyright: ignore[reportAttributeAccessIssue]
    # As stored: decoding every feature of an example takes longer than its image.
    builder: Any = tfds.builder_from_directory(folder)
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    source = builder.as_data_source(split=split, deserialize_method=raw)

    def read(numbers: Sequence[int]) -> list[Record]:
        found = source.__getitems__([int(number) for number in numbers])
        examples = [parse(record).features.feature for record in found]
        return [
            Record(example[image].bytes_list.value[0], example[label].int64_list.value[0])
            for example in examples
        ]

    return Records(
        examples=len(source),
        read=read,
        name_of=lambda number: f"example {number} of split {split!r} in {folder}",
    )


def _folder(place: str) -> Path:
    """The folder of the newest version of `place`."""
    named = _NAME.fullmatch(place)
    if named is None:
        raise ValueError(
            f"data='tfds:{place}' is not NAME, NAME/CONFIG or either with :VERSION, as "
            f"tfds:cifar10 or tfds:imagenet_resized/32x32:0.1.0"
        )
    parent = data_folder() / named["name"] / (named["config"] or "")
    versions = _versions(parent)
    if named["version"] and named["version"] in versions:
        return parent / named["version"]
    if named["version"] and versions:
        raise ValueError(f"data='tfds:{place}' is there as {', '.join(versions)} only, in {parent}")
    if versions:
        return parent / versions[-1]
    configs = [path.name for path in sorted(parent.glob("*")) if path.is_dir() and _versions(path)]
    if configs and not named["config"]:
        raise ValueError(
            f"data='tfds:{place}' has configurations; choose one: "
            f"{', '.join(f'tfds:{place}/{config}' for config in configs)}"
        )
    there = prepared_sets()
    raise ValueError(
        f"data='tfds:{place}' is not in {data_folder()}; prepare it with `{_command(place)}`, or your "
        f"own images with `vitscale data prepare {named['name']} --from FOLDER`"
        + (f"; there is {', '.join(f'tfds:{name}' for name in there)}" if there else "")
    )


def _versions(parent: Path) -> list[str]:
    """Complete versions in a folder, the newest last."""
    names = [path.parent.name for path in parent.glob(f"*/{_INFO}")]
    versions = [name for name in names if _VERSION.fullmatch(name)]
    return sorted(versions, key=lambda name: [int(number) for number in name.split(".")])


def _command(place: str) -> str:
    return f"tfds build {place} --data_dir={data_folder()} --file_format=array_record"


def _image_and_label(
    place: str, info: dict[str, Any], features: dict[str, Any]
) -> tuple[tuple[str, Any], tuple[str, Any]]:
    """The features that hold the image and the class, each with its name."""
    of_examples = features.get("featuresDict", {}).get("features", {})
    supervised = [
        item.get("featureKey")
        for item in info.get("supervisedKeys", {}).get("tuple", {}).get("items", ())
    ]
    chosen = []
    for kind in ("image", "classLabel"):
        names = [name for name, feature in of_examples.items() if kind in feature]
        names = [name for name in names if name in supervised] or names
        if len(names) != 1:
            raise ValueError(
                f"data='tfds:{place}' is not a set for image classification: of the features "
                f"{', '.join(of_examples) or '(none)'}, {len(names)} are of the kind {kind}"
            )
        chosen.append((names[0], of_examples[names[0]]))
    return chosen[0], chosen[1]


def _class_names(folder: Path, label: str) -> tuple[str, ...]:
    try:
        return tuple((folder / f"{label}.labels.txt").read_text(encoding="utf-8").splitlines())
    except FileNotFoundError:
        return ()


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing, so this is not a whole TFDS data set") from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); prepare the data set again") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} does not hold a JSON object; prepare the data set again")
    return content


def _fingerprint(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr((str(folder), facts)).encode()).hexdigest()[:16]
