"""Rounding optimal sizes to a shape that hardware likes, without moving far in size or cost."""

import itertools
import math
from collections.abc import Callable, Mapping

from vitscale.scaling.shape import DIMENSIONS, Shape

_HEAD_DIMS = (64, 32, 16, 8, 4, 2, 1)
_CLOSE = 0.08  # relative change of width that the choice of head_dim may cost
_SMALLER = tuple(0.95**k for k in range(46))
"""Parts of the optimal sizes, down to a tenth, that are tried where the optimum is not accepted."""


def round_shape(
    sizes: Mapping[str, float],
    *,
    patch: int,
    image_size: int = 224,
    heads: int | None = None,
    head_dim: int | None = None,
    width_multiple: int = 1,
    mlp_multiple: int = 16,
    accept: Callable[[Shape], bool] | None = None,
    penalty: Callable[[Shape], float] | None = None,
) -> Shape:
    """The shape of whole sizes nearest to `sizes` (`width`, `depth`, `mlp_dim`) and to their cost.

    Of the sizes rounded up and down, takes the combination with the least sum of squared log
    distances, where forward FLOPs count as one more distance.

    - `heads`: number of heads, width a multiple of it; or `head_dim`: channels of a head, width a
      multiple of it. By default head_dim is the largest of 64, 32, 16, ... that moves the width by
      less than 8%.
    - `width_multiple`, `mlp_multiple`: width and mlp_dim are multiples of these too.
    - `penalty`: what the shape taken has least of, instead of distance.
    - `accept`: which shapes may be taken. Where none of the combinations may, the nearest of smaller
      sizes is, down to a tenth in each, in steps of 5%.

    Raises `ValueError` where a size is not positive, both `heads` and `head_dim` are given, or no shape
    is accepted.
    """
    _check_sizes(sizes)
    _check_options(
        heads=heads,
        head_dim=head_dim,
        width_multiple=width_multiple,
        mlp_multiple=mlp_multiple,
    )
    if heads is None and head_dim is None:
        head_dim = _head_dim(sizes["width"], width_multiple)
    step = math.lcm(heads or head_dim or 1, width_multiple)
    tokens = Shape(width=1, depth=1, mlp_dim=1, heads=1, patch=patch).tokens(image_size)
    target = (sizes["width"], sizes["depth"], sizes["mlp_dim"])
    multiples = (step, 1, mlp_multiple)

    def distance(candidate: tuple[int, ...]) -> float:
        width, depth, mlp_dim = candidate
        work = block_multiply_adds(width, depth, mlp_dim, tokens)
        cost = math.log(work / block_multiply_adds(*target, tokens))
        moved = sum(math.log(a / b) ** 2 for a, b in zip(candidate, target, strict=True))
        return moved + cost**2

    def shape(width: int, depth: int, mlp_dim: int) -> Shape:
        own_heads = heads if heads is not None else width // (head_dim or 1)
        return Shape(width=width, depth=depth, mlp_dim=mlp_dim, heads=own_heads, patch=patch)

    def order(candidate: tuple[int, ...]) -> float:
        return distance(candidate) if penalty is None else penalty(shape(*candidate))

    around = [_around(size, m) for size, m in zip(target, multiples, strict=True)]
    if accept is None:
        return shape(*min(itertools.product(*around), key=order))
    smaller = [_below(size, m) for size, m in zip(target, multiples, strict=True)]
    for options in (around, smaller):
        for candidate in sorted(itertools.product(*options), key=order):
            if accept(shape(*candidate)):
                return shape(*candidate)
    raise ValueError(
        f"no shape from a tenth of width {target[0]:.4g}, depth {target[1]:.4g} and mlp_dim "
        f"{target[2]:.4g} up to these sizes may be taken; give a smaller budget or allow larger shapes"
    )


def _check_sizes(sizes: Mapping[str, float]) -> None:
    for name in DIMENSIONS:
        size = sizes.get(name, math.nan)
        if not (math.isfinite(size) and size > 0):
            raise ValueError(f"{name}={size} is not a size; expected a positive number")


def _check_options(**options: int | None) -> None:
    heads, head_dim = options["heads"], options["head_dim"]
    if heads is not None and head_dim is not None:
        raise ValueError(f"heads={heads} and head_dim={head_dim} are both given; choose one")
    for name, value in options.items():
        if value is not None and (isinstance(value, bool) or int(value) != value or value < 1):
            raise ValueError(f"{name}={value} is not a whole number from 1")


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


def _below(size: float, multiple: int) -> list[int]:
    """Multiples from `size` down to a tenth of it, in even steps of its logarithm."""
    return sorted({_around(part * size, multiple)[0] for part in _SMALLER})


def block_multiply_adds(width: float, depth: float, mlp_dim: float, tokens: int) -> float:
    """Multiply-adds of the blocks for one image; also takes sizes that are not whole."""
    return depth * tokens * width * (4 * width + 2 * tokens + 2 * mlp_dim)
