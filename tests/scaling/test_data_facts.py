"""What is known of data before an image is read, and what is refused by it."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from data_samples import photo_folder, recipe

from vitscale.scaling.data.catalog import DataFacts, check_trainable
from vitscale.scaling.data.class_folders import class_files
from vitscale.scaling.data.kinds import stored_set
from vitscale.scaling.recipes import RECIPES


def tfds_folder(folder: Path, *, file_format: str | None = "array_record", **changes) -> Path:
    """The facts of a TFDS data set, as TFDS writes them; there are no records."""
    image = {"shape": {"dimensions": ["32", "32", "3"]}, "dtype": "uint8"}
    features = {
        "id": {"text": {}, "pythonClassName": "tensorflow_datasets...Text"},
        "image": {"image": image},
        "label": {"classLabel": {"numClasses": "10"}},
    } | changes
    splits = [
        {"name": "train", "shardLengths": ["200", "100"], "numBytes": "7"},
        {"name": "test", "shardLengths": ["60"], "numBytes": "7"},
    ]
    info = {"name": folder.parent.name, "splits": splits}
    if file_format:
        info["fileFormat"] = file_format
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps(info))
    kept = {name: feature for name, feature in features.items() if feature}
    (folder / "features.json").write_text(json.dumps({"featuresDict": {"features": kept}}))
    (folder / "label.labels.txt").write_text("\n".join("abcdefghij"))
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("VITSCALE_DATA_DIR", str(tmp_path))
    return tmp_path


def of(**changes):
    return recipe(**{"data": "tfds:things", "image_size": 32, "channels": 3} | changes)


def test_facts_of_a_tfds_set(home):
    tfds_folder(home / "things" / "1.0.0")
    stored = stored_set("tfds:things")
    assert stored.splits == {"train": 300, "test": 60}
    assert (stored.classes, stored.class_names[:2]) == (10, ("a", "b"))
    assert (stored.image_shape, stored.channels, stored.loader) == ((32, 32), 3, "decoded")
    facts = DataFacts(classes=10, image_size=32, channels=3, train_examples=300)
    assert check_trainable(of()) == facts


def test_the_newest_version_is_taken_unless_one_is_named(home):
    for version in ("1.9.0", "1.10.0"):
        tfds_folder(home / "things" / version)
    assert stored_set("tfds:things").location.name == "1.10.0"
    assert stored_set("tfds:things:1.9.0").location.name == "1.9.0"
    with pytest.raises(ValueError, match=r"tfds:things:2.0.0' is there as 1.9.0, 1.10.0 only"):
        stored_set("tfds:things:2.0.0")


def test_configurations_are_named(home):
    for config in ("32x32", "64x64"):
        tfds_folder(home / "things" / config / "1.0.0")
    assert stored_set("tfds:things/64x64").location == home / "things" / "64x64" / "1.0.0"
    with pytest.raises(ValueError, match=r"choose one: tfds:things/32x32, tfds:things/64x64"):
        stored_set("tfds:things")


def test_a_missing_set_is_told_how_to_prepare(home):
    tfds_folder(home / "others" / "1.0.0")
    with pytest.raises(ValueError) as refusal:
        check_trainable(of())
    assert str(refusal.value) == (
        f"data='tfds:things' is not in {home}; prepare it with `tfds build things --data_dir={home} "
        f"--file_format=array_record`, or your own images with `vitscale data prepare things --from "
        f"FOLDER`; there is tfds:others"
    )


@pytest.mark.parametrize("stored_as", ["tfrecord", None])
def test_tfrecord_is_told_how_to_prepare(home, stored_as):
    tfds_folder(home / "things" / "1.0.0", file_format=stored_as)
    message = r"stored as tfrecord, which TensorFlow alone reads; prepare it again with `tfds build"
    with pytest.raises(ValueError, match=message):
        check_trainable(of())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"label": None},
            r"not a set for image classification: .* id, image, 0 are of the kind class",
        ),
        ({"mask": {"image": {"shape": {}}}}, r"id, image, label, mask, 2 are of the kind image"),
    ],
)
def test_other_sets_are_refused(home, changes, message):
    tfds_folder(home / "things" / "1.0.0", **changes)
    with pytest.raises(ValueError, match=message):
        check_trainable(of())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"image_size": 16},
            r"images of 32 x 32 pixels, which crop='none' takes as they are; set image",
        ),
        ({"channels": 1}, r"images of 3 channels; set channels=3 \(got 1\)"),
        ({"channels": 4}, r"channels=4: stored images are grey \(1\) or in colour \(3\)"),
        (
            {"batch_size": 301},
            r"batch_size=301 is more than the 300 examples of train_split='train'",
        ),
        (
            {"eval_split": "validation"},
            r"no split 'validation'; its splits are train \(300\), test",
        ),
        ({"train_split": "train[:1%]"}, r"batch_size=48 is more than the 3 examples of"),
        ({"eval_split": "train[99%:]"}, r"share 3 examples of 'train'; measure on others than"),
        ({"fewshot_data": ("tfds:pets",)}, r"data='tfds:pets' is not in .*; prepare it with"),
        (
            {"fewshot_data": ("tfds:cifar10", "npz:x/cifar10.npz")},
            r"metrics of 'tfds:cifar10' and of 'npz:x/cifar10.npz' would both be named 'cifar10'",
        ),
        (
            {"eval_crop_ratio": 0.875},
            r"crop='none' trains on whole images, but eval_crop_ratio=0.875 .* set eval_crop_ratio=1",
        ),
        ({"fewshot_data": ("pets",)}, r"data='pets' is unknown; name images as tfds:PLACE"),
        (
            {"data": "cifar10"},
            r"data='cifar10' is unknown; choose from glyphs, or name images on disk",
        ),
        ({"data": "tfds:a b"}, r"data='tfds:a b' is not NAME, NAME/CONFIG or either with :VERSION"),
        ({"data": "tfds:"}, r"data='tfds:' is unknown"),
        (
            {"data": "folder:nowhere"},
            r"nowhere does not exist; name a folder that has one for each",
        ),
        (
            {"data": "folder:things"},
            r"things is a prepared data set, not a folder of images; name it data='tfds:things'",
        ),
        ({"data": "folder:things/1.0.0/features.json"}, r"features.json is not a folder"),
        ({"data": "npz:nowhere.npz"}, r"there is no file .*nowhere.npz"),
    ],
)
def test_recipes_that_do_not_suit_are_refused(home, changes, message):
    tfds_folder(home / "things" / "1.0.0")
    with pytest.raises(ValueError, match=message):
        check_trainable(of(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"crop": "pad"},
        {"flip": True},
        {"eval_crop_ratio": 0.875},
        {"randaugment_layers": 2},
        {"randaugment_magnitude": 15},
        {"train_split": "train[:99%]"},
        {"eval_split": "test"},
        {"fewshot_data": ("tfds:cifar10",)},
    ],
)
def test_drawn_data_refuse_what_only_stored_images_have(changes):
    [(name, value)] = changes.items()
    default = getattr(RECIPES["glyphs"], name)
    with pytest.raises(ValueError) as refusal:
        check_trainable(dataclasses.replace(RECIPES["glyphs"], **changes))
    assert str(refusal.value) == (
        f"{name}={value!r} does nothing for data='glyphs', which is drawn as it is trained on and "
        f"brings its own images to measure on; leave it at {default!r}, or name images on disk as "
        f"tfds:PLACE, folder:PLACE, npz:PLACE"
    )
    assert check_trainable(of(data="pixels:7", **changes)).classes == 7


def test_named_recipes_suit_their_data(home):
    assert check_trainable(RECIPES["glyphs"]).classes == 128
    of_any_size = {"image": {"shape": {"dimensions": ["-1", "-1", "3"]}}}
    tfds_folder(home / "things" / "1.0.0", image=of_any_size)
    for named in RECIPES.values():
        if named.data != "glyphs":
            suits = {"data": "tfds:things", "batch_size": 2, "eval_split": "test"}
            assert check_trainable(dataclasses.replace(named, **suits)).image_size == 224


def test_damaged_facts_are_named(home):
    folder = tfds_folder(home / "things" / "1.0.0")
    (folder / "features.json").write_text("{")
    with pytest.raises(
        ValueError, match=r"features.json is not JSON .*; prepare the data set again"
    ):
        stored_set("tfds:things")
    (folder / "features.json").unlink()
    with pytest.raises(ValueError, match=r"features.json is missing, so this is not a whole TFDS"):
        stored_set("tfds:things")


def test_a_folder_with_and_without_splits(home):
    photo_folder(home / "plain", 3)
    for split in ("train", "val"):
        photo_folder(home / "split" / split, 2)
    assert stored_set("folder:plain").splits == {"train": 6}
    assert stored_set("folder:split").splits == {"train": 4, "validation": 4}
    assert stored_set("folder:split").class_names == ("china", "flower")
    assert stored_set("folder:split").loader == "encoded"
    with pytest.raises(ValueError, match="has neither a validation nor a test split"):
        check_trainable(of(data="folder:plain", batch_size=2))


def test_a_folder_is_walked_again_only_where_it_has_changed(home, monkeypatch):
    walks = []

    def counted(folder):
        walks.append(folder)
        return class_files(folder)

    monkeypatch.setattr("vitscale.scaling.data.class_folders.class_files", counted)
    nested = photo_folder(home / "plain", 3) / "china" / "old"
    nested.mkdir()
    for _ in range(3):
        assert stored_set("folder:plain").splits == {"train": 6}
    assert len(walks) == 1
    (nested / "1.jpg").write_bytes(b"")
    os.utime(nested, ns=(1, 1))  # clocks of file systems may be too coarse to tell
    assert stored_set("folder:plain").splits == {"train": 7}
    (nested / "1.jpg").unlink()
    nested.rmdir()
    assert stored_set("folder:plain").splits == {"train": 6}


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            ["train/a/1.jpg", "val/b/1.jpg"],
            r"has 1 classes and split .* has 1; only one .* 'a', 'b'",
        ),
        (["train/a/1.jpg", "train/b/note.txt"], r"class 'b' has no image \(bmp, gif, jpeg"),
        (["train/a/1.jpg", "c/1.jpg"], r"folders of splits \(train\) beside others \(c\)"),
        (
            ["train/a/1.jpg", "val/a/1.jpg", "valid/a/1.jpg"],
            r"two folders for the split 'validation'",
        ),
        (["1.jpg"], r"has no folder of a class; images go to .*/CLASS/\*.jpg"),
    ],
)
def test_folders_that_are_no_image_set_are_refused(home, made, message):
    for name in made:
        (home / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "images" / name).write_bytes(b"")
    with pytest.raises(ValueError, match=message):
        stored_set("folder:images")


def test_facts_of_arrays(home):
    images, labels = np.zeros((9, 8, 6), np.uint8), np.arange(9)
    np.savez(home / "one.npz", images=images, labels=labels)
    stored = stored_set("npz:one.npz")
    assert (stored.splits, stored.classes, stored.image_shape) == ({"train": 9}, 9, (8, 6))
    assert stored.channels == 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_arrays_with_more_channels_than_colours_are_refused(home, channels):
    images, labels = np.zeros((9, 8, 8, 4), np.uint8), np.arange(9)
    np.savez(home / "set.npz", images=images, labels=labels)
    changes = {"train_split": "train[:5]", "eval_split": "train[5:]", "batch_size": 4}
    with pytest.raises(ValueError, match=r"images of 4 channels, but only grey \(1\) and colour"):
        check_trainable(of(data="npz:set.npz", channels=channels, **changes))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(3)}, r"has the arrays x; it needs images and labels, or train_images"),
        (
            {"images": np.zeros((3, 8, 8)), "labels": np.arange(3)},
            r"images is float64 of shape \(3, 8, 8\); images are uint8",
        ),
        (
            {"images": np.zeros((3, 8, 8), np.uint8), "labels": np.arange(4)},
            r"labels is int64 of shape \(4,\); labels are whole numbers, one for each of the 3",
        ),
        (
            {"images": np.zeros((3, 8, 8), np.uint8), "labels": np.arange(3) - 1},
            r"labels holds -1; classes are counted from 0",
        ),
        (
            {"images": np.zeros((0, 8, 8), np.uint8), "labels": np.arange(0)},
            r"images of shape \(0, 8, 8\) holds no image; fill it, or take it and its labels away",
        ),
        (
            {"images": np.uint8(3), "labels": np.arange(3)},
            r"images is uint8 of shape \(\); images are uint8",
        ),
        (
            {
                "train_images": np.zeros((3, 8, 8), np.uint8),
                "test_images": np.zeros((3, 8, 8), np.uint8),
                "test_labels": np.arange(3),
            },
            r"has train_images without train_labels \(its arrays are .*\); add the labels, or take",
        ),
        (
            {
                "train_images": np.zeros((10, 8, 8), np.uint8),
                "train_labels": np.arange(10),
                "test_images": np.zeros((4, 8, 8), np.uint8),
                "test_labels": np.array([0, 12, 12, 11]),
            },
            r"train has 10 classes and test has 3; no image of train has the label 11, 12; number",
        ),
    ],
)
def test_other_arrays_are_refused(home, arrays, message):
    np.savez(home / "set.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        stored_set("npz:set.npz")


def test_a_file_that_is_no_npz_is_refused(home):
    (home / "set.npz").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"set.npz is not an .npz file"):
        stored_set("npz:set.npz")
