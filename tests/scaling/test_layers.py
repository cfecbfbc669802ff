"""Written-out gradients against autodiff, one at a time and as a whole block."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from vitscale.scaling.models.attention import attend, pick_kernel
from vitscale.scaling.models.layers import affine, gelu

KEYS = jax.random.split(jax.random.key(0), 4)


def plain_attention(query, key, value, heads):
    """Attention as Vaswani et al. write it, head by head."""
    mixed = []
    for q, k, v in zip(*(jnp.split(x, heads, axis=-1) for x in (query, key, value)), strict=True):
        scores = q @ k.transpose(0, 2, 1) / q.shape[-1] ** 0.5
        weights = jnp.exp(scores) / jnp.exp(scores).sum(axis=-1, keepdims=True)
        mixed.append(weights @ v)
    return jnp.concatenate(mixed, axis=-1)


def plain_gelu(x):
    return 0.5 * x * (1 + jnp.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))


def same_with_gradients(ours, plain, *arguments):
    """Values and all gradients, for a random weighting of the outputs."""
    value = plain(*arguments)
    weights = jax.random.normal(KEYS[3], value.shape)
    np.testing.assert_allclose(ours(*arguments), value, rtol=1e-5, atol=2e-6)
    every = tuple(range(len(arguments)))
    ours_gradients, plain_gradients = (
        jax.jit(jax.grad(lambda *a, f=f: (f(*a) * weights).sum(), argnums=every))(*arguments)
        for f in (ours, plain)
    )
    for our, expected in zip(ours_gradients, plain_gradients, strict=True):
        scale = float(jnp.abs(expected).max())
        np.testing.assert_allclose(our, expected, rtol=2e-5, atol=1e-5 * scale)


def normal(index: int, *shape: int, size: float = 1.0) -> jax.Array:
    return size * jax.random.normal(KEYS[index], shape)


def test_affine():
    same_with_gradients(
        affine, lambda x, w, b: x @ w + b, normal(0, 50, 7), normal(1, 7, 9), normal(2, 9)
    )


def test_affine_sums_its_parameters_gradients_in_float32():
    x, kernel, bias = normal(0, 4096, 4), normal(1, 4, 3), normal(2, 3)
    half = x.astype(jnp.bfloat16)
    gradients = jax.grad(lambda w, b: affine(half, w, b).astype(jnp.float32).sum(), argnums=(0, 1))(
        kernel, bias
    )
    assert all(gradient.dtype == jnp.float32 for gradient in gradients)
    summed = np.asarray(half, np.float64).sum(axis=0)
    np.testing.assert_allclose(gradients[0], np.repeat(summed[:, None], 3, axis=1), rtol=1e-4)
    np.testing.assert_array_equal(gradients[1], 4096.0)


def test_gelu():
    same_with_gradients(gelu, plain_gelu, normal(0, 1000, size=3.0))


@pytest.mark.parametrize(("queries", "heads"), [(5, 3), (1, 2)])
def test_attention(queries, heads):
    arguments = (normal(0, 2, queries, 12), normal(1, 2, 5, 12), normal(2, 2, 5, 12))
    same_with_gradients(
        lambda q, k, v: attend(q, k, v, heads),
        lambda q, k, v: plain_attention(q, k, v, heads),
        *arguments,
    )


def test_attention_bears_scores_that_overflow_an_exponential():
    query, key, value = (normal(i, 1, 4, 6, size=60.0) for i in range(3))
    gradients = jax.grad(lambda q, k, v: attend(q, k, v, 2).sum(), argnums=(0, 1, 2))(
        query, key, value
    )
    assert all(bool(jnp.isfinite(gradient).all()) for gradient in gradients)


def test_gradients_can_be_batched():
    """Trials that train side by side are one vmapped step."""
    images = normal(0, 3, 2, 5, 12)

    def loss(x):
        return gelu(
            attend(x, x, affine(x.reshape(10, 12), jnp.eye(12), x[0, 0]).reshape(x.shape), 3)
        ).sum()

    together = jax.vmap(jax.grad(loss))(images)
    apart = jnp.stack([jax.grad(loss)(x) for x in images])
    np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("head_dim", "dtype", "backend", "kernel"),
    [
        (64, "bfloat16", "gpu", "cudnn"),
        (72, "float16", "gpu", "cudnn"),
        (64, "float32", "gpu", "xla"),
        (55, "bfloat16", "gpu", "xla"),
        (136, "bfloat16", "gpu", "xla"),
        (64, "bfloat16", "cpu", "xla"),
        (64, "bfloat16", "tpu", "xla"),
    ],
)
def test_the_fused_kernel_is_picked_where_it_exists(head_dim, dtype, backend, kernel):
    assert pick_kernel(head_dim, dtype, backend) == kernel
