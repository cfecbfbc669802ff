"""Parity: what the fitted law predicts against what was measured, along each dimension."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from vitscale.fits.columns import series
from vitscale.fits.intervals.correlation import VarianceComponents
from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette, points
from vitscale.fits.plots.marks import draw_measurements
from vitscale.fits.plots.star import arms_of, largest_error
from vitscale.fits.star_fit import StarFit

_SIGMAS = 2.0


def parity_figure(table: pd.DataFrame, fit: StarFit) -> Figure:
    """Errors that eq. (2) predicts against those measured, a panel for each dimension.

    - `table`: the canonical star table that was fitted (see `vitscale.fits.tables`).

    On the diagonal a prediction is right; below, how far off it is. The band is two standard deviations of the noise that the fit
    found, between networks and within one together; about 95 of 100 points lie in it where the law holds.
    These are the points that the law was fitted to: for predictions of runs left out see
    `backtest_figure`. A centre that was left out is hollow.

    Raises `ValueError` where the table lacks a dimension of the fit.
    """
    arms = arms_of(table, fit)
    with style.styled():
        count = len(arms)
        figure = style.new_figure(max(3.6, 2.9 * count), 4.4)
        panels = figure.subplots(2, count, sharex="col", squeeze=False, height_ratios=[3, 1])
        for (upper, lower), (name, arm) in zip(panels.T, arms.items(), strict=True):
            _draw(upper, lower, arm, fit, name)
        label = style.metric_label(fit.metric, largest_error(arms))
        panels[0, 0].set_ylabel(f"predicted {label}")
        panels[1, 0].set_ylabel("off by (%)")
        for axes in panels[1]:
            axes.set_xlabel(f"measured {label}")
        style.legend_below(figure, _legend(arms, fit), columns=2 if count == 1 else 4)
    return figure


def noise_sd(noise: VarianceComponents) -> float:
    """Relative standard deviation of one measurement: between networks and within one together."""
    return float(np.hypot(noise.between, noise.within))


def _draw(upper: Axes, lower: Axes, arm: pd.DataFrame, fit: StarFit, name: str) -> None:
    dimension = fit.dimensions[name]
    measured = arm["error"].to_numpy(float)
    predicted = dimension.law.error(arm["x"].to_numpy(float), arm["compute"].to_numpy(float))
    both = np.concatenate([measured, predicted])
    low, high = style.lengthen(float(both.min()), float(both.max()), 1.06)
    ends, width = np.array([low, high]), _SIGMAS * noise_sd(dimension.noise)
    color = palette().dimension(name)
    center = series(arm, "is_center").to_numpy(bool)
    off = 100 * (predicted / measured - 1)
    for axes, y, right in ((upper, predicted, ends), (lower, off, np.zeros(2))):
        axes.plot(ends, right, color=palette().ink, linewidth=points(0.8), zorder=1)
        draw_measurements(axes, measured, y, center, color, center_fitted=fit.include_center)
        style.faint_grid(axes)
    band: dict[str, Any] = {"color": color, "alpha": 0.18, "linewidth": 0, "zorder": 0.5}
    upper.fill_between(ends, ends * (1 - width), ends * (1 + width), **band)
    lower.fill_between(ends, [-100 * width] * 2, [100 * width] * 2, **band)
    style.plain_log(upper.yaxis, low, high, least=4)
    style.plain_log(lower.xaxis, low, high, least=4)
    upper.tick_params(labelbottom=False)
    widest = max(1.25 * float(np.abs(off).max()), 130 * width)
    lower.set_ylim(-widest, widest)
    lower.yaxis.set_major_locator(MaxNLocator(3, symmetric=True, steps=[1, 2, 5, 10]))
    upper.set_title(f"{name}: rms {100 * dimension.rms:.2g}%, n = {dimension.n}")


def _legend(arms: dict[str, pd.DataFrame], fit: StarFit) -> list[Artist]:
    grey = palette().grey
    dot: dict[str, Any] = {"linestyle": "", "color": grey}
    handles: list[Artist] = [
        Line2D([], [], marker="o", markersize=points(3.6), label="measurement", **dot)
    ]
    if any(series(arm, "is_center").any() for arm in arms.values()):
        fill = grey if fit.include_center else palette().background
        label = "centre" if fit.include_center else "centre (not in the fit)"
        handles.append(
            Line2D(
                [],
                [],
                marker="*",
                markersize=points(8),
                markerfacecolor=fill,
                label=label,
                **dot,
            )
        )
    right = "predicted = measured"
    handles.append(Line2D([], [], color=palette().ink, linewidth=points(0.8), label=right))
    band = f"noise, {_SIGMAS:g} standard deviations"
    return [*handles, Patch(facecolor=grey, alpha=0.3, label=band, linewidth=0)]
