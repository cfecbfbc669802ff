"""Training batches and images to measure on, from small real sets made on the spot."""

import contextlib
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from data_samples import encoded, photo_folder, photo_tiles, recipe
from sklearn.datasets import load_digits

from vitscale.scaling.data.batch import Batch
from vitscale.scaling.data.digit_set import prepare_digits
from vitscale.scaling.data.image_folder import prepare_folder
from vitscale.scaling.data.kinds import stored_set
from vitscale.scaling.data.selection import metric_prefix, selection_of
from vitscale.scaling.data.sources import source_for
from vitscale.scaling.data.streams import stream, training_examples
from vitscale.scaling.recipe import Recipe

VARIED = {"crop": "inception", "flip": True, "randaugment_layers": 1, "randaugment_magnitude": 5}
PHOTOS = {"data": "tfds:photos", "channels": 3, "image_size": 32, "batch_size": 36, **VARIED}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    prepare_digits(folder)
    photos = photo_folder(folder / "photos-as-files", 30)
    prepare_folder("photos", photos, data_dir=folder, validation=0.2)
    return folder


@pytest.fixture(autouse=True)
def at_home(data_dir, monkeypatch):
    monkeypatch.setenv("VITSCALE_DATA_DIR", str(data_dir))
    monkeypatch.setenv("VITSCALE_CACHE_DIR", str(data_dir / "cache"))


def batches(of: Recipe, count: int, *place: int) -> list[Batch]:
    read = source_for(of).stream
    assert read is not None
    with contextlib.closing(read(*place)) as stream:
        return list(itertools.islice(stream, count))


def assert_equal(ours: Batch, theirs: Batch) -> None:
    np.testing.assert_array_equal(ours.images, theirs.images)
    np.testing.assert_array_equal(ours.labels, theirs.labels)


KINDS = [
    pytest.param(recipe(crop="pad", flip=True), id="decoded"),
    pytest.param(recipe(image_size=12, **VARIED), id="decoded-resized"),
    pytest.param(recipe(**PHOTOS), id="encoded"),
    pytest.param(
        recipe(
            **PHOTOS | {"data": "folder:photos-as-files"},
            train_split="train[:80%]",
            eval_split="train[80%:]",
        ),
        id="folder",
    ),
]


@pytest.mark.parametrize("of", KINDS)
def test_a_run_resumes_anywhere(of):
    straight = batches(of, 30)
    resumed = batches(of, 4, 26)
    for ours, theirs in zip(resumed, straight[26:], strict=True):
        assert_equal(ours, theirs)
    assert straight[0].images.dtype == np.uint8
    assert straight[0].images.shape == (of.batch_size, of.image_size, of.image_size, of.channels)
    assert not np.array_equal(straight[0].images, straight[1].images)


@pytest.mark.parametrize("of", KINDS)
def test_hosts_share_each_batch(of):
    whole = batches(of, 3, 5)
    parts = [batches(of, 3, 5, host, 4) for host in range(4)]
    for step in range(3):
        joined = [
            np.concatenate(arrays) for arrays in zip(*(part[step] for part in parts), strict=True)
        ]
        assert_equal(Batch(*joined), whole[step])


@pytest.mark.parametrize("of", KINDS)
def test_seeds_change_order_and_augmentation(of):
    first, other = (batches(dataclasses.replace(of, seed=seed), 1)[0] for seed in (0, 1))
    assert not np.array_equal(first.images, other.images)


@pytest.mark.parametrize(
    "changes", [{"crop": "none"}, {"crop": "pad"}, {"crop": "inception", "image_size": 14}]
)
def test_both_loaders_give_the_same_images(changes):
    of = recipe(flip=True, **changes)
    selection = selection_of(of)
    assert selection.stored.loader == "decoded"
    # Without a size in common the images go the way of large ones.
    encoded_set = dataclasses.replace(selection.stored, image_shape=None)
    assert encoded_set.loader == "encoded"
    ours = training_examples(of, selection)(np.arange(500, 560))
    theirs = training_examples(of, dataclasses.replace(selection, stored=encoded_set))(
        np.arange(500, 560)
    )
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert np.abs(ours.images.astype(int) - theirs.images).max() <= 1


def test_an_epoch_has_every_digit_once():
    of = recipe(batch_size=57, crop="none")  # 21 batches of 57 are the 1,197 examples
    read = batches(of, 21)
    everything: Any = tfds.builder_from_directory(
        Path(os.environ["VITSCALE_DATA_DIR"]) / "digits/1.0.0"
    )
    examples = everything.as_data_source(split="train")  # decoded by TFDS
    theirs = sorted((int(e["label"]), e["image"].tobytes()) for e in examples)
    ours = sorted(
        (int(label), image.tobytes()) for batch in read for image, label in zip(*batch, strict=True)
    )
    assert ours == theirs


