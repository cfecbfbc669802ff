"""Fitting a star: eq. (2) of Getting ViT in Shape along every shape dimension, with its uncertainty.

    x*(t) = (alpha a t^c / (beta b))^(1/(a+b)),  so the optimal size grows as t^s, s = c/(a+b).

Takes the canonical table of `vitscale.fits.tables.star_table`: columns `dimension`, `x`, `compute`,
`error`, `is_center`, `model`.
"""

import dataclasses
import numbers

import numpy as np
import pandas as pd

from vitscale.fits.arm import Arm, ArmEstimate, estimate
from vitscale.fits.columns import LEAST, MOST, refuse_unit
from vitscale.fits.identify import flags_of, has_optimum, is_identified, mixed_units
from vitscale.fits.intervals.bootstrap import bootstrap
from vitscale.fits.intervals.correlation import Correlation, components_of, correlation_of
from vitscale.fits.intervals.interval import Interval, Profile
from vitscale.fits.laws import SHAPE_LAW
from vitscale.fits.sharing import sharing_tests
from vitscale.fits.star_fit import DimensionFit, Optimum, StarFit
from vitscale.fits.uncertainty import Method, exponent_interval, optimum_interval

MIN_POINTS = len(SHAPE_LAW.parameters) + 1
"""Eq. (2) has seven parameters, so eight points leave one degree of freedom for the noise."""

_CURVE_POINTS = 5


