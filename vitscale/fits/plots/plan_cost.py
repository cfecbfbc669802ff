"""What the trials of a plan cost: trunk, cooldowns, and what of it is done."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette, points

COLUMNS = ("trial", "trunk_flops", "cooldown_flops", "remaining_flops")
_MOST_BARS = 30
_BAR_IN = 0.17


def plan_cost_figure(costs: pd.DataFrame, *, title: str = "", trial_label: str = "trial") -> Figure:
    """A bar for each trial, the dearest first: its trunk, its cooldowns, and a line over what is done.

    - `costs`: a row for each trial, with `trial` (what to call it), `trunk_flops`, `cooldown_flops` and
      `remaining_flops` (all training FLOPs), and `hours`, the estimated time of what remains, where it is
      known (NaN where not).
    - `title`: of the plan; its totals are written below. `trial_label`: what the names of trials say.

    Of more than 30 trials, the others are one bar. Raises `ValueError` where a column is missing, or there
    is no trial.
    """
    missing = [name for name in COLUMNS if name not in costs.columns]
    if missing:
        raise ValueError(f"the costs lack {', '.join(missing)}; give {', '.join(COLUMNS)}")
    if costs.empty:
        raise ValueError("the plan has no trial to draw; give one or more")
    bars = _bars(costs)
    trunk, cooldown, remaining = (bars[name].to_numpy(float) for name in COLUMNS[1:])
    total = trunk + cooldown
    power = math.floor(math.log10(total.max()))
    unit = 10.0**power
    with style.styled():
        figure = style.new_figure(4.8, _BAR_IN * len(bars) + 1.5)
        axes = figure.subplots()
        _draw(axes, bars, unit)
        axes.set_xlabel(f"training compute ($10^{{{power}}}$ FLOPs)")
        axes.set_yticks(range(len(bars)), [str(name) for name in bars["trial"]])
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        room = 1.12 if _hours(bars) is not None else 1.04
        axes.set_xlim(0, room * total.max() / unit)
        axes.grid(axis="x", color=palette().grid, linewidth=points(0.5))
        axes.set_axisbelow(True)
        axes.set_ylabel(trial_label)
        figure.suptitle("\n".join([*filter(None, [title]), *_totals(costs)]), fontsize=points(8.5))
        style.legend_below(figure, _legend(done=remaining.sum() < total.sum()), columns=3)
    return figure


def _bars(costs: pd.DataFrame) -> pd.DataFrame:
    """The dearest trials, and the others as one row."""
    spent = costs["trunk_flops"] + costs["cooldown_flops"]
    ordered = costs.assign(spent=spent).sort_values("spent", ascending=False, kind="stable")
    if len(ordered) <= _MOST_BARS:
        return ordered.reset_index(drop=True)
    shown, others = ordered.iloc[: _MOST_BARS - 1], ordered.iloc[_MOST_BARS - 1 :]
    numbers = [name for name in (*COLUMNS[1:], "hours") if name in costs.columns]
    row = {name: float(others[name].to_numpy(float).sum()) for name in numbers}
    rest = pd.DataFrame([{"trial": f"{len(others)} others", **row}])
    return pd.concat([shown, rest], ignore_index=True)


def _hours(rows: pd.DataFrame) -> np.ndarray | None:
    """Hours that remain, where all are known."""
    if "hours" not in rows.columns:
        return None
    hours = rows["hours"].to_numpy(float)
    return hours if np.isfinite(hours).all() else None


def _draw(axes: Axes, bars: pd.DataFrame, unit: float) -> None:
    places = np.arange(len(bars))
    trunk, cooldown, remaining = (bars[name].to_numpy(float) / unit for name in COLUMNS[1:])
    axes.barh(places, trunk, height=0.72, color=palette().blue, linewidth=0)
    axes.barh(places, cooldown, left=trunk, height=0.72, color=palette().vermilion, linewidth=0)
    done = np.maximum(trunk + cooldown - remaining, 0.0)
    for place, end in zip(places, done, strict=True):
        if end > 0:
            axes.plot(
                [0, end],
                [place, place],
                color=palette().ink,
                linewidth=points(2),
                solid_capstyle="butt",
                zorder=3,
            )
    hours = _hours(bars)
    if hours is not None:
        for place, end, value in zip(places, trunk + cooldown, hours, strict=True):
            if value > 0:
                axes.annotate(
                    f"≈ {duration(value)}",
                    (end, place),
                    xytext=(points(3), 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=points(7),
                    color=palette().text,
                )


def duration(hours: float) -> str:
    """Hours, minutes or seconds, two digits."""
    for size, name in ((1.0, "h"), (1 / 60, "min")):
        if hours >= size:
            return (
                f"{hours / size:.2g} {name}"
                if hours / size < 100
                else f"{hours / size:,.0f} {name}"
            )
    return f"{hours * 3600:.2g} s"


def _totals(costs: pd.DataFrame) -> list[str]:
    """One or two lines about the whole plan."""
    trunk, cooldown, remaining = (float(costs[name].to_numpy(float).sum()) for name in COLUMNS[1:])
    total = trunk + cooldown
    plural = "s" if len(costs) > 1 else ""
    words = [f"{len(costs)} trial{plural}, {style.scientific(total)} training FLOPs"]
    hours = _hours(costs)
    state = [f"{100 * (1 - remaining / total):.0f}% done"] if remaining < total else []
    if hours is not None and remaining > 0:
        state.append(f"≈ {duration(float(hours.sum()))} of one worker left")
    return [*words, *([", ".join(state)] if state else [])]


def _legend(*, done: bool) -> Sequence:
    handles: list = [
        Patch(facecolor=palette().blue, linewidth=0, label="trunk"),
        Patch(facecolor=palette().vermilion, linewidth=0, label="cooldowns"),
    ]
    if done:
        handles.append(Line2D([], [], color=palette().ink, linewidth=points(2), label="done"))
    return handles
