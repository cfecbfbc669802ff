"""The best model for every budget, by Chinchilla's law: parameters, tokens and loss against compute."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vitscale.fits.allocation import FLOPS_PER_PARAMETER_AND_TOKEN, Allocation
from vitscale.fits.intervals.interval import Interval
from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette, points

_LABELS = {"parameters": "parameters N", "tokens": "tokens D"}


def allocation_figure(
    found: Allocation,
    runs: Mapping[str, Float[np.ndarray, " runs"]],
    loss: Float[np.ndarray, " runs"],
    *,
    target: str = "loss",
    mark: float | None = None,
    flops: float = FLOPS_PER_PARAMETER_AND_TOKEN,
) -> Figure:
    """Best parameters, tokens and loss over the budgets of `found`, with intervals, beside the runs.

    - `found`: at several budgets; lines go through them. `mark`: one of these budgets, to be marked.
    - `runs`: "N" and "D" of each; `loss`: theirs, called `target`. `flops`: for each parameter and token.

    Raises `ValueError` where `found` has fewer than two budgets.
    """
    if len(found.shares) < 2:
        raise ValueError(f"{len(found.shares)} budget gives no line; divide two or more")
    compute = flops * np.asarray(runs["N"], float) * np.asarray(runs["D"], float)
    shown = {
        "parameters": np.asarray(runs["N"], float),
        "tokens": np.asarray(runs["D"], float),
        "loss": np.asarray(loss, float),
    }
    with style.styled():
        figure = style.new_figure(3 * style.PANEL_IN, 3.2)
        panels = figure.subplots(1, 3)
        for axes, (name, values) in zip(panels, shown.items(), strict=True):
            _draw(axes, found, name, compute, values, mark)
            axes.set_ylabel(_LABELS.get(name, target))
        style.legend_below(figure, _legend(found, mark), columns=4)
    return figure


def _draw(
    axes: Axes,
    found: Allocation,
    name: str,
    compute: np.ndarray,
    values: np.ndarray,
    mark: float | None,
) -> None:
    shares = sorted(found.shares, key=lambda share: share.compute)
    budgets = np.array([share.compute for share in shares])
    best: list[Interval] = [getattr(share, name) for share in shares]
    low, high, middle = (
        np.array([getattr(interval, end) for interval in best])
        for end in ("low", "high", "estimate")
    )
    axes.plot(compute, values, ".", color=palette().grey, markersize=points(4), zorder=2)
    # Ends that nothing bounds are not drawn.
    known = (low > 0) & np.isfinite(high)
    axes.fill_between(
        budgets,
        low,
        high,
        where=known.tolist(),
        color=palette().blue,
        alpha=0.25,
        linewidth=0,
        zorder=1,
    )
    inside = budgets <= compute.max()
    axes.plot(budgets, middle, "--", color=palette().blue, zorder=3)
    axes.plot(budgets[inside], middle[inside], color=palette().blue, zorder=3)
    if mark is not None:
        k = int(np.argmin(np.abs(np.log(budgets / mark))))
        axes.plot(
            budgets[k],
            middle[k],
            "D",
            color=palette().accent,
            markeredgecolor=palette().ink,
            markersize=points(6),
            zorder=4,
        )
    style.compute_log(
        axes.xaxis,
        *style.lengthen(min(budgets[0], compute.min()), max(budgets[-1], compute.max()), 1.3),
    )
    shown = np.concatenate([low[known], high[known], middle, values])
    ends = style.lengthen(shown.min(), shown.max(), 1.1)
    (style.plain_log if name == "loss" else style.compute_log)(axes.yaxis, *ends)
    axes.set_xlabel("training compute (FLOPs)")
    style.faint_grid(axes)


def _legend(found: Allocation, mark: float | None) -> list[Artist]:
    level = f"{100 * found.exponent.level:g}% interval"
    handles: list[Artist] = [
        Line2D([], [], color=palette().grey, marker=".", linestyle="", label="runs"),
        Line2D(
            [], [], color=palette().blue, label="best for its compute (dashed: beyond the runs)"
        ),
    ]
    if found.exponent.method != "none":
        handles.append(Patch(facecolor=palette().blue, alpha=0.25, label=level))
    if mark is not None:
        handles.append(
            Line2D(
                [],
                [],
                color=palette().accent,
                markeredgecolor=palette().ink,
                marker="D",
                linestyle="",
                label=f"{mark:.3g} FLOPs",
            )
        )
    return handles
