"""Which shapes fit a device and how fast they train: Figure 8 of Scaling Vision Transformers as a map."""

import math
from collections.abc import Sequence
from typing import Any, Literal, assert_never

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from vitscale.fits.device.choice import device_name, shown_bytes
from vitscale.fits.device.table import Row
from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette, points
from vitscale.scaling.finder.record import Conditions

Quantity = Literal["speed", "memory"]

_COLUMNS = 5
_CELL_IN, _ROW_IN = 0.27, 0.15
_COLORS = colormaps["viridis"]


def _too_large() -> dict[str, Any]:
    """How cells of shapes that do not fit are filled."""
    return {"facecolor": palette().nothing, "edgecolor": palette().grey, "hatch": "/////"}


def device_map_figure(
    rows: Sequence[Row], conditions: Conditions, *, quantity: Quantity = "speed"
) -> Figure:
    """A panel for each mlp_dim: depth across, width//heads up, images/s or memory as colour.

    Shapes that do not fit are hatched, those that were tried themselves have a dot. Raises
    `ValueError` where there is no shape.
    """
    if not rows:
        raise ValueError("there is no shape to draw; give at least one")
    mlp_dims = sorted({row.shape.mlp_dim for row in rows})
    depths = sorted({row.shape.depth for row in rows})
    widths = sorted({(row.shape.width, row.shape.heads) for row in rows})
    columns = min(_COLUMNS, len(mlp_dims))
    lines = math.ceil(len(mlp_dims) / columns)
    norm = _norm([value for row in rows if (value := _value(row, quantity)) is not None])
    with style.styled():
        # Cells are as large as their words, so the whole map grows with them.
        grown = style.crowding()
        figure = style.new_figure(
            grown * max(4.6, columns * (len(depths) * _CELL_IN + 0.25) + 1.6),
            grown * (lines * (max(5, len(widths)) * _ROW_IN + 0.45) + 1.15),
        )
        panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        for axes, mlp_dim in zip(panels.flat, mlp_dims, strict=False):
            own = [row for row in rows if row.shape.mlp_dim == mlp_dim]
            places = [_place(row, depths, widths) for row in own]
            _draw_cells(axes, own, places, quantity, norm)
            axes.set_title(f"mlp_dim {mlp_dim}")
            _name_cells(axes, depths, widths)
        for axes in panels.flat[len(mlp_dims) :]:
            axes.set_visible(False)
        _name_axes(panels, len(mlp_dims))
        _explain(figure, panels, rows, conditions, quantity, norm)
    return figure


def _value(row: Row, quantity: Quantity) -> float | None:
    match quantity:
        case "speed":
            return None if row.pace is None else row.pace.images_per_second
        case "memory":
            return row.verdict.peak_bytes if row.verdict.fits else None
        case _:
            assert_never(quantity)


def _norm(values: Sequence[float]) -> Normalize:
    """Colours over the values that there are; by factors, as speed falls with size."""
    if not values:
        return LogNorm(1.0, 10.0)
    low, high = min(values), max(values)
    return LogNorm(*((low, high) if high > 1.01 * low else style.lengthen(low, high, 1.2)))


def _place(row: Row, depths: Sequence[int], widths: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return depths.index(row.shape.depth), widths.index((row.shape.width, row.shape.heads))


def _draw_cells(
    axes: Axes,
    rows: Sequence[Row],
    places: Sequence[tuple[int, int]],
    quantity: Quantity,
    norm: Normalize,
) -> None:
    values = [_value(row, quantity) for row in rows]
    colors = [palette().background if value is None else _COLORS(norm(value)) for value in values]
    fitting = [k for k, row in enumerate(rows) if row.verdict.fits]
    too_large = [k for k, row in enumerate(rows) if not row.verdict.fits]
    cells = [_cell(place) for place in places]
    lines = {"edgecolor": palette().background, "linewidth": points(0.6)}
    axes.add_collection(
        PatchCollection(
            [cells[k] for k in fitting], facecolor=[colors[k] for k in fitting], **lines
        )
    )
    axes.add_collection(PatchCollection([cells[k] for k in too_large], linewidth=0, **_too_large()))
    axes.add_collection(PatchCollection([cells[k] for k in too_large], facecolor="none", **lines))
    for row, (across, up), value in zip(rows, places, values, strict=True):
        if row.found is not None:
            dark = value is not None and float(norm(value)) < 0.6
            ink = palette().ink if value is None else "white" if dark else "black"
            axes.plot([across], [up], ".", color=ink, markersize=points(3.5), markeredgewidth=0)


def _cell(place: tuple[int, int]) -> Rectangle:
    return Rectangle((place[0] - 0.5, place[1] - 0.5), 1, 1)


def _name_cells(axes: Axes, depths: Sequence[int], widths: Sequence[tuple[int, int]]) -> None:
    axes.set(xlim=(-0.5, len(depths) - 0.5), ylim=(-0.5, len(widths) - 0.5))
    for axis, labels in (
        (axes.xaxis, [str(depth) for depth in depths]),
        (axes.yaxis, [f"{width}//{heads}" for width, heads in widths]),
    ):
        axis.set_major_locator(FixedLocator(list(range(len(labels)))))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FixedFormatter(labels))
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _name_axes(panels: np.ndarray, count: int) -> None:
    lines, columns = panels.shape
    for line in range(lines):
        panels[line, 0].set_ylabel("width//heads")
    for number in range(max(0, count - columns), count):
        axes = panels.flat[number]
        axes.set_xlabel("depth (blocks)")
        axes.tick_params(labelbottom=True)


def _explain(
    figure: Figure,
    panels: np.ndarray,
    rows: Sequence[Row],
    conditions: Conditions,
    quantity: Quantity,
    norm: Normalize,
) -> None:
    """The title, the scale of colours and the legend."""
    name = device_name(conditions.device_kind, conditions.devices)
    figure.suptitle(
        f"{name}, {shown_bytes(conditions.memory_bytes)}: training steps of {conditions.batch_size} "
        f"images,\n{conditions.image_size} px, patch {conditions.patch}, {conditions.precision}, "
        f"{conditions.optimizer}",
        fontsize=points(8.5),
    )
    if any(_value(row, quantity) is not None for row in rows):
        unit = 1e9 if quantity == "memory" else 1.0
        scaled = LogNorm(float(norm.vmin or 1) / unit, float(norm.vmax or 10) / unit)
        bar = figure.colorbar(
            ScalarMappable(scaled, _COLORS), ax=panels, fraction=0.04, aspect=28, pad=0.02
        )
        low, high = float(scaled.vmin or 1), float(scaled.vmax or 10)
        ticks = style.nice_ticks(low, high)
        bar.ax.yaxis.set_major_locator(FixedLocator(ticks))
        bar.ax.yaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        bar.set_label("training speed (images/s)" if quantity == "speed" else "memory (GB)")
    handles: list = []
    if any(not row.verdict.fits for row in rows):
        handles.append(Patch(label="does not fit", linewidth=0, **_too_large()))
    if any(row.found is not None for row in rows):
        dot = Line2D([], [], marker=".", linestyle="", color=palette().ink, label="tried")
        handles.append(dot)
    if any(row.found is None for row in rows):
        handles.append(Patch(facecolor=_COLORS(0.5), label="without a dot: estimated"))
    style.legend_below(figure, handles, columns=3)
