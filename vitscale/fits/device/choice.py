"""What an answer says of the device that its shape is meant for."""

import dataclasses
from collections.abc import Callable
from typing import Any

from vitscale.fits.device.capacity import Basis, Capacity
from vitscale.scaling.shape import Shape

_UNITS = (("years", 365.25 * 86400), ("days", 86400), ("hours", 3600), ("minutes", 60))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnDevice:
    """A shape on the device of a finder's file.

    - `memory_bytes`: what one device may hold; `peak_bytes`: what training needs of it, where that
      is known, and `basis`: how.
    - `images_per_second`, `seconds`: on all `devices`, for all images; None where none was timed.
    - `speed_measured`, `speed_error`: whether this very shape was timed, and the relative error of
      estimates otherwise.
    """

    device_kind: str
    devices: int
    memory_bytes: int
    peak_bytes: float | None
    basis: Basis
    images_per_second: float | None = None
    seconds: float | None = None
    speed_measured: bool = False
    speed_error: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    def lines(self) -> list[str]:
        """Memory and time, for a person to read."""
        name = device_name(self.device_kind, self.devices)
        need = "" if self.peak_bytes is None else f", {shown_bytes(self.peak_bytes)}"
        lines = [f"fits {name} with {shown_bytes(self.memory_bytes)} ({self.basis}{need})"]
        if self.images_per_second is None or self.seconds is None:
            return [*lines, "how long it takes is not known, as no shape was timed there"]
        how = "measured" if self.speed_measured else "from the nearest shapes that were timed"
        if self.speed_error is not None:
            how += f", ±{percent(self.speed_error)}"
        time = f"about {duration(self.seconds)} at {self.images_per_second:,.4g} images/s ({how})"
        return [*lines, time]


def fitting_shape(capacity: Capacity, rounded: Callable[..., Shape]) -> tuple[Shape, list[str]]:
    """The shape nearest to the optimum that fits, and a warning where that is not the nearest of all.

    - `rounded(accept=...)`: the optimum rounded to a shape that `accept` takes (`round_shape`).

    Raises `ValueError` where none fits.
    """
    nearest = rounded()
    conditions = capacity.conditions
    name = device_name(conditions.device_kind, conditions.devices)
    where = f"{name} with {shown_bytes(conditions.memory_bytes)}"
    try:
        shape = rounded(accept=lambda shape: capacity.verdict(shape).fits)
    except ValueError:
        raise ValueError(
            f"no shape near the optimum ({nearest}) fits {where}, down to a tenth in every size; "
            f"give a smaller budget, or a file measured with smaller batches or more memory"
        ) from None
    if shape == nearest:
        return shape, []
    return shape, [f"the optimum ({nearest}) does not fit {where}; this is the nearest that does"]


def extrapolation_warnings(capacity: Capacity, shape: Shape) -> list[str]:
    """Which estimates of `shape` lie outside the sizes that were measured, and how far they are off
    inside, where that is known."""
    found = []
    for what, model, last in (
        ("memory", capacity.memory_model, "heads"),
        ("speed", capacity.speed_model, "head_dim"),
    ):
        if model is None:
            continue
        outside = []
        for name in ("width", "depth", "mlp_dim", last):
            measured = [getattr(other, name) for other in model.shapes]
            if not min(measured) <= getattr(shape, name) <= max(measured):
                span = "-".join(map(str, sorted({min(measured), max(measured)})))
                outside.append(f"{name}={getattr(shape, name)} (measured: {span})")
        if outside:
            known = "unknown" if model.error is None else f"±{percent(model.error)}"
            found.append(
                f"{what} on the device is extrapolated to {', '.join(outside)}; the error of estimates "
                f"between the measured shapes, leaving one out at a time, is {known}"
            )
    return found


def on_device(capacity: Capacity, shape: Shape, images: float) -> OnDevice:
    """What is known of training `shape` on `images` images."""
    conditions = capacity.conditions
    verdict, pace = capacity.verdict(shape), capacity.pace(shape)
    known = OnDevice(
        device_kind=conditions.device_kind,
        devices=conditions.devices,
        memory_bytes=conditions.memory_bytes,
        peak_bytes=verdict.peak_bytes,
        basis=verdict.basis,
    )
    if pace is None:
        return known
    return dataclasses.replace(
        known,
        images_per_second=pace.images_per_second,
        seconds=images / pace.images_per_second,
        speed_measured=pace.measured,
        speed_error=pace.error,
    )


def device_name(kind: str, devices: int) -> str:
    """Devices in words: "cpu", "8 x NVIDIA H200"."""
    return kind if devices == 1 else f"{devices} x {kind}"


def shown_bytes(count: float) -> str:
    """Bytes in GB of 10^9, or in MB of 10^6 below a tenth of that."""
    if count < 99.95e6:
        return f"{count / 1e6:.3g} MB"
    return f"{count / 1e9:.3g} GB" if count < 999.5e9 else f"{count / 1e9:,.0f} GB"


def percent(error: float) -> str:
    """A relative error in whole per cent, the smallest of which is 1%."""
    return f"{max(error, 0.01):.0%}"


def duration(seconds: float) -> str:
    """A time in the unit that suits it: "3.1 days"."""
    for unit, size in _UNITS:
        if seconds >= size:
            count = seconds / size
            return f"{count:.2g} {unit}" if count < 99.5 else f"{count:,.0f} {unit}"
    return f"{seconds:.2g} seconds"
