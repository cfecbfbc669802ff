"""A fit in words, for a terminal: exponents, optimal sizes, and what the data do not decide."""

import math
from collections.abc import Sequence

import pandas as pd

from vitscale.fits.allocation import Allocation
from vitscale.fits.answer import show_interval
from vitscale.fits.frontier import FrontierFit
from vitscale.fits.intervals.interval import Interval
from vitscale.fits.isoflop import expected_bias, isoflop_profiles
from vitscale.fits.law_fit import LawFit
from vitscale.fits.laws import LAWS
from vitscale.fits.star_fit import DimensionFit, SharingTest, StarFit

_OF_THE_INPUT = ("error_rises", "mixed_units", "poor_fit")
"""Flags that make all numbers of a fit moot, so that they stand before them."""
_POOR_RMS = 0.2  # of log residuals, above which a law describes nothing


def fit_lines(fit: StarFit, checks: Sequence[str] = ()) -> list[str]:
    """What a user has to know of a fit, most important first; `checks` are sentences of others."""
    percent = int(100 * fit.level)
    lines = [
        f"eq. (2) fitted to {fit.metric}, compute in {fit.compute_unit}; "
        f"the optimal size grows as compute^s, s = c/(a+b), when it alone grows{_together(fit)}, "
        f"with {percent}% intervals",
        "",
    ]
    rows = [("dimension", "s", f"optimal size at {fit.t_ref:.3g}", "fit")]
    for name, dimension in fit.dimensions.items():
        points = (
            f"{dimension.n} points of {dimension.models} networks, rms {100 * dimension.rms:.2g}%"
        )
        rows.append((name, _exponent(dimension), _optimum(dimension), points))
    lines += aligned(rows)
    lines += sharing_lines(fit)
    lines.append(
        f"  noise of one network's durations: correlation {fit.correlation:.2f} +- "
        f"{fit.correlation_sd:.2f}, by the residuals of all dimensions; the intervals allow for it"
    )
    first = [flag for code in _OF_THE_INPUT for flag in fit.flags if flag.code == code]
    rest = [flag for flag in fit.flags if flag.code not in _OF_THE_INPUT]
    lines[1:1] = [f"  caution: {flag.sentence}" for flag in first]
    lines += [f"  check: {sentence}" for sentence in checks]
    # Notes first: what the points are comes before what more of them would tell.
    lines += [f"  note: {note}" for note in fit.notes]
    lines += [f"  caution: {flag.sentence}" for flag in rest]
    return [*lines, f"  conclusion: {conclusion(fit)}"]


def _together(fit: StarFit) -> str:
    """How the exponents of several dimensions go together in the joint rule."""
    count = len(fit.dimensions)
    return f" (as compute^(s/{count}) when all {count} grow together)" if count > 1 else ""


def isoflop_lines(table: pd.DataFrame, fit: StarFit) -> list[str]:
    """IsoFLOP profiles of every dimension that has them, beside the exponent of eq. (2)."""
    return [sentence for sentence, _ in isoflop_checks(table, fit)]


def isoflop_checks(table: pd.DataFrame, fit: StarFit) -> list[tuple[str, bool]]:
    """The same, each with whether the two agree."""
    checks = []
    for name, points in table.groupby("dimension", sort=False):
        law = fit.dimensions[str(name)].law
        runs = [points[column].to_numpy(float) for column in ("x", "compute", "error")]
        try:
            profiles = isoflop_profiles(*runs)
            bias = expected_bias(law, runs[0], runs[1])
        except ValueError:
            continue  # too few sizes overlap in compute: there is no such check
        sentence = f"{name}: {profiles.sentence(law.s, bias=bias)}"
        checks.append((sentence, profiles.agrees(law.s, bias=bias)))
    return checks


def conclusion(fit: StarFit) -> str:
    """What to do with the fit, in a sentence."""
    leant = [
        name
        for name, found in fit.dimensions.items()
        if found.identified and any(flag.code == "outlier_leverage" for flag in found.flags)
    ]
    doubt = ""
    if leant:
        doubt = f", but that of {_listed(leant)} hangs on one network: look at it before you scale by it"
    return (
        f"{_decided(fit)}{doubt}; vitscale advise says which trials would shrink the intervals most"
    )


