"""Random pixels with random labels: images of any size to measure memory and speed on, never to learn from.

A recipe names them "pixels:CLASSES", as in "pixels:1000".
"""

import functools
from collections.abc import Generator

import numpy as np

from vitscale.scaling.data.batch import Batch, ImageSet, Source, image_set
from vitscale.scaling.data.catalog import pixel_classes
from vitscale.scaling.recipe import Recipe

_EVALUATION_EXAMPLES = 256
_EVALUATION_SEED = 0


def pixel_source(recipe: Recipe) -> Source:
    """Random images of the size and channels of `recipe`, handed over from the host as real ones are."""
    return Source(
        classes=pixel_classes(recipe.data),
        stream=functools.partial(_stream, recipe),
        evaluation=functools.partial(_evaluation, recipe),
        fewshot_tasks={},
    )


def _stream(
    recipe: Recipe, first_step: int = 0, host: int = 0, hosts: int = 1
) -> Generator[Batch, None, None]:
    step = first_step
    while True:
        rng = np.random.default_rng([recipe.seed, step, host])
        yield _draw(recipe, rng, recipe.batch_size // hosts)
        step += 1


def _evaluation(recipe: Recipe) -> ImageSet:
    rng = np.random.default_rng(_EVALUATION_SEED)
    batch = _draw(recipe, rng, _EVALUATION_EXAMPLES)
    return image_set(batch.images, batch.labels, classes=pixel_classes(recipe.data))


def _draw(recipe: Recipe, rng: np.random.Generator, examples: int) -> Batch:
    size = (examples, recipe.image_size, recipe.image_size, recipe.channels)
    labels = rng.integers(pixel_classes(recipe.data), size=examples)
    return Batch(rng.integers(256, size=size, dtype=np.uint8), labels.astype(np.int32))
