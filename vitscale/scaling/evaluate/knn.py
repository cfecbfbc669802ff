"""k-nearest-neighbour error of frozen features: a cosine vote, weighted by temperature.

p(y | x) is proportional to the sum of exp(cos(x, x_j) / 0.05) over those of the k nearest training
examples x_j that are of class y, with k from 10 to 30 chosen by cross-validation: Grafit
(Touvron et al. 2020, arXiv 2011.12982, kNN evaluation).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from vitscale.scaling.evaluate.features import TaskFeatures
from vitscale.scaling.evaluate.frozen import Metric

NEIGHBOURS = (10, 15, 20, 25, 30)
TEMPERATURE = 0.05
LEAVE_ONE_OUT_EXAMPLES = 2048
"""Pool examples, spread evenly, on which k is judged, each left out of its own neighbours."""

_SIMILARITIES = 2**24  # held at once


def metrics(name: str, features: TaskFeatures) -> Iterator[Metric]:
    """`<task>_knn_error`: with the whole pool as neighbours, and k chosen by leaving one of it out."""
    pool = _unit_length(features.pool)
    counts = _possible_counts(len(pool))
    step = -(-len(pool) // LEAVE_ONE_OUT_EXAMPLES)
    own = np.arange(step // 2, len(pool), step)
    labels, classes = features.pool_labels, features.classes
    votes = neighbour_votes(pool[own], pool, labels, counts, classes=classes, own=own)
    best = counts[int((votes != labels[own]).mean(1).argmin())]
    test = _unit_length(features.test)
    predicted = neighbour_votes(test, pool, labels, (best,), classes=classes)[0]
    yield Metric(f"{name}_knn_error", float(np.mean(predicted != features.test_labels)))


def neighbour_votes(
    queries: Float[np.ndarray, "m d"],
    pool: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    counts: Sequence[int],
    *,
    classes: int,
    own: Int[np.ndarray, " m"] | None = None,
) -> Int[np.ndarray, "counts m"]:
    """The class that the nearest neighbours of each query vote for, for each number of neighbours.

    - `queries`, `pool`: rows of length 1. `labels`: those of the pool, from 0 to `classes` - 1.
    - `counts`: numbers of neighbours, ascending, fewer than the pool has examples.
    - `own`: the place of each query in the pool, which is then no neighbour of its own.
    """
    predicted = np.empty((len(counts), len(queries)), np.int64)
    block = max(1, _SIMILARITIES // max(len(pool), classes))
    for start in range(0, len(queries), block):
        part = slice(start, start + block)
        similarity = queries[part] @ pool.T
        if own is not None:
            similarity[np.arange(len(similarity)), own[part]] = -np.inf
        predicted[:, part] = _votes(similarity, labels, counts, classes)
    return predicted


def _votes(
    similarity: Float[np.ndarray, "m n"],
    labels: Int[np.ndarray, " n"],
    counts: Sequence[int],
    classes: int,
) -> Int[np.ndarray, "counts m"]:
    rows = np.arange(len(similarity))[:, None]
    nearest = np.argpartition(-similarity, counts[-1] - 1, axis=1)[:, : counts[-1]]
    nearest = nearest[rows, np.argsort(-similarity[rows, nearest], axis=1, kind="stable")]
    near = similarity[rows, nearest].astype(np.float64)
    weights = np.exp((near - near[:, :1]) / TEMPERATURE)
    cells = rows * classes + labels[nearest]
    votes = np.zeros(len(similarity) * classes)
    predicted = []
    for first, last in zip((0, *counts), counts, strict=False):
        # A class stands more than once among the neighbours, so cells repeat.
        np.add.at(votes, cells[:, first:last], weights[:, first:last])
        predicted.append(votes.reshape(-1, classes).argmax(1))
    return np.stack(predicted)


def _possible_counts(pool: int) -> tuple[int, ...]:
    """Those of `NEIGHBOURS` that a pool can give, or all but one of a very small one."""
    if pool < 2:
        raise ValueError(f"a pool of {pool} example has no neighbours to vote; give at least 2")
    return tuple(k for k in NEIGHBOURS if k < pool) or (pool - 1,)


def _unit_length(features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(length, np.finfo(features.dtype).tiny)
