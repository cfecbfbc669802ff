"""IsoFLOP profiles: the optimal size read off directly at several compute levels, to check eq. (2)'s s.

At each level error is interpolated along every size's runs, a parabola in log size is laid through
the sizes about the least, and its vertex taken for x*; x* then grows as t^s. This assumes no law of
error, but a parabola is symmetric and eq. (2)'s valley is not (it falls as x^-a and rises as x^b), so
that the vertex leans to the flatter side, the more so the wider the sizes reach and the further they
lie to one side; and as x* moves through the sizes, s is biased too. `expected_bias` says how much, if
eq. (2) as fitted were true. A check, not a second estimate.

Source of the method: Training Compute-Optimal Large Language Models (arXiv 2203.15556), approach 2;
Getting ViT in Shape (arXiv 2305.13035), Figure 4, shows such profiles.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from vitscale.fits.laws import ShapeLaw
from vitscale.fits.measured import TARGET_SPAN, measured

MIN_SIZES = 4
"""Sizes that a level needs: a parabola takes three, and a fourth says whether it is one."""

_NEAREST = 5  # sizes about the least error that the parabola is laid through
_LEAST_SPAN = 1.5  # factor of compute over which enough sizes must overlap
_LEVELS = 6
_LEAST_DURATIONS = 3  # that a parabola in log compute takes


@dataclasses.dataclass(frozen=True, kw_only=True)
class IsoflopLevel:
    """One compute level: `x_star` is the parabola's vertex, None where it opens downwards or lies
    outside the sizes that it goes through; `x`, `error`: the sizes measured there, interpolated."""

    t: float
    x: Float[np.ndarray, " sizes"]
    error: Float[np.ndarray, " sizes"]
    x_star: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class IsoflopFit:
    """x* at several compute levels, and its growth x* ~ t^s.

    - `levels`: all that were looked at, also those without an x*.
    - `s`, `standard_error`: slope of log x* against log t, and its jackknife error over sizes (levels
      are interpolated between the same runs, so their own scatter would be too small an error).
    """

    levels: tuple[IsoflopLevel, ...]
    s: float
    standard_error: float

    def agrees(self, s: float, *, bias: float = 0.0) -> bool:
        """Whether the exponent `s` of another fit lies within two standard errors of this one less its
        `bias` (see `expected_bias`)."""
        return abs(self.s - bias - s) <= 2 * self.standard_error

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "s": self.s,
            "standard_error": self.standard_error,
            "levels": [{"t": level.t, "x_star": level.x_star} for level in self.levels],
        }

    def sentence(self, s: float, *, bias: float = 0.0) -> str:
        """How it compares with the exponent `s` of eq. (2), in words."""
        corrected = f", {self.s - bias:.3g} without its expected bias" if bias else ""
        if math.isinf(self.standard_error):
            return (
                f"IsoFLOP profiles give s = {self.s:.3g}{corrected}, beside the {s:.3g} of eq. (2); they rest on "
                f"too few sizes to say how far that may be off."
            )
        verdict = "is not in contradiction with" if self.agrees(s, bias=bias) else "speaks against"
        apart = abs(self.s - bias - s) / self.standard_error
        return (
            f"IsoFLOP profiles give s = {self.s:.3g} +- {self.standard_error:.2g}{corrected}: this "
            f"{verdict} the {s:.3g} of eq. (2), {apart:.2g} standard errors apart."
        )


def isoflop_profiles(
    x: Float[np.ndarray, " points"],
    t: Float[np.ndarray, " points"],
    error: Float[np.ndarray, " points"],
    *,
    levels: int = _LEVELS,
) -> IsoflopFit:
    """Read x* off parabolas at `levels` compute levels, over which at least four sizes overlap.

    - `x`: sizes; `t`: compute; `error`: lower is better. All positive; runs of equal `x` form a curve.

    Raises `ValueError` where sizes do not overlap in compute, or where fewer than two levels have an
    optimum within the sizes.
    """
    x = measured("x", x)
    t = measured("t", t, runs=x.size)
    error = measured("error", error, span=TARGET_SPAN, runs=x.size)
    sizes = np.unique(x)
    grid = _overlap(x, t, levels)
    curves = {size: _curve(t[x == size], error[x == size]) for size in sizes}
    found = tuple(_level(curves, float(value)) for value in grid)
    slope = _slope(found)
    if slope is None:
        seen = sum(level.x_star is not None for level in found)
        raise ValueError(
            f"{seen} of {len(found)} compute levels have an optimum within the sizes, and s needs two; "
            f"widen the sizes so that they straddle x*"
        )
    without = [
        _slope(tuple(_level({k: v for k, v in curves.items() if k != size}, v0.t) for v0 in found))
        for size in sizes
    ]
    left = np.array([value for value in without if value is not None])
    spread = np.sqrt((len(left) - 1) / len(left) * ((left - left.mean()) ** 2).sum())
    # A jackknife with sizes that cannot be spared knows too little: say so by an open error.
    known = len(left) == len(sizes)
    return IsoflopFit(levels=found, s=slope, standard_error=float(spread) if known else np.inf)


def expected_bias(
    law: ShapeLaw,
    x: Float[np.ndarray, " points"],
    t: Float[np.ndarray, " points"],
    *,
    levels: int = _LEVELS,
) -> float:
    """What `isoflop_profiles` finds at runs (x, t) whose errors are exactly those of `law`, less the
    law's own s.

    Raises `ValueError` as `isoflop_profiles` does.
    """
    return isoflop_profiles(x, t, law.error(x, t), levels=levels).s - law.s


def read_at(
    x: Float[np.ndarray, " points"],
    t: Float[np.ndarray, " points"],
    error: Float[np.ndarray, " points"],
    level: float,
) -> tuple[Float[np.ndarray, " sizes"], Float[np.ndarray, " sizes"]]:
    """Sizes, and the error of each read off its own runs at compute `level`.

    Only of those sizes whose runs reach from below `level` to above it, with three computes or more: the
    line through two would run above a curve that flattens.
    """
    read = {
        size: _curve(t[x == size], error[x == size])(level)
        for size in np.unique(x)
        if len(np.unique(t[x == size])) >= _LEAST_DURATIONS
    }
    known = {size: value for size, value in read.items() if value is not None}
    return np.array(list(known), float), np.exp(np.array(list(known.values()), float))


def _overlap(x: np.ndarray, t: np.ndarray, levels: int) -> np.ndarray:
    """Compute levels, evenly on a logarithmic scale, where `MIN_SIZES` sizes or more were measured."""
    sizes = np.unique(x)
    low = np.array([t[x == size].min() for size in sizes])
    high = np.array([t[x == size].max() for size in sizes])
    ends = np.unique(np.concatenate([low, high]))
    shared = ((low <= ends[:, None]) & (high >= ends[:, None])).sum(axis=1) >= MIN_SIZES
    if (
        len(sizes) < MIN_SIZES
        or not shared.any()
        or np.ptp(np.log(ends[shared])) < np.log(_LEAST_SPAN)
    ):
        raise ValueError(
            f"IsoFLOP profiles need {MIN_SIZES} sizes or more that overlap over a factor of "
            f"{_LEAST_SPAN:g} of compute, and these {len(sizes)} do not; measure each size at four "
            f"durations or more, so that they do"
        )
    return np.geomspace(ends[shared].min(), ends[shared].max(), levels)


def _curve(t: np.ndarray, error: np.ndarray) -> Callable[[float], float | None]:
    """Log error along one size's runs: a parabola in log compute, a line through two; None outside."""
    log_t, log_error = np.log(t), np.log(error)
    degree = min(2, len(np.unique(log_t)) - 1)
    centre = log_t.mean()
    coefficients = np.polyfit(log_t - centre, log_error, degree)

    def at(level: float) -> float | None:
        inside = t.min() * (1 - 1e-9) <= level <= t.max() * (1 + 1e-9)
        return float(np.polyval(coefficients, np.log(level) - centre)) if inside else None

    return at


