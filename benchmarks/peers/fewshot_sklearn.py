"""scikit-learn's RidgeClassifier (float32, Cholesky), one fit for each l2."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from sklearn.linear_model import RidgeClassifier


def predict(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m d"],
    l2_values: Sequence[float],
    *,
    classes: int,
) -> Int[np.ndarray, "l2 m"]:
    """Classes of test examples, for each l2; every class must occur in `labels`."""
    mean, std = features.mean(0), features.std(0) + np.float32(1e-5)
    x, test = (features - mean) / std, (test - mean) / std
    fits = (RidgeClassifier(alpha=l2, solver="cholesky").fit(x, labels) for l2 in l2_values)
    return np.array([fit.predict(test) for fit in fits])
