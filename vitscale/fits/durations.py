"""Training lengths along the arm of a star, for drawing: compute grows with size at one length.

Eq. (2) is a law in size x and compute t, but what is measured together are networks of several sizes
that saw the same number of images. Along such a row of points t is a function of x.
"""

import dataclasses

import numpy as np
import pandas as pd
from jaxtyping import Float

from vitscale.fits.laws import ShapeLaw

_REACH = 3.0  # how far beyond the measured sizes (factor) an optimum is looked for
_GRID = 400


@dataclasses.dataclass(frozen=True, kw_only=True)
class LengthCurve:
    """Compute against size for networks that were trained equally long.

    `x`: measured sizes, ascending; `t`: compute at each.
    """

    x: Float[np.ndarray, " sizes"]
    t: Float[np.ndarray, " sizes"]

    def compute(self, x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Compute at other sizes: straight lines in log-log, going on straight beyond the ends."""
        u, v, at = np.log(self.x), np.log(self.t), np.log(x)
        inside = np.interp(at, u, v)
        below = v[0] + (at - u[0]) * (v[1] - v[0]) / (u[1] - u[0])
        above = v[-1] + (at - u[-1]) * (v[-1] - v[-2]) / (u[-1] - u[-2])
        return np.exp(np.where(at < u[0], below, np.where(at > u[-1], above, inside)))

    def optimum(self, law: ShapeLaw) -> float | None:
        """The size x at which x = x*(t(x)): here this training length is spent on the optimal size.

        None where there is none within a factor of three of the measured sizes.
        """
        u = np.linspace(np.log(self.x[0] / _REACH), np.log(self.x[-1] * _REACH), _GRID)
        with np.errstate(divide="ignore"):
            excess = np.log(law.optimal_x(self.compute(np.exp(u)))) - u
        crossings = np.flatnonzero((excess[:-1] > 0) & (excess[1:] <= 0))
        if not len(crossings):
            return None
        k = crossings[0]
        share = excess[k] / (excess[k] - excess[k + 1])
        return float(np.exp(u[k] + share * (u[k + 1] - u[k])))


def length_curve(rows: pd.DataFrame) -> LengthCurve | None:
    """The curve through rows of one training length; None for fewer than two sizes."""
    x, t = rows["x"].to_numpy(float), rows["compute"].to_numpy(float)
    sizes = np.unique(x)
    if len(sizes) < 2:
        return None
    return LengthCurve(x=sizes, t=np.array([t[x == size].mean() for size in sizes]))


def training_lengths(points: pd.DataFrame) -> Float[np.ndarray, " rows"]:
    """How long the network of each row was trained, from the rows of one arm.

    The column `examples` (images seen) where there is one. Otherwise lengths relative to the arm's
    shortest, from the compute of each network at its durations: networks with the most durations set
    the lengths, and a network with fewer (often the centre) takes the nearest of them, its cost
    extrapolated from the others.
    """
    if "examples" in points:
        return points["examples"].to_numpy(float)
    model = pd.factorize(points["model"])[0]
    log_x, log_t = np.log(points["x"].to_numpy(float)), np.log(points["compute"].to_numpy(float))
    ranks = {k: np.unique(log_t[model == k], return_inverse=True) for k in np.unique(model)}
    most = max(len(values) for values, _ in ranks.values())
    full = [k for k, (values, _) in ranks.items() if len(values) == most]
    steps = np.mean([ranks[k][0] - ranks[k][0][0] for k in full], axis=0)
    sizes = np.array([log_x[model == k][0] for k in full])
    shortest = np.array([ranks[k][0][0] for k in full])
    middle = sizes.mean()
    degree = min(2, len(np.unique(sizes)) - 1)
    cost = np.polynomial.Polynomial.fit(sizes - middle, shortest, degree)
    chosen = np.zeros(len(points), int)
    for k, (_, rank) in ranks.items():
        mine = model == k
        above = log_t[mine] - cost(log_x[mine] - middle)
        nearest = np.abs(above[:, None] - steps[None]).argmin(axis=1)
        chosen[mine] = rank if k in full else nearest
    return np.exp(steps)[chosen]
