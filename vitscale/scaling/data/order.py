"""The order of training examples: every one once in each epoch, a new order each time."""

import functools

import numpy as np
from jaxtyping import Int

from vitscale.scaling.data.draws import hashed

# Keeps the orders apart from the draws of augmentation, which hash the seed and the example.
_ORDER = 0x6F72646572


def examples_at(seed: int, places: Int[np.ndarray, " n"], examples: int) -> Int[np.ndarray, " n"]:
    """Numbers, from 0 to `examples` - 1, of the training examples at `places` of the endless stream.

    Place p is in epoch p // `examples`. The order of an epoch is a function of the seed and the epoch.
    """
    epochs, within = np.divmod(places, examples)
    numbers = np.empty(len(places), np.int64)
    for epoch in np.unique(epochs):
        chosen = epochs == epoch
        numbers[chosen] = _permutation(seed, int(epoch), examples)[within[chosen]]
    return numbers


# Two: a batch may end one epoch and begin the next.
@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, examples: int) -> Int[np.ndarray, " examples"]:
    # Sorting by hash and not numpy's permutation, whose results may change with its version.
    keys = hashed(_ORDER, seed, epoch, np.arange(examples))
    return np.argsort(keys, kind="stable").astype(np.int32)
