"""Where a profile leaves its interval: searched on the signed root, which is nearly a straight line.

The signed root of a value is positive above the estimate and negative below, and its square is the F
statistic of holding the quantity there. For several quantities at once, from few evaluations.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy import special

from vitscale.fits.intervals.correlation import LEAST_SSE

_LARGEST = 1e3  # signed roots beyond this are as good as infinite

Root = Callable[[Float[np.ndarray, "targets points"]], Float[np.ndarray, "targets points"]]
"""Signed roots of the values of each target."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """Signed roots of several targets at rising logarithms of their values."""

    log_value: Float[np.ndarray, "targets points"]
    root: Float[np.ndarray, "targets points"]


def averaged_root(
    sums: Float[np.ndarray, "nodes targets points"],
    signs: Float[np.ndarray, "nodes targets points"],
    least: Float[np.ndarray, " nodes"],
    weights: Float[np.ndarray, " nodes"],
    dof: int,
) -> Float[np.ndarray, "targets points"]:
    """One signed root for several whitenings of the residuals.

    Each whitening gives a signed root with Student's t on `dof`; the tail probabilities are averaged
    with `weights` and turned back into a signed root.

    - `sums`: sums of squares with the quantity held; `least`: without; `signs`: of value - estimate.
    """
    floor = np.maximum(least, LEAST_SSE)[:, None, None]
    statistic = dof * np.maximum(np.maximum(sums, LEAST_SSE) / floor - 1, 0)
    roots = signs * np.minimum(np.sqrt(statistic), _LARGEST)
    if len(roots) == 1:
        return roots[0]
    below = np.tensordot(weights, special.stdtr(dof, roots), axes=1)
    above = np.tensordot(weights, special.stdtr(dof, -roots), axes=1)
    tail = special.stdtrit(dof, np.maximum(np.minimum(below, above), 1e-280))
    return np.clip(np.where(below < above, tail, -tail), -_LARGEST, _LARGEST)


def trace(
    root: Root,
    estimate: Float[np.ndarray, " targets"],
    first: Float[np.ndarray, " targets"],
    reach: float,
    points: int,
) -> Curve:
    """Signed roots at `points` either side of each estimate.

    From `first` (in logarithms), where the interval might end, to a factor `reach`.
    """
    last = np.log(reach)
    first = np.clip(first, 1e-9, 0.2 * last)
    ratio = (last / first) ** (1 / (points - 1))
    offsets = first[:, None] * ratio[:, None] ** np.arange(points)
    offsets = np.concatenate([-offsets[:, ::-1], offsets], axis=1)
    log_value = np.log(estimate)[:, None] + offsets
    return Curve(log_value=log_value, root=root(np.exp(log_value)))


def refine(root: Root, curve: Curve, cut: Float[np.ndarray, "cuts 2"]) -> Curve:
    """The curve with one more point on each side, where it seems to pass -cut[0] and cut[1].

    `cut`: a row for each target, or several rows for a single one.
    """
    targets = len(curve.log_value)
    if targets == 1:
        extra = np.concatenate([crossings(curve, row[None]) for row in cut], axis=1)
    else:
        extra = crossings(curve, cut)
    middle = curve.log_value.mean(axis=1, keepdims=True)
    extra = np.where(np.isfinite(extra), extra, middle)
    log_value = np.concatenate([curve.log_value, extra], axis=1)
    roots = np.concatenate([curve.root, root(np.exp(extra))], axis=1)
    order = np.argsort(log_value, axis=1, kind="stable")
    return Curve(
        log_value=np.take_along_axis(log_value, order, 1),
        root=np.take_along_axis(roots, order, 1),
    )


def crossings(curve: Curve, cut: Float[np.ndarray, "targets 2"]) -> Float[np.ndarray, "targets 2"]:
    """Logarithms of the outermost values whose signed root is within [-cut[0], cut[1]].

    Infinite on a side where the curve never leaves it. The outermost crossing counts, so that a
    profile with two valleys gives an interval over both.
    """
    ends = [
        (_outermost(v, r, low), -_outermost(-v[::-1], -r[::-1], high))
        for v, r, (low, high) in zip(curve.log_value, curve.root, cut, strict=True)
    ]
    return np.array(ends)


def _outermost(values: np.ndarray, roots: np.ndarray, cut: float) -> float:
    inside = int((roots >= -cut).argmax())
    if inside == 0:
        # All inside, or none: a curve wholly above the cut ends beyond its last value.
        return -np.inf if roots[0] >= -cut else float(values[-1])
    outside = inside - 1
    weight = (-cut - roots[inside]) / (roots[outside] - roots[inside])
    return float(values[inside] + weight * (values[outside] - values[inside]))
