"""The dense layer, the norm and the activation that every ViT block is made of.

Parameters are Flax NNX's own (`kernel`, `bias`, `scale`), so that they are found under the names that
Flax users expect.
"""

import jax
from flax import nnx
from jaxtyping import Array, Float

NORM_EPSILON = 1e-6
"""Of Flax, big_vision and timm's ViTs; PyTorch's own default is 1e-5."""


def dense(inputs: int, outputs: int, dtype) -> nnx.Linear:
    """A dense layer with zeros for kernel and bias."""
    zeros = nnx.initializers.zeros
    return nnx.Linear(inputs, outputs, kernel_init=zeros, dtype=dtype, rngs=nnx.Rngs(0))


def norm(width: int, dtype) -> nnx.LayerNorm:
    """A LayerNorm that starts as the identity."""
    return nnx.LayerNorm(width, epsilon=NORM_EPSILON, dtype=dtype, rngs=nnx.Rngs(0))


def gelu(x: Float[Array, "*batch channels"]) -> Float[Array, "*batch channels"]:
    """GELU by its tanh approximation, as in the original ViT."""
    return jax.nn.gelu(x, approximate=True)
