"""How well the data decide each exponent: its profile."""

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette, points
from vitscale.fits.star_fit import DimensionFit, StarFit

_SHOWN = 3.5  # height of a panel, in thresholds


def profile_figure(fit: StarFit) -> Figure:
    """Profile of the exponent s of each dimension, and the threshold that cuts its interval.

    The curve says how much worse eq. (2) fits with s held at a value. Where it crosses the threshold
    on both sides, the data give s an interval; where it stays below, that end is open.

    The estimate is the one with all points weighed alike. The curve allows for the noise that durations of one
    network share, which weighs them otherwise, so its lowest point may stand a little apart from it.
    """
    with style.styled():
        figure = style.new_figure(max(3.6, style.PANEL_IN * len(fit.dimensions)), 2.8)
        panels = figure.subplots(1, len(fit.dimensions), squeeze=False)[0]
        for axes, (name, dimension) in zip(panels, fit.dimensions.items(), strict=True):
            _draw(axes, dimension, name)
        drawn = [axes for axes in panels if axes.axison]
        if drawn:
            drawn[0].set_ylabel(_height(fit))
        style.legend_below(figure, _legend(fit), columns=2 if len(panels) == 1 else 4)
    return figure


def _draw(axes: Axes, fit: DimensionFit, name: str) -> None:
    axes.set_title(_title(fit, name))
    if fit.profile is None:
        axes.set_axis_off()
        axes.text(
            0.5,
            0.5,
            "no profile: the fitted error\nhas no optimum",
            transform=axes.transAxes,
            ha="center",
            va="center",
            color=palette().text,
        )
        return
    color = palette().dimension(name)
    s, deviance, threshold = fit.profile.values, fit.profile.deviance, fit.profile.threshold
    top = _SHOWN * threshold
    axes.plot(s, deviance, color=color, zorder=3)
    axes.axhline(threshold, color=palette().ink, linestyle="--", linewidth=points(0.9), zorder=2)
    axes.axvline(fit.s.estimate, color=color, linestyle=":", linewidth=points(1), zorder=2)
    shown = s[deviance <= top]
    low, high = style.lengthen(float(shown.min()), float(shown.max()), 1.08)
    left = fit.s.low if fit.s.low > 0 else low
    right = fit.s.high if np.isfinite(fit.s.high) else high
    axes.axvspan(left, right, color=color, alpha=0.14, linewidth=0, zorder=1)
    style.plain_log(axes.xaxis, low, high, least=4)
    axes.set(ylim=(0, top), xlabel=f"exponent s of {name} (no unit)")
    style.faint_grid(axes)


def _height(fit: StarFit) -> str:
    """What the curves are, see `vitscale.fits.intervals.interval.Profile`."""
    methods = {d.s.method for d in fit.dimensions.values() if d.profile is not None}
    if methods == {"independent"}:
        return "profile deviance\n(−2 log likelihood ratio)"
    return "calibrated deviance\n(averaged over correlations)"


def _title(fit: DimensionFit, name: str) -> str:
    if fit.profile is None:
        return f"{name}: no exponent"
    low = f"{fit.s.low:.3f}" if fit.s.low > 0 else "open"
    high = f"{fit.s.high:.3f}" if np.isfinite(fit.s.high) else "open"
    estimate = f"= {fit.s.estimate:.3f}" if fit.identified else "not identified,"
    return f"{name}: s {estimate} [{low}, {high}]"


def _legend(fit: StarFit) -> list[Artist]:
    return [
        Line2D([], [], color=palette().grey, label="profile"),
        Line2D([], [], color=palette().grey, linestyle=":", label="estimate"),
        Line2D([], [], color=palette().ink, linestyle="--", label="threshold"),
        Patch(facecolor=palette().grey, alpha=0.3, label=f"{100 * fit.level:g}% interval"),
    ]
