"""What the pages have in common: colours, axes, the band of an interval, and the file."""

import html
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vitscale.fits.export import replace_text
from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette

LINE_POINTS = 120
"""Points of a curve."""

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


def panels(titles: list[str], **options) -> go.Figure:
    return make_subplots(rows=1, cols=len(titles), subplot_titles=titles, **options)


def finished(figure: go.Figure, title: str) -> go.Figure:
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
        margin={"t": 90, "r": 30},
    )
    axes = {"gridcolor": colors.grid, "linecolor": colors.ink, "showline": True, "zeroline": False}
    figure.update_xaxes(**axes, ticks="outside")
    figure.update_yaxes(**axes, ticks="outside")
    return figure


def plain_ticks(
    figure: go.Figure, axis: str, values: np.ndarray, column: int | None = None
) -> None:
    """A logarithmic axis with plain numbers, as in the figures on paper."""
    ticks = style.nice_ticks(float(values.min()) / 1.1, float(values.max()) * 1.1, least=4)
    chosen: dict[str, Any] = {"tickvals": ticks, "ticktext": [f"{tick:.12g}" for tick in ticks]}
    place: dict[str, Any] = {} if column is None else {"row": 1, "col": column}
    update = figure.update_yaxes if axis == "y" else figure.update_xaxes
    update(type="log", **chosen, **place)


def band(x: np.ndarray, low: np.ndarray, high: np.ndarray, color: str, name: str) -> go.Scatter:
    around = go.Scatter(x=np.concatenate([x, x[::-1]]), y=np.concatenate([high, low[::-1]]))
    around.update(fill="toself", fillcolor=_faint(color), line={"width": 0}, hoverinfo="skip")
    return around.update(mode="lines", name=name, showlegend=name != "interval")


def _faint(color: str) -> str:
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.2)"