def test_splits_of_the_digits_are_scikit_learns():
    source = source_for(recipe(eval_split="validation+test", train_split="train"))
    task = source.fewshot_tasks["digits"]()
    seen = [
        (int(label), image.tobytes())
        for images in (task.pool, task.test)
        for batch in images.batches(100)
        for image, label in zip(*batch, strict=True)
    ]
    pixels, digits = load_digits(return_X_y=True)
    levels = np.rint(np.asarray(pixels) * 255 / 16).astype(np.uint8)
    assert sorted(seen) == sorted(
        (int(digit), image.tobytes()) for image, digit in zip(levels, digits, strict=True)
    )


@pytest.mark.parametrize("size", [7, 100, 10_000])
@pytest.mark.parametrize("of", KINDS)
def test_evaluation_is_read_in_order_any_number_of_times(of, size):
    images = source_for(of).evaluation()
    once, again = ([*images.batches(n)] for n in (size, 50))
    once, again = (Batch(*map(np.concatenate, zip(*parts, strict=True))) for parts in (once, again))
    assert_equal(once, again)
    assert len(once.labels) == images.examples
    assert set(once.labels.tolist()) == set(range(images.classes))


def test_a_slice_of_the_pool_is_drawn_from():
    of = recipe(train_split="train[100:300]", eval_split="train[:100]+test")
    task = source_for(of).fewshot_tasks["digits"]()
    assert (task.pool.examples, task.test.examples) == (200, 400)


def test_probes_on_other_sets_take_the_size_and_channels_of_the_recipe():
    of = recipe(fewshot_data=("tfds:photos", "tfds:digits"), image_size=20, crop="pad")
    tasks = source_for(of).fewshot_tasks
    assert list(tasks) == ["photos", "digits"]
    batch = next(tasks["photos"]().test.batches(5))
    assert batch.images.shape == (5, 20, 20, 1)


@pytest.mark.parametrize(
    ("data", "prefix"),
    [
        ("tfds:imagenet_resized/32x32:0.1.0", "imagenet_resized_32x32"),
        ("folder:/data/My Birds/", "my_birds"),
        ("npz:some/cifar-10.npz", "cifar_10"),
    ],
)
def test_metrics_are_named_by_their_set(data, prefix):
    assert metric_prefix(data) == prefix


@pytest.mark.parametrize("of", KINDS)
def test_closing_ends_the_threads(of):
    before = set(threading.enumerate())
    read = source_for(of).stream
    assert read is not None
    opened = read()
    next(opened)
    opened.close()
    left = [t for t in threading.enumerate() if t not in before and t.name.startswith("prefetched")]
    assert left == []
    with pytest.raises(StopIteration):
        next(opened)


def test_batches_cannot_be_shared_by_a_number_that_does_not_divide_them():
    of = recipe()
    with pytest.raises(ValueError, match="batch_size=48 cannot be shared equally by 5 hosts"):
        stream(of, selection_of(of), 0, 0, 5)


def npz(folder: Path, images: np.ndarray, labels: np.ndarray) -> str:
    np.savez_compressed(
        folder / "set.npz",
        train_images=images,
        train_labels=labels,
        test_images=images,
        test_labels=labels,
    )
    return f"npz:{folder / 'set.npz'}"


@pytest.mark.parametrize("side", [16, 80])
def test_arrays_come_as_they_are(tmp_path, side):
    images = np.random.default_rng(0).integers(0, 256, (40, side, side, 3), np.uint8)
    labels = np.arange(40)
    of = recipe(data=npz(tmp_path, images, labels), image_size=side, channels=3, batch_size=40)
    batch = batches(of, 1)[0]
    np.testing.assert_array_equal(batch.images, images[batch.labels])
    assert sorted(batch.labels) == list(range(40))


@pytest.mark.parametrize(("side", "held"), [(80, True), (16, False)])
def test_large_arrays_stay_in_memory_until_their_file_changes(tmp_path, side, held):
    data = npz(tmp_path, np.zeros((4, side, side), np.uint8), np.arange(4))
    first, again = (stored_set(data).records("train").read([1])[0].image for _ in range(2))
    assert np.shares_memory(first, again) == held
    npz(tmp_path, np.full((4, side, side), 9, np.uint8), np.arange(4))
    image = stored_set(data).records("train").read([1])[0].image
    assert isinstance(image, np.ndarray) and (image == 9).all()


@pytest.mark.parametrize("size", [10, 40])
def test_grey_arrays_are_pictures_too(tmp_path, size):
    images = np.random.default_rng(0).integers(0, 256, (12, 10, 10), np.uint8)
    of = recipe(
        data=npz(tmp_path, images, np.arange(12) % 3), batch_size=12, image_size=size, crop="pad"
    )
    assert batches(of, 1)[0].images.shape == (12, size, size, 1)


def test_a_damaged_file_is_named_when_it_is_read(tmp_path):
    photo_folder(tmp_path / "test", 1)
    damaged = photo_folder(tmp_path / "train", 4) / "china" / "003.jpg"
    damaged.write_bytes(damaged.read_bytes()[:400])
    of = recipe(**PHOTOS | {"data": f"folder:{tmp_path}", "batch_size": 4})
    with pytest.raises(
        ValueError, match=rf"{damaged} is not a readable image \(.*\); repair it or"
    ):
        batches(of, 2)


