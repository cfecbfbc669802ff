"""The joint rule against the curves of Figure 1, the grid's choice, and rounding."""

import dataclasses
import itertools
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import star_samples as stars
from hypothesis import given
from hypothesis import strategies as st

from vitscale.fits.grid import choose_x0, optimum_over_compute
from vitscale.fits.rounding import round_shape
from vitscale.fits.rule import (
    SOVIT_X0,
    Rule,
    StartingPoint,
    equal_weights,
    exactly,
    flops_like,
    published_rule,
    rule_from_fit,
)
from vitscale.fits.shape_law import fit_star
from vitscale.fits.star_start import x0_from_star
from vitscale.fits.uncertainty import Interval
from vitscale.scaling.shape import Shape


@pytest.fixture(scope="module")
def fit():
    return fit_star(stars.published_table(), resamples=0)


@pytest.mark.parametrize(
    ("t", "sizes"),
    [
        (1e11, (750.4344, 14.6062, 1570.6192)),
        (1e12, (909.1721, 20.6318, 2537.4894)),
        (9e12, (1091.8583, 28.6862, 4010.5575)),
        (1e14, (1334.4821, 41.1658, 6623.2461)),
    ],
)
def test_figure_1(t, sizes):
    found = [size.estimate for size in published_rule("sovit-figure1").sizes(t).values()]
    np.testing.assert_allclose(found, sizes, atol=6e-5)


def test_growth_from_1t_to_100t():
    # Labels of Figure 1: width x1.5, depth x2.0, MLP x2.6.
    rule = published_rule("sovit-figure1")
    low, high = rule.sizes(1e12), rule.sizes(1e14)
    growth = [high[name].estimate / low[name].estimate for name in low]
    assert growth == pytest.approx([1.468, 1.995, 2.610], abs=1e-3)


def test_sovit_400m_at_the_compute_of_vit_g():
    sizes = published_rule("sovit-figure1").sizes_at_flops(flops_like("ViT-g/14 x 16e9"))
    for name, published in {"width": 1152, "depth": 27, "mlp_dim": 4304}.items():
        assert sizes[name].estimate == pytest.approx(published, rel=0.10)


def test_flops_like():
    # 533.0 GF x 16e9 images, three times for training.
    assert flops_like("ViT-g/14 x 16e9") == pytest.approx(3 * 532.9808e9 * 16e9, rel=1e-6)
    assert flops_like("SoViT-400m/14 × 40e9") == pytest.approx(3 * 219.5277e9 * 40e9, rel=1e-6)
    for bad in ("ViT-g/14", "ViT-g/14 x many", "ViT-g/14 x -3", ""):
        with pytest.raises(ValueError, match='write it as "ViT-g/14 x 16e9"'):
            flops_like(bad)
    with pytest.raises(ValueError, match="unknown ViT"):
        flops_like("ViT-q/14 x 1e9")


def test_rule_of_a_fit_carries_intervals(fit):
    rule = rule_from_fit(fit, SOVIT_X0)
    sizes = rule.sizes(1e13)
    for name, size in sizes.items():
        s = fit.dimensions[name].s
        x0 = SOVIT_X0.sizes[name].estimate
        tau = 1e13 / 8e9
        ends = [x0 * tau ** (v / 3) for v in (s.low, s.estimate, s.high)]
        assert (size.low, size.estimate, size.high) == pytest.approx(ends)
    before = rule.sizes(1e8)
    assert all(size.low < size.estimate < size.high for size in before.values())
    at_start = rule.sizes(8e9)
    assert all(size.low == size.estimate == size.high for size in at_start.values())


def test_published_rule_claims_no_interval():
    sizes = published_rule("sovit-text").sizes(1e12)
    assert {(size.low, size.high) for size in sizes.values()} == {(0, math.inf)}


def test_units_of_start_and_fit_are_brought_together(fit):
    in_flops = StartingPoint(
        sizes=SOVIT_X0.sizes,
        t0=8e9 * 3e9,
        compute_unit="train_flops",
        flops_per_unit=1.0,
        source="the same in FLOPs",
    )
    first, second = (rule_from_fit(fit, start).sizes(1e12) for start in (SOVIT_X0, in_flops))
    for name in first:
        assert second[name].estimate == pytest.approx(first[name].estimate)


def test_starting_point_from_the_star(fit):
    start = x0_from_star(fit, 1e11)
    for name, dimension in fit.dimensions.items():
        assert start.sizes[name].estimate == pytest.approx(float(dimension.optimal_x(1e11)))
        assert start.sizes[name].low < start.sizes[name].estimate < start.sizes[name].high
    assert "fallback" in start.source
    with pytest.raises(ValueError, match="outside the compute that all arms measured"):
        x0_from_star(fit, 1e15)


