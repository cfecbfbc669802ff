"""Intervals for the exponent, the optimal size and the parameters of eq. (2), all from profiles.

- `independent`: profile-F, {s : SSE(s) <= SSE (1 + F(1, n-7)/(n-7))}; right where every point has
  its own noise and the law is nearly linear in its parameters.
- `clustered` (the default): the durations of one network share part of its noise. Residuals are
  whitened for a few intra-network correlations, those that the residuals of the whole star make
  likely (`vitscale.fits.intervals.correlation`), and the tail probabilities of the signed roots are averaged.
  For the exponent the roots are also divided by their spread in simulations from the fit itself
  (`vitscale.fits.intervals.calibration`).

Coverage on simulated stars is measured by `benchmarks/coverage.py` and stands in docs/coverage.md.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from scipy import special

from vitscale.fits.arm import Arm, ArmEstimate
from vitscale.fits.intervals.bootstrap import bootstrap as bootstrap
from vitscale.fits.intervals.calibration import root_scale
from vitscale.fits.intervals.correlation import (
    INDEPENDENT,
    LEAST_SSE,
    TOGETHER,
    Correlation,
    correlation_of,
    log_jacobian,
    whitened_fit,
    whitening,
)
from vitscale.fits.intervals.interval import Interval as Interval
from vitscale.fits.intervals.interval import Profile as Profile
from vitscale.fits.intervals.profile import optimum_objective, parameter_objective, s_objective
from vitscale.fits.intervals.signed_root import Curve, Root, averaged_root, crossings, refine, trace
from vitscale.fits.laws import SHAPE_LAW
from vitscale.scaling.names import suggest

Method = Literal["clustered", "independent"]

S_REACH = 8.0
"""The profile of s is followed to this factor either side of the estimate."""
X_REACH = 32.0
PARAMETER_REACH = 1e6

_NEAREST = 0.7  # of the way to where the linearised law would end the interval
_SHOWN_AT = (
    0.35,
    0.7,
    1.3,
    1.6,
    1.9,
)  # signed roots, in those that end the interval, that are drawn too
_DRAWN = 120  # points of a profile as it is drawn


def exponent_interval(
    arm: Arm,
    best: ArmEstimate,
    *,
    level: float = 0.95,
    method: Method = "clustered",
    correlation: Correlation | None = None,
) -> tuple[Interval, Profile]:
    """Profile interval of s = c/(a+b), and the profile itself.

    `correlation`: that of the whole star; by default it is estimated from this arm alone.
    """
    noise = _noise(arm, best, method, correlation)
    root = _root(
        arm,
        best,
        noise,
        lambda values, rows: s_objective(arm, best, values.ravel(), rows),
        lambda law: np.array([law.s]),
    )
    a, b, _ = best.nonlinear
    gradient = np.array([-a / (a + b), -b / (a + b), 1, 0, 0, 0, 0])
    cut = _cut(arm, level)
    first = _NEAREST * cut * _step(arm, best, gradient[None])
    curve = trace(root, np.array([best.law.s]), first, S_REACH, 6)
    curve = refine(root, curve, np.array([[cut, cut]]))
    scale = np.ones(2)
    if method == "clustered":
        ends = crossings(curve, np.array([[cut, cut]]))[0]
        closed = np.isfinite(ends)
        if closed.any():
            scale[closed] = root_scale(arm, best, np.exp(ends[closed]), noise.mean)
    cuts = cut * scale[None]
    curve = refine(root, curve, cuts)
    interval = _interval(best.law.s, crossings(curve, cuts)[0], level, method)
    # For the eye: the law is evaluated between the points that the search needed, once the ends are known.
    shown = refine(root, curve, np.concatenate([share * cuts for share in _SHOWN_AT]))
    return interval, _profile(shown, cut, scale, arm.dof)


def optimum_interval(
    arm: Arm,
    best: ArmEstimate,
    t: Float[np.ndarray, " computes"],
    *,
    level: float = 0.95,
    method: Method = "clustered",
    correlation: Correlation | None = None,
) -> list[Interval]:
    """Profile interval of x*(t) of eq. (4) at each compute of `t`, in the arm's units.

    `correlation` as in `exponent_interval`.
    """
    t = np.atleast_1d(np.asarray(t, float))
    estimate = best.law.optimal_x(t)
    root = _root(
        arm,
        best,
        _noise(arm, best, method, correlation),
        lambda x, rows: optimum_objective(
            arm, best, x.ravel(), np.broadcast_to(t[:, None], x.shape).ravel(), rows
        ),
        lambda law: law.optimal_x(t),
    )
    step = _step(arm, best, _optimum_gradient(arm, best, estimate, t))
    cut = _cut(arm, level)
    return _search(root, estimate, step, X_REACH, cut, level, method)


def parameter_interval(
    arm: Arm,
    best: ArmEstimate,
    name: str,
    *,
    level: float = 0.95,
    method: Method = "clustered",
    correlation: Correlation | None = None,
) -> Interval:
    """Profile interval of one parameter of eq. (2): a, b, c, alpha, beta, xi or eps, in raw units.

    A linear parameter whose estimate is zero has an interval from zero. Raises `ValueError` for any
    other name. `correlation` as in `exponent_interval`.
    """
    if name not in SHAPE_LAW.parameters:
        raise ValueError(
            f"name={name!r} is no parameter of eq. (2); {suggest(name, SHAPE_LAW.parameters)}"
        )
    estimate = float(getattr(best.law, name))
    anchor = estimate if estimate > 0 else _anchor(arm, best, name)
    root = _root(
        arm,
        best,
        _noise(arm, best, method, correlation),
        lambda values, rows: parameter_objective(arm, best, name, values.ravel(), rows),
        lambda law: np.array([getattr(law, name)]),
    )
    step = _step(arm, best, _parameter_gradient(arm, best, name)[None])
    step = np.where(step > 0, step, 1.0)
    cut = _cut(arm, level)
    found = _search(root, np.array([anchor]), step, PARAMETER_REACH, cut, level, method)[0]
    low = found.low if estimate > 0 else 0.0
    return dataclasses.replace(found, estimate=estimate, low=low)


def _search(
    root: Root,
    estimate: np.ndarray,
    step: np.ndarray,
    reach: float,
    cut: float,
    level: float,
    method: Method,
) -> list[Interval]:
    """Trace each profile, and go twice to where it seems to cross."""
    cuts = np.full((len(estimate), 2), cut)
    curve = trace(root, estimate, _NEAREST * cut * step, reach, 4)
    for _ in range(2):
        curve = refine(root, curve, cuts)
    ends = crossings(curve, cuts)
    return [_interval(float(x), end, level, method) for x, end in zip(estimate, ends, strict=True)]


def _interval(estimate: float, log_ends: np.ndarray, level: float, method: str) -> Interval:
    low, high = (float(end) for end in np.exp(log_ends))
    return Interval(
        estimate=estimate,
        low=min(low, estimate),
        high=max(high, estimate),
        level=level,
        method=method,
    )


def _cut(arm: Arm, level: float) -> float:
    return float(special.stdtrit(arm.dof, (1 + level) / 2))


def _noise(
    arm: Arm, best: ArmEstimate, method: Method, correlation: Correlation | None
) -> Correlation:
    if method not in get_args(Method):
        raise ValueError(f"method={method!r} is unknown; {suggest(method, get_args(Method))}")
    if method == "independent":
        return INDEPENDENT
    return correlation_of([(arm, best)]) if correlation is None else correlation


def _root(
    arm: Arm, best: ArmEstimate, noise: Correlation, objective: Callable, quantity: Callable
) -> Root:
    """Signed roots of values `(targets, points)`.

    - `objective(values, rows)`: least sums of squares with the quantity held at each of `(nodes or 1,
      targets, points)`, with one whitening for all or one for each.
    - `quantity(law)`: its estimate by a law, one for each target.
    """
    rows = np.stack([whitening(arm.model, rho) for rho in noise.values])
    free = whitened_fit(arm, best, rows)
    laws = [arm.law(p, q) for p, q in zip(free.nonlinear, free.linear, strict=True)]
    centre = np.stack([np.nan_to_num(quantity(law)) for law in laws])[..., None]

    def root(values: np.ndarray) -> np.ndarray:
        shape = (len(rows), *values.shape)
        repeated = np.broadcast_to(values, shape)
        if arm.n <= TOGETHER:
            sums = objective(repeated, np.repeat(rows, values.size, axis=0)).reshape(shape)
        else:
            sums = np.stack([objective(values[None], row).reshape(values.shape) for row in rows])
        return averaged_root(sums, np.sign(values - centre), free.sse, noise.weights, arm.dof)

    return root


def _step(arm: Arm, best: ArmEstimate, gradient: np.ndarray) -> Float[np.ndarray, " targets"]:
    """Standard errors by the linearised law: no interval, only where to begin to look for one.

    `gradient`: of the quantities' logarithms in those of a, b, c, alpha, beta, xi, eps.
    """
    jacobian = log_jacobian(arm, best.nonlinear, best.linear)
    norm = np.linalg.norm(jacobian, axis=0)
    active = norm > 0
    _, size, right = np.linalg.svd(jacobian[:, active] / norm[active], full_matrices=False)
    along = (gradient[:, active] / norm[active]) @ right.T / np.maximum(size, 1e-9)
    sd = np.sqrt(max(best.sse, LEAST_SSE) / arm.dof)
    return sd * np.linalg.norm(along, axis=1)


def _optimum_gradient(arm, best, estimate, t) -> Float[np.ndarray, "targets 7"]:
    """Of log x*(t), from x*^(a+b) = alpha a t^c / (beta b)."""
    a, b, c = best.nonlinear
    x0, t0 = arm.scales
    log_x, log_t = np.log(estimate / x0), np.log(t / t0)
    one, none = np.ones_like(log_x), np.zeros_like(log_x)
    columns = (1 - a * log_x, -1 - b * log_x, c * log_t, one, -one, none, none)
    return np.stack(columns, -1) / (a + b)


def _parameter_gradient(arm: Arm, best: ArmEstimate, name: str) -> Float[np.ndarray, "7"]:
    """Of a raw parameter's logarithm; alpha, beta and xi depend on the exponents by their units."""
    a, b, c = best.nonlinear
    log_x0, log_t0 = np.log(arm.scales)
    by_unit = {
        "alpha": (a * log_x0, 0, 0),
        "beta": (0, -b * log_x0, c * log_t0),
        "xi": (0, 0, c * log_t0),
    }
    gradient = np.zeros(len(SHAPE_LAW.parameters))
    gradient[SHAPE_LAW.parameters.index(name)] = 1
    gradient[:3] += by_unit.get(name, (0, 0, 0))
    return gradient


