"""A class token with a position of its own, as one without: the same function."""

import math

import numpy as np

from vitscale.scaling.models.weights.infer import sizes_of
from vitscale.scaling.models.weights.spec import Arrays


def fold_class_position(
    framework: str, arrays: Arrays, token: str, positions: str
) -> dict[str, np.ndarray]:
    """The arrays, the first position added to the class token where there is one for it.

    - `token`, `positions`: names of the arrays, of sizes (1, 1, width) and (1, tokens, width).

    A grid of positions is square, so that one more than a square tells that the token has one.
    The sum is taken in float32, as the model itself takes it.
    """
    count = sizes_of(framework, arrays, positions, 3)[1]
    if math.isqrt(count) ** 2 == count:
        return dict(arrays)
    sizes_of(framework, arrays, token, 3)
    position = arrays[positions].astype(np.float32)
    summed = arrays[token].astype(np.float32) + position[:, :1]
    return {**arrays, token: summed, positions: position[:, 1:]}


def with_class_position(arrays: Arrays, positions: str) -> dict[str, np.ndarray]:
    """The arrays with a first position of zeros, for models whose class token has one."""
    position = arrays[positions]
    return {**arrays, positions: np.concatenate([np.zeros_like(position[:, :1]), position], axis=1)}
