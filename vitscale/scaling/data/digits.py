"""Real images for few-shot measurements: scikit-learn's 1,797 handwritten digits.

E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
1998. They come with scikit-learn as 8x8 images of 17 grey levels; nothing is downloaded.
"""

import functools

import numpy as np
from scipy import ndimage

from vitscale.scaling.data import glyphs
from vitscale.scaling.data.batch import FewshotTask, image_set

_SPLIT_SEED = 0
_POOL = 600


@functools.cache
def task() -> FewshotTask:
    """Ten digits at the size and value range of glyphs: 600 images to learn from, 1,197 to test on."""
    from sklearn.datasets import load_digits  # a second of imports that only measuring needs

    pixels, digits = (np.asarray(x) for x in load_digits(return_X_y=True))
    images = pixels.reshape(-1, 8, 8).astype(np.float32) / 8 - 1
    zoom = glyphs.IMAGE_SIZE / 8
    zoomed = ndimage.zoom(images, (1, zoom, zoom), order=1, grid_mode=True, mode="nearest")
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(images))
    images, labels = np.asarray(zoomed)[order][..., None], digits[order]
    return FewshotTask(
        pool=image_set(images[:_POOL], labels[:_POOL]),
        test=image_set(images[_POOL:], labels[_POOL:]),
    )
