"""The star and its fit, with each network's shape, compute and residual under the pointer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vitscale.fits.columns import series, where
from vitscale.fits.durations import LengthCurve, length_curve
from vitscale.fits.plots import style
from vitscale.fits.plots.interactive.page import finished, panels, plain_ticks
from vitscale.fits.plots.looks import palette
from vitscale.fits.plots.marks import is_closed
from vitscale.fits.plots.star import (
    arms_of,
    exponent_title,
    fitted_sizes,
    largest_error,
    law_pieces,
    length_labels,
    with_lengths,
)
from vitscale.fits.star_fit import DimensionFit, StarFit

_PANEL_DIGITS = 26  # side by side along a panel of a page of the least width


def star_figure(
    table: pd.DataFrame, fit: StarFit, *, shapes: Mapping[str, str] | None = None
) -> go.Figure:
    """Error against size along each dimension, with eq. (2) as fitted.

    Diamonds are optimal sizes, as in `vitscale.fits.plots.star_figure`.

    - `shapes`: what the shape of each network is, by its name in the table's column `model`; by default the
      size that varies.

    Raises `ValueError` where the table lacks a dimension of the fit.
    """
    arms = {name: with_lengths(arm) for name, arm in arms_of(table, fit).items()}
    lengths = np.unique(np.concatenate([arm["length"].to_numpy() for arm in arms.values()]))
    words = length_labels(lengths, relative="examples" not in table)
    colors = palette().lengths(len(lengths))
    label = style.metric_label(fit.metric, largest_error(arms))
    titles = [exponent_title(fit.dimensions[name], name) for name in arms]
    figure = panels(titles, shared_yaxes=True)
    named: set[str | None] = {None}
    for column, (name, arm) in enumerate(arms.items(), 1):
        traces: list[Any] = []
        for length, color, told in zip(lengths, colors, words, strict=True):
            rows = where(arm, series(arm, "length") == length)
            if not rows.empty:
                traces += _law(rows, fit, name, color, told)
                traces.append(_measurements(rows, fit, name, color, told, shapes or {}, label))
        for trace in traces:  # one line of the legend for all of one name
            trace.showlegend = trace.name not in named
            named.add(trace.name)
        figure.add_traces(traces, rows=1, cols=column)
        _size_axis(figure, column, name, arm, traces)
    plain_ticks(figure, "y", series(table, "error").to_numpy(float))
    figure.update_yaxes(title_text=label, row=1, col=1)
    return finished(figure, "Error against size: measured (points) and eq. (2) as fitted (lines)")


def _size_axis(
    figure: go.Figure, column: int, name: str, arm: pd.DataFrame, traces: Sequence[Any]
) -> None:
    sizes = np.unique(arm["x"].to_numpy(float)).tolist()
    drawn = [x for trace in traces for x in trace.x]
    labels = style.size_ticks(sizes, min(drawn), max(drawn), digits=_PANEL_DIGITS)
    ticks = {"tickvals": sizes, "ticktext": labels, "minor_ticks": "", "tickangle": 0}
    title = style.size_label(name)
    figure.update_xaxes(type="log", title_text=title, **ticks, row=1, col=column)


def _law(rows: pd.DataFrame, fit: StarFit, name: str, color: str, words: str) -> list[go.Scatter]:
    """Eq. (2) along one training length, and its optimum where the exponent is identified."""
    curve, dimension = length_curve(rows), fit.dimensions[name]
    if curve is None:
        return []
    best = curve.optimum(dimension.law) if dimension.identified else None
    drawn = []
    for x, solid in law_pieces(curve, fitted_sizes(rows, fit), best):
        line = go.Scatter(x=x, y=dimension.law.error(x, curve.compute(x)), mode="lines")
        line.update(line={"color": color, "width": 2, "dash": "solid" if solid else "dot"})
        drawn.append(line.update(hoverinfo="skip", legendgroup=words))
    if best is not None:
        mark = _optimum(best, curve, dimension, name, color, words)
        last = {
            "legendrank": 2000,
            "name": f"optimal size x = x*(t), {100 * fit.level:g}% interval",
        }
        drawn.append(mark.update(**last))
    return drawn


def _optimum(
    x: float, curve: LengthCurve, dimension: DimensionFit, name: str, color: str, words: str
) -> go.Scatter:
    """The diamond of one training length, with the interval of x* as a bar where that is closed."""
    t = float(curve.compute(np.array([x]))[0])
    interval = dimension.x_star_at(t)
    told, bar = f"{x:.4g}", {}
    if interval is not None and is_closed(interval):
        told += f" [{interval.low:.4g}, {interval.high:.4g}]"
        bar = {
            "type": "data",
            "symmetric": False,
            "array": [max(interval.high - x, 0.0)],
            "arrayminus": [max(x - interval.low, 0.0)],
            "color": palette().ink,
            "thickness": 1.2,
            "width": 4,
        }
    mark = go.Scatter(x=[x], y=[float(dimension.law.error(x, t))], mode="markers")
    return mark.update(
        marker={
            "symbol": "diamond",
            "size": 11,
            "opacity": 1,
            "color": color,
            "line": {"color": palette().ink, "width": 1.2},
        },
        error_x=bar,
        hovertemplate=f"optimal {name} {told} {style.unit_of(style.size_label(name))}<br>{words}<br>"
        f"eq. (2) gives %{{y:.4g}}<extra></extra>",
    )


def _measurements(
    rows: pd.DataFrame,
    fit: StarFit,
    name: str,
    color: str,
    words: str,
    shapes: Mapping[str, str],
    label: str,
) -> go.Scatter:
    # The centre last, so that the legend shows the mark of the others.
    rows = rows.sort_values("is_center", kind="stable")
    x, compute, error = (rows[column].to_numpy(float) for column in ("x", "compute", "error"))
    off = 100 * (error / fit.dimensions[name].law.error(x, compute) - 1)
    unit = style.unit_of(style.size_label(name))
    center = rows["is_center"].to_numpy(bool)
    told = [
        f"{model}<br>{shapes.get(str(model), f'{name} {size:g} {unit}')}"
        f"{' (the centre)' if middle and str(model) not in shapes else ''}"
        for model, size, middle in zip(rows["model"], x, center, strict=True)
    ]
    star = "star" if fit.include_center else "star-open"
    points = go.Scatter(x=x, y=error, mode="markers", name=words, legendgroup=words, text=told)
    compute_unit = style.unit_of(style.compute_label(fit.compute_unit))
    return points.update(
        marker={
            "color": color,
            "opacity": 1,
            "size": np.where(center, 13, 8).tolist(),
            "line": {"width": 0},
            "symbol": np.where(center, star, "circle").tolist(),
        },
        customdata=np.column_stack([compute, off]),
        hovertemplate=f"%{{text}}<br>{words}<br>%{{customdata[0]:.4g}} {compute_unit}<br>"
        f"{label} %{{y:.4g}}, %{{customdata[1]:+.2g}}% from eq. (2)<extra></extra>",
    )
