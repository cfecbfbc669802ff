"""Every run, the frontier, and the law along it, with the run's shape under the pointer."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from vitscale.fits.frontier import FrontierFit, pareto_frontier
from vitscale.fits.plots import style
from vitscale.fits.plots.interactive.page import LINE_POINTS, band, finished, plain_ticks
from vitscale.fits.plots.looks import palette


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
    x = np.geomspace(compute.min() / 1.3, compute.max() * 1.3, LINE_POINTS)
    if fit is not None and fit.draws:
        low, high = fit.band(x, 0.95)
        figure.add_trace(band(x, low, high, palette().vermilion, "95% interval of the law"))
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
    plain_ticks(figure, "y", error)
    figure.update_yaxes(title_text=label)
    return finished(figure, "Error against compute")


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
