"""Speed of shapes between those that were timed: FLOPs at the rate that their neighbours reach."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float

from vitscale.fits.device.errors import left_out_error
from vitscale.scaling.finder.record import Conditions
from vitscale.scaling.shape import Shape

_NEIGHBOURS = 4


@dataclasses.dataclass(frozen=True)
class SpeedModel:
    """A shape reaches the FLOP/s of the nearest shapes that were timed, weighted by 1 / distance^2.

    Distances and means are in logarithms: of width, depth, mlp_dim and channels of a head, and of FLOP/s.
    """

    conditions: Conditions
    shapes: tuple[Shape, ...]
    images_per_second: tuple[float, ...]

    def images_per_second_of(self, shape: Shape) -> float:
        """Estimated images a second on all devices."""
        log_rate = _interpolate(_place(shape), self._places, self._log_rates)
        return float(np.exp(log_rate)) / self.conditions.forward_flops(shape)

    @functools.cached_property
    def error(self) -> float | None:
        """Root mean square of the relative errors with which each timed shape is estimated from the
        others; None for fewer than three."""
        places, rates = self._places, self._log_rates
        return left_out_error(
            len(rates),
            lambda kept, out: _interpolate(places[out], places[kept], rates[kept]) - rates[out],
        )

    @functools.cached_property
    def _places(self) -> Float[np.ndarray, "n sizes"]:
        return np.array([_place(shape) for shape in self.shapes])

    @functools.cached_property
    def _log_rates(self) -> Float[np.ndarray, " n"]:
        flops = [self.conditions.forward_flops(shape) for shape in self.shapes]
        return np.log(flops) + np.log(self.images_per_second)


def _place(shape: Shape) -> Float[np.ndarray, " sizes"]:
    return np.log([shape.width, shape.depth, shape.mlp_dim, shape.head_dim])


def _interpolate(
    place: Float[np.ndarray, " sizes"],
    places: Float[np.ndarray, "n sizes"],
    values: Float[np.ndarray, " n"],
) -> float:
    squared = ((places - place) ** 2).sum(axis=1)
    near = np.argsort(squared, kind="stable")[:_NEIGHBOURS]
    weights = 1 / np.maximum(squared[near], 1e-12)
    return float(weights @ values[near] / weights.sum())
