"""Optimal width, depth and mlp_dim against compute: Figure 1 of Getting ViT in Shape."""

import itertools
from collections.abc import Mapping

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette, points
from vitscale.fits.rule import Rule
from vitscale.fits.star_fit import StarFit
from vitscale.scaling.shape import Shape

_LINE_POINTS = 160
_BEYOND = 100.0  # how far beyond the data the rule is shown, unless told
_UNKNOWN = ":\nexponent not identified"
_MARKERS = "sDvP^X<>"

Segment = tuple[np.ndarray, bool]
"""Computes, and whether they lie beyond the measured compute."""


def optimal_shape_figure(
    rule: Rule,
    fit: StarFit | None = None,
    *,
    low: float | None = None,
    high: float | None = None,
    compare: Mapping[str, tuple[Shape, float]] | None = None,
) -> Figure:
    """The sizes that the rule gives over compute, with their intervals.

    - `fit`: the star that the exponents come from; beyond its compute, lines are dashed and bands
      hatched, and an exponent that it does not identify gives a pale line. Without it nothing is marked as extrapolated.
    - `low`, `high`: range of compute; default from the starting point to a hundred times beyond the
      data, and to every shape of `compare`.
    - `compare`: shapes to mark, by name, each with its compute.

    Compute is in training FLOPs where the rule's unit is known in FLOPs, else in the rule's own unit;
    `low`, `high` and `compare` are in the same. Raises `ValueError` where `low` is not below `high`.
    """
    per_unit, unit = compute_unit_of(rule)
    marks = dict(compare or {})
    low, high = compute_span(rule, fit, low, high, marks)
    with style.styled():
        figure = style.new_figure(max(3.6, style.PANEL_IN * len(rule.exponents)), 3.0)
        panels = figure.subplots(1, len(rule.exponents), squeeze=False)[0]
        for axes, name in zip(panels, rule.exponents, strict=True):
            segments = _segments(low, high, _measured(fit, name, per_unit))
            _draw_dimension(axes, rule, fit, name, segments, per_unit)
            for (shape, compute), marker in zip(marks.values(), _cycle(marks), strict=True):
                _mark(axes, compute, getattr(shape, name), marker)
            style.compute_log(axes.xaxis, *style.lengthen(low, high, 1.15))
            _size_axis(axes)
            axes.set(xlabel=style.compute_label(unit), ylabel=style.size_label(name))
            style.faint_grid(axes)
        handles = _legend(rule, fit, marks)
        style.legend_below(figure, handles, columns=2 if len(panels) == 1 else 4)
    return figure


def compute_unit_of(rule: Rule) -> tuple[float, str]:
    """Training FLOPs in a unit of the rule's compute, and the name of the unit to show it in."""
    if rule.start.flops_per_unit:
        return rule.start.flops_per_unit, "train_flops"
    return 1.0, rule.start.compute_unit


def compute_span(
    rule: Rule,
    fit: StarFit | None,
    low: float | None,
    high: float | None,
    compare: Mapping[str, tuple[Shape, float]] | None,
) -> tuple[float, float]:
    """The range of compute to show, see `optimal_shape_figure`.

    Raises `ValueError` where `low` is not below `high`.
    """
    per_unit, _ = compute_unit_of(rule)
    span = _span(rule, fit, per_unit, [compute for _, compute in (compare or {}).values()])
    low, high = low or span[0], high or span[1]
    if not 0 < low < high:
        raise ValueError(f"low={low:g} is not below high={high:g}; give an increasing range")
    return low, high


def _span(
    rule: Rule, fit: StarFit | None, per_unit: float, marked: list[float]
) -> tuple[float, float]:
    start = rule.start.t0 * per_unit
    measured = [_measured(fit, name, per_unit) for name in rule.exponents]
    ends = [end for pair in measured if pair for end in pair]
    high = max([start, *ends]) * _BEYOND
    low = min([start, *ends])
    if marked:
        high = max(marked) * 3
        low = min(low, *marked)
    return low, max(high, low * 10)


def _measured(fit: StarFit | None, name: str, per_unit: float) -> tuple[float, float] | None:
    if fit is None:
        return None
    first, last = fit.dimensions[name].t_range
    per = fit.flops_per_unit or per_unit
    return first * per, last * per


