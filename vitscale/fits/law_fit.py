"""Fitting any registered law to a table, with intervals of its parameters.

fit_law("chinchilla", {"N": params, "D": tokens}, loss, loss=Loss(residual="log", rho="huber"))
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from vitscale.fits import varpro
from vitscale.fits.identify import Flag
from vitscale.fits.intervals.law_profile import Fitted, profile_intervals
from vitscale.fits.laws import LAWS, Law, law_named
from vitscale.fits.loss import Loss
from vitscale.fits.measured import refuse_not_positive
from vitscale.fits.uncertainty import Interval
from vitscale.scaling.names import suggest

Intervals = Literal["profile", "bootstrap", "none"]

_KEEP = 12  # lattice cells that are polished, for each nonlinear parameter
_LEAST_RESAMPLES = 100
_MANY = 20_000  # points on which the best of all starts is found, where there are more
_WIDEST_SPAN = {"inputs": 1e60, "target": 1e30}  # no measurement spans more; powers of it overflow
_EDGE = 1.001  # a parameter this close (factor) to a bound is at it
_EXACT = 1e-7  # rms of residuals below which points lie on the law
_NO_WIDTH = 1e-9  # width of an interval, as a part of the estimate, that only an exact law can have
_POOR = 0.2  # rms of residuals above which the law describes nothing
_FAR_OFF = 3.0  # times the residual of `_MOST` of the points at which one is named as far off
_MOST = 0.9
_POINT_OFF = 0.05  # residual below which no point is named
_WIDEST = 4.0  # ratio of the ends of the interval of a parameter that counts as identified


@dataclasses.dataclass(frozen=True, kw_only=True)
class LawFit:
    """A law fitted to points.

    - `law`: its name in `LAWS`; `parameters` and `intervals` in the units of the inputs and target.
    - `objective`: sum of rho over the `n` points; `rms`: of the residuals themselves.
    - `starts_agreed` of `starts` searches ended within 1e-6 of the best objective.
    - `flags`: what the points do not decide, a sentence each.
    """

    law: str
    loss: Loss
    parameters: dict[str, float]
    intervals: dict[str, Interval]
    objective: float
    rms: float
    n: int
    converged: bool
    starts: int
    starts_agreed: int
    input_ranges: dict[str, tuple[float, float]]
    flags: tuple[Flag, ...]

    @property
    def identified(self) -> bool:
        """Whether the points decide every nonlinear parameter."""
        undecided = ("_at_bound", "_not_identified")
        return not any(flag.code.endswith(undecided) for flag in self.flags)

    def predict(self, *inputs: ArrayLike) -> Float[np.ndarray, "..."]:
        """The fitted law at `inputs`, in the order of the law's own."""
        return LAWS[self.law].predict(self.parameters, *inputs)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; open ends of intervals are null."""
        law = LAWS[self.law]

        def ends(interval: Interval) -> dict[str, Any]:
            closed_high = interval.high if math.isfinite(interval.high) else None
            closed_low = interval.low if math.isfinite(interval.low) else None
            return {
                "low": closed_low,
                "high": closed_high,
                "level": interval.level,
                "method": interval.method,
            }

        return {
            "format": "vitscale.law_fit",
            "version": 1,
            "law": self.law,
            "equation": law.equation,
            "source": law.source,
            "loss": dataclasses.asdict(self.loss),
            "parameters": {
                name: {
                    "estimate": value,
                    **(ends(self.intervals[name]) if name in self.intervals else {}),
                }
                for name, value in self.parameters.items()
            },
            "objective": self.objective,
            "rms": self.rms,
            "n": self.n,
            "converged": self.converged,
            "starts": self.starts,
            "starts_agreed": self.starts_agreed,
            "input_ranges": {name: list(ends) for name, ends in self.input_ranges.items()},
            "identified": self.identified,
            "flags": [dataclasses.asdict(flag) for flag in self.flags],
        }


def fit_law(
    law: str,
    inputs: Mapping[str, ArrayLike],
    target: ArrayLike,
    *,
    loss: Loss = varpro.RELATIVE_SQUARES,
    weight: ArrayLike | None = None,
    cluster: Sequence[Any] | np.ndarray | None = None,
    intervals: Intervals = "profile",
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> LawFit:
    """Fit a law by the name it has in `LAWS`.

    - `inputs`: an array for each of the law's inputs; `target`: what it predicts. All positive.
    - `weight`: of each point in the objective; one each by default.
    - `intervals`: "profile" (all values whose best fit is not significantly worse; robust losses by
      the likelihood-ratio-type test of Hampel et al., Robust Statistics, 1986, Section 7.2),
      "bootstrap" (percentiles over resampled points, or clusters of them), or "none".
    - `cluster`: what belongs together, such as the durations of one network; drawn together by the
      bootstrap, which it implies.

    Raises `ValueError` where the points cannot decide the law, or for bad values or choices.
    """
    chosen = law_named(law)
    if intervals not in get_args(Intervals):
        raise ValueError(
            f"intervals={intervals!r} is unknown; {suggest(intervals, get_args(Intervals))}"
        )
    if not 0 < level < 1:
        raise ValueError(f"level={level} is not a probability; use a number such as 0.95")
    bootstrapped = intervals == "bootstrap" or (cluster is not None and intervals != "none")
    if bootstrapped and resamples < _LEAST_RESAMPLES:
        raise ValueError(
            f"resamples={resamples} are too few for the ends of an interval; use {_LEAST_RESAMPLES} "
            f"or more, or no intervals"
        )
    columns, y, weights = _checked(chosen, inputs, target, weight)
    normal = [varpro.normalise(column) for column in columns]
    log_scale = float(np.log(y).mean())
    batch = varpro.problems(
        [log for log, _ in normal], np.exp(np.log(y) - log_scale), weight=weights
    )
    solution = _searched(chosen, batch, loss)
    fitted = Fitted(
        law=chosen,
        batch=batch,
        loss=loss,
        nonlinear=solution.nonlinear[0],
        linear=solution.linear[0],
        objective=float(solution.sse[0]),
    )
    scales = [scale for _, scale in normal]
    parameters = _raw(chosen, solution.nonlinear, solution.linear, scales, log_scale)
    found = _intervals(
        fitted, intervals, cluster, scales, log_scale, level=level, resamples=resamples, seed=seed
    )
    named = {name: float(values[0]) for name, values in parameters.items()}
    if not all(math.isfinite(value) for value in named.values()):
        raise ValueError(
            f"the inputs of the {law} law span so many orders of magnitude that its parameters "
            f"overflow; check the columns, or give them in another unit"
        )
    return LawFit(
        law=law,
        loss=loss,
        parameters=named,
        intervals=found,
        objective=fitted.objective,
        rms=_rms(fitted),
        n=len(y),
        converged=bool(solution.converged[0]),
        starts=solution.starts,
        starts_agreed=int(solution.agreed[0]),
        input_ranges={
            name: (float(column.min()), float(column.max()))
            for name, column in zip(chosen.inputs, columns, strict=True)
        },
        flags=_flags(fitted, named, found, bool(solution.converged[0])),
    )


def _searched(law: Law, batch: varpro.Problems, loss: Loss) -> varpro.Solution:
    """The best fit; of very many points, found on some of them and finished on all."""
    keep = _KEEP * len(law.nonlinear)
    if batch.points <= _MANY:
        return varpro.fit(law, batch, loss=loss, keep=keep)
    some = np.random.default_rng(0).choice(batch.points, _MANY, replace=False)
    rough = varpro.fit(law, batch.of_points(some), loss=loss, keep=keep)
    p, linear, objective, done = varpro.polish(
        law, batch, rough.nonlinear, loss=loss, linear=rough.linear
    )
    return dataclasses.replace(
        rough, nonlinear=p, linear=linear, sse=objective, converged=rough.converged & done
    )


def _checked(
    law: Law, inputs: Mapping[str, ArrayLike], target: ArrayLike, weight: ArrayLike | None
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray | None]:
    """Columns, target and weights as arrays of one length, with values that the law can take."""
    if set(inputs) != set(law.inputs):
        raise ValueError(
            f"inputs are {', '.join(map(str, inputs)) or 'missing'}, but the {law.name} law has "
            f"{', '.join(law.inputs)}; give one array for each"
        )
    named = {**{name: inputs[name] for name in law.inputs}, "target": target}
    arrays = {name: np.atleast_1d(np.asarray(values, float)) for name, values in named.items()}
    y = arrays["target"]
    for name, values in arrays.items():
        if values.ndim != 1 or len(values) != len(y):
            raise ValueError(
                f"{name} has shape {values.shape}, but the target has {y.shape}; give one number "
                f"a point"
            )
        refuse_not_positive(name, values)
        span = _WIDEST_SPAN["target" if name == "target" else "inputs"]
        if values.max() / span > values.min():
            raise ValueError(
                f"{name} runs from {values.min():.3g} to {values.max():.3g}, more than {span:g} "
                f"apart, which no law can follow; check the column"
            )
    weights = None
    if weight is not None:
        weights = np.broadcast_to(np.asarray(weight, float), y.shape)
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise ValueError("weight has values that are not zero or more; mend them")
    columns = [arrays[name] for name in law.inputs]
    _refuse_too_few(law, columns, y if weights is None else y * (weights > 0))
    return columns, y, weights


def _refuse_too_few(law: Law, columns: list[np.ndarray], y: np.ndarray) -> None:
    counted = np.unique(np.column_stack(columns)[y > 0], axis=0)
    needed = len(law.parameters) + 1
    if len(counted) < needed:
        raise ValueError(
            f"there are {len(counted)} distinct points, but the {law.name} law has "
            f"{len(law.parameters)} parameters and needs at least {needed}; measure more"
        )
    for name, values in zip(law.inputs, counted.T, strict=True):
        if len(np.unique(values)) < 3:
            raise ValueError(
                f"{name} takes {len(np.unique(values))} distinct values, too few to see how the "
                f"target depends on it; measure at least 3"
            )


def _raw(
    law: Law,
    nonlinear: Float[np.ndarray, "problems parameters"],
    linear: Float[np.ndarray, "problems terms"],
    scales: Sequence[float],
    log_scale: float,
) -> dict[str, Float[np.ndarray, " problems"]]:
    """Parameters in the user's units, an array for each."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        named: Any = {p.name: nonlinear[:, k] for k, p in enumerate(law.nonlinear)}
        named |= {name: linear[:, j] * np.exp(log_scale) for j, name in enumerate(law.linear)}
        restored = law.restore(named, scales)
    return {name: np.asarray(value) for name, value in restored.items()}


