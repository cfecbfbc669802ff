"""Star fits against the published star, refits of it, and brute force."""

import json

import numpy as np
import pandas as pd
import pytest
import star_samples as stars
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vitscale.fits.arm import estimate
from vitscale.fits.intervals.profile import s_objective
from vitscale.fits.shape_law import fit_dimension, fit_star
from vitscale.fits.tables import star_table


# Refits of the published star by scipy (relative least squares, continuous exponents).
@pytest.mark.parametrize(
    ("dimension", "center", "n", "sse", "s", "abc"),
    [
        ("width", False, 18, 1.113531e-3, 0.2427, (0.990, 1.764, 0.668)),
        ("depth", False, 18, 3.835747e-4, 0.4573, (0.604, 0.749, 0.618)),
        ("mlp_dim", False, 18, 1.007628e-3, 0.3845, (0.063, 1.984, 0.787)),
        ("width", True, 20, 1.115944e-3, 0.2432, (1.016, 1.732, 0.668)),
        ("depth", True, 20, 4.657503e-4, 0.4532, (0.637, 0.728, 0.618)),
        ("mlp_dim", True, 20, 1.247993e-3, 0.6094, (0.181, 1.109, 0.786)),
    ],
)
def test_published_star(dimension, center, n, sse, s, abc):
    table = stars.published_table().query("dimension == @dimension")
    fit = fit_dimension(table, include_center=center, resamples=0)
    assert fit.n == n
    # The refits had FLOPs to more digits than the published table holds.
    assert fit.sse == pytest.approx(sse, rel=2e-5)
    assert fit.rms == pytest.approx(np.sqrt(sse / n), rel=1e-5)
    assert fit.law.s == pytest.approx(s, abs=1e-4)
    assert (fit.law.a, fit.law.b, fit.law.c) == pytest.approx(abc, abs=1e-3)
    assert fit.converged
    assert fit.starts_agreed > 1
    arm = stars.arm(dimension, center=center)
    relative = fit.law.error(arm.x, arm.t) / arm.error - 1
    assert relative @ relative == pytest.approx(fit.sse, rel=1e-9)


@pytest.mark.parametrize(
    ("dimension", "center", "low", "high"),
    [
        ("width", False, 0.211, 0.289),
        ("depth", False, 0.394, 0.582),
        ("mlp_dim", False, 0.167, 0.860),
        ("width", True, 0.211, 0.267),
        ("depth", True, 0.394, 0.498),
        ("mlp_dim", True, 0.311, 0.800),
    ],
)
def test_profile_intervals_of_the_published_star(dimension, center, low, high):
    # An independent profile on a grid with steps of 8.1% found these to be its last values inside.
    table = stars.published_table().query("dimension == @dimension")
    fit = fit_dimension(table, include_center=center, resamples=0, method="independent")
    assert fit.s.low <= low * 1.003 <= fit.s.low * 1.0845
    assert fit.s.high / 1.0845 <= high * 0.997 <= fit.s.high


@pytest.mark.parametrize("dimension", stars.DIMENSIONS)
def test_interval_ends_are_where_the_profile_crosses(dimension):
    arm = stars.arm(dimension, center=True)
    best = estimate(arm)
    table = stars.published_table().query("dimension == @dimension")
    fit = fit_dimension(table, resamples=0, method="independent")
    sse = s_objective(arm, best, np.array([fit.s.low, fit.s.high]))
    f = (sse / best.sse - 1) * arm.dof
    np.testing.assert_allclose(f, stats.f.ppf(0.95, 1, arm.dof), rtol=0.01)


def test_optimum_at_1e11():
    # Far better determined than the exponents.
    fit = fit_star(stars.published_table(), t_ref=1e11, resamples=0, include_center=False)
    optima = {name: d.x_star for name, d in fit.dimensions.items()}
    for name, value in {"width": 975, "depth": 11.6, "mlp_dim": 1461}.items():
        star = optima[name]
        assert star is not None and star.t == 1e11
        assert star.x.estimate == pytest.approx(value, rel=2e-3)
        assert star.x.low < value < star.x.high


@pytest.fixture(scope="module")
def published():
    return fit_star(stars.published_table(), resamples=0)


