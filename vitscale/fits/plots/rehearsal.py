"""A sweep on a cluster over time: what every worker does, how much is done, what it has cost."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette, points

_WORDS = {
    "compile": "compiling",
    "train": "training",
    "lost": "steps lost",
    "idle": "idle",
    "away": "no machine",
}


def rehearsal_figure(
    doing: Int[np.ndarray, "rows columns"],
    names: Sequence[str],
    *,
    workers: int,
    hours: Float[np.ndarray, " times"],
    trials_done: Float[np.ndarray, " times"],
    flops_done: Float[np.ndarray, " times"],
    machine_hours: Float[np.ndarray, " times"],
    bound_hours: float,
    price: float | None = None,
) -> Figure:
    """Three panels over the same time: workers (a Gantt chart), progress, cost.

    - `doing`: for rows of workers and columns of time, the index in `names` of what is done.
    - `hours`: the times of the next three, from 0 to the end.
    - `trials_done`, `flops_done`: as fractions.
    - `machine_hours`: paid for so far; shown as a cost where there is a `price` for an hour.
    - `bound_hours`: what no schedule beats.
    """
    end = float(hours[-1])
    colors = {
        "compile": palette().accent,
        "train": palette().blue,
        "lost": palette().vermilion,
        "idle": palette().nothing,
        "away": palette().ink,
    }
    with style.styled():
        figure = style.new_figure(2.1 * style.PANEL_IN, 5.6)
        gantt, progress, cost = figure.subplots(3, 1, sharex=True, height_ratios=(3.2, 1.3, 1.0))
        gantt.imshow(
            doing,
            aspect="auto",
            interpolation="nearest",
            extent=(0.0, end, float(workers), 0.0),
            cmap=ListedColormap([colors[name] for name in names]),
            vmin=-0.5,
            vmax=len(names) - 0.5,
        )
        rows = len(doing)
        shown = "" if rows == workers else f", {rows} of {workers:,} shown"
        gantt.set_ylabel(f"worker{shown}")
        there = [name for index, name in enumerate(names) if (doing == index).any()]
        gantt.legend(
            handles=[
                Patch(
                    facecolor=colors[name],
                    edgecolor=palette().grey,
                    linewidth=points(0.4),
                    label=_WORDS[name],
                )
                for name in there
            ],
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=len(there),
            columnspacing=1.2,
            handlelength=1.2,
        )
        progress.plot(hours, 100 * trials_done, color=palette().ink, label="trials measured")
        progress.plot(hours, 100 * flops_done, color=palette().blue, linestyle="--", label="FLOPs")
        if bound_hours < end:
            progress.axvline(bound_hours, color=palette().grey, linewidth=points(0.8))
            progress.annotate(
                "no schedule ends before",
                (bound_hours, 4.0),
                xytext=(-3, 0),
                textcoords="offset points",
                ha="right",
                fontsize=points(7),
                color=palette().text,
            )
        progress.set_ylabel("done (%)")
        progress.set_ylim(0.0, 104.0)
        progress.legend(loc="upper left")
        spent = machine_hours * (price or 1.0)
        cost.plot(hours, spent, color=palette().green)
        cost.set_ylim(0.0, 1.08 * float(spent[-1]))
        cost.yaxis.set_major_formatter(
            lambda value, _: f"{value:,.0f}" if spent[-1] > 20 else f"{value:g}"
        )
        cost.set_ylabel("machine-hours" if price is None else f"cost\n({price:g} an hour)")
        cost.set_xlabel("time (hours)")
        cost.set_xlim(0.0, end)
    return figure
