"""The answer: what it warns of, and what it refuses."""

import pytest
import star_samples as stars

from vitscale.fits.answer import Setting, answer
from vitscale.fits.fit_file import FitFile
from vitscale.fits.rule import SOVIT_X0
from vitscale.fits.shape_law import fit_star


@pytest.fixture(scope="module")
def fit():
    return fit_star(stars.published_table(), resamples=0)


def test_a_start_off_the_star_is_cautioned(fit):
    found = {}
    for start in (None, SOVIT_X0):
        rule = FitFile(fit=fit, start=start, setting=Setting()).rule()
        warnings = answer(rule, 3e21, Setting()).warnings
        found[start is None] = any("read off the star" in warning for warning in warnings)
    assert found == {True: True, False: False}
