"""Optimizers as optax transformations of gradients, and the decay that goes beside them.

The learning rate and its schedule stay outside, as traced numbers of the training step, so that one
compiled step serves the trunk, every cooldown and any peak learning rate.
"""

from typing import Any

import jax
import optax
from jax import numpy as jnp
from jaxtyping import Array, PyTree

from vitscale.scaling.recipe import Recipe


def gradient_transformation(recipe: Recipe) -> optax.GradientTransformation:
    """Clip by global norm, then precondition: gradients in, unit-learning-rate updates out."""
    return optax.chain(
        optax.clip_by_global_norm(recipe.clip_norm),
        optax.scale_by_adam(
            b1=recipe.adam_b1, b2=recipe.adam_b2, mu_dtype=jnp.dtype(recipe.momentum_dtype)
        ),
    )


def decay_rates(params: PyTree[Array], recipe: Recipe) -> PyTree[float]:
    """Weight decay of every parameter: the head's rate, the body's, or 0 for all but kernels.

    Biases, norms, positions, class token and probe are not decayed (as in big_vision).
    """

    def rate(path: tuple[Any, ...], _: Array) -> float:
        names = [str(key.key) for key in path]
        if names[-1] != "kernel":
            return 0.0
        return recipe.head_weight_decay if names[0] == "head" else recipe.body_weight_decay

    return jax.tree_util.tree_map_with_path(rate, params)


def apply_updates(
    params: PyTree[Array],
    updates: PyTree[Array],
    decay: PyTree[float],
    *,
    learning_rate: Any,
    factor: Any,
) -> PyTree[Array]:
    """p - factor (learning_rate u + decay p): decoupled decay that follows the schedule alone.

    Scaling Vision Transformers, Appendix B; big_vision `optax.py`.
    """
    return jax.tree.map(
        lambda p, u, d: (p - factor * (learning_rate * u + d * p)).astype(p.dtype),
        params,
        updates,
        decay,
    )