def _intervals(
    fitted: Fitted,
    kind: Intervals,
    cluster: Sequence[Any] | np.ndarray | None,
    scales: Sequence[float],
    log_scale: float,
    *,
    level: float,
    resamples: int,
    seed: int,
) -> dict[str, Interval]:
    law = fitted.law
    best = _raw(law, fitted.nonlinear[None], fitted.linear[None], scales, log_scale)
    if kind == "none":
        return {}
    if kind == "bootstrap" or cluster is not None:
        p, q = bootstrap_law(fitted, cluster=cluster, resamples=resamples, seed=seed)
        draws = _raw(law, p, q, scales, log_scale)
        tail = (1 - level) / 2
        ends = {
            name: (float(np.quantile(values, tail)), float(np.quantile(values, 1 - tail)))
            for name, values in draws.items()
        }
        method = "bootstrap (clusters)" if cluster is not None else "bootstrap (points)"
    else:
        found = profile_intervals(fitted, scales, level=level)
        units = {name: math.exp(log_scale) if name in law.linear else 1.0 for name in found}
        ends = {
            name: (low * units[name], high * units[name]) for name, (low, high) in found.items()
        }
        method = "profile-F"
    exact = _rms(fitted) < _EXACT
    for name, (low, high) in ends.items():
        if not exact and high - low <= _NO_WIDTH * abs(float(best[name][0])):
            # Noisy points leave no parameter without width: the search for an end could not move at all.
            ends[name] = (0.0, math.inf)
    return {
        name: Interval(
            estimate=float(value[0]),
            low=float(min(ends[name][0], value[0])),
            high=float(max(ends[name][1], value[0])),
            level=level,
            method=method,
        )
        for name, value in best.items()
    }