def test_a_start_off_the_star_covers_every_other_start_off_it(fit):
    low = max(d.t_range[0] for d in fit.dimensions.values())
    high = min(d.t_range[1] for d in fit.dimensions.values())
    sizes = rule_from_fit(fit, x0_from_star(fit)).sizes(1e13)
    starts = [x0_from_star(fit, t) for t in np.geomspace(low, high, 9).clip(low, high)]
    others = [rule_from_fit(fit, start).sizes(1e13) for start in starts]
    for name, size in sizes.items():
        estimates = [other[name].estimate for other in others]
        # x* grows by t^s along the star and by t^(s/3) along the rule.
        spread = (high / low) ** (fit.dimensions[name].s.estimate * 2 / 3)
        assert max(estimates) / min(estimates) == pytest.approx(spread)
        assert size.low < min(estimates) and max(estimates) < size.high


def test_a_start_off_the_star_is_open_where_an_optimum_is(fit):
    width = fit.dimensions["width"]
    first, *rest = width.x_star_curve
    opened = dataclasses.replace(first, x=dataclasses.replace(first.x, low=0.0, high=math.inf))
    changed = dataclasses.replace(width, x_star_curve=(opened, *rest))
    partly = dataclasses.replace(fit, dimensions={**fit.dimensions, "width": changed})
    sizes = x0_from_star(partly).sizes
    assert (sizes["width"].low, sizes["width"].high) == (0, math.inf)
    assert sizes["depth"] == x0_from_star(fit).sizes["depth"]


def test_starting_point_round_trip(fit):
    for start in (SOVIT_X0, x0_from_star(fit)):
        assert StartingPoint.from_dict(json.loads(json.dumps(start.to_dict()))) == start
    older = {key: value for key, value in SOVIT_X0.to_dict().items() if key != "fallback"}
    assert StartingPoint.from_dict(older) == SOVIT_X0
    with pytest.raises(ValueError, match="the starting point is damaged"):
        StartingPoint.from_dict({"sizes": {}})


def test_rule_refusals(fit):
    with pytest.raises(ValueError, match="unknown rule 'x'; choose from sovit-text"):
        published_rule("x")
    rule = published_rule("sovit-text")
    with pytest.raises(ValueError, match="compute=-1 is not positive"):
        rule.sizes(-1)
    with pytest.raises(ValueError, match=r"weights sum to 1.5; they must sum to 1"):
        Rule(
            start=rule.start,
            exponents=rule.exponents,
            weights=dict.fromkeys(rule.exponents, 0.5),
            source="",
        )
    with pytest.raises(ValueError, match="same dimensions everywhere"):
        Rule(start=rule.start, exponents={}, weights={}, source="")


@given(
    s=st.floats(0.05, 1.5), spread=st.floats(1, 2), tau=st.floats(1e-4, 1e6), x0=st.floats(1, 1e4)
)
def test_interval_ends_follow_the_exponent(s, spread, tau, x0):
    interval = Interval(estimate=s, low=s / spread, high=s * spread, level=0.95, method="")
    start = StartingPoint(
        sizes={"width": exactly(x0, "")}, t0=1, compute_unit="", flops_per_unit=None, source=""
    )
    rule = Rule(
        start=start,
        exponents={"width": interval},
        weights=equal_weights(["width"]),
        source="",
    )
    size = rule.sizes(tau)["width"]
    assert size.low <= size.estimate * (1 + 1e-12) and size.estimate <= size.high * (1 + 1e-12)
    with pytest.raises(ValueError, match="is not known in FLOPs"):
        rule.sizes_at_flops(1e20)


# --- x0 from a grid -------------------------------------------------------------------------------

WIDTHS, DEPTHS, MLPS = (32, 48, 72, 108), (2, 3, 4, 6), (64, 96, 144)


def _grid(optimum, *, widths=WIDTHS, noise: float = 0.0) -> pd.DataFrame:
    """Errors that rise with the squared log distance from a known `optimum`."""
    rng = np.random.default_rng(0)
    rows = []
    for shape in itertools.product(widths, DEPTHS, MLPS):
        forward = Shape(
            width=shape[0], depth=shape[1], mlp_dim=shape[2], heads=4, patch=4
        ).forward_flops(image_size=16)
        away = sum(math.log(a / b) ** 2 for a, b in zip(shape, optimum, strict=True))
        for examples in (1e5, 1e6, 1e7):
            compute = 3.0 * forward * examples
            error = (0.1 + 100 * compute**-0.25) * (1 + 0.2 * away)
            row = dict(zip(("width", "depth", "mlp_dim"), shape, strict=True))
            rows.append({**row, "compute": compute, "error": error * (1 + noise * rng.normal())})
    table = pd.DataFrame(rows)
    table.attrs = {"compute_unit": "train_flops", "flops_per_unit": 1.0}
    return table


