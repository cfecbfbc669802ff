"""A part of labelled examples to choose hyper-parameters on, so that no test label is seen."""

import numpy as np
from jaxtyping import Int


def held_out_split(
    labels: Int[np.ndarray, " n"], part: float, seed: int = 0
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " held_out"]]:
    """Positions to train on and positions held out, both ascending, at random within each class.

    `part` of every class is held out, rounded, but a class always keeps one example to train on. Where
    each class is too small to give one, nothing is held out.
    """
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        positions = rng.permutation(np.flatnonzero(labels == label))
        held_out[positions[: min(round(part * len(positions)), len(positions) - 1)]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
