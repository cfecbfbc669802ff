"""How many images a second are read, cut and varied, and does training wait for them?

Each way of reading gives batches of 128 by the same recipe (a random part of random shape, resized;
flipped), on one machine, in alternating rounds:

- vitscale, by data set: decoded once (small images) or by Grain (others);
- Grain as its documentation has it: `MapDataset` over a TFDS data source, shuffle, map, batch;
- a loop over files with Pillow in two processes, batches sent to a third, as PyTorch's DataLoader does.

Then ViTs are trained on both sets, and the part of the time that the step waits for its batch is taken.

    uv run python benchmarks/loaders.py                   # about 3 minutes
"""

import argparse
import contextlib
import io
import itertools
import json
import math
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

BATCH = 128
SETS = {"small": (6000, 32, 32, "PNG"), "large": (768, 256, 224, "JPEG")}
"""Images, pixels along a side, pixels along a side when cut, file format."""


def smooth_image(rng: np.random.Generator, side: int) -> np.ndarray:
    """Random clouds of colour, which take about as many bytes as a photograph."""
    coarse = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8))
    clouds = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(np.int16)
    return np.clip(clouds + rng.integers(-12, 13, clouds.shape), 0, 255).astype(np.uint8)


def prepare(folder: Path) -> None:
    """Both sets, as files and in the TFDS format."""
    from vitscale.scaling.data.image_folder import prepare_folder

    rng = np.random.default_rng(0)
    for name, (count, side, _, kind) in SETS.items():
        for number in range(count):
            file = folder / f"{name}-files" / str(number % 10) / f"{number}.{kind.lower()}"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(smooth_image(rng, side)).save(file, kind)
        prepare_folder(name, folder / f"{name}-files", data_dir=folder, validation=0.1)


def recipe_of(name: str):
    from vitscale.scaling.recipe import Recipe

    return Recipe(
        data=f"tfds:{name}",
        image_size=SETS[name][2],
        batch_size=BATCH,
        learning_rate=1e-3,
        warmup_steps=1,
        cooldown_steps=1,
        crop="inception",
        flip=True,
    )


@contextlib.contextmanager
def vitscale_batches(name: str, folder: Path) -> Iterator[Iterator[object]]:
    from vitscale.scaling.data.sources import source_for

    stream = source_for(recipe_of(name)).stream
    assert stream is not None
    with contextlib.closing(stream()) as batches:
        yield batches


@contextlib.contextmanager
def grain_batches(name: str, folder: Path) -> Iterator[Iterator[object]]:
    import grain
    import tensorflow_datasets as tfds

    size = SETS[name][2]
    builder: Any = tfds.builder_from_directory(folder / name / "1.0.0")

    def vary(example: dict, rng: np.random.Generator) -> dict:
        # A generator of numpy has the two methods that `pillow_crop` uses of Python's.
        image = pillow_crop(Image.fromarray(example["image"]), size, rng)
        return {"image": image, "label": example["label"]}

    examples = grain.MapDataset.source(builder.as_data_source(split="train")).seed(0)
    batches = examples.shuffle().repeat().random_map(vary).batch(BATCH)
    iterator = iter(batches.to_iter_dataset())
    try:
        yield iterator
    finally:
        iterator.close()


@contextlib.contextmanager
def process_batches(name: str, folder: Path) -> Iterator[Iterator[object]]:
    files = sorted((folder / f"{name}-files").rglob("*.*"))
    rng = random.Random(0)
    picks = ([str(rng.choice(files)) for _ in range(BATCH)] for _ in itertools.count())
    jobs = zip(picks, itertools.repeat(SETS[name][2]))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        # Two batches under way for each process, as DataLoader's prefetch_factor has it.
        ahead = [pool.apply_async(read_files, next(jobs)) for _ in range(4)]

        def batches() -> Iterator[object]:
            while True:
                yield ahead.pop(0).get()
                ahead.append(pool.apply_async(read_files, next(jobs)))

        yield batches()


def read_files(files: list[str], size: int) -> tuple[np.ndarray, np.ndarray]:
    images = [pillow_crop(Image.open(file).convert("RGB"), size, random) for file in files]
    return np.stack(images), np.array([int(Path(file).parent.name) for file in files])


def pillow_crop(image: Image.Image, size: int, rng) -> np.ndarray:
    """torchvision's RandomResizedCrop and RandomHorizontalFlip."""
    width, height = image.size
    for _ in range(10):
        area = rng.uniform(0.05, 1) * width * height
        aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            break
    else:
        w, h = width, height
    left, top = int(rng.uniform(0, width - w + 1)), int(rng.uniform(0, height - h + 1))
    box = (left, top, left + w, top + h)
    image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    if rng.uniform(0, 1) < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(image)


READERS = {
    "vitscale": vitscale_batches,
    "Grain": grain_batches,
    "Pillow, 2 processes": process_batches,
}


def images_per_second(name: str, reader: str, folder: Path, seconds: float) -> float:
    """Images that come in `seconds`, once the first batches have."""
    with READERS[reader](name, folder) as batches:
        for _ in range(8):
            next(batches)
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            next(batches)
            count += BATCH
        return count / (time.perf_counter() - began)


def waiting(name: str, width: int, depth: int, steps: int) -> dict[str, float]:
    """Part of the time that training waits for batches, and its images a second."""
    from vitscale.scaling.data.sources import source_for
    from vitscale.scaling.feed import device_batches
    from vitscale.scaling.schedule import NEVER
    from vitscale.scaling.shape import Shape
    from vitscale.scaling.train import Run, training_for

    recipe = recipe_of(name)
    patch = 4 if name == "small" else 32
    shape = Shape(width=width, depth=depth, mlp_dim=2 * width, heads=width // 32, patch=patch)
    training = training_for(shape, recipe)
    run = Run(np.uint32(0), np.float32(1e-3), np.float32(NEVER), np.float32(0))
    with contextlib.closing(device_batches([source_for(recipe)], training.mesh, 0)) as batches:
        state = training.init(0)
        for _ in range(3):
            state, loss = training.step(state, run, next(batches))
            loss.block_until_ready()
        waited, began = 0.0, time.perf_counter()
        for _ in range(steps):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            state, loss = training.step(state, run, batch)
            loss.block_until_ready()
        elapsed = time.perf_counter() - began
    return {"part": waited / elapsed, "images_per_second": steps * BATCH / elapsed}


def main() -> None:
    """Print one JSON object: images a second of every reader, and how long training waits."""
    parser = argparse.ArgumentParser(description="How fast images are read, beside peers.")
    parser.add_argument("--seconds", type=float, default=4, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"VITSCALE_DATA_DIR": home, "VITSCALE_CACHE_DIR": f"{home}/cache"}
        with contextlib.redirect_stdout(io.StringIO()):
            prepare(Path(home))
        read: dict[str, dict[str, list[float]]] = {}
        for _, name, reader in itertools.product(range(arguments.rounds), SETS, READERS):
            rate = images_per_second(name, reader, Path(home), arguments.seconds)
            print(f"{name}, {reader}: {rate:.0f} images/s", file=sys.stderr, flush=True)
            read.setdefault(name, {}).setdefault(reader, []).append(rate)
        best = {
            name: {reader: max(r) for reader, r in rates.items()} for name, rates in read.items()
        }
        trained = {
            "small, width 64, depth 2": waiting("small", 64, 2, 30),
            "large, width 192, depth 6": waiting("large", 192, 6, 15),
        }
    load = os.getloadavg()[0]
    print(json.dumps({"images_per_second": best, "training": trained, "load": load}, indent=2))


if __name__ == "__main__":
    main()