@pytest.mark.parametrize("noise", [0.0, 0.002])
def test_the_optimum_inside_the_grid_is_chosen_at_the_least_compute(noise):
    table = _grid((48, 3, 96), noise=noise)
    start = choose_x0(table)
    assert [size.estimate for size in start.sizes.values()] == [48, 3, 96]
    between = [(size.low, size.high) for size in start.sizes.values()]
    assert between == [(32, 72), (2, 4), (64, 144)]
    assert {size.method for size in start.sizes.values()} == {"between neighbouring grid values"}
    assert (start.compute_unit, start.flops_per_unit) == ("train_flops", 1.0)
    found = optimum_over_compute(table)
    index = np.flatnonzero((found.shapes == (48, 3, 96)).all(axis=1))[0]
    assert start.t0 == found.compute[found.best == index].min()
    mine = np.asarray(table.query("width == 48 and depth == 3 and mlp_dim == 96")["compute"])
    assert mine.min() <= start.t0 <= mine.max()


def test_an_optimum_on_the_edge_is_refused_with_advice():
    with pytest.raises(ValueError, match=r"lies on its edge.*width=32 is the smallest .*add 21"):
        choose_x0(_grid((20, 3, 96)))
    with pytest.raises(ValueError, match=r"depth=6 is the largest of the grid \(add 9\)"):
        choose_x0(_grid((48, 9, 96)))


def test_a_grid_too_thin_to_have_an_inside_is_refused():
    with pytest.raises(ValueError, match=r"2 values of width \(32, 48\).*at least 3"):
        choose_x0(_grid((48, 3, 96), widths=(32, 48)))


def test_shapes_are_compared_only_where_both_were_measured():
    table = _grid((48, 3, 96))
    found = optimum_over_compute(table)
    for k, shape in enumerate(found.shapes):
        sizes = table[["width", "depth", "mlp_dim"]].to_numpy()
        known = np.isfinite(found.error[k])
        compute = table["compute"].to_numpy(float)[(sizes == shape).all(axis=1)]
        inside = (found.compute >= compute.min()) & (found.compute <= compute.max())
        np.testing.assert_array_equal(known, inside)


# --- Rounding -------------------------------------------------------------------------------------


@given(
    width=st.floats(8, 4000),
    depth=st.floats(1, 100),
    mlp_dim=st.floats(16, 20000),
    multiple=st.sampled_from([8, 16, 32, 128]),
)
def test_rounding_keeps_to_multiples_and_close_by(width, depth, mlp_dim, multiple):
    sizes = {"width": width, "depth": depth, "mlp_dim": mlp_dim}
    shape = round_shape(sizes, patch=16, mlp_multiple=multiple)
    assert shape.mlp_dim % multiple == 0
    assert shape.width % shape.head_dim == 0
    assert shape.depth in {math.floor(depth), math.ceil(depth)}
    assert abs(shape.mlp_dim - mlp_dim) <= multiple
    assert abs(shape.width - width) <= max(1, 0.08 * width, shape.head_dim)


def test_rounding_is_the_nearest_of_all_neighbours():
    sizes = {"width": 1087.0, "depth": 28.45, "mlp_dim": 3966.0}
    shape = round_shape(sizes, patch=14, heads=16)
    assert (shape.heads, shape.width % 16, shape.mlp_dim % 16) == (16, 0, 0)

    def cost(s: Shape) -> float:
        return s.depth * s.width * (4 * s.width + 2 * 256 + 2 * s.mlp_dim)

    goal = 28.45 * 1087 * (4 * 1087 + 2 * 256 + 2 * 3966)
    assert cost(shape) == pytest.approx(goal, rel=0.03)
    assert shape == Shape(width=1088, depth=28, mlp_dim=3968, heads=16, patch=14)


def test_rounding_options():
    sizes = {"width": 700.0, "depth": 12.2, "mlp_dim": 2900.0}
    assert round_shape(sizes, patch=16).width % 64 == 0
    assert round_shape(sizes, patch=16, head_dim=72).head_dim == 72
    assert round_shape(sizes, patch=16, heads=12, width_multiple=128).width == 768
    tiny = round_shape({"width": 37.0, "depth": 0.4, "mlp_dim": 3.0}, patch=4, image_size=16)
    assert (tiny.depth, tiny.mlp_dim) == (1, 16)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"heads": 4, "head_dim": 8}, "heads=4 and head_dim=8 are both given; choose one"),
        ({"mlp_multiple": 0}, "mlp_multiple=0 is not a whole number from 1"),
        ({"image_size": 8}, "image_size=8 is smaller than patch=16"),
    ]
    for options, message in refused:
        with pytest.raises(ValueError, match=message):
            round_shape(sizes, patch=16, **options)
    with pytest.raises(ValueError, match="depth=nan is not a size"):
        round_shape({"width": 64.0, "mlp_dim": 64.0}, patch=16)
