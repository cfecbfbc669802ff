"""One arm of a star: the points along one shape dimension, and the best eq. (2) through them."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from vitscale.fits import varpro
from vitscale.fits.laws import SHAPE_LAW, ShapeLaw


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """Measured points along one shape dimension.

    - `x`: sizes; `t`: compute in any unit; `error`: the metric, lower is better. All positive.
    - `model`: which trained network a point comes from, numbered from 0: the durations of one trunk
      share its noise.
    """

    x: Float[np.ndarray, " points"]
    t: Float[np.ndarray, " points"]
    error: Float[np.ndarray, " points"]
    model: Int[np.ndarray, " points"]

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.x)

    @property
    def dof(self) -> int:
        """Degrees of freedom left by the seven parameters of eq. (2)."""
        return self.n - len(SHAPE_LAW.parameters)

    @property
    def logs(self) -> tuple[np.ndarray, np.ndarray]:
        """Logarithms of size and compute over their geometric means, which the solver works on."""
        return varpro.normalise(self.x)[0], varpro.normalise(self.t)[0]

    @property
    def scales(self) -> tuple[float, float]:
        """Geometric means of size and compute."""
        return varpro.normalise(self.x)[1], varpro.normalise(self.t)[1]

    def law(self, nonlinear: np.ndarray, linear: np.ndarray) -> ShapeLaw:
        """Eq. (2) in the units of `x` and `t` from one row of a solution in normalised inputs."""
        values = zip(SHAPE_LAW.parameters, (*nonlinear, *linear), strict=True)
        return ShapeLaw(**SHAPE_LAW.restore({k: float(v) for k, v in values}, self.scales))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArmEstimate:
    """The least-squares eq. (2) of one arm: the law in the arm's units and how it was found.

    `nonlinear` (a, b, c) and `linear` (alpha, beta, xi, eps) are in normalised inputs.
    """

    law: ShapeLaw
    nonlinear: Float[np.ndarray, "3"]
    linear: Float[np.ndarray, "4"]
    sse: float
    converged: bool
    starts: int
    starts_agreed: int


def estimate(arm: Arm) -> ArmEstimate:
    """Fit eq. (2) to `arm` by least squares on relative error, sum_i (f_i / error_i - 1)^2."""
    solution = varpro.fit(SHAPE_LAW, varpro.problems(arm.logs, arm.error), keep=16)
    nonlinear, linear = solution.nonlinear[0], solution.linear[0]
    return ArmEstimate(
        law=arm.law(nonlinear, linear),
        nonlinear=nonlinear,
        linear=linear,
        sse=float(solution.sse[0]),
        converged=bool(solution.converged[0]),
        starts=solution.starts,
        starts_agreed=int(solution.agreed[0]),
    )
