"""Nearest neighbours and the linear probe against brute force and scikit-learn."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from vitscale.scaling.evaluate import knn, linear_probe
from vitscale.scaling.evaluate.features import TaskFeatures
from vitscale.scaling.evaluate.held_out import held_out_split

CLASSES = 5


def features(n: int, d: int, *, seed: int, spread: float = 1.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, n)
    means = np.random.default_rng(99).normal(size=(CLASSES, d))
    return (means[labels] + spread * rng.normal(size=(n, d))).astype(np.float32), labels


def task(d: int = 8, spread: float = 1.0) -> TaskFeatures:
    pool, pool_labels = features(200, d, seed=0, spread=spread)
    test, test_labels = features(150, d, seed=1, spread=spread)
    return TaskFeatures(
        pool=pool, pool_labels=pool_labels, test=test, test_labels=test_labels, classes=CLASSES
    )


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def brute_force_votes(queries, pool, labels, k, own=None):
    """The vote written out, query by query."""
    predicted = []
    for i, query in enumerate(queries):
        cosines = [float(query @ row) for row in pool]
        places = [j for j in range(len(pool)) if own is None or j != own[i]]
        nearest = sorted(places, key=lambda j: -cosines[j])[:k]
        votes = [
            sum(np.exp(cosines[j] / 0.05) for j in nearest if labels[j] == c)
            for c in range(CLASSES)
        ]
        predicted.append(int(np.argmax(votes)))
    return predicted


@pytest.mark.parametrize("left_out", [False, True])
def test_neighbours_vote_as_by_brute_force(left_out):
    pool, labels = features(120, 6, seed=0, spread=2.0)
    queries, _ = (pool[::3], None) if left_out else features(60, 6, seed=1, spread=2.0)
    own = np.arange(0, 120, 3) if left_out else None
    pool, queries, counts = unit(pool), unit(queries), (1, 7, 30)
    votes = knn.neighbour_votes(queries, pool, labels, counts, classes=CLASSES, own=own)
    for k, row in zip(counts, votes, strict=True):
        np.testing.assert_array_equal(row, brute_force_votes(queries, pool, labels, k, own))


def test_knn_error_is_that_of_scikit_learn_at_the_k_that_leaving_one_out_prefers():
    data = task(spread=2.0)

    own, pool, labels = np.arange(len(data.pool)), unit(data.pool), data.pool_labels

    def left_out(k: int) -> int:
        return np.sum(brute_force_votes(pool, pool, labels, k, own) != labels)

    best = min((10, 15, 20, 25, 30), key=left_out)
    weights: Any = lambda distance: np.exp((1 - distance) / 0.05)  # noqa: E731
    peer = KNeighborsClassifier(best, metric="cosine", algorithm="brute", weights=weights)
    predicted = peer.fit(data.pool, labels).predict(data.test)
    (metric,) = knn.metrics("birds", data)
    assert metric.name == "birds_knn_error"
    assert metric.value == pytest.approx(np.mean(predicted != data.test_labels))


def test_knn_of_a_very_small_pool():
    pool, labels = features(4, 6, seed=0)
    data = TaskFeatures(
        pool=pool, pool_labels=labels, test=pool, test_labels=labels, classes=CLASSES
    )
    assert next(knn.metrics("birds", data)).value <= 1
    one = TaskFeatures(
        pool=pool[:1], pool_labels=labels[:1], test=pool, test_labels=labels, classes=CLASSES
    )
    with pytest.raises(ValueError, match="a pool of 1 example has no neighbours"):
        next(knn.metrics("birds", one))


@pytest.mark.parametrize("l2", [1e-3, 0.1])
def test_linear_probe_is_logistic_regression(l2):
    x, labels = features(300, 8, seed=0)
    x = x.astype(np.float64)
    peer = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-8, max_iter=2000).fit(x, labels)
    weights = linear_probe.fit(x, labels, l2=l2, classes=CLASSES)
    np.testing.assert_allclose(weights[:-1].T, peer.coef_, atol=2e-3)
    # Intercepts are known up to a constant.
    centred = weights[-1] - weights[-1].mean()
    np.testing.assert_allclose(centred, peer.intercept_ - peer.intercept_.mean(), atol=2e-3)


def test_linear_probe_takes_the_penalty_that_is_best_on_held_out_examples():
    data = task(d=30, spread=2.0)
    x = (data.pool - data.pool.mean(0, dtype=np.float64)) / (data.pool.std(0, dtype=float) + 1e-5)
    kept, held_out = held_out_split(data.pool_labels, linear_probe.HELD_OUT)
    losses = []
    for l2 in linear_probe.L2_GRID:
        peer = LogisticRegression(C=1 / (l2 * len(kept)), tol=1e-6, max_iter=5000)
        peer.fit(x[kept], data.pool_labels[kept])
        likelihood = peer.predict_proba(x[held_out])[
            np.arange(len(held_out)), data.pool_labels[held_out]
        ]
        losses.append(-np.log(likelihood).mean())
    best = linear_probe.best_l2(x, data.pool_labels, classes=CLASSES)
    assert best == linear_probe.L2_GRID[int(np.argmin(losses))]
    (metric,) = linear_probe.metrics("birds", data)
    assert metric.name == "birds_linear_error"
    # Between the Bayes classifier of spherical classes, and guessing.
    assert 0 < metric.value < 1 - 1 / CLASSES


def test_a_part_of_each_class_is_held_out_but_never_all_of_it():
    labels = np.array([0] * 50 + [1] * 10 + [2] * 2 + [3])
    kept, held_out = held_out_split(labels, 0.6)
    assert sorted([*kept, *held_out]) == list(range(len(labels)))
    assert list(np.bincount(labels[held_out], minlength=4)) == [30, 6, 1, 0]
    np.testing.assert_array_equal(held_out, held_out_split(labels, 0.6)[1])
    assert set(held_out) != set(held_out_split(labels, 0.6, seed=1)[1])
