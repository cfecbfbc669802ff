"""A trained model as evaluators see it: images in, features and logits out."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PyTree

from vitscale.scaling.data.batch import ImageSet, Source
from vitscale.scaling.recipe import Recipe
from vitscale.scaling.shape import Shape

FORWARD_BATCH = 512


class Outputs(NamedTuple):
    """What a model makes of a set of images, in the set's order, in float32."""

    features: Float[np.ndarray, "n width"]
    logits: Float[np.ndarray, "n classes"]
    labels: Int[np.ndarray, " n"]


class Metric(NamedTuple):
    """One number that an evaluator gives; `sd` is over the `draws` of the metric's own randomness."""

    name: str
    value: float
    sd: float | None = None
    draws: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrozenModel:
    """A model whose training is over.

    - `classes`: outputs of its classifier.
    - `forward(params, images)`: frozen features, (batch, width), and logits, (batch, classes).
    """

    shape: Shape
    recipe: Recipe
    classes: int
    params: PyTree[Array]
    forward: Callable[[PyTree[Array], ArrayLike], tuple[Array, Array]]

    def outputs(self, images: ImageSet) -> Outputs:
        """Features and logits of all `images`, one batch after the other."""
        parts = []
        for batch in images.batches(FORWARD_BATCH):
            # The last batch is filled up, so that one size, and one compilation, serves all.
            size = len(batch.labels)
            full = np.resize(batch.images, (FORWARD_BATCH, *batch.images.shape[1:]))
            features, logits = self.forward(self.params, full)
            parts.append((np.asarray(features)[:size], np.asarray(logits)[:size], batch.labels))
        features, logits, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Outputs(features.astype(np.float32), logits.astype(np.float32), labels)


Evaluator = Callable[[FrozenModel, Source], Iterator[Metric]]
"""Metrics of a model on what its source offers to measure on."""