def _level(curves: dict[float, Callable[[float], float | None]], t: float) -> IsoflopLevel:
    read = {size: curve(t) for size, curve in curves.items()}
    known = {size: value for size, value in read.items() if value is not None}
    x, log_error = np.array(list(known)), np.array(list(known.values()))
    vertex = _vertex(np.log(x), log_error) if len(x) >= 3 else None
    return IsoflopLevel(
        t=t, x=x, error=np.exp(log_error), x_star=None if vertex is None else float(np.exp(vertex))
    )


def _vertex(log_x: np.ndarray, log_error: np.ndarray) -> float | None:
    """Lowest point of the parabola through the sizes nearest to the least error."""
    nearest = np.sort(np.abs(log_x - log_x[log_error.argmin()]).argsort(kind="stable")[:_NEAREST])
    centre = log_x[nearest].mean()
    bend, slope, _ = np.polyfit(log_x[nearest] - centre, log_error[nearest], 2)
    if bend <= 0:
        return None
    vertex = centre - slope / (2 * bend)
    return vertex if log_x[nearest[0]] <= vertex <= log_x[nearest[-1]] else None


def _slope(levels: tuple[IsoflopLevel, ...]) -> float | None:
    points = [(level.t, level.x_star) for level in levels if level.x_star is not None]
    if len(points) < 2:
        return None
    log_t, log_x = np.log(np.array(points)).T
    return float(np.polyfit(log_t, log_x, 1)[0])
