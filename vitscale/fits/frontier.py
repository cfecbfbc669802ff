"""The Pareto frontier of error against compute, and the saturating laws along it.

Scaling Vision Transformers (arXiv 2106.04560), Section 2.2: on the frontier, error follows
a (C + d)^-b + c, fitted here by least squares on log error.

Which runs are on it: `vitscale.fits.envelope`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from vitscale.fits import varpro
from vitscale.fits.envelope import pareto_frontier as pareto_frontier
from vitscale.fits.envelope import smoothed_frontier
from vitscale.fits.laws import DOUBLE_SATURATING, LAWS, SATURATING, Law
from vitscale.fits.measured import TARGET_SPAN, measured
from vitscale.fits.uncertainty import Interval
from vitscale.scaling.names import suggest

FrontierLaw = Literal["double-saturating", "saturating"]
Envelope = Literal["minimum", "smoothed"]
FrontierFinder = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

_LAWS: dict[FrontierLaw, Law] = {"double-saturating": DOUBLE_SATURATING, "saturating": SATURATING}
_REWEIGHTS = 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrontierFit:
    """A law along the frontier.

    - `law`: its name in `vitscale.fits.laws.LAWS`; `parameters` in the units of compute and error.
    - `intervals`: percentile intervals of the parameters from resampling models (whole models, so
      that the choice of the frontier varies too); empty where none were asked for.
    - `envelope`: what the law was fitted to, see `vitscale.fits.envelope`.
    - `rms`: of log error over the `n` points of the frontier.
    - `draws`: parameters of the law on each resample, from which `band` is drawn; empty like
      `intervals`.
    """

    law: str
    parameters: dict[str, float]
    intervals: dict[str, Interval]
    n: int
    rms: float
    converged: bool
    envelope: Envelope = "minimum"
    draws: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def error(self, compute) -> np.ndarray:
        """Error that the law predicts at `compute`."""
        return LAWS[self.law].predict(self.parameters, compute)

    def band(
        self, compute: Float[np.ndarray, " points"], level: float = 0.95
    ) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
        """Low and high ends of the law over the resamples at each `compute`.

        It says how well the frontier itself is known, not where a new run will fall.

        Raises `ValueError` where the fit was made without resamples.
        """
        if not self.draws:
            raise ValueError("the fit has no resamples to draw a band from; fit with resamples=200")
        rows = zip(*self.draws.values(), strict=True)
        curves = np.array(
            [
                LAWS[self.law].predict(dict(zip(self.draws, row, strict=True)), compute)
                for row in rows
            ]
        )
        low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
        # The frontier of a resample lies above that of all runs, never below: as with `intervals`, the
        # law itself stays inside.
        best = self.error(compute)
        return np.minimum(low, best), np.maximum(high, best)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the draws."""
        return {
            "law": self.law,
            "equation": LAWS[self.law].equation,
            "parameters": {
                name: {
                    "estimate": value,
                    **(
                        {
                            "low": self.intervals[name].low,
                            "high": self.intervals[name].high,
                            "level": self.intervals[name].level,
                            "method": self.intervals[name].method,
                        }
                        if name in self.intervals
                        else {}
                    ),
                }
                for name, value in self.parameters.items()
            },
            "n": self.n,
            "rms": self.rms,
            "converged": self.converged,
            "envelope": self.envelope,
        }


def fit_frontier(
    compute: Float[np.ndarray, " points"],
    error: Float[np.ndarray, " points"],
    *,
    law: FrontierLaw = "double-saturating",
    model: np.ndarray | None = None,
    envelope: Envelope = "minimum",
    resamples: int = 0,
    level: float = 0.95,
    seed: int = 0,
) -> FrontierFit:
    """Fit a law to the Pareto frontier of all points, by least squares on log error.

    - `compute`, `error`: all runs, not only those on the frontier; positive.
    - `model`: which network each run belongs to, resampled together; by default each run by itself.
    - `envelope`: "minimum" of all runs up to each compute, or "smoothed" along each network's runs
      first, which then must be named by `model` (runs that differ in more than compute, such as the
      size of the data set, are networks apart).
    - `resamples`: of the bootstrap for intervals; 0 for none.

    Raises `ValueError` where values are not positive or the frontier has too few points.
    """
    compute = measured("compute", compute)
    error = measured("error", error, span=TARGET_SPAN, runs=compute.size)
    _refuse(law, envelope, model)
    chosen = _LAWS[law]
    groups = np.arange(len(error)) if model is None else np.unique(model, return_inverse=True)[1]

    frontier_of = _frontier_finder(compute, error, groups, envelope, seed)
    frontier, level_error = frontier_of(np.arange(len(error)))
    needed = len(chosen.parameters) + 1
    if len(frontier) < needed:
        raise ValueError(
            f"the frontier has {len(frontier)} points, but a {law} law has "
            f"{len(chosen.parameters)} parameters and needs at least {needed}; measure more runs"
        )
    log_c, scale = varpro.normalise(compute[frontier])
    best = fit_log_error(chosen, (log_c[None],), level_error[None])
    parameters = _restored(chosen, best, 0, scale)
    draws = _bootstrap(chosen, compute, groups, frontier_of, resamples, seed) if resamples else {}
    return FrontierFit(
        law=law,
        parameters=parameters,
        intervals=_intervals(parameters, draws, level, "runs" if model is None else "models"),
        n=len(frontier),
        rms=float(np.sqrt(best.sse[0] / len(frontier))),
        converged=bool(best.converged[0]),
        envelope=envelope,
        draws=draws,
    )