def bootstrap_law(
    fitted: Fitted,
    *,
    cluster: Sequence[Any] | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "resamples parameters"], Float[np.ndarray, "resamples terms"]]:
    """Nonlinear and linear parameters (normalised) of refits to resampled points or clusters.

    Raises `ValueError` for a `cluster` of the wrong length, or too few clusters.
    """
    n = fitted.batch.points
    groups = np.arange(n) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    if len(groups) != n:
        raise ValueError(f"cluster has {len(groups)} entries for {n} points; give one a point")
    count = int(groups.max()) + 1
    needed = len(fitted.law.parameters) + 1
    if count < needed:
        raise ValueError(
            f"there are {count} clusters, but resampling them needs at least {needed} for the "
            f"{fitted.law.name} law; use profile intervals"
        )
    rng = np.random.default_rng(seed)
    draws = rng.integers(count, size=(resamples, count))
    weight = np.stack([np.bincount(draw, minlength=count)[groups] for draw in draws])
    batch = dataclasses.replace(fitted.batch, weight=weight * fitted.batch.weight)
    p, linear, _, _ = varpro.polish(
        fitted.law,
        batch,
        np.repeat(fitted.nonlinear[None], resamples, axis=0),
        loss=fitted.loss,
        linear=None
        if fitted.loss.is_relative_squares
        else np.repeat(fitted.linear[None], resamples, axis=0),
        max_steps=80,
        tolerance=1e-7,
    )
    return p, linear


