"""What rounding costs: how much error the law foretells for the rounded sizes beyond the optimal ones.

Along dimension k, eq. (2) of Getting ViT in Shape at compute t is least at x*_k(t). A size that is
off the optimum by a factor r has an error larger by

    f_k(r x*_k(t), t) - f_k(x*_k(t), t)  =  alpha x*^-a (r^-a - 1 + (a/b) (r^b - 1))  >=  0

at the same compute: a larger network sees fewer images. The law of each dimension was measured with
the others at the star's centre, so the sum over dimensions leaves out how they act together.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vitscale.fits.laws import ShapeLaw
from vitscale.fits.rounding import block_multiply_adds
from vitscale.fits.star_fit import StarFit
from vitscale.fits.uncertainty import Interval
from vitscale.scaling.shape import DIMENSIONS, Shape


@dataclasses.dataclass(frozen=True, kw_only=True)
class Excess:
    """Error beyond that of the optimum, in units of the metric, at the same compute.

    `low`, `high`: from the optimum at one end of its interval to the other, at the law's estimated
    curvature; below zero where the rounded size may be nearer to the optimum than the rule's. None
    where the optimum has no interval.
    """

    estimate: float
    low: float | None
    high: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundingCost:
    """What moving from the rule's sizes to a shape of whole sizes does.

    - `moves`: rounded over optimal size, for each dimension. `forward`: the same of the multiply-adds
      of one image; at the same compute, the number of images moves the other way.
    - `excess`: by dimension, where there is a law; `metric` names its unit, `level` its intervals'.
    - `unknown`: why there is no law; "" where there is.
    """

    moves: dict[str, float]
    forward: float
    excess: dict[str, Excess]
    metric: str
    level: float
    unknown: str

    @property
    def total(self) -> Excess | None:
        """The sum over dimensions, with all ends at their worst together; None without laws."""
        if self.unknown:
            return None
        parts = self.excess.values()
        lows, highs = [part.low for part in parts], [part.high for part in parts]
        return Excess(
            estimate=sum(part.estimate for part in parts),
            low=None if None in lows else sum(low for low in lows if low is not None),
            high=None if None in highs else sum(high for high in highs if high is not None),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        total = self.total
        return {
            "moves": self.moves,
            "forward_multiply_adds": self.forward,
            "metric": self.metric or None,
            "excess_error": None if total is None else dataclasses.asdict(total),
            "by_dimension": {name: dataclasses.asdict(part) for name, part in self.excess.items()},
            "level": self.level,
            "unknown": self.unknown or None,
        }

    def lines(self) -> list[str]:
        """One or two lines for a person to read."""
        moves = ", ".join(f"{name} {_percent(move)}" for name, move in self.moves.items())
        moved = f"rounding moves {moves}, the work for an image {_percent(self.forward)}"
        total = self.total
        if total is None:
            return [moved, f"what that costs is not known: {self.unknown}"]
        parts = ", ".join(f"{name} {part.estimate:.2g}" for name, part in self.excess.items())
        return [
            moved,
            f"and costs {total.estimate:.2g} of {self.metric} at the same compute by eq. (2) "
            f"{_interval(total, self.level)}: {parts}",
        ]


def rounding_cost(
    shape: Shape,
    sizes: Mapping[str, Interval],
    *,
    image_size: int,
    flops: float,
    fit: StarFit | None,
) -> RoundingCost:
    """What taking `shape` instead of the optimal `sizes` costs at a budget of `flops` training FLOPs.

    `fit` holds the laws; without it, or where a law of it has no optimum, the cost is unknown and the
    moves alone are given.
    """
    moves = {name: getattr(shape, name) / sizes[name].estimate for name in DIMENSIONS}
    optimal = [sizes[name].estimate for name in DIMENSIONS]
    rounded = [float(getattr(shape, name)) for name in DIMENSIONS]
    tokens = shape.tokens(image_size)
    unknown = _unknown(fit, flops)
    excess = {}
    if fit is not None and not unknown:
        t = fit.compute_from_flops(flops)
        excess = {
            name: excess_error(fit.dimensions[name].law, t, moves[name], sizes[name])
            for name in DIMENSIONS
        }
    return RoundingCost(
        moves=moves,
        forward=_work(rounded, tokens) / _work(optimal, tokens),
        excess=excess,
        metric=fit.metric if fit is not None else "",
        level=sizes[DIMENSIONS[0]].level,
        unknown=unknown,
    )


def excess_of(
    fit: StarFit | None, flops: float, sizes: Mapping[str, Interval]
) -> Callable[[Shape], float] | None:
    """The error that a shape costs beyond the optimal `sizes`, as a function of it; None without laws."""
    if fit is None or _unknown(fit, flops):
        return None
    t = fit.compute_from_flops(flops)

    def excess(shape: Shape) -> float:
        moves = {name: getattr(shape, name) / sizes[name].estimate for name in DIMENSIONS}
        laws = {name: fit.dimensions[name].law for name in DIMENSIONS}
        return sum(excess_error(laws[n], t, moves[n], sizes[n]).estimate for n in DIMENSIONS)

    return excess


def excess_error(law: ShapeLaw, t: float, move: float, size: Interval) -> Excess:
    """Error at compute `t` of a size that was moved by the factor `move` off its optimum.

    `size`: the optimum that was moved from, whose interval says how far off the true one it may be.
    """
    optimum = float(law.optimal_x(t))

    def beyond(off: float) -> float:
        """The move's effect where the size before it was off the true optimum by the factor `off`."""
        return float(law.error(move * off * optimum, t) - law.error(off * optimum, t))

    estimate = beyond(1.0)
    if not (size.low > 0 and math.isfinite(size.high)):
        return Excess(estimate=estimate, low=None, high=None)
    # It rises with `off` for a larger size and falls for a smaller one, so the ends are the extremes.
    ends = [beyond(size.estimate / end) for end in (size.low, size.high)]
    return Excess(estimate=estimate, low=min(estimate, *ends), high=max(estimate, *ends))


def _work(sizes: Sequence[float], tokens: int) -> float:
    width, depth, mlp_dim = sizes
    return block_multiply_adds(width, depth, mlp_dim, tokens)


def _unknown(fit: StarFit | None, flops: float) -> str:
    if fit is None:
        return (
            "the rule is published as exponents alone, which give no error; fit a star for its laws"
        )
    if fit.flops_per_unit is None:
        return f"the fit's compute, {fit.compute_unit}, is not known in FLOPs"
    missing = [name for name in DIMENSIONS if name not in fit.dimensions]
    t = fit.compute_from_flops(flops)
    flat = [
        name
        for name in DIMENSIONS
        if name not in missing and not 0 < float(fit.dimensions[name].law.optimal_x(t)) < math.inf
    ]
    if missing or flat:
        return f"the fit has no optimum in {', '.join((*missing, *flat))}"
    return ""


def _percent(ratio: float) -> str:
    return f"{round(100 * (ratio - 1), 1) or 0.0:+.1f}%"  # no -0.0


def _interval(excess: Excess, level: float) -> str:
    if excess.low is None or excess.high is None:
        return "(interval unknown)"
    return f"({100 * level:.0f}% [{excess.low:.2g}, {excess.high:.2g}])"