def _anchor(arm: Arm, best: ArmEstimate, name: str) -> float:
    """A small value of a linear parameter: its term is a thousandth of the error."""
    logs = (np.log(arm.x)[None], np.log(arm.t)[None])
    basis = SHAPE_LAW.basis(best.nonlinear[None], *logs)[0]
    column = basis[:, SHAPE_LAW.linear.index(name)]
    return 1e-3 * float(np.exp(np.mean(np.log(arm.error) - np.log(column))))


def _profile(curve: Curve, cut: float, scale: Float[np.ndarray, "2"], dof: int) -> Profile:
    """The curve as a deviance, dense enough to be drawn, with its least value and both ends in it."""
    log_value, root = curve.log_value[0], curve.root[0]
    root = root / np.where(root < 0, *scale)
    rising = np.maximum.accumulate(root)
    marks = np.interp([-cut, 0.0, cut], rising, log_value)
    dense = np.linspace(log_value[0], log_value[-1], _DRAWN)
    near = np.linspace(2 * marks[0] - marks[1], 2 * marks[2] - marks[1], _DRAWN)
    drawn = np.unique(np.clip(np.concatenate([dense, near, log_value, marks]), *log_value[[0, -1]]))
    heights = np.interp(drawn, log_value, root)
    deviance = dof * np.log1p(heights**2 / dof)
    deviance[np.searchsorted(drawn, marks[1])] = 0.0
    return Profile(
        values=np.exp(drawn), deviance=deviance, threshold=float(dof * np.log1p(cut**2 / dof))
    )