def test_an_image_of_another_size_is_named_when_none_is_cut(tmp_path):
    of = recipe(
        data="folder:photos-as-files",
        channels=3,
        train_split="train[:9]",
        eval_split="test",
        batch_size=3,
    )
    of = dataclasses.replace(of, eval_split="train[9:]")
    with pytest.raises(
        ValueError, match=r"crop='none' takes images of image_size=8 as they are, but"
    ):
        batches(of, 3)


def test_a_label_that_is_no_class_is_named(data_dir, tmp_path, monkeypatch):
    digits = tmp_path / "digits" / "1.0.0"
    digits.mkdir(parents=True)
    for file in (data_dir / "digits" / "1.0.0").iterdir():
        (digits / file.name).write_bytes(file.read_bytes())
    features = (digits / "features.json").read_text()
    (digits / "features.json").write_text(features.replace('"10"', '"7"'))
    monkeypatch.setenv("VITSCALE_DATA_DIR", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"example \d+ of split 'train' in .* has label \d, but the set has 7"
    ):
        batches(recipe(), 1)


def test_a_background_error_reaches_the_reader_at_once_and_again(tmp_path):
    of = recipe(
        data="folder:photos-as-files",
        channels=3,
        train_split="train[:9]",
        eval_split="train[9:]",
        batch_size=3,
    )
    read = source_for(of).stream
    assert read is not None
    opened = read()
    with pytest.raises(ValueError, match="crop='none'"):
        next(opened)
    with pytest.raises(StopIteration):
        next(opened)


_ALONE = """
import itertools, json, sys
from vitscale.scaling.data.catalog import check_trainable
from vitscale.scaling.recipe import Recipe
of = Recipe(**json.loads(sys.argv[1]))
check_trainable(of)
heavy = {"jax", "flax", "grain", "tensorflow_datasets", "sklearn"} & set(sys.modules)
from vitscale.scaling.data.sources import source_for
if __name__ == "__main__":
    stream = source_for(of).stream(3)
    batches = list(itertools.islice(stream, 4))
    stream.close()
    print(json.dumps([sorted(heavy), "tensorflow" in sys.modules,
                      [batch.images.astype(int).sum().item() for batch in batches]]))
"""


@pytest.mark.parametrize(
    "workers", [0, pytest.param(2, marks=pytest.mark.slow)], ids=["threads", "processes"]
)
def test_nothing_heavy_to_check_and_no_tensorflow_to_read(tmp_path, workers):
    of = recipe(**PHOTOS)
    script = tmp_path / "alone.py"
    script.write_text(_ALONE)
    done = subprocess.run(
        [sys.executable, script, json.dumps(dataclasses.asdict(of))],
        env=os.environ | {"VITSCALE_DATA_WORKERS": str(workers)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sums = [batch.images.astype(int).sum().item() for batch in batches(of, 4, 3)]
    assert json.loads(done.stdout) == [[], False, sums]


def test_decoded_images_are_made_once_and_whole(data_dir, monkeypatch, tmp_path):
    monkeypatch.setenv("VITSCALE_CACHE_DIR", str(tmp_path))
    batches(recipe(), 1)
    [folder] = (tmp_path / "decoded").iterdir()
    made = folder.stat().st_mtime_ns
    batches(recipe(seed=3), 1)
    assert [f.name for f in (tmp_path / "decoded").iterdir()] == [folder.name]
    assert folder.stat().st_mtime_ns == made
    images = np.load(folder / "images.npy", mmap_mode="r")
    assert images.shape == (1197, 8, 8, 1)
    monkeypatch.setattr("vitscale.scaling.data.decoded.DECODING_VERSION", 0)
    batches(recipe(), 1)
    assert len(list((tmp_path / "decoded").iterdir())) == 2


def test_sixteen_bits_palettes_and_inks_become_bytes_of_grey_or_colour(tmp_path):
    tile = photo_tiles(1)["flower"][0][:40, :40]
    deep = (np.arange(1600).reshape(40, 40) * 40).astype(np.uint16)
    files = {
        "ink/a.jpg": encoded(tile, "JPEG", "CMYK"),
        "deep/a.png": encoded(deep, "PNG"),
        "palette/a.gif": encoded(tile, "GIF", "P"),
        "transparent/a.png": encoded(tile, "PNG", "RGBA"),
    }
    for split, (file, content) in itertools.product(("train", "test"), files.items()):
        (tmp_path / split / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / split / file).write_bytes(content)
    of = recipe(data=f"folder:{tmp_path}", image_size=40, channels=3, crop="pad", batch_size=4)
    batch = next(source_for(of).evaluation().batches(4))
    grey, ink, palette, transparent = batch.images[np.argsort(batch.labels)].astype(int)
    np.testing.assert_array_equal(transparent, tile)
    np.testing.assert_array_equal(grey[..., 0], deep >> 8)
    assert np.abs(ink - tile).mean() < 6 and np.abs(palette - tile).mean() < 20
