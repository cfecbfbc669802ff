"""IsoFLOP slices: error against size where every size may spend the same compute."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vitscale.fits.isoflop import read_at
from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette, points
from vitscale.fits.plots.marks import draw_optimum
from vitscale.fits.plots.star import arms_of, largest_error
from vitscale.fits.star_fit import DimensionFit, StarFit

_LINE_POINTS = 160
_LEVELS = 4
_REACH = 2.5  # a very wide interval is cut this far (factor) beyond the sizes


def isoflop_figure(
    table: pd.DataFrame, fit: StarFit, *, levels: Sequence[float] | None = None
) -> Figure:
    """Slices through eq. (2) at equal compute, along each dimension; the lowest point of each is x*(t).

    - `table`: the canonical star table that was fitted (see `vitscale.fits.tables`).
    - `levels`: computes to slice at, in the fit's unit; default four over what was measured along
      every dimension.

    Points are measurements read at a slice's compute, each between the durations of its own size by a
    parabola in log compute (`vitscale.fits.isoflop.read_at`). Sizes with fewer than three durations, or
    without shorter and longer ones, have none. Diamonds mark the optimum with its interval, where the exponent is
    identified. Lines are dotted beyond the measured sizes.

    Raises `ValueError` where the table lacks a dimension of the fit, or a level is not positive.
    """
    if levels is not None and not all(np.isfinite(t) and t > 0 for t in levels):
        raise ValueError(f"levels={list(levels)} must be positive computes in {fit.compute_unit}")
    arms = arms_of(table, fit)
    chosen = _levels(fit) if levels is None else sorted(levels)
    colors = palette().lengths(len(chosen))
    with style.styled():
        count = len(arms)
        figure = style.new_figure(max(3.6, style.PANEL_IN * count), 3.4 if count > 1 else 3.6)
        panels = figure.subplots(1, count, squeeze=False)[0]
        for axes, (name, arm) in zip(panels, arms.items(), strict=True):
            _draw(axes, arm, fit.dimensions[name], name, dict(zip(chosen, colors, strict=True)))
        panels[0].set_ylabel(style.metric_label(fit.metric, largest_error(arms)))
        style.legend_below(figure, _legend(fit, chosen, colors), columns=4 if count > 1 else 2)
    return figure


def _levels(fit: StarFit) -> list[float]:
    """Computes that every dimension measured, or, where there are none, that any did."""
    first, last = np.array([dimension.t_range for dimension in fit.dimensions.values()]).T
    low, high = float(first.max()), float(last.min())
    if not low < high:
        low, high = float(first.min()), float(last.max())
    return [float(f"{level:.1e}") for level in np.geomspace(low, high, _LEVELS + 2)[1:-1]]


def _draw(
    axes: Axes,
    arm: pd.DataFrame,
    fit: DimensionFit,
    name: str,
    levels: dict[float, str],
) -> None:
    x, t, error = (arm[column].to_numpy(float) for column in ("x", "compute", "error"))
    sizes = np.unique(x)
    shown, heights = [sizes[0], sizes[-1]], []
    for level, color in levels.items():
        read_x, read_error = read_at(x, t, error, level)
        axes.plot(read_x, read_error, "o", color=color, markersize=points(3.6), zorder=3)
        best = float(fit.optimal_x(level)) if fit.identified else None
        ends = [sizes[0], sizes[-1]]
        if best is not None:
            low, high = style.lengthen(sizes[0], sizes[-1], _REACH)
            ends = [min(sizes[0], max(best, low)), max(sizes[-1], min(best, high))]
        heights += [*read_error, *_draw_law(axes, fit, ends, sizes, level, color)]
        if best is not None and ends[0] <= best <= ends[1]:
            shown += _draw_optimum(axes, fit, best, level, color, sizes)
    style.sizes_log(
        axes.xaxis,
        list(sizes),
        *style.lengthen(min(shown), max(shown), 1.12),
        inches=style.PANEL_IN - 0.7,
    )
    style.plain_log(axes.yaxis, *style.lengthen(min(heights), max(heights), 1.06), least=4)
    axes.set_xlabel(style.size_label(name))
    axes.set_title(f"{name} at equal compute")
    style.faint_grid(axes)


def _draw_law(
    axes: Axes,
    fit: DimensionFit,
    ends: list[float],
    sizes: np.ndarray,
    level: float,
    color: str,
) -> list[float]:
    """The slice, dotted beyond the measured sizes; the range of its errors."""
    cuts = sorted({ends[0], float(sizes[0]), float(sizes[-1]), ends[1]})
    heights: list[float] = []
    for first, last in itertools.pairwise(cuts):
        inside = sizes[0] <= first and last <= sizes[-1]
        x = np.geomspace(first, last, _LINE_POINTS)
        error = fit.law.error(x, level)
        axes.plot(x, error, "-" if inside else ":", color=color, zorder=2)
        heights += [float(error.min()), float(error.max())]
    return heights


def _draw_optimum(
    axes: Axes, fit: DimensionFit, best: float, level: float, color: str, sizes: np.ndarray
) -> list[float]:
    """The diamond and its interval; the sizes that are to be in view."""
    error = float(fit.law.error(best, level))
    low, high = style.lengthen(float(sizes[0]), float(sizes[-1]), _REACH)
    ends = draw_optimum(axes, best, error, fit.x_star_at(level), color)
    return [min(max(value, low), high) for value in (best, *ends)]


def _legend(fit: StarFit, levels: Sequence[float], colors: Sequence[str]) -> list[Artist]:
    slices = [
        Line2D([], [], color=color, label=style.compute_value(level, fit.compute_unit))
        for level, color in zip(levels, colors, strict=True)
    ]
    dot = Line2D([], [], marker="o", linestyle="", markersize=points(3.6), color=palette().grey)
    dot.set_label("measured, read at that compute")
    law = Line2D([], [], color=palette().grey, label="eq. (2), dotted beyond the sizes")
    handles: list[Artist] = [*slices, law, dot]
    if any(d.identified for d in fit.dimensions.values()):
        mark = Line2D([], [], marker="D", markersize=points(5), linewidth=points(0.9))
        mark.set(color=palette().ink, markerfacecolor=palette().grey)
        mark.set_label(f"optimal size x*(t), {100 * fit.level:g}% interval")
        handles.append(mark)
    return handles