def _frontier_finder(
    compute: np.ndarray, error: np.ndarray, groups: np.ndarray, envelope: Envelope, seed: int
) -> FrontierFinder:
    """From a choice of runs to those on their frontier, and the frontier's error at them."""

    def minimum(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        on = runs[pareto_frontier(compute[runs], error[runs])]
        return on, error[on]

    def smoothed(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        on, level = smoothed_frontier(compute[runs], error[runs], groups[runs], seed=seed)
        return runs[on], level

    return smoothed if envelope == "smoothed" else minimum


def _refuse(law: str, envelope: str, model: np.ndarray | None) -> None:
    if law not in _LAWS:
        raise ValueError(f"law={law!r} is unknown; {suggest(law, _LAWS)}")
    if envelope not in get_args(Envelope):
        raise ValueError(
            f"envelope={envelope!r} is unknown; {suggest(envelope, get_args(Envelope))}"
        )
    if envelope == "smoothed" and model is None:
        raise ValueError("envelope='smoothed' needs model, the name of each run's network; give it")


def _intervals(
    parameters: dict[str, float], draws: dict[str, np.ndarray], level: float, unit: str
) -> dict[str, Interval]:
    intervals = {}
    for name in draws:
        value = parameters[name]
        low, high = np.quantile(draws[name], [(1 - level) / 2, (1 + level) / 2])
        intervals[name] = Interval(
            estimate=value,
            low=min(float(low), value),
            high=max(float(high), value),
            level=level,
            method=f"bootstrap ({unit})",
        )
    return intervals


def fit_log_error(
    law: Law,
    logs: tuple[Float[np.ndarray, "_ points"], ...],
    error: Float[np.ndarray, "_ points"],
    weight: Float[np.ndarray, "_ points"] | None = None,
) -> varpro.Solution:
    """Fit by least squares on log error; `sse` of the result is sum_i log(f_i / error_i)^2.

    Gauss-Newton on top of the solver: about a prediction f0 the log residual is
    (f - f0 (1 - log(f0 / error))) / f0 to first order, which is a problem the solver takes.
    """
    ones = np.ones_like(error)
    weights = ones if weight is None else weight
    solution = varpro.fit(law, varpro.problems(logs, error, weight=weights), keep=8)
    settled = np.zeros(len(solution.sse), bool)
    sse = np.full(len(solution.sse), np.inf)
    for _ in range(_REWEIGHTS):
        basis = law.basis(solution.nonlinear, *logs)
        prediction = (basis @ solution.linear[..., None])[..., 0]
        residual = np.log(prediction / error)
        before, sse = sse, (weights * residual**2).sum(axis=1)
        settled = np.abs(before - sse) <= 1e-10 * sse + 1e-28
        if settled.all():
            break
        batch = varpro.problems(logs, prediction * (1 - residual), scale=prediction, weight=weights)
        solution = varpro.fit(law, batch, starts=solution.nonlinear[:, None])
    return dataclasses.replace(solution, sse=sse, converged=solution.converged & settled)


def _restored(law: Law, solution: varpro.Solution, k: int, scale: float) -> dict[str, float]:
    values = (*solution.nonlinear[k], *solution.linear[k])
    named = {name: float(v) for name, v in zip(law.parameters, values, strict=True)}
    return {name: float(v) for name, v in law.restore(named, (scale,)).items()}


def _bootstrap(
    law: Law,
    compute: np.ndarray,
    groups: np.ndarray,
    frontier_of: FrontierFinder,
    resamples: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Parameters of refits to the frontiers of resampled models, one array for each parameter."""
    rng = np.random.default_rng(seed)
    count = groups.max() + 1
    weights = np.zeros((resamples, len(compute)))
    target = np.ones((resamples, len(compute)))
    for row, errors in zip(weights, target, strict=True):
        # Points missing from the resample cannot be on its frontier.
        while not row.any():
            drawn = np.bincount(rng.integers(count, size=count), minlength=count)[groups]
            frontier, level_error = frontier_of(np.flatnonzero(drawn))
            if len(frontier) > len(law.parameters):
                row[frontier], errors[frontier] = drawn[frontier], level_error
    used = weights.any(axis=0)
    log_c, scale = varpro.normalise(compute)
    solution = fit_log_error(law, (log_c[None, used],), target[:, used], weights[:, used])
    rows = [_restored(law, solution, k, scale) for k in range(resamples)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