def test_the_sparse_arm_is_flagged_and_the_centre_decides_it(published):
    without = fit_star(stars.published_table(), include_center=False, resamples=0)
    assert [n for n, d in without.dimensions.items() if not d.identified] == ["mlp_dim"]
    codes = {flag.code for flag in without.dimensions["mlp_dim"].flags}
    assert codes == {"exponent_not_identified", "optimum_outside_data"}
    assert all(d.identified for d in published.dimensions.values())


def test_units_change_nothing_but_the_units():
    table = stars.published_table()
    scaled = table.assign(x=table["x"] * 1000, compute=table["compute"] * 3e9)
    first, second = (fit_star(t, resamples=20) for t in (table, scaled))
    for name, fit in first.dimensions.items():
        other = second.dimensions[name]
        assert other.sse == pytest.approx(fit.sse, rel=1e-8)
        assert fit.s_bootstrap and other.s_bootstrap
        for pair in ((fit.s, other.s), (fit.s_bootstrap, other.s_bootstrap)):
            assert (pair[1].low, pair[1].high) == pytest.approx((pair[0].low, pair[0].high), 1e-4)
        assert fit.x_star and other.x_star
        assert other.x_star.x.estimate == pytest.approx(1000 * fit.x_star.x.estimate, rel=1e-5)
        assert other.x_star.x.high == pytest.approx(1000 * fit.x_star.x.high, rel=1e-3)


def test_row_order_changes_nothing(published):
    table = stars.published_table()
    shuffled = table.sample(frac=1, random_state=0)
    shuffled.attrs = table.attrs
    second = fit_star(shuffled, resamples=0)
    for name, fit in published.dimensions.items():
        assert second.dimensions[name].s.low == pytest.approx(fit.s.low, rel=1e-6)


def _points(x, durations=(1.0, 4.0, 8.0), law=stars.SHARED_FIT["width"]):
    x = np.asarray(x, float)
    t = 1e8 * x * np.asarray(durations)[:, None]
    rows = {"x": np.tile(x, len(durations)), "compute": t.ravel()}
    frame = pd.DataFrame(rows)
    noise = 1 + 0.003 * np.random.default_rng(0).standard_normal(len(frame))
    return star_table(frame.assign(error=law.error(frame["x"], frame["compute"]) * noise))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            _points([600, 900]),
            "x has 6 points over 2 sizes .* needs at least 8 points over 3 sizes",
        ),
        (
            _points([600, 900, 1200, 1500, 1800, 2100, 2400, 2700], [1.0]),
            "8 points over 8 sizes with at most 1 duration each",
        ),
    ],
)
def test_too_few_points_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        fit_star(table)


def test_refusals():
    table = stars.published_table()
    with pytest.raises(ValueError, match="level=2 is not a probability"):
        fit_star(table, level=2)
    for bad in (-1, 0, np.nan, np.inf, True, "1e9"):
        with pytest.raises(ValueError, match=f"t_ref={bad!r} is not a compute; use a positive"):
            fit_star(table, t_ref=bad)  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match=f"flops_per_unit={bad!r} is not a number of training"):
            fit_star(table, flops_per_unit=bad)  # pyright: ignore[reportArgumentType]
    for bad in (-1, 2.5, True):
        with pytest.raises(ValueError, match=f"resamples={bad!r} is not a whole number from 0"):
            fit_star(table, resamples=bad)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="method='delta' is unknown; choose from clustered"):
        fit_star(table, method="delta")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="the star has no rows"):
        fit_star(table.iloc[:0])


def test_two_durations_are_flagged():
    fit = fit_star(_points([400, 700, 1100, 1700, 2600], [1.0, 8.0]), resamples=0)
    assert "few_durations" in {flag.code for flag in fit.flags}


def test_an_error_that_only_falls_has_no_optimum():
    falling = _points([50, 70, 100, 140, 200, 300])
    falling["error"] = 0.2 + falling["x"] ** -0.5 + falling["compute"] ** -0.2
    fit = fit_star(falling, resamples=50)
    (dimension,) = fit.dimensions.values()
    assert not dimension.identified
    codes = {flag.code for flag in dimension.flags}
    assert codes & {"no_optimum", "exponent_not_identified", "b_at_bound", "a_at_bound"}


