"""Models beside the shapes for their compute: parameters, and what they cost in use."""

from collections.abc import Callable, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vitscale.fits.comparison import Compared
from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette, points
from vitscale.scaling.shape import Shape

_ALIKE = 1.05  # a ratio below counts as the same

Range = tuple[float, float, float]
"""An estimate with its low and high end."""


def comparison_figure(found: Sequence[Compared]) -> Figure:
    """From each model to the shape that the rule gives for the same training compute.

    Left parameters, right forward GFLOPs for an image. Grey bars: the shape with all sizes at the low
    and at the high ends of their intervals.

    Raises `ValueError` where there is nothing to compare.
    """
    if not found:
        raise ValueError("there is no model to compare; give at least one")
    with style.styled():
        figure = style.new_figure(2 * style.PANEL_IN, 1.3 + 0.26 * len(found))
        left, right = figure.subplots(1, 2, sharey=True)
        _draw(left, found, [_params(each) for each in found], "parameters (millions)")
        _draw(right, found, [_forward(each) for each in found], "forward GFLOPs for an image")
        left.set_yticks(range(len(found)), [each.name for each in found])
        left.set_ylim(len(found) - 0.5, -0.5)
        style.legend_below(figure, _legend(found), columns=4)
    return figure


def _draw(
    axes: Axes, found: Sequence[Compared], values: list[tuple[float, Range]], label: str
) -> None:
    for row, (model, (best, low, high)) in enumerate(values):
        ratio = best / model
        axes.plot([low, high], [row, row], color=palette().faint, linewidth=points(5), zorder=1)
        axes.plot([model, best], [row, row], color=_color(ratio), linewidth=points(1.3), zorder=2)
        axes.plot(
            [model],
            [row],
            "o",
            color=palette().ink,
            markerfacecolor=palette().background,
            markersize=points(5),
            zorder=3,
        )
        axes.plot([best], [row], "o", color=_color(ratio), markersize=points(5), zorder=3)
        axes.annotate(
            f"×{ratio:.2g}",
            (1.01, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=points(7),
            color=_color(ratio),
        )
    ends = [value for model, (best, low, high) in values for value in (model, best, low, high)]
    style.plain_log(axes.xaxis, *style.lengthen(min(ends), max(ends), 1.25))
    axes.set_xlabel(label)
    style.faint_grid(axes)


def _color(ratio: float) -> str:
    if ratio > _ALIKE:
        return palette().vermilion
    return palette().blue if ratio < 1 / _ALIKE else palette().grey


def _params(each: Compared) -> tuple[float, Range]:
    """Millions of parameters: of the model, and of the answer's shape."""
    return _both(each, each.params, Shape.params, unit=1e6)


def _forward(each: Compared) -> tuple[float, Range]:
    """Forward GFLOPs for an image: of the model, and of the answer's shape."""
    return _both(each, each.forward_flops, Shape.forward_flops, unit=1e9)


def _both(
    each: Compared, model: float, count: Callable[..., int], *, unit: float
) -> tuple[float, Range]:
    shapes = (each.answer.shape, each.low or each.answer.shape, each.high or each.answer.shape)
    best, low, high = (count(shape, **each.answer.setting.counted) / unit for shape in shapes)
    return model / unit, (best, low, high)


def _legend(found: Sequence[Compared]) -> list[Artist]:
    def mark(label: str, **look) -> Line2D:
        return Line2D([], [], label=label, **{"linestyle": "", "marker": "o", **look})

    handles: list[Artist] = [
        mark("the model", color=palette().ink, markerfacecolor=palette().background),
        mark("the shape for its compute: smaller", color=palette().blue),
        mark("larger", color=palette().vermilion),
    ]
    if any(each.low for each in found):
        level = next(iter(found[0].answer.sizes.values())).level
        label = f"all sizes at the ends of their {100 * level:g}% intervals"
        handles.append(Line2D([], [], color=palette().faint, linewidth=points(5), label=label))
    return handles
