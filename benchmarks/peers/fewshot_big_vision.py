"""big_vision's closed form for few-shot errors (`evaluators/fewshot_lsr.py`, 0127fb6), restated in JAX.

The same operations in the same order and precision: standardised features with a constant feature of
100, targets of +-1, one float32 eigendecomposition of the smaller Gram matrix, both functions jitted
on the CPU.
"""

import functools
from collections.abc import Sequence

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Array, Float, Int

BIAS_CONSTANT = 100.0


def predict(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m d"],
    l2_values: Sequence[float],
    *,
    classes: int,
) -> Int[np.ndarray, "l2 m"]:
    """Classes of test examples, for each l2."""
    cache = _precompute(features, labels, classes)
    return np.stack([np.asarray(_predict(cache, test, l2)) for l2 in l2_values])


@functools.partial(jax.jit, static_argnums=2)
def _precompute(x: Array, labels: Array, classes: int) -> dict[str, Array]:
    mean, std = x.mean(0, keepdims=True), x.std(0, keepdims=True) + 1e-5
    x = _whiten(x, mean, std)
    y = 2.0 * jax.nn.one_hot(labels, classes) - 1.0
    if x.shape[0] >= x.shape[1]:
        eigenvalues, vectors = jnp.linalg.eigh(x.T @ x)
        lhs, rhs = vectors, vectors.T @ (x.T @ y)
    else:
        eigenvalues, vectors = jnp.linalg.eigh(x @ x.T)
        lhs, rhs = x.T @ vectors, vectors.T @ y
    return {"eigenvalues": eigenvalues, "lhs": lhs, "rhs": rhs, "mean": mean, "std": std}


@jax.jit
def _predict(cache: dict[str, Array], test: Array, l2: float) -> Array:
    scaling = 1.0 / (cache["eigenvalues"] + l2)
    weights = (cache["lhs"] * scaling[None]) @ cache["rhs"]
    return jnp.argmax(_whiten(test, cache["mean"], cache["std"]) @ weights, axis=1)


def _whiten(x: Array, mean: Array, std: Array) -> Array:
    return jnp.pad((x - mean) / std, ((0, 0), (0, 1)), constant_values=BIAS_CONSTANT)
