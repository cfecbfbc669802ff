"""A fit in words, for a terminal: exponents, optimal sizes, and what the data do not decide."""

from vitscale.fits.answer import show_interval
from vitscale.fits.star_fit import DimensionFit, StarFit


def fit_lines(fit: StarFit) -> list[str]:
    """What a user has to know of a fit, most important first."""
    percent = int(100 * fit.level)
    lines = [
        f"eq. (2) fitted to {fit.metric}, compute in {fit.compute_unit}; "
        f"s = c/(a+b) is how the optimal size grows with compute, with {percent}% intervals",
        "",
        f"  {'dimension':11}{'s':32}{f'optimal size at {fit.t_ref:.3g}':34}fit",
    ]
    for name, dimension in fit.dimensions.items():
        lines.append(
            f"  {name:11}{_exponent(dimension):32}{_optimum(dimension):34}"
            f"{dimension.n} points of {dimension.models} networks, "
            f"rms {100 * dimension.rms:.2g}%"
        )
    for test in fit.sharing_tests if len(fit.dimensions) > 1 else ():
        shared = " and ".join(test.share.split("+"))
        verdict = "is not rejected" if test.advised else "is rejected"
        exponents = ", ".join(f"{name} {s:.3f}" for name, s in test.s.items())
        lines.append(
            f"  sharing {shared} across dimensions {verdict} (F-test p = {test.p_value:.2g}); "
            f"it would give s: {exponents}"
        )
    lines += [f"  caution: {flag.sentence}" for flag in fit.flags]
    return [*lines, *(f"  note: {note}" for note in fit.notes)]


def _exponent(dimension: DimensionFit) -> str:
    shown = show_interval(dimension.s)
    return shown if dimension.identified else f"not identified ({shown})"


def _optimum(dimension: DimensionFit) -> str:
    return (
        "no optimum in the data" if dimension.x_star is None else show_interval(dimension.x_star.x)
    )
