"""Optimizers as optax transformations of gradients, and the decay that goes beside them.

The learning rate and its schedule stay outside, as traced numbers of the training step, so that one
compiled step serves the trunk, every cooldown and any peak learning rate.
"""

from typing import Any, assert_never

import jax
import optax
from jaxtyping import Array, PyTree

from vitscale.scaling.optimizers.adafactor import adafactor
from vitscale.scaling.optimizers.adam import adam
from vitscale.scaling.recipe import Recipe


def gradient_transformation(recipe: Recipe) -> optax.GradientTransformation:
    """Clip by global norm, then precondition: gradients in, unit-learning-rate updates out."""
    match recipe.optimizer:
        case "adamw":
            precondition = adam(
                b1=recipe.adam_b1, b2=recipe.adam_b2, momentum_dtype=recipe.momentum_dtype
            )
        case "adafactor":
            precondition = adafactor(momentum_dtype=recipe.momentum_dtype)
        case unknown:
            assert_never(unknown)
    return optax.chain(optax.clip_by_global_norm(recipe.clip_norm), precondition)


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
    multipliers: PyTree[float] | None = None,
) -> PyTree[Array]:
    """p - factor (learning_rate m u + decay p): decoupled decay that follows the schedule alone.

    - `multipliers`: m for each parameter (`mup.py`), 1 where they are left out.

    Scaling Vision Transformers, Appendix B; big_vision `optax.py`. An optimizer that multiplies its
    decay by the learning rate, as `optax.adamw` and the AugReg paper, has decay / learning_rate for
    its weight decay. Multipliers leave the decay alone: how fast weights are forgotten, in steps, is
    a matter of the schedule, not of the size of the updates.
    """
    if multipliers is None:
        multipliers = jax.tree.map(lambda _: 1.0, params)
    return jax.tree.map(
        lambda p, u, d, m: (p - factor * (learning_rate * m * u + d * p)).astype(p.dtype),
        params,
        updates,
        decay,
        multipliers,
    )
