"""What counts as decided, whatever the user asks for."""

import numpy as np
import pandas as pd
import pytest
import star_samples as stars

from vitscale.fits.arm import estimate
from vitscale.fits.identify import at_level
from vitscale.fits.report import fit_lines
from vitscale.fits.shape_law import fit_dimension, fit_star
from vitscale.fits.uncertainty import exponent_interval


@pytest.mark.parametrize("level", [0.5, 0.8])
def test_a_lower_level_of_the_intervals_decides_no_more(level):
    rows = stars.published_table().query("dimension == 'mlp_dim'")
    options = {"include_center": False, "resamples": 0, "level": level}
    fit = fit_dimension(rows, method="independent", **options)
    assert fit.s.high / fit.s.low < 4
    assert not fit.identified
    (sentence,) = (f.sentence for f in fit.flags if f.code == "exponent_not_identified")
    assert "its 95% interval" in sentence


@pytest.mark.parametrize("level", [0.7, 0.99])
def test_an_interval_at_another_level_is_nearly_the_one_computed_there(level):
    arm = stars.arm("width", center=True)
    best = estimate(arm)
    other, at_95 = (
        exponent_interval(arm, best, level=p, method="independent")[0] for p in (level, 0.95)
    )
    judged = at_level(other, arm.dof)
    assert (judged.low, judged.high) == pytest.approx((at_95.low, at_95.high), rel=0.02)
    assert judged.level == 0.95
    assert at_level(at_95, arm.dof) == at_95


def test_open_ends_stay_open():
    interval, _ = exponent_interval(
        arm := stars.arm("mlp_dim", center=False), estimate(arm), level=0.5, method="independent"
    )
    for low, high in ((0.0, interval.high), (interval.low, np.inf)):
        judged = at_level(
            type(interval)(estimate=0.38, low=low, high=high, level=0.5, method=""), 9
        )
        assert (judged.low == 0, np.isinf(judged.high)) == (low == 0, np.isinf(high))


def test_copied_rows_are_counted_within_a_dimension():
    table = stars.published_table().query("dimension == 'width'")
    assert "copied_rows" not in {flag.code for flag in fit_dimension(table, resamples=0).flags}
    twice = pd.concat([table, table.iloc[:2]], ignore_index=True)
    flags = {flag.code: flag.sentence for flag in fit_dimension(twice, resamples=0).flags}
    assert "width: 2 rows are exact copies of others" in flags["copied_rows"]
    assert flags["copied_rows"].endswith("if they are no repeats, remove them")


def test_an_accuracy_is_not_fitted_without_a_word():
    table = stars.published_table()
    fit = fit_star(table, resamples=0)
    codes = {flag.code for flag in fit.flags}
    assert not codes & {"error_rises", "mixed_units", "poor_fit"}
    accuracy = fit_star(table.assign(error=1 - table["error"]), resamples=0)
    assert not any(found.identified for found in accuracy.dimensions.values())
    lines = fit_lines(accuracy)
    assert all("error rises with compute" in line for line in lines[1:4])
    assert "is this an accuracy? then give 1 - accuracy" in lines[1]
    assert "decide no exponent" in lines[-1]


def test_rows_in_percent_among_fractions_are_named():
    table = stars.published_table()
    rows = [1, 4]
    table.loc[table.index[rows], "error"] *= 100
    fit = fit_star(table, resamples=0)
    flags = {flag.code: flag.sentence for flag in fit.dimensions["width"].flags}
    assert "width: rows 2, 5 look like percentages among fractions" in flags["mixed_units"]
    assert "does not describe these points" in flags["poor_fit"]
    assert not fit.dimensions["width"].identified
    assert not {"mixed_units", "poor_fit"} & {f.code for f in fit.dimensions["depth"].flags}
    whole = table.assign(error=100 * stars.published_table()["error"])
    assert "mixed_units" not in {flag.code for flag in fit_star(whole, resamples=0).flags}
