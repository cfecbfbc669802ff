"""The star and its fit: error along every shape dimension, and what the law leaves over."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vitscale.fits.columns import series, where
from vitscale.fits.durations import LengthCurve, length_curve, training_lengths
from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette, points
from vitscale.fits.plots.marks import draw_measurements, draw_optimum
from vitscale.fits.star_fit import DimensionFit, StarFit

_LINE_POINTS = 120


def star_figure(table: pd.DataFrame, fit: StarFit) -> Figure:
    """Error against size along each dimension, with eq. (2) as fitted, and residuals below.

    - `table`: the canonical star table that was fitted (see `vitscale.fits.tables`); a column
      `examples` (images seen), where there is one, names the training lengths.

    A colour is a training length: networks of all sizes that saw the same images, so that compute
    grows along a line, and the law is drawn at the compute of its points. A diamond marks the size at
    which a length is spent on the optimal size, x = x*(t), with the interval of x* there; only where
    the exponent is identified, and without interval where that compute was not measured. Beyond the
    fitted sizes, towards an optimum or a centre that was left out, the law goes on dotted. A residual is
    measured over fitted, less one.

    Raises `ValueError` where the table lacks a dimension of the fit.
    """
    arms = {name: with_lengths(arm) for name, arm in arms_of(table, fit).items()}
    lengths = np.unique(np.concatenate([arm["length"].to_numpy() for arm in arms.values()]))
    colors = _colors(lengths)
    with style.styled():
        figure = style.new_figure(max(3.6, style.PANEL_IN * len(arms)), 4.3)
        panels = figure.subplots(2, len(arms), sharex="col", squeeze=False, height_ratios=[3, 1])
        for k, (name, arm) in enumerate(arms.items()):
            _draw_arm(panels[0, k], panels[1, k], arm, fit, name, colors)
        panels[0, 0].set_ylabel(style.metric_label(fit.metric, largest_error(arms)))
        panels[1, 0].set_ylabel("residual (%)")
        _error_axes(panels[0], list(arms.values()))
        for axes in panels[1]:
            _residual_axis(axes)
        handles = _legend(fit, lengths, colors, arms, relative="examples" not in table)
        style.legend_below(figure, handles, columns=2 if len(arms) == 1 else 3 * len(arms))
    return figure


def arms_of(table: pd.DataFrame, fit: StarFit) -> dict[str, pd.DataFrame]:
    """The rows of each dimension of the fit.

    Raises `ValueError` where the table lacks one.
    """
    names = series(table, "dimension").astype(str)
    missing = sorted(set(fit.dimensions) - set(names))
    if missing:
        raise ValueError(
            f"the table has no rows of {', '.join(missing)}; give the table that was fitted"
        )
    return {name: where(table, names == name) for name in fit.dimensions}


def largest_error(arms: Mapping[str, pd.DataFrame]) -> float:
    """The largest error of all arms."""
    return max(float(np.max(arm["error"].to_numpy(float))) for arm in arms.values())


def with_lengths(arm: pd.DataFrame) -> pd.DataFrame:
    """The rows with their training length, rounded where it was inferred."""
    lengths = training_lengths(arm)
    if "examples" not in arm:
        lengths = np.array([float(f"{length:.2g}") for length in lengths])
    return arm.assign(length=lengths)


def _colors(lengths: np.ndarray) -> dict[float, str]:
    colors = palette().lengths(len(lengths))
    return {float(length): color for length, color in zip(lengths, colors, strict=True)}


def _draw_arm(
    upper: Axes, lower: Axes, arm: pd.DataFrame, fit: StarFit, name: str, colors: dict
) -> None:
    dimension = fit.dimensions[name]
    sizes = np.unique(arm["x"].to_numpy(float))
    reach = [sizes[0], sizes[-1]]
    for length in np.unique(arm["length"].to_numpy()):
        rows, color = where(arm, series(arm, "length") == length), colors[float(length)]
        _draw_points(upper, lower, rows, dimension, color, center_fitted=fit.include_center)
        curve = length_curve(rows)
        if curve is not None:
            reach += _draw_law(upper, curve, fitted_sizes(rows, fit), dimension, color)
    lower.axhline(0, color=palette().grey, linewidth=points(0.8), zorder=1)
    low, high = style.lengthen(min(reach), max(reach), 1.12)
    style.sizes_log(lower.xaxis, list(sizes), low, high, inches=style.PANEL_IN - 0.7)
    upper.tick_params(labelbottom=False)
    lower.set_xlabel(style.size_label(name))
    upper.set_title(exponent_title(dimension, name))
    style.faint_grid(upper)
    style.faint_grid(lower)


def exponent_title(fit: DimensionFit, name: str) -> str:
    """The exponent of a dimension with its interval, or that it is not identified."""
    if not fit.identified:
        return f"{name}: s not identified"
    s = fit.s
    return f"{name}: s = {s.estimate:.3f} [{s.low:.3f}, {s.high:.3f}]"


def _draw_points(
    upper: Axes,
    lower: Axes,
    rows: pd.DataFrame,
    fit: DimensionFit,
    color: str,
    *,
    center_fitted: bool,
) -> None:
    x, error = rows["x"].to_numpy(float), rows["error"].to_numpy(float)
    residual = 100 * (error / fit.law.error(x, rows["compute"].to_numpy(float)) - 1)
    center = rows["is_center"].to_numpy(bool)
    for axes, y in ((upper, error), (lower, residual)):
        draw_measurements(axes, x, y, center, color, center_fitted=center_fitted)


def _draw_law(
    upper: Axes, curve: LengthCurve, fitted: np.ndarray, fit: DimensionFit, color: str
) -> list[float]:
    """The law along one training length and its optimum; the sizes to be shown beyond the data."""
    best = curve.optimum(fit.law) if fit.identified else None
    for x, solid in law_pieces(curve, fitted, best):
        error = fit.law.error(x, curve.compute(x))
        upper.plot(x, error, "-" if solid else ":", color=color, zorder=2)
    if best is None:
        return []
    t = float(curve.compute(np.array([best]))[0])
    error = float(fit.law.error(best, t))
    ends = draw_optimum(upper, best, error, fit.x_star_at(t), color)
    # A very wide interval must not squeeze the data into a corner.
    low, high = style.lengthen(float(curve.x[0]), float(curve.x[-1]), 3)
    return [min(max(value, low), high) for value in (best, *ends)]


def law_pieces(
    curve: LengthCurve, fitted: np.ndarray, best: float | None
) -> list[tuple[np.ndarray, bool]]:
    """Sizes along a training length, and whether the law was fitted there: solid where it was, dotted
    beyond, to the last measured size and to the optimum `best`."""
    shown = [*curve.x, best] if best else [*curve.x]
    cuts = [min(shown), *((fitted[0], fitted[-1]) if len(fitted) else ()), max(shown)]
    return [
        (
            np.geomspace(first, last, _LINE_POINTS),
            bool(len(fitted) and fitted[0] <= first and last <= fitted[-1]),
        )
        for first, last in itertools.pairwise(cuts)
        if first < last
    ]


def fitted_sizes(rows: pd.DataFrame, fit: StarFit) -> np.ndarray:
    """Sizes of `rows` that the fit has seen."""
    seen = rows if fit.include_center else where(rows, ~rows["is_center"].to_numpy(bool))
    return np.unique(seen["x"].to_numpy(float))


def _error_axes(panels: Sequence[Axes], arms: list[pd.DataFrame]) -> None:
    errors = np.concatenate([arm["error"].to_numpy(float) for arm in arms])
    drawn = np.concatenate([line.get_ydata() for axes in panels for line in axes.get_lines()])
    low, high = style.lengthen(
        float(min(errors.min(), drawn.min())), float(max(errors.max(), drawn.max())), 1.06
    )
    for axes in panels:
        style.plain_log(axes.yaxis, low, high, least=4)
        axes.tick_params(labelleft=axes is panels[0])


def _residual_axis(axes: Axes) -> None:
    # Each panel by itself: a centre that was left out may be far off in one dimension only.
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.get_lines()])
    widest = max(1.0, 1.25 * float(np.abs(drawn).max()))
    axes.set_ylim(-widest, widest)
    axes.yaxis.set_major_locator(MaxNLocator(3, symmetric=True, steps=[1, 2, 5, 10]))


def _legend(
    fit: StarFit, lengths: np.ndarray, colors: dict, arms: dict, *, relative: bool
) -> list[Artist]:
    handles: list[Artist] = [
        Line2D([], [], marker="o", markersize=points(3.6), color=colors[length], label=label)
        for length, label in zip(lengths, length_labels(lengths, relative), strict=True)
    ]
    if any(arm["is_center"].any() for arm in arms.values()):
        handles.append(
            Line2D(
                [],
                [],
                marker="*",
                markersize=points(8),
                linestyle="",
                color=palette().grey,
                markerfacecolor=palette().grey if fit.include_center else palette().background,
                label="centre" if fit.include_center else "centre (not in the fit)",
            )
        )
    handles.append(Line2D([], [], color=palette().grey, label="fitted law, eq. (2)"))
    if any(d.identified for d in fit.dimensions.values()):
        mark = Line2D(
            [], [], marker="D", markersize=points(5), linestyle="-", linewidth=points(0.9)
        )
        mark.set(color=palette().ink, markerfacecolor=palette().grey)
        mark.set_label(f"optimal size x = x*(t), {100 * fit.level:g}% interval")
        handles.append(mark)
    return handles


def length_labels(lengths: np.ndarray, relative: bool) -> list[str]:
    """Training lengths in words: images, or how many times the shortest."""
    if relative:
        shortest = lengths.min()
        return [
            "shortest training" if v == shortest else f"{v / shortest:.3g}× as long"
            for v in lengths
        ]
    return [f"{_short(v)} images" for v in lengths]


def _short(count: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:g}"
