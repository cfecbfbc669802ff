"""The dense layer, the norm and the activation that every ViT block is made of.

Parameters are float32 under the names that Flax uses (`kernel`, `bias`, `scale`). Two gradients are
written out, because what autodiff makes of them is slow on CPU; `tests/scaling/test_layers.py` holds
them against autodiff.
"""

import math

import jax
from flax import nnx
from jax import numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

NORM_EPSILON = 1e-6
"""Of Flax, big_vision and timm's ViTs; PyTorch's own default is 1e-5."""

DENSE_RESULT = "dense"
"""Name under which rematerialisation finds the results of dense layers; it cannot see the products
themselves inside a written-out gradient."""

_INNER, _CUBIC = math.sqrt(2 / math.pi), 0.044715  # GELU's approximation, arXiv 1606.08415


class Dense(nnx.Module):
    """A dense layer, computed in `dtype`, with zeros for kernel and bias."""

    def __init__(self, inputs: int, outputs: int, dtype):
        self.kernel = nnx.Param(jnp.zeros((inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        rows = x.reshape(-1, x.shape[-1]).astype(self.dtype)
        y = checkpoint_name(affine(rows, self.kernel[...], self.bias[...]), DENSE_RESULT)
        return y.reshape(*x.shape[:-1], -1)


def norm(width: int, dtype) -> nnx.LayerNorm:
    """A LayerNorm that starts as the identity."""
    return nnx.LayerNorm(width, epsilon=NORM_EPSILON, dtype=dtype, rngs=nnx.Rngs(0))


@jax.custom_vjp
def affine(
    x: Float[Array, "rows inputs"],
    kernel: Float[Array, "inputs outputs"],
    bias: Float[Array, " outputs"],
) -> Float[Array, "rows outputs"]:
    """x kernel + bias, in the precision of `x`.

    Autodiff transposes the gradient to a copy before it multiplies it with the inputs, for 3-9 % of a
    step; here the product takes both as they lie. Gradients of parameters are summed in float32.
    """
    return x @ kernel.astype(x.dtype) + bias.astype(x.dtype)


def _affine_forward(x: Array, kernel: Array, bias: Array) -> tuple[Array, tuple[Array, Array]]:
    return affine(x, kernel, bias), (x, kernel)


def _affine_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array, Array]:
    x, kernel = saved
    of_x = jax.lax.dot_general(gradient, kernel.astype(x.dtype), (((1,), (1,)), ((), ())))
    of_kernel = jax.lax.dot_general(
        x, gradient, (((0,), (0,)), ((), ())), preferred_element_type=kernel.dtype
    )
    return of_x, of_kernel, gradient.sum(axis=0, dtype=kernel.dtype)


affine.defvjp(_affine_forward, _affine_backward)


@jax.custom_vjp
def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """GELU by its tanh approximation, as in the original ViT.

    Its gradient computes the tanh again instead of reading it back, which costs the same on CPU and
    takes one array of MLP size less for each block.
    """
    return jax.nn.gelu(x, approximate=True)


def _gelu_forward(x: Array) -> tuple[Array, Array]:
    return gelu(x), x


def _gelu_backward(saved: Array, gradient: Array) -> tuple[Array]:
    x = jax.lax.optimization_barrier(saved)  # else the compiler finds and keeps the first tanh
    tanh = jnp.tanh(_INNER * (x + _CUBIC * x**3))
    slope = _INNER * (1 + 3 * _CUBIC * x * x)
    return (gradient * (0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * slope),)


gelu.defvjp(_gelu_forward, _gelu_backward)
