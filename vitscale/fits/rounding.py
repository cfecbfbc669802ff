"""Rounding optimal sizes to a shape that hardware likes, without moving far in size or cost."""

import itertools
import math
from collections.abc import Mapping

from vitscale.scaling.shape import DIMENSIONS, Shape

_HEAD_DIMS = (64, 32, 16, 8, 4, 2, 1)
_CLOSE = 0.08  # relative change of width that the choice of head_dim may cost


def round_shape(
    sizes: Mapping[str, float],
    *,
    patch: int,
    image_size: int = 224,
    heads: int | None = None,
    head_dim: int | None = None,
    width_multiple: int = 1,
    mlp_multiple: int = 16,
) -> Shape:
    """The shape of whole sizes nearest to `sizes` (`width`, `depth`, `mlp_dim`) and to their cost.

    Of the sizes rounded up and down, takes the combination with the least sum of squared log
    distances, where forward FLOPs count as one more distance.

    - `heads`: number of heads, width a multiple of it; or `head_dim`: channels of a head, width a
      multiple of it. By default head_dim is the largest of 64, 32, 16, ... that moves the width by
      less than 8%.
    - `width_multiple`, `mlp_multiple`: width and mlp_dim are multiples of these too.

    Raises `ValueError` where a size is not positive, or both `heads` and `head_dim` are given.
    """
    for name in DIMENSIONS:
        size = sizes.get(name, math.nan)
        if not (math.isfinite(size) and size > 0):
            raise ValueError(f"{name}={size} is not a size; expected a positive number")
    if heads is not None and head_dim is not None:
        raise ValueError(f"heads={heads} and head_dim={head_dim} are both given; choose one")
    options = {
        "heads": heads,
        "head_dim": head_dim,
        "width_multiple": width_multiple,
        "mlp_multiple": mlp_multiple,
    }
    for name, value in options.items():
        if value is not None and (isinstance(value, bool) or int(value) != value or value < 1):
            raise ValueError(f"{name}={value} is not a whole number from 1")
    if heads is None and head_dim is None:
        head_dim = _head_dim(sizes["width"], width_multiple)
    step = math.lcm(heads or head_dim or 1, width_multiple)
    tokens = Shape(width=1, depth=1, mlp_dim=1, heads=1, patch=patch).tokens(image_size)
    target = (sizes["width"], sizes["depth"], sizes["mlp_dim"])
    candidates = itertools.product(
        _around(target[0], step), _around(target[1], 1), _around(target[2], mlp_multiple)
    )

    def distance(candidate: tuple[int, int, int]) -> float:
        cost = math.log(_mac(*candidate, tokens) / _mac(*target, tokens))
        moved = sum(math.log(a / b) ** 2 for a, b in zip(candidate, target, strict=True))
        return moved + cost**2

    width, depth, mlp_dim = min(candidates, key=distance)
    return Shape(
        width=width,
        depth=depth,
        mlp_dim=mlp_dim,
        heads=heads if heads is not None else width // (head_dim or 1),
        patch=patch,
    )


def _head_dim(width: float, width_multiple: int) -> int:
    for head_dim in _HEAD_DIMS:
        step = math.lcm(head_dim, width_multiple)
        if min(abs(w / width - 1) for w in _around(width, step)) < _CLOSE:
            return head_dim
    return 1


def _around(size: float, multiple: int) -> list[int]:
    """The multiples just below and above `size`, but no zero."""
    below = math.floor(size / multiple) * multiple
    return sorted({max(multiple, below), max(multiple, math.ceil(size / multiple) * multiple)})


def _mac(width: float, depth: float, mlp_dim: float, tokens: int) -> float:
    """Multiply-adds of the blocks, which also takes sizes that are not whole."""
    return depth * tokens * width * (4 * width + 2 * tokens + 2 * mlp_dim)
