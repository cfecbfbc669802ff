"""Training lengths found again from compute alone, and the size that a length is spent best on."""

import numpy as np
import pandas as pd
import pytest
import star_samples as stars

from vitscale.fits.datasets import load_sovit_star
from vitscale.fits.durations import LengthCurve, length_curve, training_lengths
from vitscale.fits.laws import SOVIT_FITS_10SHOT, ShapeLaw


@pytest.mark.parametrize("dimension", stars.DIMENSIONS)
def test_lengths_of_the_published_star(dimension):
    # The centre has two of the three lengths, so its second is not the arms' second.
    rows = stars.published_table().query("dimension == @dimension")
    images = load_sovit_star().query("dimension == @dimension")["images"].to_numpy(float)
    np.testing.assert_allclose(training_lengths(rows), images / 64e6, rtol=1e-3)


def test_examples_are_taken_where_they_are_known():
    images = load_sovit_star()["images"].to_numpy(float)
    table = stars.published_table().assign(examples=images)
    np.testing.assert_array_equal(training_lengths(table), images)


def test_repeated_seeds_share_their_lengths():
    rows = stars.published_table().query("dimension == 'depth' and not is_center")
    again = rows.assign(model=rows["model"] + " again")
    both = np.concatenate([training_lengths(rows)] * 2)
    twice = training_lengths(pd.concat([rows, again]))
    np.testing.assert_allclose(twice, both, rtol=1e-12)


def test_compute_between_and_beyond_the_sizes():
    curve = LengthCurve(x=np.array([2.0, 4.0, 8.0]), t=np.array([1.0, 4.0, 32.0]))
    # t = x^2 / 4 up to 4, then x^3 / 16.
    np.testing.assert_allclose(
        curve.compute(np.array([1, 2, 3, 4, 6, 16])), [0.25, 1, 2.25, 4, 13.5, 256]
    )


def test_one_size_makes_no_curve():
    rows = stars.published_table().query("dimension == 'width' and x == 608")
    assert length_curve(rows) is None


@pytest.mark.parametrize("images", [64e6, 256e6, 512e6])
def test_optimum_of_a_length(images):
    # t = k x^g in x = F t^s, solved by hand: x = (F k^s)^(1 / (1 - g s)).
    law, x = SOVIT_FITS_10SHOT["width"], np.geomspace(400, 2000, 7)
    k, g = 0.05 * images, 1.3
    curve = LengthCurve(x=x, t=k * x**g)
    scale = (law.alpha * law.a / (law.beta * law.b)) ** (1 / (law.a + law.b))
    expected = (scale * k**law.s) ** (1 / (1 - g * law.s))
    assert curve.optimum(law) == pytest.approx(expected, rel=1e-4)


def test_no_optimum_within_reach():
    flat = ShapeLaw(alpha=1.0, a=0.5, beta=0.0, b=1.0, xi=1.0, c=0.5, eps=0.1)
    curve = LengthCurve(x=np.array([1.0, 2.0]), t=np.array([1.0, 2.0]))
    assert curve.optimum(flat) is None
