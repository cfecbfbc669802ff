"""Random numbers by place: each is a hash of the seed, the example and what it is drawn for.

So an augmentation needs no state, any batch can be made anywhere, and the same numbers come out of
every version of every library. The hash is the output function of splitmix64 (Steele, Lea and Flood,
Fast splittable pseudorandom number generators, 2014), applied to one coordinate after the other.
"""

import numpy as np
from jaxtyping import Float, Int, UInt64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def hashed(*coordinates: int | Int[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    """A hash of non-negative whole numbers, which are broadcast against each other."""
    state = np.zeros(1, np.uint64)
    for coordinate in coordinates:
        # Arrays all of them: numpy warns of the overflow, which is meant, for scalars alone.
        number = np.atleast_1d(np.asarray(coordinate)).astype(np.uint64)
        state = _mixed(state + (number + np.uint64(1)) * _GOLDEN)
    return state


def uniforms(
    seed: int, examples: Int[np.ndarray, " n"], first: int, count: int
) -> Float[np.ndarray, "n count"]:
    """Uniform numbers in [0, 1): draws `first` to `first + count - 1` of each example."""
    draws = np.arange(first, first + count)
    bits = hashed(seed, np.asarray(examples)[:, None], draws)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(state: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))