def _decided(fit: StarFit) -> str:
    """Which exponents the data decide, and how well."""
    decided = [name for name, found in fit.dimensions.items() if found.identified]
    open_ones = [name for name in fit.dimensions if name not in decided]
    if not decided:
        return "the data decide no exponent: do not scale by this fit"
    if open_ones:
        return (
            f"the data decide the exponent of {_listed(decided)}, but not of {_listed(open_ones)}, "
            f"whose size should not be scaled by this fit"
        )
    ends = {name: found.s.high / found.s.low for name, found in fit.dimensions.items()}
    widest = max(ends, key=lambda name: ends[name])
    which = "every exponent" if len(decided) > 1 else f"the exponent of {decided[0]}"
    least = f", {widest} least well" if len(decided) > 1 else ""
    return (
        f"the data decide {which}{least} (the ends of its interval are a factor of "
        f"{ends[widest]:.2g} apart)"
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def sharing_lines(fit: StarFit) -> list[str]:
    """Whether the dimensions could share c, or c and eps, and what that would give."""
    lines = []
    without = [name for name, found in fit.dimensions.items() if found.x_star is None]
    for test in fit.sharing_tests if len(fit.dimensions) > 1 else ():
        verdict = "is rejected" if test.rejected else "is not rejected"
        line = (
            f"  sharing {_parameters(test)} across dimensions {verdict} "
            f"(F-test p = {test.p_value:.2g})"
        )
        if without:
            have = "has" if len(without) == 1 else "have"
            line += f"; {_listed(without)} {have} no optimum, so there is no exponent to share"
        elif not test.rejected:  # exponents of a rejected model would only mislead
            told = [f"{name} {show_interval(s)}" for name, s in test.intervals.items()]
            line += f"; it would give s: {', '.join(told)}"
            if not test.advised:
                implied = next(other for other in fit.sharing_tests if other.rejected)
                line += (
                    f", though sharing {_parameters(implied)} alone is rejected, so prefer the "
                    f"separate exponents"
                )
        lines.append(line)
    return lines


def _parameters(test: SharingTest) -> str:
    return " and ".join(test.share.split("+"))


def law_lines(fit: LawFit, *, target: str) -> list[str]:
    """What a user has to know of a law fitted to a table, most important first."""
    law, loss = LAWS[fit.law], fit.loss
    robust = "least squares" if loss.rho == "squares" else f"{loss.rho} at {loss.delta:g}"
    lines = [
        f"{law.equation}, fitted to {target} by {robust} on {loss.residual} residuals",
        f"  from {law.source}",
        "",
    ]
    lines += _parameter_lines(fit)
    lines.append(
        f"  {fit.n} points, rms {100 * fit.rms:.2g}%, objective {fit.objective:.6g}; "
        f"{fit.starts_agreed} of {fit.starts} starts ended there"
    )
    verdict = "the points decide every exponent" if fit.identified else "not all of it is decided"
    lines.append(f"  {verdict}")
    return [*lines, *(f"  caution: {flag.sentence}" for flag in fit.flags)]


def frontier_lines(
    fit: FrontierFit, *, runs: int, metric: str, unit: str, least: float = 0.0
) -> list[str]:
    """What a user has to know of a law along the frontier of `runs`, most important first.

    `least`: the compute of the cheapest of them.
    """
    law = LAWS[fit.law]
    kind = "" if fit.envelope == "minimum" else ", smoothed along each network"
    lines = [
        f"{law.equation}, fitted to the Pareto frontier of {metric} over {unit}{kind}: {fit.n} of {runs} "
        f"runs, rms {100 * fit.rms:.2g}% of log residuals",
        f"  from {law.source}",
        "",
    ]
    lines += _parameter_lines(fit)
    if not fit.converged:
        lines.append("  caution: the fit stopped before it met its tolerance; treat it as rough")
    if fit.rms > _POOR_RMS:
        lines.append(
            f"  caution: the law does not describe these points: it is off by {100 * fit.rms:.2g}% (rms)"
        )
    if 0 < fit.parameters.get("d", math.inf) < least:
        lines.append(
            f"  caution: the law bends at C = d, below the cheapest run ({least:.3g}), so the runs do not "
            f"decide d; the saturating law has none"
        )
    return lines


def allocation_lines(found: Allocation, *, target: str) -> list[str]:
    """How budgets are best divided, then the law that says so."""
    grown = found.exponent
    kind = "no intervals"
    if grown.method != "none":
        kind = f"{100 * grown.level:g}% intervals, {grown.method}"
    lines = [
        f"the best N grows as C^{_allocated(grown)}, the best D as C^{_allocated(found.data_exponent)} ({kind})",
        "",
    ]
    rows = [("training FLOPs", "of the largest run", "parameters N", "tokens D", "D/N", target)]
    for share in found.shares:
        n, d = share.parameters, share.tokens
        ratio = f"{d.estimate / n.estimate:.3g}"
        budget = (f"{share.compute:.4g}", f"{share.times_largest:,.3g} times")
        rows.append((*budget, _allocated(n), _allocated(d), ratio, _allocated(share.loss)))
    beyond = [f"{share.compute:.3g}" for share in found.shares if found.beyond(share)]
    cautions = []
    if grown.method != "none":
        cautions.append(
            f"  the interval of {target} is that of the law, without the scatter of runs ({100 * found.fit.rms:.2g}%)"
        )
    if beyond:
        cautions.append(
            f"  caution: N or D at {', '.join(beyond)} lies beyond the runs; the law is extrapolated there"
        )
    cautions += [f"  caution: {sentence}" for sentence in (*found.far_cautions, *found.cautions)]
    return [*lines, *aligned(rows), *cautions, "", *law_lines(found.fit, target=target)]


def _allocated(interval: Interval) -> str:
    """As `show_interval`, and the number alone where no interval was asked for."""
    return f"{interval.estimate:.4g}" if interval.method == "none" else show_interval(interval)


def _parameter_lines(fit: LawFit | FrontierFit) -> list[str]:
    """The parameters of a law, with their intervals where they have some."""
    rows = []
    for name, value in fit.parameters.items():
        interval = fit.intervals.get(name)
        rows.append((name, f"{value:.4g}" if interval is None else _law_interval(interval)))
    lines = aligned(rows)
    if fit.intervals:
        first = next(iter(fit.intervals.values()))
        lines.append(f"  with {100 * first.level:g}% intervals ({first.method})")
    return lines


def _law_interval(interval: Interval) -> str:
    """As `show_interval`, but zero is an end: a floor may be none at all."""
    if interval.low > 0 or math.isinf(interval.high):
        return show_interval(interval)
    return f"{interval.estimate:.4g} [{interval.low:.4g}, {interval.high:.4g}]"


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines of columns, each as wide as its longest text, two spaces before each."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "".join(f"  {text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _exponent(dimension: DimensionFit) -> str:
    shown = show_interval(dimension.s)
    return shown if dimension.identified else f"not identified ({shown})"


def _optimum(dimension: DimensionFit) -> str:
    return (
        "no optimum in the data" if dimension.x_star is None else show_interval(dimension.x_star.x)
    )
