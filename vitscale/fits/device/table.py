"""Shapes side by side on one device: what each needs, how fast it trains, and how that is known."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from vitscale.fits.device.capacity import Capacity, Pace, Verdict
from vitscale.fits.device.choice import device_name, percent, shown_bytes
from vitscale.scaling.finder.record import Conditions, Found
from vitscale.scaling.shape import Shape

_HEADER = ("width//heads", "depth", "mlp_dim", "params", "memory", "fits", "images/s", "MFU")
_SOURCES = {"device": "its own limit", "machine": "free on this machine", "asked": "as asked"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One shape.

    - `pace`: None where the shape does not fit, or nothing was timed.
    - `utilisation`: model FLOPs utilisation, 3 x forward FLOPs of matrix products over the devices' peak;
      None where that is not known.
    - `found`: what was measured; None for a shape that was not tried.
    """

    shape: Shape
    params: int
    verdict: Verdict
    pace: Pace | None
    utilisation: float | None
    found: Found | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "shape": dataclasses.asdict(self.shape),
            "params": self.params,
            **dataclasses.asdict(self.verdict),
            "images_per_second": self.pace and self.pace.images_per_second,
            "speed_measured": self.pace is not None and self.pace.measured,
            "utilisation": self.utilisation,
            "compile_seconds": self.found and self.found.compile_seconds,
            "out_of_memory": self.found.out_of_memory if self.found else "",
            "remedy": self.found and self.found.remedy and dataclasses.asdict(self.found.remedy),
        }


def rows(
    capacity: Capacity, shapes: Iterable[Shape], *, peak_flops_per_second: float | None = None
) -> list[Row]:
    """A row for each shape; `peak_flops_per_second` is that of one device."""
    return [_row(capacity, shape, peak_flops_per_second) for shape in shapes]


def _row(capacity: Capacity, shape: Shape, peak: float | None) -> Row:
    conditions, verdict = capacity.conditions, capacity.verdict(shape)
    pace = capacity.pace(shape) if verdict.fits else None
    utilisation = None
    if pace is not None and peak is not None:
        flops = 3 * conditions.forward_flops(shape) * pace.images_per_second
        utilisation = flops / (peak * conditions.devices)
    return Row(
        shape=shape,
        params=conditions.params(shape),
        verdict=verdict,
        pace=pace,
        utilisation=utilisation,
        found=capacity.found.get(shape),
    )


def table_lines(capacity: Capacity, table: Sequence[Row]) -> list[str]:
    """The shapes that were tried as a table, and a summary of all."""
    tried = [row for row in table if row.found is not None]
    cells = [_HEADER, *(_cells(row) for row in tried)]
    # Where the peak of the device is not known, no utilisation is.
    columns = [k for k in range(len(_HEADER)) if any(line[k] for line in cells[1:])]
    widths = {k: max(len(line[k]) for line in cells) for k in columns}
    lines = ["  ".join(line[k].rjust(widths[k]) for k in columns) for line in cells]
    notes = [_note(row) for row in tried]
    return [
        lines[0],
        *(f"{line}{note}" for line, note in zip(lines[1:], notes, strict=True)),
        "",
        *summary_lines(capacity, table),
    ]


def summary_lines(capacity: Capacity, table: Sequence[Row]) -> list[str]:
    """How many fit, on what, and how sure the rest is."""
    conditions = capacity.conditions
    fitting = sum(row.verdict.fits for row in table)
    estimated = [row for row in table if row.found is None]
    lines = [
        f"{fitting} of {len(table)} shapes fit {_device(conditions)}, training on "
        f"{conditions.batch_size} images of {conditions.image_size} px a step"
    ]
    if estimated:
        memory, speed = capacity.memory_model, capacity.speed_model
        lines.append(
            f"{len(estimated)} of them were not tried: memory by larger and smaller shapes, or by "
            f"least squares{_error(memory and memory.error)}; speed from the nearest that were "
            f"timed{_error(speed and speed.error)}"
        )
    if conditions.memory_source == "asked":
        lines.append(
            f"memory is what the compiler needs on {conditions.device_kind}; on another device it "
            f"may need more or less"
        )
    return lines


def _cells(row: Row) -> tuple[str, ...]:
    shape, peak = row.shape, row.verdict.peak_bytes
    return (
        f"{shape.width}//{shape.heads}",
        str(shape.depth),
        str(shape.mlp_dim),
        f"{row.params / 1e6:,.3g}M" if row.params < 999.5e6 else f"{row.params / 1e9:.3g}B",
        "" if peak is None else shown_bytes(peak),
        "yes" if row.verdict.fits else "no",
        "" if row.pace is None else f"{row.pace.images_per_second:,.4g}",
        "" if row.utilisation is None else f"{row.utilisation:.1%}",
    )


def _note(row: Row) -> str:
    """What would make a shape fit."""
    if row.verdict.fits or row.found is None:
        return ""
    if row.found.remedy is None:
        return "  no smaller micro-batch makes it fit"
    return f"  fits with {row.found.remedy} ({shown_bytes(row.found.remedy.peak_bytes)})"


def _device(conditions: Conditions) -> str:
    name = device_name(conditions.device_kind, conditions.devices)
    each = " each" if conditions.devices > 1 else ""
    source = _SOURCES[conditions.memory_source]
    return f"{name} with {shown_bytes(conditions.memory_bytes)}{each} ({source})"


def _error(error: float | None) -> str:
    return "" if error is None else f" (±{percent(error)})"