def _rms(fitted: Fitted) -> float:
    return float(np.sqrt((fitted.weight * fitted.residual**2).sum() / fitted.weight.sum()))


def _flags(
    fitted: Fitted, named: Mapping[str, float], intervals: Mapping[str, Interval], converged: bool
) -> tuple[Flag, ...]:
    found = []
    if not converged:
        sentence = "the fit stopped before it met its tolerance; treat its numbers as rough"
        found.append(Flag(code="not_converged", sentence=sentence))
    for parameter, value in zip(fitted.law.nonlinear, fitted.nonlinear, strict=True):
        name = parameter.name
        if value <= parameter.low * _EDGE or value >= parameter.high / _EDGE:
            sentence = (
                f"{name} ended at a bound, {named[name]:.3g}, so the points do not decide it; widen "
                f"the range of the inputs, or use a law without it"
            )
            found.append(Flag(code=f"{name}_at_bound", sentence=sentence))
        elif name in intervals:
            found += _undecided(name, intervals[name])
    for name in fitted.law.linear:
        interval = intervals.get(name)
        if interval is not None and interval.low <= 0 <= interval.high:
            ends = (
                f"goes up to {interval.high:.3g}" if math.isfinite(interval.high) else "has no end"
            )
            sentence = (
                f"{name} = {interval.estimate:.3g} cannot be told from zero: its "
                f"{100 * interval.level:g}% interval {ends}"
            )
            found.append(Flag(code=f"{name}_not_above_zero", sentence=sentence))
    found += _poor(fitted)
    return tuple(found)


def _poor(fitted: Fitted) -> list[Flag]:
    """Flags for points that the law does not describe: one that is far off, or all of them."""
    size = np.abs(fitted.residual)
    found = []
    if (rms := _rms(fitted)) > _POOR:
        sentence = (
            f"the law does not describe these points: it is off by {100 * rms:.2g}% (rms); check the "
            f"columns, or use another law"
        )
        found.append(Flag(code="poor_description", sentence=sentence))
    row = int(np.argmax(size))
    rest = np.delete(size, row)
    usual = max(float(np.quantile(rest, _MOST)), _POINT_OFF / _FAR_OFF)
    if fitted.dof > 1 and size[row] > _FAR_OFF * usual:
        remedy = "; --loss log-huber gives it less weight" if fitted.loss.rho == "squares" else ""
        sentence = (
            f"row {row + 1} is off by {100 * size[row]:.2g}%, the others by at most {100 * rest.max():.2g}%; "
            f"look at it{remedy}"
        )
        found.append(Flag(code="point_far_off", sentence=sentence))
    return found


def _undecided(name: str, interval: Interval) -> list[Flag]:
    """A flag for an interval that is open or very wide."""
    if interval.high <= _WIDEST * interval.low:
        return []
    open_ended = interval.low <= 0 or math.isinf(interval.high)
    span = "has no end" if open_ended else f"spans a factor of {interval.high / interval.low:.2g}"
    sentence = (
        f"{name} = {interval.estimate:.3g} is not identified: its {100 * interval.level:g}% "
        f"interval {span}; measure a wider range, or use a law with fewer parameters"
    )
    return [Flag(code=f"{name}_not_identified", sentence=sentence)]
