"""The starting point x0 from a grid of small shapes: compute-optimal, and strictly inside the grid.

Getting ViT in Shape (arXiv 2305.13035), Section 4: of the shapes that are optimal over a range of
compute and not at the grid's edge, take the one that is so at the least compute. The paper measured
one duration; to say which shape is best at a compute, shapes of different cost are compared here at
equal compute, between several durations of each.
"""

import dataclasses
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from vitscale.fits.rule import StartingPoint
from vitscale.fits.uncertainty import Interval
from vitscale.scaling.shape import DIMENSIONS

_STEP = 1.02  # ratio between computes at which shapes are compared
_MIN_RANGE = 1.1  # a shape must stay optimal over this factor of compute

Side = Literal["smallest", "largest"]
"""Which end of a dimension's values a shape lies on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridOptimum:
    """Which shape of a grid is best at each compute.

    - `shapes`: width, depth and mlp_dim of every shape. `compute`: where they are compared.
    - `best`: index of the best shape at each compute; -1 where too few shapes were measured there.
    - `error`: of every shape at each compute, interpolated; NaN outside what it was measured at.
    """

    shapes: Int[np.ndarray, "shapes 3"]
    compute: Float[np.ndarray, " computes"]
    best: Int[np.ndarray, " computes"]
    error: Float[np.ndarray, "shapes computes"]


def optimum_over_compute(table: pd.DataFrame) -> GridOptimum:
    """Compare the shapes of a grid table at equal compute.

    Log error is interpolated linearly in log compute between the durations of a shape (seeds
    averaged), never beyond them. A best shape counts only where its grid neighbours were measured
    at that compute too.
    """
    sizes = table[list(DIMENSIONS)].to_numpy(int)
    shapes = np.unique(sizes, axis=0)
    compute, error = table["compute"].to_numpy(float), table["error"].to_numpy(float)
    low, high = compute.min(), compute.max()
    count = max(2, int(np.log(high / low) / np.log(_STEP)) + 1)
    grid = np.geomspace(low, high, count)
    curves = np.full((len(shapes), count), np.nan)
    for k, shape in enumerate(shapes):
        mine = (sizes == shape).all(axis=1)
        t = np.unique(compute[mine])
        mean = [np.log(error[mine & (compute == value)]).mean() for value in t]
        curves[k] = np.interp(np.log(grid), np.log(t), mean, left=np.nan, right=np.nan)
    filled = np.where(np.isnan(curves), np.inf, curves)
    best = filled.argmin(axis=0)
    neighbours = _neighbours(shapes)
    for j in range(count):
        if not np.isfinite(filled[neighbours[best[j]], j]).all() or np.isinf(filled[best[j], j]):
            best[j] = -1
    return GridOptimum(shapes=shapes, compute=grid, best=best, error=np.exp(curves))


def _neighbours(shapes: np.ndarray) -> list[np.ndarray]:
    """Of each shape, those one grid step away in one dimension, and itself."""
    ranks = np.stack([np.unique(column, return_inverse=True)[1] for column in shapes.T], axis=1)
    distance = np.abs(ranks[:, None] - ranks[None]).sum(axis=2)
    return [np.flatnonzero(row <= 1) for row in distance]


def choose_x0(table: pd.DataFrame) -> StartingPoint:
    """The compute-optimal shape strictly inside the grid, at the least compute at which it is so.

    - `table`: a grid table, see `vitscale.fits.tables`.

    A grid finds the optimum to its own resolution, so the interval of each size reaches from the
    next smaller to the next larger value of the grid. It is no confidence interval: noise between
    runs is not in it, and an optimum with correlated sizes may lie further off.

    Raises `ValueError`, with advice on how to extend the grid, where the optimum is at its edge.
    """
    for name in DIMENSIONS:
        values = np.unique(table[name].to_numpy(int))
        if len(values) < 3:
            raise ValueError(
                f"the grid has {len(values)} value{'s' if len(values) > 1 else ''} of {name} "
                f"({', '.join(map(str, values))}), so no shape is strictly inside it; measure at "
                f"least 3"
            )
    found = optimum_over_compute(table)
    inside = _inside(found.shapes)
    for shape, first, last in _runs(found):
        if inside[shape] and found.compute[last] / found.compute[first] >= _MIN_RANGE:
            return _starting_point(table, found, shape, first, last)
    raise ValueError(_edge_advice(found, inside))


def sides_of(found: GridOptimum, shape: int) -> dict[str, Side]:
    """The dimensions in which a shape (by index) lies on the grid's edge, and on which side."""
    sides: dict[str, Side] = {}
    for name, value, column in zip(DIMENSIONS, found.shapes[shape], found.shapes.T, strict=True):
        if value == column.min():
            sides[name] = "smallest"
        elif value == column.max():
            sides[name] = "largest"
    return sides


