"""scikit-learn's handwritten digits as a TFDS data set: real images that need no download."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from vitscale.scaling.data.order import examples_at
from vitscale.scaling.data.tfds_writer import Encoded, write_tfds

SPLITS = {"train": 1197, "validation": 300, "test": 300}


def prepare_digits(data_dir: Path, name: str = "digits") -> Path:
    """Write the 1,797 digits (8 x 8 pixels, grey, PNG) as a data set, and return its folder.

    Raises `ValueError` where the name is taken.
    """
    from sklearn.datasets import load_digits  # a second of imports that nothing else here needs

    values, digits = (np.asarray(array) for array in load_digits(return_X_y=True))
    # 17 levels of grey, 0 to 16, to bytes.
    images = np.rint(values.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    order = examples_at(0, np.arange(len(images)), len(images))
    splits, start = {}, 0
    for split, examples in SPLITS.items():
        chosen = order[start : start + examples]
        splits[split] = [Encoded(f"{n}", _png(images[n]), int(digits[n])) for n in chosen]
        start += examples
    return write_tfds(
        name,
        splits,
        class_names=[str(digit) for digit in range(10)],
        shape=(8, 8, 1),
        description="Handwritten digits of E. Alpaydin and C. Kaynak, as scikit-learn ships them.",
        data_dir=data_dir,
    )


def _png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()
