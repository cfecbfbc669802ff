"""What all figures share: sizes, axes with plain numbers and units, legends, and saving."""

import math
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullFormatter, NullLocator

from vitscale.fits.plots.looks import current, palette, points

PANEL_IN = 3.3
"""Width of a panel in inches: one column of a paper set in two."""

DPI = 160

_SIZE_UNITS = {"width": "channels", "mlp_dim": "channels", "depth": "blocks"}

_COMPUTE_LABELS = {
    "train_flops": "training compute (FLOPs)",
    "training_flops": "training compute (FLOPs)",
    "flops": "training compute (FLOPs)",
    "train_gflops": "training compute (GFLOPs)",
    "forward_flops": "compute (forward FLOPs × images)",
    "forward_gflops": "compute (forward GFLOPs × images)",
    "core_days": "compute (core-days)",
}

# Multiples of a power of ten that read well as ticks, from sparse to dense.
_MULTIPLES = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9))

_KINDS = {
    # Without the date, the same figure is the same file.
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}


def styled() -> AbstractContextManager[None]:
    """The current look for the figures made inside the `with`; the user's own settings return after."""
    return matplotlib.rc_context(current().settings())


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure of this size on paper, that makes room for its labels and legends."""
    look = current()
    return Figure(
        figsize=look.figure_size(width_in, height_in),
        dpi=DPI,
        facecolor=look.palette.background,
        layout="constrained",
    )


def crowding() -> float:
    """By how much words have grown more than figures have, against paper."""
    look = current()
    return look.points / look.inches


def save(figure: Figure, path: str | Path) -> Path:
    """Write `figure` as PNG, SVG or PDF, by the suffix of `path`; whole or not at all.

    Its folder is made where it is missing. Raises `ValueError` for another suffix and `OSError` where it cannot be written.
    """
    path = Path(path)
    check_suffix(path)
    kind = path.suffix.lower()
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with matplotlib.rc_context({"svg.hashsalt": "vitscale", "pdf.fonttype": 42}):
            figure.savefig(aside, format=kind[1:], dpi=DPI, facecolor="auto", metadata=_KINDS[kind])
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def check_suffix(path: str | Path) -> None:
    """Raise `ValueError` where `path` names no kind of figure that `save` writes."""
    kind = Path(path).suffix.lower()
    if kind not in _KINDS:
        raise ValueError(f"{path} ends in {kind!r}; a figure is written as {', '.join(_KINDS)}")


def size_label(dimension: str) -> str:
    """A shape dimension with its unit."""
    unit = _SIZE_UNITS.get(dimension)
    return f"{dimension} ({unit})" if unit else f"{dimension} (size)"


def compute_label(unit: str) -> str:
    """Compute with its unit; a column that is not known by name is shown as it is called."""
    return _COMPUTE_LABELS.get(unit, f"compute ({unit})")


def compute_value(compute: float, unit: str) -> str:
    """One compute with its unit, short."""
    return f"{scientific(compute)} {unit_of(compute_label(unit))}"


def unit_of(label: str) -> str:
    """The unit in a label that ends with it in brackets."""
    return label[label.index("(") + 1 : -1]


def metric_label(metric: str, largest: float) -> str:
    """A metric with its unit, as far as its name and its `largest` value tell it.

    Nats for a loss, a fraction for an error up to 1. Beyond 1 an error may be a percentage or a loss,
    so the name stands alone unless it says per cent itself.
    """
    name = metric.lower()
    if "loss" in name or "nats" in name:
        return f"{metric} (nats)"
    if "%" in name:
        return metric
    if "percent" in name or "per cent" in name:
        return f"{metric} (%)"
    return f"{metric} (fraction)" if "err" in name and largest <= 1 else metric


def lengthen(low: float, high: float, factor: float) -> tuple[float, float]:
    """A range widened by `factor` at both ends, for logarithmic axes."""
    return low / factor, high * factor


def nice_ticks(low: float, high: float, *, least: int = 3, most: int = 7) -> list[float]:
    """Round numbers between `low` and `high` for a logarithmic axis."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for multiples in _MULTIPLES:
        ticks = [m * 10.0**d for d in decades for m in multiples if low <= m * 10.0**d <= high]
        if least <= len(ticks) <= most:
            return ticks
        if len(ticks) > most:
            return ticks[:: math.ceil(len(ticks) / most)]
    tries = []
    for count in (5, 8):
        values = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        tries.append([float(value) for value in values if low <= value <= high])
    return next((ticks for ticks in tries if least <= len(ticks) <= most), tries[0])