def _segments(low: float, high: float, measured: tuple[float, float] | None) -> list[Segment]:
    """The range cut where the measured compute begins and ends."""
    if measured is None:
        return [(np.geomspace(low, high, _LINE_POINTS), False)]
    cuts = sorted({low, high, *(cut for cut in measured if low < cut < high)})
    found = []
    for first, last in itertools.pairwise(cuts):
        middle = np.sqrt(first * last)
        inside = measured[0] <= middle <= measured[1]
        found.append((np.geomspace(first, last, _LINE_POINTS), not inside))
    return found


def _draw_dimension(
    axes: Axes, rule: Rule, fit: StarFit | None, name: str, segments: list[Segment], per_unit: float
) -> None:
    color = palette().dimension(name)
    identified = fit is None or fit.dimensions[name].identified
    weight = 1.0 if identified else 0.5
    for compute, beyond in segments:
        sizes = [rule.sizes(c / per_unit)[name] for c in compute]
        estimate = np.array([size.estimate for size in sizes])
        low, high = np.array([(size.low, size.high) for size in sizes]).T
        if (low > 0).all() and np.isfinite(high).all() and (low < high).any():
            band = axes.fill_between(compute, low, high, facecolor=color, alpha=0.22, linewidth=0)
            if beyond:
                band.set(hatch="////", edgecolor=color, alpha=0.14)
        dashes = "--" if beyond else "-"
        axes.plot(compute, estimate, color=color, linestyle=dashes, alpha=weight, zorder=3)
    start = rule.start.sizes[name].estimate
    axes.plot([rule.start.t0 * per_unit], [start], "o", color=color, markersize=points(5), zorder=4)
    axes.set_title(f"optimal {name}{_growth(rule, name) if identified else _UNKNOWN}")


def _growth(rule: Rule, name: str) -> str:
    """How the size grows with compute, with the interval of the exponent where it has one.

    The exponent is s times its weight, as all dimensions grow together: not the s of the fit.
    """
    s, weight = rule.exponents[name], rule.weights[name]
    known = s.low > 0 and np.isfinite(s.high) and s.low < s.high
    interval = f" [{s.low * weight:.3f}, {s.high * weight:.3f}]" if known else ""
    share = f"s/{1 / weight:.3g}" if weight < 1 else "s"
    return f" ∝ compute$^{{{share}}}$\n{share} = {s.estimate * weight:.3f}{interval}"


def _mark(axes: Axes, compute: float, size: float, marker: str) -> None:
    axes.plot(
        [compute],
        [size],
        marker,
        color=palette().accent,
        markeredgecolor=palette().ink,
        markersize=points(6),
        zorder=5,
    )


def _cycle(marks: Mapping) -> list[str]:
    return [_MARKERS[k % len(_MARKERS)] for k in range(len(marks))]


def _size_axis(axes: Axes) -> None:
    """Plain numbers over what is drawn; very wide bands run out of the panel."""
    lines = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.get_lines()])
    axes.set_yscale("log")
    low, high = axes.dataLim.intervaly
    low, high = max(low, lines.min() / 4), min(high, lines.max() * 4)
    style.plain_log(axes.yaxis, *style.lengthen(low, high, 1.1), least=4)


def _legend(rule: Rule, fit: StarFit | None, marks: Mapping) -> list[Artist]:
    def line(label: str, **look) -> Line2D:
        return Line2D([], [], label=label, **{"color": palette().grey, **look})

    words = "within the measured compute" if fit else "scaling rule"
    handles: list[Artist] = [line(words)]
    intervals = list(rule.exponents.values())
    bands = any(s.low > 0 and np.isfinite(s.high) for s in intervals)
    if fit:
        beyond = "extrapolated, outside the measured compute"
        handles.append(line(beyond, linestyle="--"))
    if bands and fit:
        label = f"{100 * fit.level:g}% interval (hatched: extrapolated)"
        handles.append(Patch(facecolor=palette().grey, alpha=0.3, hatch="////", label=label))
    handles.append(line("starting point x0", marker="o", linestyle="", markersize=points(5)))
    look = {"linestyle": "", "markersize": points(6), "markeredgecolor": palette().ink}
    handles += [
        line(name, marker=marker, color=palette().accent, **look)
        for name, marker in zip(marks, _cycle(marks), strict=True)
    ]
    return handles
