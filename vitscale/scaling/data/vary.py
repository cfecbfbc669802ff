"""How training images are cut and varied, by recipe."""

from typing import assert_never

import numpy as np
from jaxtyping import Int, UInt8

from vitscale.scaling.data import boxes
from vitscale.scaling.data.boxes import Boxes
from vitscale.scaling.data.draws import uniforms
from vitscale.scaling.data.randaugment import randaugmented
from vitscale.scaling.recipe import Recipe


def training_boxes(
    recipe: Recipe,
    places: Int[np.ndarray, " n"],
    heights: Int[np.ndarray, " n"],
    widths: Int[np.ndarray, " n"],
) -> Boxes:
    """The part of each image to cut out, for examples at these places of the stream.

    Raises `ValueError` where nothing is to be cut and an image has another size than the recipe.
    """
    match recipe.crop:
        case "none":
            refuse_other_sizes(recipe, heights, widths)
            return boxes.whole(heights, widths)
        case "inception":
            return boxes.inception(
                recipe.seed, places, heights, widths, min_area=recipe.crop_min_area
            )
        case "pad":
            return boxes.central(heights, widths, image_size=recipe.image_size, crop_ratio=1)
        case _:
            assert_never(recipe.crop)


def refuse_other_sizes(
    recipe: Recipe, heights: Int[np.ndarray, " n"], widths: Int[np.ndarray, " n"]
) -> None:
    """Raises `ValueError` where an image is not of the recipe's size."""
    size = recipe.image_size
    for height, width in zip(heights, widths, strict=True):
        if (height, width) != (size, size):
            raise ValueError(
                f"crop='none' takes images of image_size={size} as they are, but data="
                f"{recipe.data!r} has one of {height} x {width} pixels; use crop='inception' or "
                f"'pad', which resize" + (f", or image_size={width}" if height == width else "")
            )


def varied(
    recipe: Recipe,
    places: Int[np.ndarray, " n"],
    images: UInt8[np.ndarray, "n size size channels"],
) -> UInt8[np.ndarray, "n size size channels"]:
    """Images that have been cut out, shifted, flipped and augmented as the recipe says."""
    if recipe.crop == "pad":
        images = _shifted(recipe, places, images)
    if recipe.flip:
        flips = uniforms(recipe.seed, places, boxes.FLIP_DRAW, 1)[:, 0] < 0.5
        images = np.where(flips[:, None, None, None], images[:, :, ::-1], images)
    if recipe.randaugment_layers:
        images = randaugmented(
            images,
            recipe.seed,
            places,
            layers=recipe.randaugment_layers,
            magnitude=recipe.randaugment_magnitude,
        )
    return images


def _shifted(
    recipe: Recipe,
    places: Int[np.ndarray, " n"],
    images: UInt8[np.ndarray, "n size size channels"],
) -> UInt8[np.ndarray, "n size size channels"]:
    """Each image moved by up to an eighth of its size, with its reflection where it has gone."""
    size = recipe.image_size
    border = size // 8
    draws = uniforms(recipe.seed, places, boxes.SHIFT_DRAWS, 2)
    shifts = np.floor(draws * (2 * border + 1)).astype(np.int64) - border
    from_top, from_left = (shifts[:, axis, None] + np.arange(size) for axis in (0, 1))
    rows, columns = _reflected(from_top, size), _reflected(from_left, size)
    numbers = np.arange(len(images))[:, None, None]
    return images[numbers, rows[:, :, None], columns[:, None, :]]


def _reflected(positions: Int[np.ndarray, "n size"], size: int) -> Int[np.ndarray, "n size"]:
    """Positions outside of 0 to `size` - 1 mirrored at the first and the last pixel."""
    positions = np.abs(positions)
    return np.where(positions < size, positions, 2 * (size - 1) - positions)
