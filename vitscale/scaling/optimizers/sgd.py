"""Stochastic gradient descent with momentum, for fine-tuning."""

import optax

from vitscale.scaling.optimizers.storage import stored_in
from vitscale.scaling.recipe import Precision


def sgd_momentum(
    *, momentum: float = 0.9, dtype: Precision = "bfloat16"
) -> optax.GradientTransformation:
    """Updates m = momentum * m + gradient, for a learning rate of one, with m stored in `dtype`.

    How to train your ViT? (arXiv 2106.10270), Section 3.5: momentum 0.9 in bfloat16.
    """
    return stored_in(optax.trace(decay=momentum), "trace", dtype)
