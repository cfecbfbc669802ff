"""What the points of one arm cannot decide, each as a flag with a sentence for the user.

An exponent counts as identified where its interval is closed on both sides and, at 95% whatever its
level, has ends at most a factor of `WIDEST` apart, a, b and c are inside their bounds, the fit has
an optimum at all, and the errors look like errors of one unit that fall with compute.
"""

import dataclasses

import numpy as np
from jaxtyping import Float
from scipy import special

from vitscale.fits.arm import Arm, ArmEstimate
from vitscale.fits.columns import row_list
from vitscale.fits.intervals.leverage import exponents_without
from vitscale.fits.laws import SHAPE_LAW
from vitscale.fits.uncertainty import S_REACH, Interval
from vitscale.scaling.shape import DIMENSIONS

WIDEST = 4.0
"""Largest ratio of the ends of the 95% interval of an identified exponent."""

JUDGED_AT = 0.95
"""Level at which flags judge an interval, so that asking for another level changes no verdict."""

MOST_RMS = 0.1
"""Relative distance (rms) from the points above which the law does not describe them."""

_UNIT_GAP = (
    10.0  # factor without any error between fractions and percentages: a star's errors lie closer
)

_EDGE = 1.001  # a parameter this close (factor) to a bound is at it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flag:
    """One thing to know about a fit: a stable `code` and a sentence that says what it means."""

    code: str
    sentence: str


def flags_of(
    arm: Arm, best: ArmEstimate, s: Interval, name: str, t_ref: float, unit: str
) -> tuple[Flag, ...]:
    """All flags of one arm; `name` is the dimension, `unit` that of compute."""
    judged = at_level(s, arm.dof)
    found = [
        *_rising(arm, name),
        *_misfit(arm, best, name),
        *_at_bounds(best, name),
        *_exponent(arm, best, s, judged, name),
    ]
    if not best.converged:
        sentence = (
            f"{name}: the fit stopped before it met its tolerance; treat its numbers as rough"
        )
        found.append(Flag(code="not_converged", sentence=sentence))
    found += [*_durations(arm, name), *_copies(arm, name)]
    if has_optimum(best):
        found += _leverage(arm, best, judged, name)
        found += _straddle(arm, best, name, unit)
        found += _extrapolation(arm, best, name, t_ref, unit)
    return tuple(found)


def mixed_units(error: Float[np.ndarray, " points"], name: str) -> tuple[Flag, ...]:
    """A flag where some errors look like fractions and others like percentages.

    `error`: of the rows of a table in order, NaN for those of other dimensions.
    """
    share = np.flatnonzero(error <= 1)
    percent = np.flatnonzero((error > 1) & (error <= 100))
    if not (len(share) and len(percent)) or np.nanmax(error) > 100:
        return ()
    if error[percent].min() < _UNIT_GAP * error[share].max():
        return ()
    few = min(share, percent, key=len)
    kinds = ("fractions", "percentages") if few is share else ("percentages", "fractions")
    sentence = (
        f"{name}: {row_list(few)} look like {kinds[0]} among {kinds[1]} (rows count from 1 after the "
        f"header); give all errors in one unit"
    )
    return (Flag(code="mixed_units", sentence=sentence),)


def _rising(arm: Arm, name: str) -> list[Flag]:
    """Whether longer training makes most networks worse, as where accuracies are taken for errors."""
    rises = []
    for network in np.unique(arm.model):
        own = arm.model == network
        first, last = arm.t[own].argmin(), arm.t[own].argmax()
        if arm.t[own][last] > arm.t[own][first]:
            rises.append(bool(arm.error[own][last] > arm.error[own][first]))
    if not rises or np.mean(rises) <= 0.5:
        return []
    sentence = (
        f"{name}: error rises with compute for {sum(rises)} of {len(rises)} networks: is this an accuracy? "
        f"then give 1 - accuracy (or 100 less the percentage); the law is of an error that falls"
    )
    return [Flag(code="error_rises", sentence=sentence)]


