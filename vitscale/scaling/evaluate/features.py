"""Frozen features of a few-shot task, computed once for every probe that reads them."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PyTree

from vitscale.scaling.data.batch import FewshotTask, ImageSet
from vitscale.scaling.evaluate.finite import check_finite
from vitscale.scaling.evaluate.frozen import FrozenModel, Metric


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskFeatures:
    """Labelled features to learn from (`pool`) and to test on; labels are from 0 to `classes` - 1."""

    pool: Float[np.ndarray, "pool width"]
    pool_labels: Int[np.ndarray, " pool"]
    test: Float[np.ndarray, "test width"]
    test_labels: Int[np.ndarray, " test"]
    classes: int


Probe = Callable[[str, TaskFeatures], Iterator[Metric]]
"""Metrics of a task's features, by the task's name."""


def task_features(model: FrozenModel, task: FewshotTask) -> TaskFeatures:
    """Features of a task's pool and test images, padding (labels of -1) left out.

    Raises `NotFiniteError` where a feature is not finite, `ValueError` where a part is empty.
    """
    pool, pool_labels = _features(model, task.pool, "pool")
    test, test_labels = _features(model, task.test, "test")
    return TaskFeatures(
        pool=pool,
        pool_labels=pool_labels,
        test=test,
        test_labels=test_labels,
        classes=max(task.pool.classes, task.test.classes),
    )


def _features(
    model: FrozenModel, images: ImageSet, part: str
) -> tuple[Float[np.ndarray, "n width"], Int[np.ndarray, " n"]]:
    def forward(params: PyTree[Array], batch: ArrayLike) -> tuple[Array, Array]:
        features, logits = model.forward(params, batch)
        # Nobody reads the logits of a probe's images, which may be the larger part by far.
        return features, logits[:, :0]

    outputs = dataclasses.replace(model, forward=forward).outputs(images)
    labelled = outputs.labels >= 0
    if not labelled.any():
        raise ValueError(f"the {part} images of a few-shot task hold no labelled image")
    check_finite(outputs.features, f"features of {part} images")
    return outputs.features[labelled], outputs.labels[labelled]
