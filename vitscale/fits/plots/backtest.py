"""A back-test: what was predicted, with its interval, against what was measured."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette, points
from vitscale.fits.prediction.backtest import Backtest, Row

_MOST_PANELS = 6


def backtest_figure(test: Backtest, *, metric: str = "value") -> Figure:
    """Predictions with their intervals against measurements, a panel for each name in the back-test.

    `metric`: what was predicted, such as the name of its column; the axes are labelled with it.

    On the diagonal a prediction is right. Hollow points lie outside their interval. Colours tell the
    cut-offs of a panel, from the lowest.

    Raises `ValueError` for more names than a page holds.
    """
    names = list(dict.fromkeys(row.name for row in test.rows))
    if len(names) > _MOST_PANELS:
        raise ValueError(
            f"the back-test has {len(names)} names, more than the {_MOST_PANELS} panels of a figure; "
            f"draw a part of its rows"
        )
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    with style.styled():
        figure = style.new_figure(max(3.6, 2.9 * columns), 2.9 * lines + 0.5)
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            rows = [row for row in test.rows if row.name == name]
            _draw(axes, rows, metric)
            axes.set_title(f"{name}: {sum(r.inside for r in rows)} of {len(rows)} inside")
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        style.legend_below(figure, _legend(test), columns=2 if columns == 1 else 3)
    return figure


def _draw(axes: Axes, rows: list[Row], metric: str) -> None:
    measured = [row.measured for row in rows]
    shown = np.concatenate([measured, [row.predicted for row in rows]])
    low, high = style.lengthen(float(shown.min()), float(shown.max()), 1.15)
    axes.plot([low, high], [low, high], color=palette().ink, linewidth=points(0.8), zorder=1)
    cutoffs, colors = sorted({row.cutoff for row in rows}), palette().series
    for row in rows:
        color = colors[cutoffs.index(row.cutoff) % len(colors)]
        # An interval that leaves the panel is cut there, so that the others can be read.
        ends = np.clip([row.low, row.high], low, high)
        axes.plot([row.measured] * 2, ends, color=color, linewidth=points(1), alpha=0.7, zorder=2)
        axes.plot(
            row.measured,
            row.predicted,
            "o",
            markersize=points(3.4),
            color=color,
            markerfacecolor=color if row.inside else palette().background,
            zorder=3,
        )
    style.plain_log(axes.xaxis, low, high)
    style.plain_log(axes.yaxis, low, high)
    label = style.metric_label(metric, max(measured))
    axes.set(xlabel=f"measured {label}", ylabel=f"predicted {label}")
    style.faint_grid(axes)


def _legend(test: Backtest) -> list[Line2D]:
    most = max(
        len({row.cutoff for row in test.rows if row.name == name})
        for name in {row.name for row in test.rows}
    )
    order = ("lowest cut-off", "second", "third", "fourth")
    marks = [
        Line2D(
            [],
            [],
            color=color,
            marker="o",
            markersize=points(3.4),
            linewidth=points(1),
            label=label,
        )
        for color, label in zip(palette().series, order[:most], strict=False)
    ]
    outside = Line2D(
        [],
        [],
        color=palette().grey,
        marker="o",
        markersize=points(3.4),
        markerfacecolor=palette().background,
        linewidth=points(1),
        label=f"outside its {100 * test.level:g}% interval",
    )
    right = Line2D([], [], color=palette().ink, linewidth=points(0.8), label="predicted = measured")
    return [*marks, outside, right]
