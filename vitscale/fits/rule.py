"""The joint scaling rule of Getting ViT in Shape: from one good small shape to any compute.

    x_k(t) = x0_k (t / t0)^(s_k w_k),   sum_k w_k = 1,   w_k = 1/3

The paper's text prints the factor as tau^(w_k) for every dimension, which its own Figure 1
contradicts: the lines there have slopes s_k / 3 to 1e-5. This is the rule of the figure.
"""

import csv
import dataclasses
import functools
import math
from collections.abc import Collection, Mapping
from typing import Any

from vitscale.fits.datasets import path
from vitscale.fits.laws import SOVIT_EXPONENTS
from vitscale.fits.star_fit import StarFit
from vitscale.fits.uncertainty import Interval
from vitscale.scaling.names import suggest
from vitscale.scaling.shape import CONVENTIONS, DIMENSIONS, named_shape

_FLOPS_PER_FORWARD_GFLOP = 3e9

WITHOUT_INTERVAL = "published without interval"
"""Method of the open intervals of a published rule."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartingPoint:
    """A shape known to be compute-optimal at one compute, from which the rule scales.

    - `sizes`: width, depth and mlp_dim with intervals; open ends where nothing is known.
    - `t0`: the compute, in `compute_unit`; `flops_per_unit`: training FLOPs in one unit, if known.
    - `source`: where it comes from, for the user to read. `fallback`: whether it stands in for a
      grid's optimum, see `vitscale.fits.star_start`.
    """

    sizes: dict[str, Interval]
    t0: float
    compute_unit: str
    flops_per_unit: float | None
    source: str
    fallback: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `StartingPoint.from_dict` reads them back. Open ends are null."""
        return {
            "sizes": {name: _interval_dict(size) for name, size in self.sizes.items()},
            "t0": self.t0,
            "compute_unit": self.compute_unit,
            "flops_per_unit": self.flops_per_unit,
            "source": self.source,
            "fallback": self.fallback,
        }

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> "StartingPoint":
        """Read what `to_dict` gave. Raises `ValueError` where a key is missing or damaged."""
        try:
            sizes = {
                name: Interval(
                    estimate=float(size["estimate"]),
                    low=0.0 if size["low"] is None else float(size["low"]),
                    high=math.inf if size["high"] is None else float(size["high"]),
                    level=float(size["level"]),
                    method=str(size["method"]),
                )
                for name, size in content["sizes"].items()
            }
            flops = content["flops_per_unit"]
            return StartingPoint(
                sizes=sizes,
                t0=float(content["t0"]),
                compute_unit=str(content["compute_unit"]),
                flops_per_unit=None if flops is None else float(flops),
                source=str(content["source"]),
                fallback=bool(content.get("fallback", False)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"the starting point is damaged ({error!r}); choose it anew from a grid or a fit"
            ) from None


def _interval_dict(interval: Interval) -> dict[str, Any]:
    return {
        "estimate": interval.estimate,
        "low": interval.low if interval.low > 0 else None,
        "high": interval.high if math.isfinite(interval.high) else None,
        "level": interval.level,
        "method": interval.method,
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """x_k(t) = x0_k (t/t0)^(s_k w_k) for every dimension k.

    `exponents` carry their intervals; `weights` sum to one. `t_range`: the least and the most compute
    that the exponents were measured at, in the unit of `start`; None where unknown. Raises
    `ValueError` where the dimensions of start, exponents and weights differ or the weights do not
    sum to one.
    """

    start: StartingPoint
    exponents: dict[str, Interval]
    weights: dict[str, float]
    source: str
    t_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        names = set(self.exponents)
        if set(self.start.sizes) != names or set(self.weights) != names:
            raise ValueError(
                f"the rule needs the same dimensions everywhere, got {sorted(self.start.sizes)} for "
                f"x0, {sorted(names)} for exponents and {sorted(self.weights)} for weights"
            )
        if abs(sum(self.weights.values()) - 1) > 1e-9:
            raise ValueError(f"weights sum to {sum(self.weights.values()):g}; they must sum to 1")

    def sizes(self, t: float) -> dict[str, Interval]:
        """Optimal sizes at compute `t`, in the unit of the starting point, with intervals.

        An interval combines the worst ends of x0's interval and of the exponent's. It is as good as
        these are: with an x0 that counts as exact (a published start) it holds the exponent's part
        alone. The law itself is taken as true. It is open where either is unknown. Raises
        `ValueError` where `t` is not positive.
        """
        if not (math.isfinite(t) and t > 0):
            raise ValueError(f"compute={t} is not positive; give the {self.start.compute_unit}")
        tau = t / self.start.t0
        return {name: self._size(name, tau) for name in self.exponents}

    def sizes_at_flops(self, flops: float) -> dict[str, Interval]:
        """Optimal sizes at a budget of training FLOPs.

        Raises `ValueError` where the rule's unit of compute is not known in FLOPs.
        """
        if self.start.flops_per_unit is None:
            raise ValueError(
                f"compute_unit={self.start.compute_unit!r} is not known in FLOPs, so {flops:g} "
                f"training FLOPs cannot be converted; say how many one unit is"
            )
        return self.sizes(flops / self.start.flops_per_unit)

    def _size(self, name: str, tau: float) -> Interval:
        s, x0, weight = self.exponents[name], self.start.sizes[name], self.weights[name]
        # x grows with s beyond t0 and shrinks with s below it.
        slow, fast = (s.low, s.high) if tau >= 1 else (s.high, s.low)
        known = s.low > 0 and math.isfinite(s.high)
        return Interval(
            estimate=x0.estimate * tau ** (s.estimate * weight),
            low=x0.low * tau ** (slow * weight) if known else 0.0,
            high=x0.high * tau ** (fast * weight) if known else math.inf,
            level=s.level,
            method="rule",
        )


def without_interval(value: float, method: str) -> Interval:
    """A value whose uncertainty is unknown: both ends open."""
    return Interval(estimate=value, low=0.0, high=math.inf, level=0.95, method=method)


def exactly(value: float, method: str) -> Interval:
    """A value that was chosen rather than estimated."""
    return Interval(estimate=value, low=value, high=value, level=0.95, method=method)


SOVIT_X0 = StartingPoint(
    # The starting point of Figure 1's curves, t0 = 10^9.903 forward GFLOPs x images.
    sizes={
        name: exactly(x, "chosen from the grid sweep")
        for name, x in zip(DIMENSIONS, (608, 10, 928), strict=True)
    },
    t0=8.0e9,
    compute_unit="forward_gflops",
    flops_per_unit=_FLOPS_PER_FORWARD_GFLOP,
    source="Getting ViT in Shape (arXiv 2305.13035), Figure 1: (608, 10, 928) at 8.0e9 GFLOPs",
)


def published_rule(name: str) -> Rule:
    """The rule with the exponents called `name` in `SOVIT_EXPONENTS`, from the paper's own start.

    Its intervals are open: the paper gives none; `t_range` is that of the paper's star sweep. Raises `ValueError` for an unknown name.
    """
    if name not in SOVIT_EXPONENTS:
        raise ValueError(f"unknown rule {name!r}; {suggest(name, SOVIT_EXPONENTS)}")
    return Rule(
        start=SOVIT_X0,
        exponents={
            k: without_interval(s, WITHOUT_INTERVAL) for k, s in SOVIT_EXPONENTS[name].items()
        },
        weights=equal_weights(SOVIT_EXPONENTS[name]),
        source=f"Getting ViT in Shape (arXiv 2305.13035), exponents {name}",
        t_range=_published_t_range(),
    )


@functools.cache
def _published_t_range() -> tuple[float, float]:
    """Least and most compute of the paper's star sweep, in forward GFLOPs x images."""
    with path("sovit_star_sweep").open(encoding="utf-8", newline="") as file:
        compute = [float(row["forward_gflops"]) for row in csv.DictReader(file)]
    return min(compute), max(compute)


def equal_weights(dimensions: Collection[str]) -> dict[str, float]:
    """Weights w_k = 1/D, which the paper uses."""
    return {name: 1 / len(dimensions) for name in dimensions}


def rule_from_fit(fit: StarFit, start: StartingPoint) -> Rule:
    """The rule with the exponents of a star fit, from a starting point in the same unit of compute.

    Starts in another unit are converted where both are known in FLOPs. Raises `ValueError` where
    the fit lacks a dimension of a shape or of the start, or the units do not compare.
    """
    refuse_other_dimensions("fit", fit.dimensions)
    unmeasured = [name for name in start.sizes if name not in fit.dimensions]
    if unmeasured:
        raise ValueError(
            f"the fit has no {', '.join(unmeasured)}, which the starting point has; measure that arm "
            f"of the star"
        )
    if start.compute_unit != fit.compute_unit:
        if start.flops_per_unit is None:
            raise ValueError(
                f"the start is at {start.t0:g} {start.compute_unit}, but the fit is in "
                f"{fit.compute_unit}; give both in FLOPs"
            )
        start = dataclasses.replace(
            start,
            t0=fit.compute_from_flops(start.t0 * start.flops_per_unit),
            compute_unit=fit.compute_unit,
            flops_per_unit=fit.flops_per_unit,
        )
    exponents = {name: fit.dimensions[name].s for name in start.sizes}
    undecided = [name for name in exponents if not fit.dimensions[name].identified]
    warning = f"; not identified: {', '.join(undecided)}" if undecided else ""
    return Rule(
        start=start,
        exponents=exponents,
        weights=equal_weights(exponents),
        source=f"exponents fitted to {fit.metric}{warning}; x0: {start.source}",
        t_range=(
            min(fit.dimensions[name].t_range[0] for name in exponents),
            max(fit.dimensions[name].t_range[1] for name in exponents),
        ),
    )


def refuse_other_dimensions(what: str, dimensions: Collection[str]) -> None:
    """Raise one sentence where `what` has other dimensions than a shape."""
    others = [name for name in dimensions if name not in DIMENSIONS]
    if others and set(DIMENSIONS) <= {*dimensions}:
        raise ValueError(
            f"the {what} has {', '.join(others)} besides {', '.join(DIMENSIONS)}, and the shape of a Vision "
            f"Transformer has not; take the optimal sizes at your compute from the fit (t_ref), or leave these "
            f"rows out"
        )
    missing = [name for name in DIMENSIONS if name not in dimensions]
    if missing:
        raise ValueError(
            f"the {what} has no {' and no '.join(missing)} (it has {', '.join(dimensions)}), and a "
            f"shape needs all; name the dimensions {', '.join(DIMENSIONS)}, or measure those that "
            f"are missing"
        )


def flops_like(model_and_images: str) -> float:
    """Training FLOPs of a published model, such as "ViT-g/14 x 16e9" (images seen, at 224 pixels).

    3 x forward XLA FLOPs of the trunk with mean pooling: the compute of Getting ViT in Shape.
    Raises `ValueError` where the text is something else.
    """
    name, count = model_and_images_of(model_and_images)
    forward = named_shape(name).forward_flops(**CONVENTIONS["sovit-t"].keywords)
    return _FLOPS_PER_FORWARD_GFLOP / 1e9 * forward * count


def model_and_images_of(model_and_images: str) -> tuple[str, float]:
    """The two parts of a text such as "ViT-g/14 x 16e9".

    Raises `ValueError` where there are no such parts; the model's name is not looked up.
    """
    name, separator, images = model_and_images.replace("×", " x ").rpartition(" x ")
    try:
        count = float(images.strip().replace(",", "").replace("_", ""))
    except ValueError:
        count = math.nan
    if not separator or not (math.isfinite(count) and count > 0):
        raise ValueError(
            f"{model_and_images!r} is not a model and its images seen; write it as "
            f'"ViT-g/14 x 16e9"; models are ViTs, so give the budget of any other as --flops'
        )
    return name.strip(), count