def arm_of(points: pd.DataFrame, *, include_center: bool = True) -> Arm:
    """The arm of one dimension from rows of the canonical table.

    Raises `ValueError` where the points cannot decide eq. (2): fewer than eight points, three
    distinct sizes, or two compute values at some size.
    """
    kept = points if include_center else points.loc[~points["is_center"].astype(bool)]
    name = str(points["dimension"].iloc[0]) if len(points) else "dimension"
    x, t = kept["x"].to_numpy(float), kept["compute"].to_numpy(float)
    sizes = np.unique(x)
    durations = max((len(np.unique(t[x == size])) for size in sizes), default=0)
    if len(kept) < MIN_POINTS or len(sizes) < 3 or durations < 2:
        left_out = "" if include_center else " without the centre"
        raise ValueError(
            f"{name} has {_counted(len(kept), 'point')}{left_out} over "
            f"{_counted(len(sizes), 'size')} with at most {_counted(durations, 'duration')} each, but eq. (2) has {len(SHAPE_LAW.parameters)} parameters "
            f"and needs at least {MIN_POINTS} points over 3 sizes and 2 durations; measure more "
            f"sizes of {name}"
        )
    return Arm(
        x=x,
        t=t,
        error=kept["error"].to_numpy(float),
        model=pd.factorize(kept["model"])[0],
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def fit_dimension(
    points: pd.DataFrame,
    *,
    include_center: bool = True,
    t_ref: float | None = None,
    level: float = 0.95,
    method: Method = "clustered",
    resamples: int = 200,
    seed: int = 0,
    compute_unit: str = "compute",
) -> DimensionFit:
    """Fit eq. (2) to the rows of one dimension by least squares on relative error.

    - `t_ref`: compute at which the optimal size is given; default the largest measured.
    - `level`, `method`: of the intervals, see `vitscale.fits.uncertainty`. The correlation within a
      network is estimated from this arm alone; `fit_star` has all arms for it.
    - `resamples`: of the bootstrap; 0 for none.

    Raises `ValueError` where the points cannot decide the law.
    """
    _refuse_options(level, resamples, t_ref, None)
    arm = arm_of(points, include_center=include_center)
    name = str(points["dimension"].iloc[0])
    best = _estimate(name, arm)
    asked = _Asked(
        t_ref=float(arm.t.max()) if t_ref is None else t_ref,
        level=level,
        method=method,
        resamples=resamples,
        seed=seed,
        unit=compute_unit,
    )
    return _describe(name, arm, best, correlation_of([(arm, best)]), asked)


def fit_star(
    table: pd.DataFrame,
    *,
    include_center: bool = True,
    t_ref: float | None = None,
    level: float = 0.95,
    method: Method = "clustered",
    resamples: int = 200,
    seed: int = 0,
    metric: str | None = None,
    compute_unit: str | None = None,
    flops_per_unit: float | None = None,
) -> StarFit:
    """Fit every dimension of a canonical star table.

    Each dimension is fitted alone; `sharing_tests` of the result says whether they could share c, or
    c and eps, and which exponents that would give.

    - `t_ref`: compute at which optimal sizes are given; default the largest measured.
    - `level`, `method`, `resamples`: as in `fit_dimension`.
    - `metric`, `compute_unit`, `flops_per_unit`: default to what `star_table` noted in the table's
      `attrs`.

    Raises `ValueError` where a dimension cannot be fitted, or for an unknown choice.
    """
    if table.empty:
        raise ValueError("the star has no rows; measure it first, or check the metric's name")
    _refuse_options(level, resamples, t_ref, flops_per_unit)
    arms = {
        str(name): arm_of(points, include_center=include_center)
        for name, points in table.groupby("dimension", sort=False)
    }
    best = {name: _estimate(name, arm) for name, arm in arms.items()}
    correlation = correlation_of([(arm, best[name]) for name, arm in arms.items()])
    largest = max(float(arm.t.max()) for arm in arms.values())
    asked = _Asked(
        t_ref=largest if t_ref is None else float(t_ref),
        level=level,
        method=method,
        resamples=resamples,
        seed=seed,
        unit=compute_unit or table.attrs.get("compute_unit", "compute"),
    )
    if flops_per_unit is None:
        flops_per_unit = table.attrs.get("flops_per_unit")
    return StarFit(
        dimensions={
            name: _with_units(_describe(name, arm, best[name], correlation, asked), table)
            for name, arm in arms.items()
        },
        metric=metric or table.attrs.get("metric", "error"),
        compute_unit=asked.unit,
        flops_per_unit=flops_per_unit,
        t_ref=asked.t_ref,
        level=level,
        include_center=include_center,
        correlation=correlation.mean,
        correlation_sd=correlation.sd,
        sharing_tests=sharing_tests(arms, best, correlation=correlation, level=level),
        notes=tuple(table.attrs.get("notes", ())),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Asked:
    """What the user wants to know of every dimension; `unit`: that of compute."""

    t_ref: float
    level: float
    method: Method
    resamples: int
    seed: int
    unit: str


def _refuse_options(
    level: float, resamples: int, t_ref: float | None, flops_per_unit: float | None
) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level={level} is not a probability; use a number such as 0.95")
    if isinstance(resamples, bool) or not isinstance(resamples, numbers.Integral) or resamples < 0:
        raise ValueError(
            f"resamples={resamples!r} is not a whole number from 0; use 200, or 0 for no bootstrap"
        )
    if t_ref is not None:
        number = isinstance(t_ref, numbers.Real) and not isinstance(t_ref, bool)
        if not (number and LEAST <= t_ref <= MOST):
            raise ValueError(
                f"t_ref={t_ref!r} is not a compute; use a positive number in the table's unit"
            )
    if flops_per_unit is not None:
        refuse_unit(flops_per_unit)


def _estimate(name: str, arm: Arm) -> ArmEstimate:
    """The best law of an arm, refused where its numbers overflow."""
    best = estimate(arm)
    _refuse_overflow(name, arm, best)
    return best


def _refuse_overflow(name: str, arm: Arm, best: ArmEstimate) -> None:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        optimum = best.law.optimal_x([*arm.t, 10 * arm.t.max()]) if has_optimum(best) else 1.0
    numbers = [*dataclasses.astuple(best.law), best.sse, *np.atleast_1d(optimum)]
    if not np.isfinite(numbers).all():
        raise ValueError(
            f"{name}: sizes, compute or errors span so many orders of magnitude that the fitted "
            f"law overflows; check the columns"
        )


def _describe(
    name: str, arm: Arm, best: ArmEstimate, correlation: Correlation, asked: _Asked
) -> DimensionFit:
    """Intervals, bootstrap and flags around an estimate."""
    s, independent, profile = _exponent(arm, best, correlation, asked.level, asked.method)
    flags = flags_of(arm, best, s, name, asked.t_ref, asked.unit)
    curve = _optima(arm, best, correlation, asked)
    return DimensionFit(
        dimension=name,
        law=best.law,
        n=arm.n,
        models=len(np.unique(arm.model)),
        sse=best.sse,
        rms=float(np.sqrt(best.sse / arm.n)),
        noise=components_of(arm, best, correlation),
        converged=best.converged,
        starts=best.starts,
        starts_agreed=best.starts_agreed,
        identified=is_identified(flags),
        s=s,
        s_independent=independent,
        s_bootstrap=_resampled(arm, best, asked),
        x_star=curve[-1] if curve else None,
        x_star_curve=curve[:-1],
        x_range=(float(arm.x.min()), float(arm.x.max())),
        t_range=(float(arm.t.min()), float(arm.t.max())),
        flags=flags,
        profile=profile,
    )


def _with_units(fit: DimensionFit, table: pd.DataFrame) -> DimensionFit:
    """The same with a flag first where the table's errors seem to be in two units."""
    own = table["dimension"].astype(str).to_numpy() == fit.dimension
    found = mixed_units(np.where(own, table["error"].to_numpy(float), np.nan), fit.dimension)
    flags = (*found, *fit.flags)
    return dataclasses.replace(fit, flags=flags, identified=is_identified(flags))


def _optima(
    arm: Arm, best: ArmEstimate, correlation: Correlation, asked: _Asked
) -> tuple[Optimum, ...]:
    """x*(t) over the measured compute, ten times beyond, and last at `t_ref`; none without optimum."""
    if not has_optimum(best):
        return ()
    span = np.geomspace(arm.t.min(), arm.t.max(), _CURVE_POINTS - 1)
    t = np.array([*span, 10 * arm.t.max(), asked.t_ref])
    found = optimum_interval(
        arm, best, t, level=asked.level, method=asked.method, correlation=correlation
    )
    return tuple(Optimum(t=float(v), x=x) for v, x in zip(t, found, strict=True))


def _resampled(arm: Arm, best: ArmEstimate, asked: _Asked) -> Interval | None:
    """The bootstrap's interval of s, where it is asked for and there is an optimum."""
    if not (asked.resamples and has_optimum(best)):
        return None
    t = np.array([asked.t_ref])
    draws = bootstrap(arm, best, t, resamples=asked.resamples, seed=asked.seed)
    return draws.interval(best.law.s, asked.level)


def _exponent(
    arm: Arm, best: ArmEstimate, correlation: Correlation, level: float, method: Method
) -> tuple[Interval, Interval, Profile | None]:
    """The interval to report, the one for independent noise, and the profile of the first."""
    if not has_optimum(best):
        open_ended = Interval(
            estimate=best.law.s, low=0.0, high=np.inf, level=level, method="no optimum"
        )
        return open_ended, open_ended, None
    independent, profile = exponent_interval(arm, best, level=level, method="independent")
    if method == "independent":
        return independent, independent, profile
    clustered, profile = exponent_interval(
        arm, best, level=level, method=method, correlation=correlation
    )
    return clustered, independent, profile
