"""The order of training examples: every one once in each epoch, a new order each time."""

import threading

import numpy as np
from jaxtyping import Int

from vitscale.scaling.data.draws import hashed

# Keeps the orders apart from the draws of augmentation, which hash the seed and the example.
_ORDER = 0x6F72646572
# A batch may end one epoch and begin the next, and threads make several batches at a time.
_EPOCHS_HELD = 2


class Order:
    """The order of one endless stream of `examples` training examples, for any number of threads.

    It is a function of the seed and the epoch. The order of an epoch is computed when it is first
    asked for, and held until the stream is two epochs further.
    """

    def __init__(self, seed: int, examples: int) -> None:
        self._seed, self._examples = seed, examples
        self._lock = threading.Lock()
        self._epochs: dict[int, Int[np.ndarray, " examples"]] = {}

    def at(self, places: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Numbers, from 0 to `examples` - 1, of the examples at `places` of the stream.

        Place p is in epoch p // `examples`.
        """
        epochs, within = np.divmod(places, self._examples)
        numbers = np.empty(len(places), np.int64)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            numbers[chosen] = self._permutation(int(epoch))[within[chosen]]
        return numbers

    def _permutation(self, epoch: int) -> Int[np.ndarray, " examples"]:
        with self._lock:
            if epoch not in self._epochs:
                # Sorting by hash and not numpy's permutation, whose results may change with its
                # version.
                keys = hashed(_ORDER, self._seed, epoch, np.arange(self._examples))
                if len(self._epochs) == _EPOCHS_HELD:
                    del self._epochs[min(self._epochs)]
                self._epochs[epoch] = np.argsort(keys, kind="stable").astype(np.int32)
            return self._epochs[epoch]


def examples_at(seed: int, places: Int[np.ndarray, " n"], examples: int) -> Int[np.ndarray, " n"]:
    """What stands at `places` of the stream of this seed: `Order.at`, asked for once."""
    return Order(seed, examples).at(places)
