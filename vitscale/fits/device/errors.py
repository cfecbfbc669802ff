"""How far estimates are off, from leaving out one measurement at a time."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Int

_FEWEST = 3


def left_out_error(
    count: int, log_error: Callable[[Int[np.ndarray, " kept"], int], float]
) -> float | None:
    """Root mean square relative error over `count` measurements; None for fewer than three.

    - `log_error(kept, out)`: log of estimate over measurement number `out`, made of those `kept`.
    """
    if count < _FEWEST:
        return None
    numbers = np.arange(count)
    errors = [log_error(numbers[numbers != out], out) for out in range(count)]
    return math.expm1(math.sqrt(np.mean(np.square(errors))))
