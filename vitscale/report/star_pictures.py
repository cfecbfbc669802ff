"""The figures of a star's report, with how to read them."""

import pandas as pd

from vitscale.fits import plots
from vitscale.fits.answer import Answer, show_interval
from vitscale.fits.columns import series, where
from vitscale.fits.frontier import FrontierFit, fit_frontier
from vitscale.fits.prediction.backtest_result import Backtest
from vitscale.fits.rule import Rule
from vitscale.fits.star_fit import DimensionFit, StarFit
from vitscale.report.page import Picture
from vitscale.report.pictures import picture
from vitscale.report.source import StarSource


def star_pictures(
    source: StarSource, rule: Rule | None, found: Answer | None, test: Backtest | None
) -> list[Picture]:
    """Those that the data allow: without a rule there is no best size to draw, without a store no frontier."""
    fit = source.fit_file.fit
    drawn = []
    optimum = any(each.identified for each in fit.dimensions.values())
    marked = "; diamonds mark the size with the least error at each length" if optimum else ""
    if rule is not None:
        marks = {} if found is None else {"this answer": (found.shape, found.flops)}
        marks |= source.compare
        in_flops = rule.start.flops_per_unit is not None
        drawn.append(
            picture(
                "The best size at every budget",
                lambda: plots.optimal_shape_figure(rule, fit, compare=marks if in_flops else {}),
                alt="Optimal size against training compute, a panel for each dimension. "
                + " ".join(
                    f"{n} grows as compute to the {s.estimate * rule.weights[n]:.3g}."
                    for n, s in rule.exponents.items()
                ),
                how="Lines are the rule, bands its intervals; dashed and hatched where it reaches beyond the compute that was measured. The mark is the answer above. The exponent in a title is a third of s, as all three sizes grow together here.",
            )
        )
    drawn.append(
        picture(
            "Every measurement, and the law along it",
            lambda: plots.star_figure(source.table, fit),
            alt=f"{fit.metric} against size for each dimension, a curve for each training length, with residuals below. "
            + " ".join(_arm(name, found) for name, found in fit.dimensions.items()),
            how=f"Points are measured networks, curves the fitted law{marked}. Residuals without a pattern are what a good fit looks like.",
        )
    )
    drawn.append(
        picture(
            "How well each exponent is known",
            lambda: plots.profile_figure(fit),
            alt="Profile of the deviance against the exponent s of each dimension. "
            + " ".join(f"{n}: {show_interval(f.s)}." for n, f in fit.dimensions.items()),
            how="The deeper and narrower the valley, the better the data decide the exponent; where the curve stays below the line, nothing bounds it. "
            "The estimate (dotted) fits all points alike, while the valley allows for the noise that durations of one "
            "network share: the two may stand a little apart.",
        )
    )
    drawn.append(
        picture(
            "Slices at equal compute",
            lambda: plots.isoflop_figure(source.table, fit),
            alt=f"{fit.metric} against size at equal compute, for each dimension: valleys whose lowest point is the best size.",
            how="Each curve is the law at one compute; points are measurements, read at that compute between durations of their network."
            + (" Diamonds mark the best size, with its interval." if optimum else ""),
        )
    )
    drawn.append(
        picture(
            "Predicted beside measured",
            lambda: plots.parity_figure(source.table, fit),
            alt=f"Fitted against measured {fit.metric}. "
            + " ".join(f"{n}: off by {100 * f.rms:.2g}% (rms)." for n, f in fit.dimensions.items()),
            how="On the diagonal, the law gives what was measured; about 95 of 100 points lie in the band (two standard deviations of the noise) where the law holds.",
        )
    )
    frontier = _frontier(source.rows, fit)
    if frontier is not None:
        drawn.append(frontier)
    if test is not None:
        drawn.append(
            picture(
                "What earlier predictions were worth",
                lambda: plots.backtest_figure(test, metric=fit.metric),
                alt=f"Predicted against measured {fit.metric} of runs that were left out. {test.conclusion}",
                how="The largest runs were left out of the fit and predicted from the rest. On the diagonal a prediction is right; bars are its interval.",
            )
        )
    return drawn


def _arm(name: str, found: DimensionFit) -> str:
    best = (
        "no best size within the data"
        if found.x_star is None
        else f"best size {show_interval(found.x_star.x)}"
    )
    return f"{name}: {found.models} networks, {best}."


def _frontier(rows: pd.DataFrame | None, fit: StarFit) -> Picture | None:
    if rows is None:
        return None
    ok = where(rows, (series(rows, "status") == "ok") & (series(rows, "metric") == fit.metric))
    compute, error, params = (
        series(ok, name).to_numpy(float) for name in ("train_flops", "value", "params")
    )
    model = series(ok, "trial_id").to_numpy()
    law: FrontierFit | None = None
    try:
        law = fit_frontier(compute, error, model=model, resamples=0)
        told = f"The least error falls along a {law.law} law."
    except ValueError:
        told = "Too few runs lie on the frontier for a law."
    return picture(
        "The least error that compute buys",
        lambda: plots.frontier_figure(
            compute,
            error,
            fit=law,
            size=params,
            model=model,
            metric=fit.metric,
        ),
        alt=f"{fit.metric} against training compute of {len(ok)} runs, with the Pareto frontier. {told}",
        how="Each point is a run, coloured by its parameters; runs of one network are joined. Ringed points are those that no cheaper run beats. "
        + told,
    )