def _misfit(arm: Arm, best: ArmEstimate, name: str) -> list[Flag]:
    rms = float(np.sqrt(best.sse / arm.n))
    if rms <= MOST_RMS:
        return []
    sentence = (
        f"{name}: the law does not describe these points: it is off by {100 * rms:.2g}% (rms); look for rows "
        f"of another kind, and do not use its numbers"
    )
    return [Flag(code="poor_fit", sentence=sentence)]


def at_level(s: Interval, dof: int, level: float = JUDGED_AT) -> Interval:
    """The interval at another `level`, its ends moved in the logarithm by the ratio of quantiles.

    The signed root of the profile, which is nearly straight in log s, ends the interval where it meets
    Student's quantile on `dof`. Ends that are open stay open.
    """
    if s.level == level:
        return s
    wanted, given = (float(special.stdtrit(dof, (1 + p) / 2)) for p in (level, s.level))
    wider = wanted / max(given, 1e-6)

    def moved(end: float) -> float:
        return s.estimate * float(np.exp(np.clip(wider * np.log(end / s.estimate), -300, 300)))

    low = moved(s.low) if s.low > 0 else s.low
    high = moved(s.high) if np.isfinite(s.high) else s.high
    return dataclasses.replace(s, low=low, high=high, level=level)


def has_optimum(best: ArmEstimate) -> bool:
    """Whether the law falls and rises again: both alpha and beta are above zero."""
    return best.law.alpha > 0 and best.law.beta > 0


def is_identified(flags: tuple[Flag, ...]) -> bool:
    """Whether the exponent is decided by the data; the flags say why where it is not."""
    undecided = {"no_optimum", "exponent_not_identified", "a_at_bound", "b_at_bound", "c_at_bound"}
    undecided |= {"error_rises", "mixed_units"}
    return not any(flag.code in undecided for flag in flags)


def _at_bounds(best: ArmEstimate, name: str) -> list[Flag]:
    found = []
    for parameter, value in zip(SHAPE_LAW.nonlinear, best.nonlinear, strict=True):
        for bound, near in (
            (parameter.low, value <= parameter.low * _EDGE),
            (parameter.high, value >= parameter.high / _EDGE),
        ):
            if near:
                sentence = (
                    f"{name}: {parameter.name} ended at its bound {bound:g}, so the sizes measured "
                    f"do not decide it; widen the range of {name}"
                )
                found.append(Flag(code=f"{parameter.name}_at_bound", sentence=sentence))
    return found


def _exponent(arm: Arm, best: ArmEstimate, s: Interval, judged: Interval, name: str) -> list[Flag]:
    both = _measure(arm, name, "smaller and larger")
    if not has_optimum(best):
        direction = "falls" if best.law.beta <= 0 else "rises"
        advice = "larger" if best.law.beta <= 0 else "smaller"
        sentence = (
            f"{name}: the fitted error only {direction} with {name}, so there is no optimal size "
            f"and no exponent; {_measure(arm, name, advice)}"
        )
        return [Flag(code="no_optimum", sentence=sentence)]
    percent = f"{100 * s.level:g}%"
    if s.low == 0 or np.isinf(s.high):
        side = "both sides" if s.low == 0 and np.isinf(s.high) else "below"
        side = "above" if s.low > 0 else side
        sentence = (
            f"{name}: the exponent s is not identified: its {percent} interval has no end {side} "
            f"within a factor of {S_REACH:g} of {s.estimate:.3g}; {both}"
        )
        return [Flag(code="exponent_not_identified", sentence=sentence)]
    ratio = judged.high / judged.low
    if ratio > WIDEST:
        sentence = (
            f"{name}: the exponent s is not identified: its {100 * judged.level:g}% interval "
            f"{judged.low:.3g} to {judged.high:.3g} spans a factor of {ratio:.2g}, more than "
            f"{WIDEST:g}; {both}"
        )
        return [Flag(code="exponent_not_identified", sentence=sentence)]
    return []


