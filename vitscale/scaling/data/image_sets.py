"""Parts of a stored data set to measure on, read in order and without chance."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from vitscale.scaling.data.batch import Batch, ImageSet
from vitscale.scaling.data.boxes import Boxes, central
from vitscale.scaling.data.examples import squares_of
from vitscale.scaling.data.splits import Part
from vitscale.scaling.data.stored import StoredSet
from vitscale.scaling.recipe import Recipe


def stored_images(stored: StoredSet, parts: tuple[Part, ...], recipe: Recipe) -> ImageSet:
    """The examples of `parts` at the recipe's image size: resized, and cut at the centre.

    They are read anew each time they are asked for, a batch at a time.
    """
    examples = sum(part.examples for part in parts)
    squares = squares_of(stored, parts, image_size=recipe.image_size, channels=recipe.channels)

    def boxes_of(heights: Int[np.ndarray, " n"], widths: Int[np.ndarray, " n"]) -> Boxes:
        return central(
            heights, widths, image_size=recipe.image_size, crop_ratio=recipe.eval_crop_ratio
        )

    def batches(size: int) -> Iterator[Batch]:
        for start in range(0, examples, size):
            numbers = np.arange(start, min(start + size, examples))
            yield Batch(*squares(numbers, boxes_of))

    return ImageSet(examples=examples, classes=stored.classes, batches=batches)
