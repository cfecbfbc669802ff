"""The data sets that a recipe can name: how to draw a training batch, and what to probe on.

A new source is one entry of `SOURCES`.
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

    classes: int
    image_size: int
    channels: int
    training_batch: Callable[[Key[Array, ""], int], Batch]
    evaluation_examples: Callable[[], tuple[np.ndarray, np.ndarray]]
    fewshot_tasks: dict[str, Callable[[], FewshotTask]]


SOURCES: dict[str, Source] = {
    "glyphs": Source(
        classes=glyphs.CLASSES,
        image_size=glyphs.IMAGE_SIZE,
        channels=glyphs.CHANNELS,
        training_batch=glyphs.training_batch,
        evaluation_examples=glyphs.evaluation_examples,
        fewshot_tasks={"glyphs": glyphs.held_out_task, "digits": digits.task},
    ),
}


def source_for(data: str, *, image_size: int, channels: int) -> Source:
    """The source named `data`; raises `ValueError` where it is unknown or its images differ."""
    if data not in SOURCES:
        raise ValueError(
            f"data={data!r} cannot be trained on here (JFT-3B, for one, is not public, so the "
            f"presets of the paper are for planning only); choose from {', '.join(SOURCES)}"
        )
    source = SOURCES[data]
    if (image_size, channels) != (source.image_size, source.channels):
        raise ValueError(
            f"data={data!r} has images of {source.image_size} pixels and {source.channels} "
            f"channels; set image_size={source.image_size} and channels={source.channels} "
            f"(got {image_size} and {channels})"
        )
    return source
