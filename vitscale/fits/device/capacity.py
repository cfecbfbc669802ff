"""Which shapes a device can train, and how fast: what a finder measured, and estimates between that."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int

from vitscale.fits.device.memory_model import MemoryModel
from vitscale.fits.device.speed_model import SpeedModel
from vitscale.scaling.finder.journal import read_journal
from vitscale.scaling.finder.record import Conditions, Found
from vitscale.scaling.shape import Readout, Shape

Basis = Literal["measured", "implied", "estimated"]
"""The shape itself was tried; a larger one fits or a smaller one does not; or the memory model says so."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a shape fits, what it needs of a device (None where nothing tells), and how that is known."""

    fits: bool
    peak_bytes: float | None
    basis: Basis


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pace:
    """Images a second on all devices; `error` is the relative error of estimates, where it is known."""

    images_per_second: float
    measured: bool
    error: float | None = None


@dataclasses.dataclass(frozen=True)
class Capacity:
    """Verdicts and speeds for any shape, from what was found of some."""

    conditions: Conditions
    found: Mapping[Shape, Found]

    def verdict(self, shape: Shape) -> Verdict:
        """Whether `shape` trains on one device.

        More of any size never needs less memory: a shape fits if one at least as large in all sizes
        was found to, and does not if one at most as large was found not to. Between, it fits if the
        memory model's estimate with its error does.
        """
        limit, own = self.conditions.memory_bytes, self.found.get(shape)
        if own is not None:
            peak = None if own.memory is None else float(own.memory.peak_bytes)
            return Verdict(fits=own.fits(limit), peak_bytes=peak, basis="measured")
        peak = self.memory_model.bytes(shape) if self.memory_model is not None else None
        sizes = _sizes(shape)
        if (self._fitting >= sizes).all(axis=1).any():
            return Verdict(fits=True, peak_bytes=peak, basis="implied")
        if (self._too_large <= sizes).all(axis=1).any():
            return Verdict(fits=False, peak_bytes=peak, basis="implied")
        error = (self.memory_model and self.memory_model.error) or 0.0
        fits = peak is not None and peak * (1 + error) <= limit
        return Verdict(fits=fits, peak_bytes=peak, basis="estimated")

    def pace(self, shape: Shape) -> Pace | None:
        """How fast `shape` trains, timed or interpolated; None where nothing was timed."""
        own = self.found.get(shape)
        if own is not None and own.images_per_second is not None:
            return Pace(images_per_second=own.images_per_second, measured=True)
        model = self.speed_model
        if model is None:
            return None
        speed = model.images_per_second_of(shape)
        return Pace(images_per_second=speed, measured=False, error=model.error)

    @functools.cached_property
    def memory_model(self) -> MemoryModel | None:
        """Fitted to the shapes that were compiled; None where none was."""
        known = [(f.shape, f.memory.peak_bytes) for f in self.found.values() if f.memory]
        return MemoryModel(self.conditions, *zip(*known, strict=True)) if known else None

    @functools.cached_property
    def speed_model(self) -> SpeedModel | None:
        """Interpolates between the shapes that were timed; None where none was."""
        known = [
            (f.shape, f.images_per_second)
            for f in self.found.values()
            if f.images_per_second is not None
        ]
        return SpeedModel(self.conditions, *zip(*known, strict=True)) if known else None

    @functools.cached_property
    def _fitting(self) -> Int[np.ndarray, "n sizes"]:
        return self._sizes_of(fits=True)

    @functools.cached_property
    def _too_large(self) -> Int[np.ndarray, "n sizes"]:
        return self._sizes_of(fits=False)

    def _sizes_of(self, *, fits: bool) -> Int[np.ndarray, "n sizes"]:
        limit = self.conditions.memory_bytes
        rows = [_sizes(f.shape) for f in self.found.values() if f.fits(limit) == fits]
        return np.array(rows, int).reshape(-1, 4)

    def check_model(self, *, patch: int, image_size: int, channels: int, readout: Readout) -> None:
        """Raise `ValueError` where other models were measured than those of this setting."""
        wanted = {
            "patch": patch,
            "image_size": image_size,
            "channels": channels,
            "readout": readout,
        }
        tried = {name: getattr(self.conditions, name) for name in wanted}
        other = [name for name in wanted if tried[name] != wanted[name]]
        if not other:
            return
        had, has = (", ".join(f"{n}={values[n]}" for n in other) for values in (tried, wanted))
        flags = [f"--{n.replace('_', '-')} {tried[n]}" for n in other if n != "channels"]
        raise ValueError(
            f"the shapes were tried with {had}, but the model has {has}; run vitscale shapefinder "
            f"for {has}" + (f", or ask with {' '.join(flags)}" if flags else "")
        )


def _sizes(shape: Shape) -> Int[np.ndarray, " sizes"]:
    return np.array([shape.width, shape.depth, shape.mlp_dim, shape.heads])


def read_capacity(path: Path) -> Capacity:
    """What the file of `vitscale shapefinder` tells.

    Raises `ValueError`, naming the file, where it is missing, malformed or holds no shape.
    """
    journal = read_journal(path)
    if not journal.found:
        raise ValueError(f"{path} holds no shape yet; run vitscale shapefinder --out {path}")
    return Capacity(journal.conditions, journal.found)
