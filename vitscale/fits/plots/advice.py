"""Advice on what to train next: how far each interval is expected to shrink."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vitscale.fits.design.advice import Advice, Expectation
from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette, points

_WIDEST = 30.0  # factor about the estimate to which an interval is drawn


def advice_figure(advice: Advice) -> Figure:
    """The interval of each dimension's exponent, or optimal size, and the one expected after the advice.

    The expected one is drawn about today's estimate, which new trials will move. Ends beyond a factor of
    30 from the estimate, and open ones, are cut.
    """
    with style.styled():
        names = advice.expectations
        figure = style.new_figure(max(3.6, 2.3 * len(names)), 1.9 if len(names) > 2 else 2.3)
        panels = figure.subplots(1, len(names), squeeze=False)[0]
        for axes, expected in zip(panels, names, strict=True):
            _draw(axes, expected)
        percent = f"{100 * advice.level:g}%"
        after = f"expected after {advice.flops:.2g} training FLOPs more"
        handles = [
            Line2D(
                [], [], color=palette().grey, linewidth=points(5), label=f"{percent} interval now"
            ),
            Line2D([], [], color=palette().blue, linewidth=points(5), label=after),
            Line2D([], [], color=palette().ink, marker="|", linestyle="", label="estimate now"),
        ]
        style.legend_below(figure, handles, columns=min(3, len(names)))
    return figure


def _draw(axes: Axes, expected: Expectation) -> None:
    now, name = expected.interval, expected.dimension
    known = math.isfinite(now.estimate) and now.estimate > 0
    middle = now.estimate if known else 1.0
    low, high = middle / _WIDEST, middle * _WIDEST
    ends = (max(now.low, low), min(now.high, high))
    half = min(math.sqrt(expected.ratio_after), _WIDEST)
    after = (middle / half, middle * half)
    axes.plot(ends, [1, 1], color=palette().grey, linewidth=points(8), solid_capstyle="butt")
    axes.plot(after, [0, 0], color=palette().blue, linewidth=points(8), solid_capstyle="butt")
    if known:
        axes.axvline(middle, color=palette().ink, linewidth=points(0.9))
    style.plain_log(
        axes.xaxis, *style.lengthen(min(ends[0], after[0]), max(ends[1], after[1]), 1.15)
    )
    axes.set_ylim(-0.7, 1.7)
    axes.set_yticks([])
    if expected.quantity == "s":
        axes.set_title(f"{name}: exponent s")
        axes.set_xlabel("s = c/(a+b)")
    else:
        axes.set_title(f"optimal {name}")
        axes.set_xlabel(style.size_label(name))
    style.faint_grid(axes)
