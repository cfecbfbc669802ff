"""The published star and its fit, for the tests of figures; nobody alters either."""

import pytest
import star_samples as stars

from vitscale.fits.datasets import load_sovit_star
from vitscale.fits.shape_law import fit_star


@pytest.fixture(scope="session")
def table():
    """The published star in canonical columns, with the images that each run saw."""
    return stars.published_table().assign(examples=load_sovit_star()["images"].to_numpy(float))


@pytest.fixture(scope="session")
def fit(table):
    """The fit of the published star."""
    return fit_star(table, resamples=0)
