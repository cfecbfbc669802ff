"""Parity: what the fitted law predicts against what was measured, along each dimension."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vitscale.fits.columns import series
from vitscale.fits.intervals.correlation import VarianceComponents
from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette, points
from vitscale.fits.plots.star import arms_of
from vitscale.fits.star_fit import DimensionFit, StarFit

_SIGMAS = 2.0


def parity_figure(table: pd.DataFrame, fit: StarFit) -> Figure:
    """Errors that eq. (2) predicts against those measured, a panel for each dimension.

    - `table`: the canonical star table that was fitted (see `vitscale.fits.tables`).

    On the diagonal a prediction is right. The band is two standard deviations of the noise that the fit
    found, between networks and within one together; about 95 of 100 points lie in it where the law holds.
    These are the points that the law was fitted to: for predictions of runs left out see
    `backtest_figure`. A centre that was left out is hollow.

    Raises `ValueError` where the table lacks a dimension of the fit.
    """
    arms = arms_of(table, fit)
    with style.styled():
        count = len(arms)
        figure = style.new_figure(max(3.6, 2.9 * count), 3.5)
        panels = figure.subplots(1, count, squeeze=False)[0]
        for axes, (name, arm) in zip(panels, arms.items(), strict=True):
            _draw(axes, arm, fit, name)
        largest = max(float(arm["error"].max()) for arm in arms.values())
        panels[0].set_ylabel(f"predicted {style.metric_label(fit.metric, largest)}")
        for axes in panels:
            axes.set_xlabel(f"measured {style.metric_label(fit.metric, largest)}")
        style.legend_below(figure, _legend(arms, fit), columns=2 if count == 1 else 4)
    return figure


def noise_sd(noise: VarianceComponents) -> float:
    """Relative standard deviation of one measurement: between networks and within one together."""
    return float(np.hypot(noise.between, noise.within))


def _draw(axes: Axes, arm: pd.DataFrame, fit: StarFit, name: str) -> None:
    dimension = fit.dimensions[name]
    measured = arm["error"].to_numpy(float)
    predicted = dimension.law.error(arm["x"].to_numpy(float), arm["compute"].to_numpy(float))
    both = np.concatenate([measured, predicted])
    low, high = style.lengthen(float(both.min()), float(both.max()), 1.06)
    line = np.array([low, high])
    width = _SIGMAS * noise_sd(dimension.noise)
    color = palette().dimension(name)
    axes.fill_between(line, line / (1 + width), line * (1 + width), **_band(color))
    axes.plot(line, line, color=palette().ink, linewidth=points(0.8), zorder=1)
    center = series(arm, "is_center").to_numpy(bool)
    fill = color if fit.include_center else palette().background
    axes.plot(
        measured[~center], predicted[~center], "o", color=color, markersize=points(3.6), zorder=3
    )
    axes.plot(
        measured[center],
        predicted[center],
        "*",
        color=color,
        markerfacecolor=fill,
        markersize=points(8),
        zorder=3,
    )
    style.plain_log(axes.xaxis, low, high, least=4)
    style.plain_log(axes.yaxis, low, high, least=4)
    axes.set_title(_title(dimension, name))
    style.faint_grid(axes)


def _band(color: str) -> dict[str, Any]:
    return {"color": color, "alpha": 0.18, "linewidth": 0, "zorder": 0.5}


def _title(fit: DimensionFit, name: str) -> str:
    return f"{name}: off by {100 * fit.rms:.2g}% (rms), {fit.n} points"


def _legend(arms: dict[str, pd.DataFrame], fit: StarFit) -> list[Artist]:
    grey = palette().grey
    dot = {"linestyle": "", "color": grey}
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
