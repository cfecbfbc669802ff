"""Dropout and stochastic depth from one random draw for the whole model.

Each random call inside a jitted function costs 0.15-0.3 s to compile, and a deep ViT has five places
with noise in every block. So the key is used once, for two words for each place; the numbers of a
place come from hashing the positions of its elements with them, which is a few integer operations
that fuse into the multiplication they feed. The numbers depend neither on how blocks are laid out nor
on how arrays are spread over devices.
"""

from typing import NamedTuple

import jax
from jax import numpy as jnp
from jaxtyping import Array, Float, Key, UInt32

PLACES_OF_BLOCK = 5
"""Dropout after attention, within the MLP and after it; stochastic depth of each branch."""


class BlockNoise(NamedTuple):
    """Random words of one block's places, and the rate at which its branches are dropped.

    Of all blocks at once with a leading depth axis.
    """

    words: UInt32[Array, "*depth places 2"]
    drop_rate: Float[Array, "*depth"]


def draw_words(key: Key[Array, ""], places: int) -> UInt32[Array, "places 2"]:
    """Two random words for each place."""
    return jax.random.bits(key, (places, 2), jnp.uint32)


def linear_drop_rates(depth: int, last: float) -> Float[Array, " depth"]:
    """Stochastic depth that rises linearly from 0 in the first block to `last` in the last one.

    Deep Networks with Stochastic Depth (arXiv 1603.09382) as in AugReg (arXiv 2106.10270), Section 3.3.
    """
    return last * jnp.arange(depth, dtype=jnp.float32) / max(depth - 1, 1)


def drop_elements(
    x: Float[Array, "*shape"], rate: float, words: UInt32[Array, "2"]
) -> Float[Array, "*shape"]:
    """Dropout: every element is zero with probability `rate`, else divided by 1 - rate."""
    if not rate:
        return x
    return _keep(x, jnp.float32(rate), uniform(words, x.shape))


def drop_examples(
    branch: Float[Array, "batch *rest"], rate: Float[Array, ""], words: UInt32[Array, "2"]
) -> Float[Array, "batch *rest"]:
    """Stochastic depth: the branch of an example is zero with probability `rate`, else over 1 - rate."""
    each = uniform(words, branch.shape[:1])
    return _keep(branch, rate, each.reshape(-1, *[1] * (branch.ndim - 1)))


def uniform(words: UInt32[Array, "2"], shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """Numbers in [0, 1), multiples of 2**-24, each the hash of its position and `words`."""
    position = jnp.zeros(shape, jnp.uint32)
    for axis, length in enumerate(shape):
        position = position * jnp.uint32(length) + jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    hashed = _mix(_mix(position ^ words[0]) ^ words[1])
    return (hashed >> 8).astype(jnp.float32) * jnp.float32(2**-24)


def _keep(x: Array, rate: Array, numbers: Array) -> Array:
    scale = jnp.where(numbers >= rate, 1 / jnp.maximum(1 - rate, 2**-24), 0)
    return x * scale.astype(x.dtype)


def _mix(x: Array) -> Array:
    """A bijection of 32-bit words in which every bit of the input moves half of the output's.

    "lowbias32" of C. Wellons, "Prospecting for hash functions" (2018): exact bias 0.174.
    """
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
