"""Softmax attention over heads, by the kernel that suits the device."""

from typing import Literal, assert_never

import jax
from jax import numpy as jnp
from jaxtyping import Array, Float

AttentionKernel = Literal["auto", "xla", "cudnn"]
"""How attention is computed: "xla" anywhere, "cudnn" by NVIDIA's fused kernel, "auto" by `pick_kernel`."""

_CUDNN_LARGEST_HEAD = 128


def attend(
    query: Float[Array, "batch queries width"],
    key: Float[Array, "batch tokens width"],
    value: Float[Array, "batch tokens width"],
    heads: int,
    kernel: AttentionKernel = "auto",
) -> Float[Array, "batch queries width"]:
    """Softmax attention over `heads` heads; the softmax is computed in float32."""
    split = lambda x: x.reshape(*x.shape[:2], heads, -1)  # noqa: E731
    q, k, v = split(query), split(key), split(value)
    if kernel == "auto":
        kernel = pick_kernel(q.shape[-1], q.dtype, jax.default_backend())
    match kernel:
        case "xla":
            mixed = _attend_xla(q, k, v)
        case "cudnn":
            mixed = jax.nn.dot_product_attention(q, k, v, implementation="cudnn")
        case _:
            assert_never(kernel)
    return mixed.reshape(query.shape)


def pick_kernel(head_dim: int, dtype, backend: str) -> Literal["xla", "cudnn"]:
    """cuDNN's fused attention where it exists: half precision on GPU, heads of 8, 16, ... 128 channels."""
    half = jnp.dtype(dtype) in (jnp.bfloat16, jnp.float16)
    fits = head_dim % 8 == 0 and head_dim <= _CUDNN_LARGEST_HEAD
    return "cudnn" if backend == "gpu" and half and fits else "xla"


def _attend_xla(q: Array, k: Array, v: Array) -> Array:
    q = q * q.shape[-1] ** -0.5
    weights = jnp.einsum("bqhd,bkhd->bhqk", q, k)
    weights = jax.nn.softmax(weights.astype(jnp.float32)).astype(v.dtype)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, v)