@pytest.mark.parametrize(
    ("sizes", "dimension", "advice"),
    [
        ([1, 2, 4, 8, 12], "depth", "below 1 there is no size, so train longer"),
        ([2, 4, 8, 12, 16], "depth", "measure smaller sizes"),
        ([1, 2, 4, 8, 12], "parameters", "measure smaller sizes"),  # in a unit of one's own
    ],
)
def test_no_size_below_one_is_asked_for(sizes, dimension, advice):
    rising = _points(sizes).assign(dimension=dimension)
    rising["error"] = 0.1 + 0.02 * rising["x"] ** 0.5 + rising["compute"] ** -0.2
    fit = fit_star(rising, resamples=0)
    (flag,) = [flag for flag in fit.flags if flag.code == "no_optimum"]
    assert "only rises" in flag.sentence and advice in flag.sentence


def test_noiseless_points_give_back_the_law_with_a_closed_interval():
    arm_law = stars.SHARED_FIT["width"]
    x, t, model = stars.design("width")
    table = pd.DataFrame(
        {"x": x, "compute": t, "error": arm_law.error(x, t), "model": model, "is_center": 0}
    )
    (fit,) = fit_star(star_table(table), resamples=20).dimensions.values()
    assert fit.law.s == pytest.approx(arm_law.s, rel=1e-5)
    assert fit.law.alpha == pytest.approx(arm_law.alpha, rel=1e-3)
    assert fit.s.low <= arm_law.s * 1.001 and fit.s.high >= arm_law.s * 0.999
    assert fit.s.high / fit.s.low < 1.02


def test_seeds_may_repeat_points():
    rng = np.random.default_rng(0)
    frames = []
    for seed in range(3):
        arm = stars.simulated_arm(stars.SHARED_FIT["width"], "width", rng, sd=0.005)
        frames.append(
            pd.DataFrame({"x": arm.x, "compute": arm.t, "error": arm.error, "seed": seed})
        )
    (fit,) = fit_star(star_table(pd.concat(frames, ignore_index=True))).dimensions.values()
    assert (fit.n, fit.models) == (63, 21)
    assert fit.s.low < stars.SHARED_FIT["width"].s < fit.s.high
    assert fit.s.high / fit.s.low < 1.35


@pytest.mark.filterwarnings("error")
@settings(max_examples=25)
@given(data=st.data())
def test_whatever_the_points_the_answer_is_whole_or_refused(data):
    # Duplicates, constants, outliers, sizes and errors over 40 orders of magnitude.
    count = data.draw(st.integers(8, 14))
    numbers = st.floats(1e-20, 1e20) | st.floats(0.1, 1) | st.sampled_from([0.5, 8.0, 16.0])
    column = st.lists(numbers, min_size=count, max_size=count)
    frame = pd.DataFrame({name: data.draw(column) for name in ("x", "compute", "error")})
    try:
        fit = fit_star(star_table(frame), resamples=2)
    except ValueError as error:
        assert "needs at least 8 points over 3 sizes" in str(error) or "overflows" in str(error)
        return
    json.dumps(fit.to_dict(), allow_nan=False)
    for dimension in fit.dimensions.values():
        assert np.isfinite(dimension.sse)
        assert dimension.s.low <= dimension.law.s <= dimension.s.high
        assert dimension.identified or dimension.flags


@pytest.mark.parametrize("kind", ["equal", "random", "rising", "falling", "steep"])
def test_points_that_decide_nothing_are_said_to(kind):
    frame = _points([8, 16, 32, 64, 128])
    x, t = frame["x"].to_numpy(float), frame["compute"].to_numpy(float)
    frame["error"] = {
        "equal": np.full(15, 0.5),
        "random": np.random.default_rng(0).uniform(0.1, 0.9, 15),
        "rising": 0.1 + 0.001 * x,
        "falling": 1 / x,
        "steep": t**-0.3,
    }[kind]
    (fit,) = fit_star(frame, resamples=10).dimensions.values()
    assert not fit.identified
    assert all(len(flag.sentence) > 40 for flag in fit.flags)
