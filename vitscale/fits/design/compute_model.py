"""What networks would cost where a table tells compute alone, without shapes or numbers of images."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import optimize

from vitscale.fits.design.candidates import Space, more_durations
from vitscale.fits.design.networks import Network, networks_of
from vitscale.fits.option_error import Keyword, OptionError

COOLDOWN_FRACTION = 0.1
"""Fraction of each duration that is its own cooldown, not shared with the trunk (Getting ViT in Shape:
50K of 500K to 4M steps)."""

_SAME = 0.02  # relative difference below which two durations are one


def table_space(table: pd.DataFrame, *, cooldown_fraction: float = COOLDOWN_FRACTION) -> Space:
    """The space of a canonical star table, compute taken from the rows themselves.

    Durations are relative to the shortest of a network. Compute at one duration is u + v x + w x^2 with
    none below zero: exact for a ViT's depth and MLP size, and nearly so for its width.

    Raises `ValueError` where the unit of compute is not known in FLOPs, sizes are not whole numbers, or
    the networks' durations are not those of one star.
    """
    flops_per_unit = table.attrs.get("flops_per_unit")
    if flops_per_unit is None:
        raise OptionError(
            f"compute_unit={table.attrs.get('compute_unit')!r} is not known in FLOPs, so nothing can "
            f"be priced; say what one unit is with ",
            Keyword("flops_per_unit"),
        )
    networks = networks_of(table)
    measured = _durations(networks)
    units = {
        name: _Unit([network for network in networks if network.dimension == name])
        for name in dict.fromkeys(network.dimension for network in networks)
    }

    def flops(dimension: str, size: int, durations: tuple[float, ...]) -> float:
        trunk = (1 - cooldown_fraction) * max(durations)
        spent = trunk + cooldown_fraction * sum(durations)
        return units[dimension](size) * spent * flops_per_unit

    return Space(
        multiples={name: math.gcd(*unit.sizes) for name, unit in units.items()},
        center=_center(networks),
        measured=measured,
        durations=more_durations(measured),
        compute=lambda dimension, size, duration: units[dimension](size) * duration,
        flops=flops,
    )


class _Unit:
    """Compute of the shortest duration as a function of size."""

    def __init__(self, arm: Sequence[Network]) -> None:
        self._known: dict[int, float] = {}
        for network in arm:
            least = float(network.t.min())
            self._known[network.size] = min(least, self._known.get(network.size, np.inf))
        self.sizes = sorted(self._known)
        self._scale = float(np.mean(self.sizes))
        t = np.array([self._known[size] for size in self.sizes])
        terms = self._powers(np.array(self.sizes, float)) / t[:, None]
        norm = np.linalg.norm(terms, axis=0)
        self._factors = optimize.nnls(terms / norm, np.ones(len(t)))[0] / norm

    def _powers(self, x: Float[np.ndarray, " sizes"]) -> Float[np.ndarray, "sizes 3"]:
        return (x[:, None] / self._scale) ** np.arange(3)

    def __call__(self, size: int) -> float:
        if size in self._known:
            return self._known[size]
        return float((self._powers(np.array([size], float)) @ self._factors)[0])


def _durations(networks: Sequence[Network]) -> tuple[float, ...]:
    """Durations over the shortest, of the network that has most; all others must be among them."""
    ratios = [np.sort(network.t) / network.t.min() for network in networks]
    longest = max(ratios, key=len)
    for ratio in ratios:
        if (np.abs(ratio[:, None] / longest - 1).min(axis=1) > _SAME).any():
            one, other = (", ".join(f"{v:.3g}" for v in values) for values in (ratio, longest))
            raise ValueError(
                f"compute of one network is in ratios {one}, of another in {other}, so they have no "
                f"durations in common; give a store, which knows the durations"
            )
    return tuple(float(value) for value in longest)


def _center(networks: Sequence[Network]) -> dict[str, int] | None:
    sizes = {network.dimension: network.size for network in networks if network.is_center}
    return sizes if sizes.keys() == {network.dimension for network in networks} else None
