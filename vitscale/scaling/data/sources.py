"""The data sets that a recipe can name: how to draw a training batch, and what to probe on.

A new source is one entry of `SOURCES` and one of `catalog.CATALOG`.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Array, Key

from vitscale.scaling.data import digits, glyphs
from vitscale.scaling.data.glyphs import Batch
from vitscale.scaling.evaluate.fewshot import FewshotTask


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """Images to train on and tasks to measure on.

    - `training_batch(key, size)`: a batch, drawn inside the jitted training step.
    - `evaluation_examples()`: fresh images of the training classes with their labels, as arrays.
    - `fewshot_tasks`: few-shot tasks by metric prefix; each is built when it is first needed.
    """

    training_batch: Callable[[Key[Array, ""], int], Batch]
    evaluation_examples: Callable[[], tuple[np.ndarray, np.ndarray]]
    fewshot_tasks: dict[str, Callable[[], FewshotTask]]


SOURCES: dict[str, Source] = {
    "glyphs": Source(
        training_batch=glyphs.training_batch,
        evaluation_examples=glyphs.evaluation_examples,
        fewshot_tasks={"glyphs": glyphs.held_out_task, "digits": digits.task},
    ),
}
