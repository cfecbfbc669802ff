"""From a folder of images to a TFDS data set that TFDS itself reads."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from data_samples import encoded, photo_folder, photo_tiles
from PIL import Image

from vitscale.scaling.data.image_folder import prepare_folder
from vitscale.scaling.data.kinds import stored_set


def read(folder: Path, split: str, **options: Any) -> list[dict[str, Any]]:
    """The examples of a split as any user of TFDS reads them."""
    builder: Any = tfds.builder_from_directory(folder)
    return list(builder.as_data_source(split=split, **options))


RAW = {"decoders": {"image": tfds.decode.SkipDecoding()}}


@pytest.fixture
def photos(tmp_path) -> Path:
    return photo_folder(tmp_path / "photos", 20)


def test_files_go_in_as_they_are_and_once(photos, tmp_path):
    prepared = prepare_folder("set", photos, data_dir=tmp_path, validation=0.25)
    assert prepared.splits == {"train": 30, "validation": 10}
    names = sorted(path.name for path in photos.iterdir())
    stored = []
    for split, examples in prepared.splits.items():
        raw = read(prepared.folder, split, **RAW)
        assert len(raw) == examples
        assert {int(e["label"]) for e in raw} == {0, 1}
        stored += [(names[int(e["label"])], e["image"]) for e in raw]
        # And decoded by TFDS, without TensorFlow.
        for example, other in zip(read(prepared.folder, split), raw, strict=True):
            assert example["image"].shape[2] == 3 and example["label"] == other["label"]
    files = [(path.parent.name, path.read_bytes()) for path in photos.rglob("*.jpg")]
    assert sorted(stored) == sorted(files)


def test_the_split_depends_on_the_names_of_files_alone(photos, tmp_path):
    kept = []
    for name in ("one", "two"):
        folder = prepare_folder(name, photos, data_dir=tmp_path).folder
        kept.append(sorted(e["image"] for e in read(folder, "validation", **RAW)))
    assert kept[0] == kept[1] and len(kept[0]) == 4


def test_splits_of_the_folder_are_kept(tmp_path):
    for split in ("train", "val", "test"):
        photo_folder(tmp_path / "photos" / split, 2)
    prepared = prepare_folder("set", tmp_path / "photos", data_dir=tmp_path)
    assert prepared.splits == {"train": 4, "validation": 4, "test": 4}


def test_images_of_one_size_and_grey_are_said_to_be(tmp_path, monkeypatch):
    monkeypatch.setenv("VITSCALE_DATA_DIR", str(tmp_path))
    for number in range(20):
        file = tmp_path / "grey" / "a" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((12, 10), number, np.uint8)).save(file)
    prepare_folder("set", tmp_path / "grey", data_dir=tmp_path)
    stored = stored_set("tfds:set")
    assert (stored.image_shape, stored.channels, stored.loader) == ((12, 10), 1, "decoded")


def test_other_kinds_of_images_are_encoded_anew(tmp_path):
    tile = photo_tiles(1)["flower"][0]
    deep = (np.arange(1600).reshape(40, 40) * 40).astype(np.uint16)
    files = {
        "cmyk.jpg": encoded(tile, "JPEG", "CMYK"),
        "grey.jpg": encoded(tile, "JPEG", "L"),
        "deep.png": encoded(deep, "PNG"),
        "palette.gif": encoded(tile, "GIF", "P"),
        "transparent.png": encoded(tile, "PNG", "RGBA"),
        "tiff.tif": encoded(tile, "TIFF"),
    }
    (tmp_path / "mixed" / "a").mkdir(parents=True)
    for name, content in files.items():
        (tmp_path / "mixed" / "a" / name).write_bytes(content)
    folder = prepare_folder("set", tmp_path / "mixed", data_dir=tmp_path, validation=0).folder
    examples = read(folder, "train")
    assert len(examples) == 6
    kinds = {example["image"].shape for example in examples}
    assert kinds == {(*tile.shape[:2], 3), (40, 40, 3)}
    assert sum(np.array_equal(example["image"], tile) for example in examples) == 2


def test_large_images_are_shrunk_and_small_ones_left(photos, tmp_path):
    folder = prepare_folder("set", photos, data_dir=tmp_path, max_side=64, validation=0).folder
    files = {path.read_bytes() for path in photos.rglob("*.jpg")}
    for example, raw in zip(read(folder, "train"), read(folder, "train", **RAW), strict=True):
        assert max(example["image"].shape) <= 64
        assert (raw["image"] in files) == (max(example["image"].shape) < 64)


def damage(photos: Path) -> list[Path]:
    cut, text, moving = (photos / "china" / name for name in ("003.jpg", "a.jpg", "b.gif"))
    cut.write_bytes(cut.read_bytes()[:600])
    text.write_text("<html>404</html>")
    frames = [Image.fromarray(np.full((9, 9), n, np.uint8)) for n in (0, 200)]
    frames[0].save(moving, save_all=True, append_images=frames[1:])
    return [cut, text, moving]


def test_damaged_files_are_all_named(photos, tmp_path):
    damage(photos)
    (photos / "flower" / "007.jpg").write_bytes(b"")
    with pytest.raises(ValueError) as refusal:
        prepare_folder("set", photos, data_dir=tmp_path, validation=0.5)
    message = str(refusal.value)
    assert message.startswith(f"{photos} holds files that are no readable image, 4 of 42: ")
    for name in ("china/003.jpg", "china/a.jpg", "china/b.gif", "flower/007.jpg"):
        assert message.count(f"{name} (") == 1
    assert message.endswith("or leave out all such files with --skip-corrupt")
    assert not (tmp_path / "set" / "1.0.0").exists()
    assert not list(tmp_path.glob(".preparing*"))


@pytest.mark.parametrize("damaged", [19, 20])
def test_of_many_damaged_files_the_first_are_named(tmp_path, damaged):
    photos = photo_folder(tmp_path / "photos", 12)
    for file in sorted(photos.rglob("*.jpg"))[:damaged]:
        file.write_bytes(b"")
    for number in range(3):
        (photos / "flower" / f"z{number}.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{damaged + 3} of 27: .* and {damaged - 17} more; rep"):
        prepare_folder("set", photos, data_dir=tmp_path, validation=0)


def test_a_split_of_damaged_files_alone_is_refused(tmp_path):
    photos = photo_folder(tmp_path / "photos" / "train", 2).parent
    photo_folder(photos / "val", 2)
    for file in (photos / "val").rglob("*.jpg"):
        file.write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"none of the files for 'validation' in .*photos is a read"
    ):
        prepare_folder("set", photos, data_dir=tmp_path, skip_corrupt=True)


def test_damaged_files_are_left_out_and_listed(photos, tmp_path):
    files = damage(photos)
    prepared = prepare_folder("set", photos, data_dir=tmp_path, skip_corrupt=True, validation=0)
    assert sorted(skipped.file for skipped in prepared.skipped) == sorted(files)
    reasons = {skipped.file.name: skipped.reason for skipped in prepared.skipped}
    assert reasons["b.gif"] == "it has several frames; keep one"
    assert reasons["a.jpg"] == "its bytes are of no image format that Pillow knows"
    assert prepared.splits == {"train": 39} and len(read(prepared.folder, "train")) == 39


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("My-Set", {}, r"'My-Set' cannot name a TFDS data set; use lower case letters"),
        ("taken", {}, r"taken/1.0.0 exists already; take it away to prepare 'taken' anew"),
        ("photos", {}, r"photos is where the data set 'photos' would be written; choose another"),
        ("set", {"validation": 1.0}, r"validation=1.0 is not a part of each class"),
        ("set", {"validation": 0.01}, r"too few images for validation=0.01 of each class"),
        ("set", {"max_side": 0}, r"max_side=0 is not a number of pixels"),
    ],
)
def test_what_cannot_be_prepared_is_refused(photos, tmp_path, name, options, message):
    (tmp_path / "taken" / "1.0.0").mkdir(parents=True)
    with pytest.raises(ValueError, match=message):
        prepare_folder(name, photos, data_dir=tmp_path, **options)


_KILLED = """
import sys, time
from pathlib import Path
from vitscale.scaling.data.image_folder import prepare_folder
def report(done, total):
    print(done, file=sys.stderr, flush=True)
    if done == 25:
        time.sleep(60)
prepare_folder("set", Path(sys.argv[1]), data_dir=Path(sys.argv[2]), report=report)
"""


def test_what_is_killed_leaves_no_set_and_can_be_started_again(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("VITSCALE_DATA_DIR", str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, photos, tmp_path], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.strip() == "25":
            break
    with pytest.raises(ValueError, match=r"another process is preparing 'set'"):
        prepare_folder("set", photos, data_dir=tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    with pytest.raises(ValueError, match=r"data='tfds:set' is not in"):
        stored_set("tfds:set")
    assert prepare_folder("set", photos, data_dir=tmp_path).splits == {"train": 36, "validation": 4}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "set"]
