"""The shapes that a finder tries: widths with their heads, depths and MLP sizes, crossed."""

import itertools
from collections.abc import Sequence

import numpy as np

from vitscale.scaling.shape import Shape

# Scaling Vision Transformers (arXiv 2106.04560), Figure 8: its axes.
FIGURE_8_WIDTHS = (
    "1024//16,8",
    "1280//20,16,10",
    "1408//22,16,11",
    "1536//24,16,12",
    "1664//26,16,13",
    "1792//28,16,14",
    "1920//30,24,16,15",
    "2048//32,16",
)
FIGURE_8_DEPTHS = (24, 32, 40, 48, 56)
FIGURE_8_MLP_DIMS = tuple(range(4096, 10240 + 1, 512))

CPU_WIDTHS = ("64//2", "128//4")
CPU_DEPTHS = (2, 6)
CPU_MLP_DIMS = (128, 512)
"""Few and small: a CPU compiles each in several seconds."""


def grid_shapes(
    widths: Sequence[str], depths: Sequence[int], mlp_dims: Sequence[int], *, patch: int
) -> list[Shape]:
    """Every width with each of its heads, depth and mlp_dim, once.

    - `widths`: as "1024//16,8", a width and the numbers of heads to try it with.

    Raises `ValueError` that names the value which is no size, or is missing.
    """
    for name, values in {"widths": widths, "depths": depths, "mlp_dims": mlp_dims}.items():
        if not values:
            raise ValueError(f"{name} is empty; name at least one")
    with_heads = [pair for text in widths for pair in parse_width(text)]
    return list(
        dict.fromkeys(
            Shape(width=width, depth=depth, mlp_dim=mlp_dim, heads=heads, patch=patch)
            for (width, heads), depth, mlp_dim in itertools.product(with_heads, depths, mlp_dims)
        )
    )


def parse_width(text: str) -> list[tuple[int, int]]:
    """ "1024//16,8" as the width with each number of heads; raises `ValueError` for anything else."""
    width, slashes, heads = text.partition("//")
    numbers = [width, *heads.split(",")]
    if not slashes or not all(n.isascii() and n.isdecimal() and int(n) for n in numbers):
        raise ValueError(
            f"widths: {text!r} is not a width with its heads; write it as 1024//16, or as "
            f"1024//16,8 to try both"
        )
    return [(int(width), int(number)) for number in numbers[1:]]


def spread_out(shapes: Sequence[Shape]) -> list[Shape]:
    """The shapes so ordered that the first few already span the grid: the smallest, then always the
    one that is farthest, in log sizes, from all before it."""
    if not shapes:
        return []
    sizes = np.log([[s.width, s.depth, s.mlp_dim, s.heads] for s in shapes])
    order = [int(np.argmin(sizes.sum(axis=1)))]
    distance = np.full(len(shapes), np.inf)
    for _ in shapes[1:]:
        distance = np.minimum(distance, ((sizes - sizes[order[-1]]) ** 2).sum(axis=1))
        distance[order[-1]] = -1.0
        order.append(int(np.argmax(distance)))
    return [shapes[i] for i in order]
