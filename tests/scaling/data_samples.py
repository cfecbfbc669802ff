"""Small real image sets, made on the spot."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from vitscale.scaling.recipe import Recipe


def recipe(**changes: Any) -> Recipe:
    """A recipe for the digits of `vitscale data digits`, with some fields changed."""
    fields: dict[str, Any] = {
        "data": "tfds:digits",
        "image_size": 8,
        "channels": 1,
        "batch_size": 48,
        "learning_rate": 1e-3,
        "warmup_steps": 1,
        "cooldown_steps": 1,
    }
    return Recipe(**(fields | changes))


def photo_tiles(count: int) -> dict[str, list[np.ndarray]]:
    """Parts of scikit-learn's two photographs, of many sizes, by photograph."""
    rng = np.random.default_rng(0)
    tiles: dict[str, list[np.ndarray]] = {}
    for name, photo in zip(("china", "flower"), load_sample_images().images, strict=True):
        tiles[name] = []
        for _ in range(count):
            height, width = rng.integers(40, 160, 2)
            top, left = (
                rng.integers(0, photo.shape[axis] - (height, width)[axis]) for axis in (0, 1)
            )
            tiles[name].append(photo[top : top + height, left : left + width])
    return tiles


def photo_folder(folder: Path, count: int) -> Path:
    """`count` JPEG files of each photograph in a folder of its name."""
    for name, tiles in photo_tiles(count).items():
        (folder / name).mkdir(parents=True)
        for number, tile in enumerate(tiles):
            (folder / name / f"{number:03d}.jpg").write_bytes(encoded(tile, "JPEG"))
    return folder


def encoded(pixels: np.ndarray, kind: str, mode: str | None = None) -> bytes:
    """Pixels as the bytes of an image file."""
    image, out = Image.fromarray(pixels), io.BytesIO()
    (image.convert(mode) if mode else image).save(out, kind)
    return out.getvalue()