def plain_log(axis: Axis, low: float, high: float, *, least: int = 3) -> None:
    """A logarithmic axis from `low` to `high` labelled with plain numbers."""
    _log_range(axis, low, high)
    ticks = nice_ticks(low, high, least=least, most=_room_for(7))
    _set_ticks(axis, ticks, [f"{v:.12g}" for v in ticks])


def compute_log(axis: Axis, low: float, high: float) -> None:
    """A logarithmic axis of compute: powers of ten, plain numbers where they are short."""
    if low >= 1e-3 and high <= 1e5:
        plain_log(axis, low, high)
        return
    _log_range(axis, low, high)
    ticks = nice_ticks(low, high, least=3, most=_room_for(6))
    _set_ticks(axis, ticks, [scientific(v) for v in ticks])


def _room_for(count: int) -> int:
    """How many of `count` labels on paper fit where words have grown more than the figure."""
    return max(4, round(count / crowding()))


def scientific(value: float) -> str:
    """A number as a power of ten, three digits."""
    exponent = math.floor(math.log10(value) + 1e-9)
    multiple = value / 10.0**exponent
    power = f"10^{{{exponent}}}"
    return f"${power}$" if abs(multiple - 1) < 1e-6 else f"${multiple:.3g}\\times{power}$"


def sizes_log(
    axis: Axis, sizes: Sequence[float], low: float, high: float, *, inches: float
) -> None:
    """A logarithmic axis with a tick at every measured size, labelled where there is room.

    `inches`: its length on paper.
    """
    _log_range(axis, low, high)
    # A digit is about 0.06 inch wide at 7 points.
    room = inches / (0.062 * crowding())
    _set_ticks(axis, list(sizes), size_ticks(sizes, low, high, digits=room))


def size_ticks(sizes: Sequence[float], low: float, high: float, *, digits: float) -> list[str]:
    """A label for each of `sizes`, empty where the one before leaves no room for it.

    `digits`: how many fit side by side along the whole logarithmic axis from `low` to `high`.
    """
    position = np.log(np.asarray(sizes) / low) / math.log(high / low) * digits
    need = max(len(f"{size:g}") for size in sizes) + 1.13  # its own width and a gap
    labelled: list[int] = []
    for k in range(len(sizes) - 1):
        far_from_last = position[-1] - position[k] >= need
        if far_from_last and (not labelled or position[k] - position[labelled[-1]] >= need):
            labelled.append(k)
    labelled.append(len(sizes) - 1)
    return [f"{size:g}" if k in labelled else "" for k, size in enumerate(sizes)]


def _log_range(axis: Axis, low: float, high: float) -> None:
    if isinstance(axis, XAxis):
        axis.axes.set(xscale="log", xlim=(low, high))
    else:
        axis.axes.set(yscale="log", ylim=(low, high))


def _set_ticks(axis: Axis, ticks: list[float], labels: list[str]) -> None:
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter(labels))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def faint_grid(axes: Axes) -> None:
    """Light lines at the ticks, behind everything."""
    axes.set_axisbelow(True)
    axes.grid(color=palette().grid, linewidth=points(0.5))


def legend_below(figure: Figure, handles: Sequence, *, columns: int) -> None:
    """A legend under all panels, in a space of its own, in as many `columns` as fit."""
    width = figure.bbox.width
    renderer = FigureCanvasAgg(figure).get_renderer()
    for most in range(min(columns, len(handles)), 0, -1):
        # As few columns as these lines need, so that all lines but the last are full.
        lines = -(-len(handles) // most)
        count = -(-len(handles) // lines)
        legend = figure.legend(
            handles=list(handles),
            loc="outside lower center",
            ncols=count,
            handlelength=2.0,
            columnspacing=1.4,
        )
        if count == 1 or legend.get_window_extent(renderer).width <= width:
            return
        legend.remove()
