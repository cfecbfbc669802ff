"""Figures with numbers under the pointer, each a page of HTML that needs no network.

The same arguments as the figures of the same name beside it, and the same look (`looks.look`, of which the
theme counts here). Needs plotly, which the extra `interactive` brings.
"""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots

from vitscale.fits.columns import series, where
from vitscale.fits.durations import LengthCurve, length_curve, training_lengths
from vitscale.fits.export import replace_text
from vitscale.fits.frontier import FrontierFit, pareto_frontier
from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette
from vitscale.fits.plots.marks import is_closed
from vitscale.fits.plots.optimal_shape import compute_span, compute_unit_of
from vitscale.fits.plots.star import (
    arms_of,
    fitted_sizes,
    largest_error,
    law_pieces,
    length_labels,
)
from vitscale.fits.rule import Rule
from vitscale.fits.star_fit import DimensionFit, StarFit
from vitscale.scaling.shape import Shape

_LINE_POINTS = 120
_PANEL_DIGITS = 26  # side by side along a panel of a page of the least width
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body {{ margin: 0; min-width: 58rem; background: {background}; }}</style>
</head>
<body>{drawn}</body>
</html>
"""


def star_figure(
    table: pd.DataFrame, fit: StarFit, *, shapes: Mapping[str, str] | None = None
) -> go.Figure:
    """Error against size along each dimension, with eq. (2) as fitted.

    Diamonds are optimal sizes, as in `vitscale.fits.plots.star_figure`.

    - `shapes`: what the shape of each network is, by its name in the table's column `model`; by default the
      size that varies.

    Raises `ValueError` where the table lacks a dimension of the fit.
    """
    arms = {name: arm.assign(length=_lengths(arm)) for name, arm in arms_of(table, fit).items()}
    lengths = np.unique(np.concatenate([arm["length"].to_numpy() for arm in arms.values()]))
    labels = length_labels(lengths, relative="examples" not in table)
    label = style.metric_label(fit.metric, largest_error(arms))
    figure = _panels([_star_title(fit, name) for name in arms], shared_yaxes=True)
    named: set[str] = set()
    reach = {name: arm["x"].astype(float).tolist() for name, arm in arms.items()}
    optimal = f"optimal size x = x*(t), {100 * fit.level:g}% interval"
    for column, (name, arm) in enumerate(arms.items(), 1):
        dimension = fit.dimensions[name]
        law = dimension.law
        for length, color, words in zip(
            lengths, palette().lengths(len(lengths)), labels, strict=True
        ):
            # The centre last, so that the legend shows the mark of the others.
            rows = where(arm, series(arm, "length") == length).sort_values(
                "is_center", kind="stable"
            )
            if rows.empty:
                continue
            curve = length_curve(rows)
            if curve is not None:
                best = curve.optimum(law) if dimension.identified else None
                for x, solid in law_pieces(curve, fitted_sizes(rows, fit), best):
                    line = go.Scatter(x=x, y=law.error(x, curve.compute(x)), mode="lines")
                    dash = "solid" if solid else "dot"
                    line.update(line={"color": color, "width": 2, "dash": dash})
                    line.update(hoverinfo="skip", showlegend=False, legendgroup=words)
                    figure.add_trace(line, row=1, col=column)
                if best is not None:
                    mark = _optimum(best, curve, dimension, name, color, words)
                    mark.update(name=optimal, showlegend=optimal not in named, legendrank=2000)
                    named.add(optimal)
                    figure.add_trace(mark, row=1, col=column)
                    reach[name].append(best)
            figure.add_trace(
                _measurements(rows, fit, name, color, words, shapes or {}, label).update(
                    showlegend=words not in named
                ),
                row=1,
                col=column,
            )
            named.add(words)
        figure.update_xaxes(title_text=style.size_label(name), type="log", row=1, col=column)
    _plain_ticks(figure, "y", series(table, "error").to_numpy(float))
    for column, (name, arm) in enumerate(arms.items(), 1):
        sizes = np.unique(arm["x"].to_numpy(float)).tolist()
        labels = style.size_ticks(sizes, min(reach[name]), max(reach[name]), digits=_PANEL_DIGITS)
        ticks = {"tickvals": sizes, "ticktext": labels}
        figure.update_xaxes(**ticks, minor_ticks="", tickangle=0, row=1, col=column)
    figure.update_yaxes(title_text=label, row=1, col=1)
    return _finished(figure, "Error against size: measured (points) and eq. (2) as fitted (lines)")


def frontier_figure(
    compute: Float[np.ndarray, " points"],
    error: Float[np.ndarray, " points"],
    *,
    fit: FrontierFit | None = None,
    others: Mapping[str, FrontierFit] | None = None,
    size: Float[np.ndarray, " points"] | None = None,
    size_name: str = "parameters",
    model: np.ndarray | None = None,
    compute_unit: str = "train_flops",
    metric: str = "error",
    shapes: Mapping[str, str] | None = None,
) -> go.Figure:
    """Every run, those that no cheaper run beats, and the law along them with its 95% interval.

    As `vitscale.fits.plots.frontier_figure`; `shapes`: what the shape of each network in `model` is.
    """
    compute, error = np.asarray(compute, float), np.asarray(error, float)
    on = np.zeros(len(compute), bool)
    on[pareto_frontier(compute, error)] = True
    unit = style.unit_of(style.compute_label(compute_unit))
    label = style.metric_label(metric, float(error.max()))
    figure = go.Figure()
    x = np.geomspace(compute.min() / 1.3, compute.max() * 1.3, _LINE_POINTS)
    if fit is not None and fit.draws:
        low, high = fit.band(x, 0.95)
        figure.add_trace(_band(x, low, high, palette().vermilion, "95% interval of the law"))
    laws = {f"{fit.law} law, fitted": fit} if fit else {}
    colors = (palette().vermilion, palette().ink, palette().green, palette().accent)
    for k, (name, law) in enumerate({**laws, **(others or {})}.items()):
        line = {"color": colors[k % 4], "width": 2, "dash": "solid" if law is fit else "dash"}
        trace = go.Scatter(x=x, y=law.error(x), mode="lines", name=name, line=line)
        trace.update(
            hovertemplate=f"{name}<br>%{{x:.3g}} {unit}<br>{metric} %{{y:.4g}}<extra></extra>"
        )
        figure.add_trace(trace)
    words = _run_words(len(compute), model, shapes or {}, size, size_name)
    for chosen, name in ((~on, "runs"), (on, "Pareto frontier")):
        marker: dict[str, Any] = {"color": palette().blue, "size": 7, "line": {"width": 0}}
        if name == "Pareto frontier":
            marker |= {"line": {"color": palette().ink, "width": 1.5}, "size": 9}
        figure.add_trace(
            go.Scatter(
                x=compute[chosen],
                y=error[chosen],
                mode="markers",
                name=name,
                marker=marker,
                text=[text for text, keep in zip(words, chosen, strict=True) if keep],
                hovertemplate=f"%{{text}}%{{x:.4g}} {unit}<br>{metric} %{{y:.4g}}<extra></extra>",
            )
        )
    figure.update_xaxes(
        title_text=style.compute_label(compute_unit), type="log", exponentformat="power", dtick=1
    )
    _plain_ticks(figure, "y", error)
    figure.update_yaxes(title_text=label)
    return _finished(figure, "Error against compute")


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
    figure = _panels([f"optimal {name}" for name in rule.exponents])
    compute = np.geomspace(low, high, _LINE_POINTS)
    short = style.unit_of(style.compute_label(unit))
    for column, name in enumerate(rule.exponents, 1):
        color = palette().dimension(name)
        sizes = [rule.sizes(c / per_unit)[name] for c in compute]
        best = np.array([size.estimate for size in sizes])
        ends = np.array([(size.low, size.high) for size in sizes])
        closed = bool((ends[:, 0] > 0).all() and np.isfinite(ends).all())
        if closed:
            figure.add_trace(
                _band(compute, ends[:, 0], ends[:, 1], color, "interval"), row=1, col=column
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
        _plain_ticks(figure, "y", ends if closed else best, column)
    measured = _measured_flops(fit) if rule.start.flops_per_unit else None
    if measured is not None:
        figure.add_vrect(
            x0=measured,
            x1=high,
            fillcolor=palette().grey,
            opacity=0.12,
            line_width=0,
        )
    beyond = "" if measured is None else ", shaded beyond the measured compute"
    return _finished(figure, f"Optimal size against compute{beyond}")


def save(figure: go.Figure, path: Path) -> Path:
    """Write `figure` as one page of HTML with all that it needs inside; whole or not at all."""
    drawn = figure.to_html(
        include_plotlyjs=True,
        full_html=False,
        default_height="max(26rem, 100vh)",
        config={"responsive": True, "displaylogo": False},
    )
    page = _PAGE.format(
        title=html.escape(figure.layout.title.text), background=palette().background, drawn=drawn
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, page)
    return path


def _panels(titles: list[str], **options) -> go.Figure:
    return make_subplots(rows=1, cols=len(titles), subplot_titles=titles, **options)


def _finished(figure: go.Figure, title: str) -> go.Figure:
    """Colours, fonts and grids of the current look."""
    colors = palette()
    figure.update_layout(
        title=title,
        paper_bgcolor=colors.background,
        plot_bgcolor=colors.background,
        font={"color": colors.ink, "family": "system-ui, sans-serif", "size": 14},
        legend={"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0.01},
        hoverlabel={"bgcolor": colors.background, "font": {"color": colors.ink}},
        hovermode="closest",
        autosize=True,
        margin={"t": 90},
    )
    axes = {"gridcolor": colors.grid, "linecolor": colors.ink, "showline": True, "zeroline": False}
    figure.update_xaxes(**axes, ticks="outside")
    figure.update_yaxes(**axes, ticks="outside")
    return figure


def _plain_ticks(
    figure: go.Figure, axis: str, values: np.ndarray, column: int | None = None
) -> None:
    """A logarithmic axis with plain numbers, as in the figures on paper."""
    ticks = style.nice_ticks(float(values.min()) / 1.1, float(values.max()) * 1.1, least=4)
    chosen: dict[str, Any] = {"tickvals": ticks, "ticktext": [f"{tick:.12g}" for tick in ticks]}
    place: dict[str, Any] = {} if column is None else {"row": 1, "col": column}
    update = figure.update_yaxes if axis == "y" else figure.update_xaxes
    update(type="log", **chosen, **place)


def _band(x: np.ndarray, low: np.ndarray, high: np.ndarray, color: str, name: str) -> go.Scatter:
    around = go.Scatter(x=np.concatenate([x, x[::-1]]), y=np.concatenate([high, low[::-1]]))
    around.update(fill="toself", fillcolor=_faint(color), line={"width": 0}, hoverinfo="skip")
    return around.update(mode="lines", name=name, showlegend=name != "interval")


def _faint(color: str) -> str:
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.2)"


def _lengths(arm: pd.DataFrame) -> np.ndarray:
    lengths = training_lengths(arm)
    return lengths if "examples" in arm else np.array([float(f"{v:.2g}") for v in lengths])


def _star_title(fit: StarFit, name: str) -> str:
    dimension = fit.dimensions[name]
    if not dimension.identified:
        return f"{name}: s not identified"
    s = dimension.s
    return f"{name}: s = {s.estimate:.3f} [{s.low:.3f}, {s.high:.3f}]"


def _measurements(
    rows: pd.DataFrame,
    fit: StarFit,
    name: str,
    color: str,
    words: str,
    shapes: Mapping[str, str],
    label: str,
) -> go.Scatter:
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


def _run_words(
    count: int,
    model: np.ndarray | None,
    shapes: Mapping[str, str],
    size: np.ndarray | None,
    size_name: str,
) -> list[str]:
    """Lines of each run's label above its numbers."""
    words = [""] * count
    for k in range(count):
        if model is not None:
            name = str(model[k])
            words[k] += f"{name}<br>" + (f"{shapes[name]}<br>" if name in shapes else "")
        if size is not None:
            words[k] += f"{size[k]:.4g} {size_name}<br>"
    return words


def _measured_flops(fit: StarFit | None) -> float | None:
    if fit is None or fit.flops_per_unit is None:
        return None
    return max(d.t_range[1] for d in fit.dimensions.values()) * fit.flops_per_unit
