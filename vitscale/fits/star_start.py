"""The starting point x0 from a star alone, for when no grid was measured or its optimum is on its edge.

The joint rule grows dimension k by t^(s_k / D), as all D grow together. Along one arm of the star
x*_k(t) grows by t^s_k, as the others stay at the centre. So a start that is read off the star depends
on the compute at which it is read, which its intervals have to say.
"""

import math

import numpy as np

from vitscale.fits.rule import StartingPoint, equal_weights
from vitscale.fits.star_fit import DimensionFit, StarFit
from vitscale.fits.uncertainty import Interval

_POINTS = 33  # computes at which the start is read to find its interval


def x0_from_star(fit: StarFit, t: float | None = None) -> StartingPoint:
    """A starting point from the star alone: x*_k(t) of every dimension at one measured compute.

    `t` defaults to the geometric middle of the compute that all arms share. The estimate depends on
    it, and so does every size that the rule scales from it. The interval of x0_k therefore covers
    the starts at all other t' of that shared compute too, carried to t by the rule: the least low
    end and the greatest high end of x*_k(t') (t/t')^(s_k / D), at the estimate of s_k. It is open
    where one of them is. Raises `ValueError` where a dimension has no optimum or `t` is outside.
    """
    low = max(d.t_range[0] for d in fit.dimensions.values())
    high = min(d.t_range[1] for d in fit.dimensions.values())
    if low > high:
        raise ValueError(
            f"the arms share no compute (one ends at {high:g}, another begins at {low:g} "
            f"{fit.compute_unit}), so the star gives no starting point; measure the arms at equal "
            f"durations, or a grid"
        )
    chosen = math.sqrt(low * high) if t is None else t
    if not low <= chosen <= high:
        raise ValueError(
            f"t={chosen:g} {fit.compute_unit} is outside the compute that all arms measured, "
            f"{low:g} to {high:g}; choose a value inside"
        )
    read_at = np.clip(np.geomspace(low, high, _POINTS), low, high)
    weights = equal_weights(fit.dimensions)
    return StartingPoint(
        sizes={
            name: _start(dimension, chosen, read_at, weights[name])
            for name, dimension in fit.dimensions.items()
        },
        t0=chosen,
        compute_unit=fit.compute_unit,
        flops_per_unit=fit.flops_per_unit,
        source=(
            f"optima of the star at {chosen:.3g} {fit.compute_unit}, each with the other dimensions "
            f"at the centre (a fallback, as no grid gives a starting point)"
        ),
        fallback=True,
    )


def _start(dimension: DimensionFit, t0: float, read_at: np.ndarray, weight: float) -> Interval:
    """x* at `t0`, with an interval over the starts at every compute of `read_at`."""
    there = _optimum(dimension, t0)
    power = dimension.s.estimate * weight
    carried = [(_optimum(dimension, float(t)), (t0 / float(t)) ** power) for t in read_at]
    return Interval(
        estimate=there.estimate,
        low=min(there.low, *(size.low * factor for size, factor in carried)),
        high=max(there.high, *(size.high * factor for size, factor in carried)),
        level=there.level,
        method="optima of the star over the compute that its arms share",
    )


def _optimum(dimension: DimensionFit, t: float) -> Interval:
    size = dimension.x_star_at(t)
    if size is None:
        name = dimension.dimension
        raise ValueError(
            f"{name} has no optimal size in the data, so the star gives no starting point; "
            f"measure more sizes of {name}, or a grid"
        )
    return size
