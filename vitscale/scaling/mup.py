"""Learning rates of single parameters by the maximal update parametrisation (muP).

Tensor Programs V (arXiv 2203.03466), Table 3, for optimizers whose updates have the size of the
learning rate whatever the gradient's: Adam and Adafactor. The change that one update makes to the
outputs of a matrix grows with its fan-in, so its learning rate falls with it.
"""

from typing import Any

import jax
from jaxtyping import Array, PyTree

from vitscale.scaling.recipe import Recipe

REFERENCE_MLP_RATIO = 4
"""mlp_dim over width of the reference shape: that of ViT (arXiv 2010.11929, Table 1). What writes
from the MLP back to the stream has mlp_dim for its fan-in, which sweeps vary apart from width."""


def learning_rate_multipliers(params: PyTree[Array], recipe: Recipe) -> PyTree[float]:
    """What the learning rate of each parameter is multiplied by: 1 everywhere unless `lr_scaling` is
    "mup".

    Kernels inside the net (attention, MLPs, the readout) and the classifier get the fan-in that they
    have at the recipe's reference width over their own fan-in. The patch embedding, whose fan-in does
    not grow with the shape, positions, tokens, biases and norms keep 1. So the reference shape, of
    `reference_width` and four times that for mlp_dim, trains as it does without.

    The recipe's `lr_width_exponent` acts on top of this, and is best left at 0. muP's other two
    rules need no change here: the classifier starts at zero, and attention divides by the root of the
    channels of a head, which is a constant as long as a sweep keeps `head_dim`.
    """

    def multiplier(path: tuple[Any, ...], param: Array) -> float:
        names = [entry.key for entry in path]
        if recipe.lr_scaling == "uniform" or names[-1] != "kernel" or names[0] == "embedding":
            return 1.0
        from_mlp = names[-3:-1] == ["mlp", "down"]
        reference = recipe.reference_width * (REFERENCE_MLP_RATIO if from_mlp else 1)
        return reference / param.shape[-2]

    return jax.tree_util.tree_map_with_path(multiplier, params)
