"""Coverage: how often intervals held, against what they promise."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette, points
from vitscale.fits.prediction.coverage import Coverage

_ROW_IN = 0.24  # height of a name and its marks
_MOST_NAMES = 30


def coverage_figure(
    found: Sequence[Coverage],
    *,
    goal: tuple[float, float] | None = None,
    what: str = "intervals that held",
) -> Figure:
    """A panel for each nominal level, a line for each name, a mark for each group, with 95% intervals.

    - `goal`: realised coverage that was aimed for, shaded, where there is one.
    - `what`: the share's name for the axis.

    Where the dashed line crosses the interval of a mark, nothing speaks against the promise. Raises
    `ValueError` for nothing to draw, or more names than a page holds.
    """
    names = list(dict.fromkeys(each.name for each in found))
    if not names or len(names) > _MOST_NAMES:
        raise ValueError(
            f"coverage of {len(names)} names does not make a figure; give 1 to {_MOST_NAMES}"
        )
    groups = list(dict.fromkeys(each.group for each in found))
    levels = sorted({each.nominal for each in found})
    low = min(each.low for each in found)
    with style.styled():
        height = _ROW_IN * len(names) * max(1.0, 0.55 * len(groups)) + 1.2
        figure = style.new_figure(max(4.6, 2.4 * len(levels) + 0.9), height)
        panels = figure.subplots(1, len(levels), squeeze=False, sharey=True)[0]
        for axes, level in zip(panels, levels, strict=True):
            rows = [each for each in found if each.nominal == level]
            if goal is not None:
                axes.axvspan(
                    100 * goal[0], 100 * goal[1], color=palette().nothing, linewidth=0, zorder=0
                )
            _draw(axes, rows, names, groups)
            axes.axvline(100 * level, color=palette().ink, linestyle="--", linewidth=points(0.9))
            left = 100 * max(0.0, min(low, level) - 0.02)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
            axes.set(xlim=(left, 101.5), xlabel=f"{what} (%)")
            axes.set_title(f"nominal {100 * level:g}%")
            axes.grid(axis="x", color=palette().grid, linewidth=points(0.5))
            axes.set_axisbelow(True)
        panels[0].set_yticks(range(len(names)), names)
        panels[0].set_ylim(len(names) - 0.4, -0.6)
        for axes in panels:
            axes.tick_params(axis="y", length=0)
        style.legend_below(figure, _legend(groups, goal), columns=4)
    return figure


def _colors(groups: Sequence[str]) -> dict[str, str]:
    """Of shape dimensions their own; else in order."""
    others = iter(palette().series * len(groups))
    return {
        group: palette().blue
        if not group
        else color
        if (color := palette().dimension(group)) != palette().ink
        else next(others)
        for group in groups
    }


def _draw(
    axes: Axes, rows: Sequence[Coverage], names: Sequence[str], groups: Sequence[str]
) -> None:
    colors = _colors(groups)
    for each in rows:
        place = groups.index(each.group) - (len(groups) - 1) / 2
        y = names.index(each.name) + 0.22 * place
        axes.plot(
            [100 * each.low, 100 * each.high],
            [y, y],
            color=colors[each.group],
            linewidth=points(1.1),
            zorder=2,
        )
        axes.plot(
            [100 * each.share], [y], "o", color=colors[each.group], markersize=points(3.8), zorder=3
        )


def _legend(groups: Sequence[str], goal: tuple[float, float] | None) -> list:
    colors = _colors(groups)
    handles: list = [
        Line2D(
            [],
            [],
            color=colors[group],
            marker="o",
            markersize=points(3.8),
            linewidth=points(1.1),
            label=f"{group}, 95% interval" if group else "share, 95% interval",
        )
        for group in groups
    ]
    promised = Line2D([], [], color=palette().ink, linestyle="--", linewidth=points(0.9))
    promised.set_label("promised")
    handles.append(promised)
    if goal is not None:
        label = f"goal: {100 * goal[0]:g} to {100 * goal[1]:g}%"
        handles.append(Patch(facecolor=palette().nothing, linewidth=0, label=label))
    return handles