def _inside(shapes: np.ndarray) -> np.ndarray:
    return ((shapes > shapes.min(axis=0)) & (shapes < shapes.max(axis=0))).all(axis=1)


def _runs(found: GridOptimum) -> list[tuple[int, int, int]]:
    """Stretches of compute with one best shape: (shape, first, last), in order of compute."""
    edges = np.flatnonzero(np.diff(found.best)) + 1
    stretches = np.split(np.arange(len(found.best)), edges)
    return [
        (int(found.best[r[0]]), int(r[0]), int(r[-1])) for r in stretches if found.best[r[0]] >= 0
    ]


def _starting_point(
    table: pd.DataFrame, found: GridOptimum, shape: int, first: int, last: int
) -> StartingPoint:
    sizes = found.shapes[shape]
    unit = table.attrs.get("compute_unit", "compute")
    t0 = float(found.compute[first])
    listed = ", ".join(str(v) for v in sizes)
    return StartingPoint(
        sizes={
            name: _between_neighbours(int(size), column)
            for name, size, column in zip(DIMENSIONS, sizes, found.shapes.T, strict=True)
        },
        t0=t0,
        compute_unit=unit,
        flops_per_unit=table.attrs.get("flops_per_unit"),
        source=(
            f"({listed}) is the best shape of the grid, strictly inside it, from {t0:.3g} to "
            f"{found.compute[last]:.3g} {unit}"
        ),
    )


def _between_neighbours(size: int, column: np.ndarray) -> Interval:
    """`size` with the grid's next values below and above it, which exist inside the grid."""
    values = np.unique(column)
    k = int(np.searchsorted(values, size))
    return Interval(
        estimate=float(size),
        low=float(values[k - 1]),
        high=float(values[k + 1]),
        level=0.95,
        method="between neighbouring grid values",
    )


def _edge_advice(found: GridOptimum, inside: np.ndarray) -> str:
    compared = found.best[found.best >= 0]
    if not len(compared):
        return (
            "no compute was reached by all neighbouring shapes of the grid, so none can be called "
            "best; measure the shapes over more, overlapping durations"
        )
    best = int(np.bincount(compared).argmax())
    shape = found.shapes[best]
    listed = f"({', '.join(str(v) for v in shape)})"
    if inside[best]:
        return (
            f"the best shape {listed} is inside the grid, but over less than a factor of "
            f"{_MIN_RANGE:g} of compute; measure longer durations"
        )
    advice = []
    for name, side in sides_of(found, best).items():
        values = np.unique(found.shapes[:, DIMENSIONS.index(name)])
        if side == "smallest":
            below = max(1, round(values[0] ** 2 / values[1]))
            smaller = f"add {below}" if below < values[0] else "it cannot be smaller"
            advice.append(f"{name}={values[0]} is the smallest of the grid ({smaller})")
        else:
            above = round(values[-1] ** 2 / values[-2])
            advice.append(f"{name}={values[-1]} is the largest of the grid (add {above})")
    return (
        f"the best shape of the grid {listed} lies on its edge, so the optimum may lie beyond: "
        f"{'; '.join(advice)}; extend the grid, or start from the star's optima instead"
    )
