"""Stars for the tests of the fits: the published one, and simulated ones with a known truth."""

import numpy as np
import pandas as pd

from vitscale.fits.arm import Arm
from vitscale.fits.datasets import load_sovit_star
from vitscale.fits.laws import ShapeLaw
from vitscale.fits.tables import star_table

DIMENSIONS = ("width", "depth", "mlp_dim")


def published_table() -> pd.DataFrame:
    """The published star in canonical columns."""
    return star_table(load_sovit_star(), compute="forward_gflops")


def arm(dimension: str, *, center: bool) -> Arm:
    """One arm of the published star, with or without the centre's two rows."""
    rows = load_sovit_star().query("dimension == @dimension")
    if not center:
        rows = rows.query("is_center == 0")
    x = rows["x"].to_numpy(float)
    return Arm(
        x=x,
        t=rows["forward_gflops"].to_numpy(float),
        error=rows["error"].to_numpy(float),
        model=np.unique(x, return_inverse=True)[1],
    )


SHARED_FIT = {
    "width": ShapeLaw(
        alpha=63.742391, a=0.95127, beta=9.987259, b=1.781149, xi=2403196.5, c=0.695, eps=0.1805
    ),
    "depth": ShapeLaw(
        alpha=0.535312, a=0.660551, beta=507455.12, b=0.802973, xi=0, c=0.695, eps=0.1805
    ),
    "mlp_dim": ShapeLaw(
        alpha=0.500707, a=0.268104, beta=370.82774, b=1.081308, xi=5073090.8, c=0.695, eps=0.1805
    ),
}
"""The joint fit of the published star with its centre and with c and eps shared, s = .2543, .4749,
.5150: the truth of the simulations, in forward GFLOPs x images."""


def design(dimension: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sizes, compute and model of a full published arm: 7 sizes at 64M, 256M and 512M images."""
    rows = load_sovit_star().query("dimension == @dimension").drop_duplicates("x")
    x = np.repeat(rows["x"].to_numpy(float), 3)
    images = np.tile([64e6, 256e6, 512e6], len(rows))
    t = np.repeat(rows["forward_gflops_per_image"].to_numpy(float), 3) * images
    return x, t, np.repeat(np.arange(len(rows)), 3)


def relative_noise(
    rng: np.random.Generator, model: np.ndarray, sd: float, correlation: float
) -> np.ndarray:
    """Gaussian noise of `sd`, with `correlation` between the durations of a model."""
    own = rng.standard_normal(len(model))
    shared = rng.standard_normal(model.max() + 1)[model]
    return sd * (np.sqrt(1 - correlation) * own + np.sqrt(correlation) * shared)


def simulated_arm(law: ShapeLaw, dimension: str, rng, *, sd: float, correlation: float = 0) -> Arm:
    """The published design with errors from `law` and relative noise."""
    x, t, model = design(dimension)
    error = law.error(x, t) * (1 + relative_noise(rng, model, sd, correlation))
    return Arm(x=x, t=t, error=error, model=model)
