"""Adam, whose first moment can be stored in half precision."""

import optax

from vitscale.scaling.optimizers.storage import stored_in
from vitscale.scaling.recipe import Precision


def adam(
    *, b1: float = 0.9, b2: float = 0.999, momentum_dtype: Precision = "float32"
) -> optax.GradientTransformation:
    """Adam's updates for a learning rate of one (arXiv 1412.6980, Algorithm 1; epsilon 1e-8).

    State: 2 times the bytes of float32 parameters, 1.5 times with a bfloat16 first moment.
    """
    return stored_in(optax.scale_by_adam(b1=b1, b2=b2), "mu", momentum_dtype)
