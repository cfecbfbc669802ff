"""Which part of an image is cut out: in training by chance, in evaluation its centre.

`inception` differs from TensorFlow's `sample_distorted_bounding_box`, which the papers' code calls, in
three ways: the area is uniform and the aspect ratio log-uniform, as in Szegedy et al., Going deeper with
convolutions, 2014, and in torchvision and timm (TensorFlow draws the ratio and then the height, both
uniformly, which favours large areas slightly less); it tries 10 times, not 100, before it takes the
whole image; and the part is resized with antialiasing.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from vitscale.scaling.data.draws import uniforms

TRIES = 10
ASPECT_RATIO = (3 / 4, 4 / 3)

# What each draw of an example is for: no two uses share a number.
_CROP_DRAWS, _PLACE_DRAWS = 0, 2 * TRIES
SHIFT_DRAWS, FLIP_DRAW = _PLACE_DRAWS + 2, _PLACE_DRAWS + 4


class Boxes(NamedTuple):
    """Parts of images in pixels, from the top left; whole numbers or not."""

    left: Float[np.ndarray, " n"]
    top: Float[np.ndarray, " n"]
    width: Float[np.ndarray, " n"]
    height: Float[np.ndarray, " n"]


def inception(
    seed: int,
    examples: Int[np.ndarray, " n"],
    heights: Int[np.ndarray, " n"],
    widths: Int[np.ndarray, " n"],
    *,
    min_area: float,
) -> Boxes:
    """Random parts of random shape: area from `min_area` of the image to all of it.

    `examples` are places in the stream, which the draws are a function of.
    """
    draws = uniforms(seed, examples, _CROP_DRAWS, 2 * TRIES)
    area = (min_area + (1 - min_area) * draws[:, :TRIES]) * (heights * widths)[:, None]
    low, high = np.log(ASPECT_RATIO)
    aspect = np.exp(low + (high - low) * draws[:, TRIES:])
    width, height = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (
        (width <= widths[:, None]) & (height <= heights[:, None]) & (np.minimum(width, height) > 0)
    )
    first, any_fits = np.argmax(fits, 1)[:, None], fits.any(1)
    width = np.where(any_fits, np.take_along_axis(width, first, 1)[:, 0], widths)
    height = np.where(any_fits, np.take_along_axis(height, first, 1)[:, 0], heights)
    place = uniforms(seed, examples, _PLACE_DRAWS, 2)
    left = np.floor(place[:, 0] * (widths - width + 1))
    top = np.floor(place[:, 1] * (heights - height + 1))
    return Boxes(left, top, width, height)


def central(
    heights: Int[np.ndarray, " n"],
    widths: Int[np.ndarray, " n"],
    *,
    image_size: int,
    crop_ratio: float,
) -> Boxes:
    """The central square that is left of an image after its short side has been resized to
    `image_size / crop_ratio` pixels, rounded, and `image_size` have been cut out of it."""
    resized = max(image_size, round(image_size / crop_ratio))
    side = np.minimum(heights, widths) * (image_size / resized)
    return Boxes((widths - side) / 2, (heights - side) / 2, side, side)


def whole(heights: Int[np.ndarray, " n"], widths: Int[np.ndarray, " n"]) -> Boxes:
    """All of each image."""
    zero = np.zeros(len(heights))
    return Boxes(zero, zero, widths.astype(float), heights.astype(float))
