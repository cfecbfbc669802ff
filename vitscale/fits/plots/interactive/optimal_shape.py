"""The sizes that a rule gives over compute, with their intervals under the pointer."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from vitscale.fits.plots import style
from vitscale.fits.plots.interactive.page import (
    LINE_POINTS,
    band,
    finished,
    panels,
    plain_ticks,
)
from vitscale.fits.plots.looks import palette
from vitscale.fits.plots.optimal_shape import compute_span, compute_unit_of
from vitscale.fits.rule import Rule
from vitscale.fits.star_fit import StarFit
from vitscale.scaling.shape import Shape


def optimal_shape_figure(
    rule: Rule,
    fit: StarFit | None = None,
    *,
    low: float | None = None,
    high: float | None = None,
    compare: Mapping[str, tuple[Shape, float]] | None = None,
) -> go.Figure:
    """The sizes that the rule gives over compute, with their intervals.

    As `vitscale.fits.plots.optimal_shape_figure`. Raises `ValueError` where `low` is not below `high`.
    """
    per_unit, unit = compute_unit_of(rule)
    low, high = compute_span(rule, fit, low, high, compare)
    figure = panels([f"optimal {name}" for name in rule.exponents], horizontal_spacing=0.12)
    compute = np.geomspace(low, high, LINE_POINTS)
    short = style.unit_of(style.compute_label(unit))
    for column, name in enumerate(rule.exponents, 1):
        color = palette().dimension(name)
        sizes = [rule.sizes(c / per_unit)[name] for c in compute]
        best = np.array([size.estimate for size in sizes])
        ends = np.array([(size.low, size.high) for size in sizes])
        closed = bool((ends[:, 0] > 0).all() and np.isfinite(ends).all())
        if closed:
            figure.add_trace(
                band(compute, ends[:, 0], ends[:, 1], color, "interval"), row=1, col=column
            )
        hover = f"%{{x:.3g}} {short}<br>{name} %{{y:.0f}}"
        line = go.Scatter(x=compute, y=best, mode="lines", showlegend=False)
        line.update(line={"color": color, "width": 2})
        if closed:
            line.update(customdata=ends)
            hover += " [%{customdata[0]:.0f}, %{customdata[1]:.0f}]"
        line.update(hovertemplate=f"{hover} {style.unit_of(style.size_label(name))}<extra></extra>")
        figure.add_trace(line, row=1, col=column)
        for what, (shape, at) in (compare or {}).items():
            mark = go.Scatter(x=[at], y=[getattr(shape, name)], mode="markers", showlegend=False)
            mark.update(
                marker={
                    "symbol": "square",
                    "size": 10,
                    "color": palette().accent,
                    "line": {"width": 0},
                },
                hovertemplate=f"{what}<br>{shape}<br>%{{x:.3g}} {short}<extra></extra>",
            )
            figure.add_trace(mark, row=1, col=column)
        figure.update_xaxes(type="log", exponentformat="power", dtick=1, row=1, col=column)
        figure.update_xaxes(title_text=style.compute_label(unit), row=1, col=column)
        figure.update_yaxes(title_text=style.size_label(name), row=1, col=column)
        plain_ticks(figure, "y", ends if closed else best, column)
    measured = fit.flops_range if fit is not None and rule.start.flops_per_unit else None
    if measured is not None:
        figure.add_vrect(
            x0=measured[1],
            x1=high,
            fillcolor=palette().grey,
            opacity=0.12,
            line_width=0,
        )
    beyond = "" if measured is None else ", shaded beyond the measured compute"
    return finished(figure, f"Optimal size against compute{beyond}")
