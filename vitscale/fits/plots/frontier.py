"""The Pareto frontier of error against compute, with the saturating law along it."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from vitscale.fits.frontier import FrontierFit, pareto_frontier
from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette, points

_LINE_POINTS = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class Band:
    """An interval of the law's error at each compute, such as quantiles over bootstrap refits."""

    compute: Float[np.ndarray, " points"]
    low: Float[np.ndarray, " points"]
    high: Float[np.ndarray, " points"]
    level: float


def frontier_figure(
    compute: Float[np.ndarray, " points"],
    error: Float[np.ndarray, " points"],
    *,
    fit: FrontierFit | None = None,
    band: Band | None = None,
    others: Mapping[str, FrontierFit] | None = None,
    size: Float[np.ndarray, " points"] | None = None,
    size_name: str = "parameters",
    model: np.ndarray | None = None,
    compute_unit: str = "train_flops",
    metric: str = "error",
) -> Figure:
    """Every run, those that no cheaper run beats, and the law along them.

    - `compute`, `error`: of all runs, as given to `vitscale.fits.frontier.fit_frontier`.
    - `fit`, `band`: the law and its interval, by default that of the fit's own resamples if it has
      any; `others`: further laws to compare with, by their name.
    - `size`: of each run's network, shown as colour, with `size_name` saying what it is.
    - `model`: names of networks; the runs of each are joined by a line.
    - `compute_unit`: a name such as "train_flops", or words.

    Raises `ValueError` where the arrays differ in length.
    """
    compute, error = np.asarray(compute, float), np.asarray(error, float)
    for name, values in {"error": error, "size": size, "model": model}.items():
        if values is not None and len(values) != len(compute):
            raise ValueError(
                f"{name} has {len(values)} values but compute has {len(compute)}; give one of each "
                f"for every run"
            )
    laws = {f"{fit.law} law, fitted": fit} if fit else {}
    with style.styled():
        figure = style.new_figure(4.8, 3.7)
        axes = figure.subplots()
        _draw_runs(figure, axes, compute, error, size, size_name, model)
        low, high = style.lengthen(compute.min(), compute.max(), 1.3)
        x = np.geomspace(low, high, _LINE_POINTS)
        if band is None and fit is not None and fit.draws:
            ends = fit.band(x, 0.95)
            band = Band(compute=x, low=ends[0], high=ends[1], level=0.95)
        if band is not None:
            _draw_band(axes, band)
        colors = (palette().vermilion, palette().ink, palette().green, palette().accent)
        for k, (name, law) in enumerate({**laws, **(others or {})}.items()):
            dashes = "-" if law is fit else (0, (4, 2 + k))
            axes.plot(x, law.error(x), linestyle=dashes, color=colors[k % 4], label=name, zorder=4)
        style.compute_log(axes.xaxis, low, high)
        style.plain_log(axes.yaxis, *style.lengthen(error.min(), error.max(), 1.1), least=4)
        axes.set_xlabel(style.compute_label(compute_unit))
        axes.set_ylabel(style.metric_label(metric, float(error.max())))
        style.faint_grid(axes)
        style.legend_below(figure, axes.get_legend_handles_labels()[0], columns=2)
    return figure


def _draw_runs(
    figure: Figure,
    axes: Axes,
    compute: np.ndarray,
    error: np.ndarray,
    size: np.ndarray | None,
    size_name: str,
    model: np.ndarray | None,
) -> None:
    if model is not None:
        for name in np.unique(np.asarray(model, str)):
            mine = np.flatnonzero(np.asarray(model, str) == name)
            mine = mine[np.argsort(compute[mine], kind="stable")]
            axes.plot(
                compute[mine], error[mine], color=palette().faint, linewidth=points(0.7), zorder=1
            )
    if size is None:
        axes.scatter(
            compute,
            error,
            s=points(3.3) ** 2,
            color=palette().blue,
            linewidths=0,
            label="runs",
            zorder=2,
        )
    else:
        size = np.asarray(size, float)
        low, high = size.min(), size.max()
        norm = LogNorm(low, max(high, low * 1.01))
        dots = axes.scatter(
            compute,
            error,
            s=points(3.6) ** 2,
            c=size,
            cmap=palette().ordered(),
            norm=norm,
            linewidths=0,
            label="runs",
            zorder=2,
        )
        bar = figure.colorbar(dots, ax=axes, pad=0.02, aspect=28)
        style.compute_log(bar.ax.yaxis, low, max(high, low * 1.01))
        bar.set_label(size_name)
    on = pareto_frontier(compute, error)
    order = np.argsort(compute[on])
    axes.plot(
        compute[on][order],
        error[on][order],
        "o",
        markersize=points(5.2),
        markerfacecolor="none",
        markeredgecolor=palette().ink,
        markeredgewidth=points(0.7),
        label="Pareto frontier",
        zorder=3,
    )


def _draw_band(axes: Axes, band: Band) -> None:
    axes.fill_between(
        band.compute,
        band.low,
        band.high,
        color=palette().vermilion,
        alpha=0.2,
        linewidth=0,
        label=f"{100 * band.level:g}% interval of the law",
        zorder=1.5,
    )
