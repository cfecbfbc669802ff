"""Linear probe: multinomial logistic regression on frozen features, trained on a task's whole pool."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from scipy import optimize, special

from vitscale.scaling.evaluate.features import TaskFeatures
from vitscale.scaling.evaluate.frozen import Metric
from vitscale.scaling.evaluate.held_out import held_out_split

L2_GRID = tuple(10.0**k for k in range(0, -7, -1))
"""Penalties of the squared weights beside a mean loss, from strong to weak: each start is the solution
before it."""

HELD_OUT = 0.2
"""Part of each class of the pool on which the penalty is chosen."""

_FLOAT64_NUMBERS = 2**22  # of features: up to here float64 costs seconds
_MOST_STEPS = 500
_GRADIENT = 1e-5  # largest entry of the gradient at which a fit is done


def metrics(name: str, features: TaskFeatures) -> Iterator[Metric]:
    """`<task>_linear_error`: the l2 penalty is chosen on a held-out part, then all is fitted again."""
    x = _Standard(features.pool)
    pool, labels, classes = x(features.pool), features.pool_labels, features.classes
    l2 = best_l2(pool, labels, classes=classes)
    weights = fit(pool, labels, l2=l2, classes=classes)
    predicted = scores(x(features.test), weights).argmax(1)
    yield Metric(f"{name}_linear_error", float(np.mean(predicted != features.test_labels)))


def best_l2(
    features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], *, classes: int
) -> float:
    """The l2 of the grid with the least cross-entropy on a held-out part; on ties the strongest."""
    train, held_out = held_out_split(labels, HELD_OUT)
    if not len(held_out):
        return L2_GRID[len(L2_GRID) // 2]
    losses, weights = [], None
    for l2 in L2_GRID:
        weights = fit(features[train], labels[train], l2=l2, classes=classes, start=weights)
        log_likelihood = special.log_softmax(scores(features[held_out], weights), axis=1)
        losses.append(-log_likelihood[np.arange(len(held_out)), labels[held_out]].mean())
    return L2_GRID[int(np.argmin(losses))]


def fit(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    *,
    l2: float,
    classes: int,
    start: Float[np.ndarray, "d_and_1 classes"] | None = None,
) -> Float[np.ndarray, "d_and_1 classes"]:
    """Weights, and intercepts in the last row, that minimise cross-entropy + l2/2 |weights|^2.

    The cross-entropy is the mean over examples, in nats; intercepts are not penalised. scikit-learn's
    `LogisticRegression(C)` is the same with l2 = 1 / (C n). By L-BFGS.
    """
    rows = np.arange(len(labels))

    def loss(flat: Float[np.ndarray, " parameters"]) -> tuple[float, np.ndarray]:
        weights = flat.reshape(-1, classes)
        logits = scores(features, weights.astype(features.dtype))
        log_probabilities = special.log_softmax(logits, axis=1)
        value = -float(log_probabilities[rows, labels].mean(dtype=np.float64))
        error = np.exp(log_probabilities)
        error[rows, labels] -= 1
        error /= len(labels)
        gradient = np.vstack([features.T @ error, error.sum(0)]).astype(np.float64)
        gradient[:-1] += l2 * weights[:-1]
        return value + 0.5 * l2 * float((weights[:-1] ** 2).sum()), gradient.ravel()

    begin = np.zeros((features.shape[1] + 1, classes)) if start is None else start
    options = {"maxiter": _MOST_STEPS, "gtol": _GRADIENT, "ftol": 1e-12}
    found = optimize.minimize(loss, begin.ravel(), jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(-1, classes)


def scores(
    features: Float[np.ndarray, "m d"], weights: Float[np.ndarray, "d_and_1 classes"]
) -> Float[np.ndarray, "m classes"]:
    """Logits; the largest names the class."""
    return features @ weights[:-1] + weights[-1]


class _Standard:
    """Features by the mean and standard deviation of some of them, in the precision of the fit."""

    def __init__(self, features: Float[np.ndarray, "n d"]):
        self._dtype = np.float64 if features.size <= _FLOAT64_NUMBERS else np.float32
        self._mean = features.mean(0, dtype=np.float64)
        self._scale = features.std(0, dtype=np.float64) + 1e-5

    def __call__(self, features: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m d"]:
        mean, scale = self._mean.astype(self._dtype), self._scale.astype(self._dtype)
        return (features.astype(self._dtype) - mean) / scale