def _measure(arm: Arm, name: str, sizes: str) -> str:
    """The advice to measure `sizes` (smaller, larger, or both), but none below 1, where no network is."""
    if name not in DIMENSIONS or arm.x.min() > 1 or "smaller" not in sizes:
        return f"measure {sizes} sizes"
    instead = "train longer, or choose a centre that is larger in the other dimensions"
    if "larger" in sizes:
        return f"measure larger sizes; below 1 there is none, so {instead} as well"
    return f"below 1 there is no size, so {instead}"


def _leverage(arm: Arm, best: ArmEstimate, s: Interval, name: str) -> list[Flag]:
    """One flag for the network whose absence would move s farthest out of its interval."""
    networks, without = exponents_without(arm, best)
    out = (without < s.low) | (without > s.high)
    if not out.any():
        return []
    distance = np.where(out, np.abs(np.log(without / s.estimate)), -1)
    worst = int(distance.argmax())
    size = arm.x[arm.model == networks[worst]][0]
    sentence = (
        f"{name}: the exponent hangs on one network: without that of size {size:g}, s would be "
        f"{without[worst]:.3g}, outside its {100 * s.level:g}% interval; look at that run, or measure its neighbours"
    )
    return [Flag(code="outlier_leverage", sentence=sentence)]


def _durations(arm: Arm, name: str) -> list[Flag]:
    durations = max(len(np.unique(arm.t[arm.x == x])) for x in np.unique(arm.x))
    if durations >= 3:
        return []
    sentence = (
        f"{name}: no size was measured at more than {durations} durations, too few to check how "
        f"error falls with compute; measure three or more"
    )
    return [Flag(code="few_durations", sentence=sentence)]


def _copies(arm: Arm, name: str) -> list[Flag]:
    """Rows equal to others in size, compute and error; the names of networks may be made up."""
    distinct = np.unique(np.column_stack([arm.x, arm.t, arm.error]), axis=0)
    copies = arm.n - len(distinct)
    if not copies:
        return []
    are = (
        "1 row is an exact copy of another"
        if copies == 1
        else (f"{copies} rows are exact copies of others")
    )
    sentence = (
        f"{name}: {are}, and each counts as a measurement of its own; if they are no repeats, "
        f"remove them"
    )
    return [Flag(code="copied_rows", sentence=sentence)]


def _straddle(arm: Arm, best: ArmEstimate, name: str, unit: str) -> list[Flag]:
    low, high = arm.x.min(), arm.x.max()
    optimum = best.law.optimal_x(arm.t)
    outside = (optimum < low) | (optimum > high)
    if not outside.any():
        return []
    span = f"the measured sizes {low:g} to {high:g}"
    middle = float(np.exp(np.log(arm.t).mean()))
    at_middle = float(best.law.optimal_x(middle))
    side, advice = ("below", "smaller") if at_middle < low else ("above", "larger")
    if not low <= at_middle <= high:
        sentence = (
            f"{name}: the optimum at the middle of the measured compute, {at_middle:.3g} at "
            f"{middle:.3g} {unit}, lies {side} {span}; {_measure(arm, name, advice)}"
        )
        return [Flag(code="not_straddled", sentence=sentence)]
    below = (optimum < low).any()
    advice = "smaller" if below else "larger"
    if below and (optimum > high).any():
        advice = "smaller and larger"
    sentence = (
        f"{name}: the optimum lies outside {span} for {int(outside.sum())} of {arm.n} points, so "
        f"one side of the curve is not seen there; {_measure(arm, name, advice)}"
    )
    return [Flag(code="optimum_outside_data", sentence=sentence)]


def _extrapolation(arm: Arm, best: ArmEstimate, name: str, t_ref: float, unit: str) -> list[Flag]:
    ratio = t_ref / arm.t.max()
    if ratio <= 3:
        return []
    sentence = (
        f"{name}: x* = {float(best.law.optimal_x(t_ref)):.3g} at {t_ref:.3g} {unit} is an "
        f"extrapolation to {ratio:.2g} times the largest measured compute"
    )
    return [Flag(code="extrapolated", sentence=sentence)]
