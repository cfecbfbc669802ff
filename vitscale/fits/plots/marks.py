"""Marks that several figures share: measurements with the centre as a star, and the optimum with its interval."""

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes

from vitscale.fits.intervals.interval import Interval
from vitscale.fits.plots.looks import palette, points


def is_closed(interval: Interval) -> bool:
    """Whether both ends are known."""
    return bool(interval.low > 0 and np.isfinite(interval.high))


def draw_measurements(
    axes: Axes,
    x: Float[np.ndarray, " points"],
    y: Float[np.ndarray, " points"],
    center: Bool[np.ndarray, " points"],
    color: str,
    *,
    center_fitted: bool,
) -> None:
    """Dots, and stars where `center` holds: hollow where the centre was left out of the fit."""
    fill = color if center_fitted else palette().background
    axes.plot(x[~center], y[~center], "o", color=color, markersize=points(3.6), zorder=3)
    axes.plot(
        x[center],
        y[center],
        "*",
        color=color,
        markerfacecolor=fill,
        markersize=points(8),
        zorder=3,
    )


def draw_optimum(
    axes: Axes, x: float, error: float, interval: Interval | None, color: str
) -> list[float]:
    """A diamond, and a bar for its interval where that is closed; the ends of the bar."""
    ends = [interval.low, interval.high] if interval and is_closed(interval) else []
    if ends:
        axes.plot(
            ends,
            [error] * 2,
            "|-",
            color=palette().ink,
            linewidth=points(0.9),
            markersize=points(5),
            zorder=4,
        )
    axes.plot(
        [x],
        [error],
        "D",
        color=color,
        markeredgecolor=palette().ink,
        markersize=points(5),
        zorder=5,
    )
    return ends
