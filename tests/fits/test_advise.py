"""Advice on the published star: it finds again what the star's own simulations taught."""

import json

import numpy as np
import pandas as pd
import pytest
from star_samples import DIMENSIONS, SHARED_FIT, published_table, relative_noise

from vitscale.advise import advise_table
from vitscale.fits import varpro
from vitscale.fits.datasets import load_sovit_star
from vitscale.fits.design.advice import Advice
from vitscale.fits.design.advise import advise
from vitscale.fits.design.compute_model import table_space
from vitscale.fits.json_numbers import finite
from vitscale.fits.laws import SHAPE_LAW
from vitscale.fits.shape_law import fit_star
from vitscale.fits.star_fit import StarFit
from vitscale.fits.tables import star_table

NOISE = {"sd": 0.0075, "correlation": 0.3}
BUDGET = 1e21  # a twelfth of what the published star cost


@pytest.fixture(scope="module")
def bare() -> pd.DataFrame:
    """The paper's 18 points of each arm without the centre, errors from a known law with noise."""
    frame = load_sovit_star().query("is_center == 0").reset_index(drop=True)
    exact = [
        float(SHARED_FIT[d].error(x, t))
        for d, x, t in zip(frame["dimension"], frame["x"], frame["forward_gflops"], strict=True)
    ]
    model = pd.factorize(frame["dimension"] + frame["x"].astype(str))[0]
    noise = relative_noise(np.random.default_rng(0), model, **NOISE)
    return frame.assign(error=np.array(exact) * (1 + noise))


@pytest.fixture(scope="module")
def fit(bare) -> StarFit:
    return fit_star(star_table(bare), resamples=0)


@pytest.fixture(scope="module")
def advice(bare, fit) -> Advice:
    return advise_table(bare, BUDGET, fit=fit)[0]


def test_it_asks_for_the_centre_though_it_is_the_dearest_network(advice):
    center = next(trial for trial in advice.trials if trial.kind == "centre")
    assert center.dimension is None and center.seed == 0 and center.shrink > 0.05
    assert center.shape is not None
    assert (center.shape.width, center.shape.depth, center.shape.mlp_dim) == (1968, 40, 6144)
    assert any("the centre was not measured" in reason for reason in advice.reasons)


def test_it_widens_the_sizes_rather_than_adding_durations(advice):
    kinds = {trial.kind for trial in advice.trials}
    assert "size" in kinds and "durations" not in kinds
    alone = {other.what: other.shrink for other in advice.alternatives}
    assert advice.shrink > 0.6
    assert alone["new sizes"] > 5 * alone["adding durations to measured networks"]
    assert alone["new sizes"] > 3 * alone["repeating measured sizes"]


def test_it_straddles_the_optimum_where_the_arm_does_not(advice):
    # Of the published arms, depth and MLP size lie above x* of the short runs; width does not.
    for dimension, smallest, optimum in (("depth", 8, 4.6), ("mlp_dim", 1088, 600)):
        new = [trial.size for trial in advice.trials if trial.dimension == dimension]
        assert new and min(new) < optimum < smallest
        assert any(
            reason.startswith(f"{dimension} ") and "must straddle" in reason
            for reason in advice.reasons
        )


def test_it_spends_no_more_than_the_budget_and_says_what_it_expects(advice):
    assert 0.5 * BUDGET < advice.flops <= BUDGET
    assert [found.dimension for found in advice.expectations] == list(DIMENSIONS)
    for found in advice.expectations:
        assert 1 < found.ratio_after < found.ratio_now
        assert found.interval.low < found.interval.estimate < found.interval.high
    gains = [trial.shrink for trial in advice.trials]
    assert sum(gains) == pytest.approx(advice.shrink) and min(gains) > 0
    text = "\n".join(advice.lines())
    assert "durations (examples)" in text
    assert text.startswith(f"train {len(advice.trials)} networks for ")
    assert "adding durations to measured networks alone would shrink them by" in text
    content = json.loads(json.dumps(finite(advice.to_dict()), allow_nan=False))
    assert content["trials"][0]["shape"]["patch"] == 14
    assert content["trials"][0]["shrink_per_flop"] > 0


def test_the_shapes_are_valid_and_priced_as_they_train(advice):
    for trial in advice.trials:
        shape = trial.shape
        assert shape.width % 16 == 0 and shape.heads == 16 and shape.mlp_dim % 16 == 0
        sizes = {"width": 1968, "depth": 40, "mlp_dim": 6144}
        if trial.dimension is not None:
            sizes[trial.dimension] = trial.size
        assert {name: getattr(shape, name) for name in sizes} == sizes
        # The trunk once to the last cooldown of 50K steps, and 50K steps for each duration; the
        # shortest durations have half of their steps for the cooldown at most.
        steps = [duration // 128 for duration in trial.durations]
        spent = max(s - min(50_000, s // 2) for s in steps) + sum(
            min(50_000, s // 2) for s in steps
        )
        flops = 3 * shape.forward_flops(image_size=224) * spent * 128
        assert trial.flops == pytest.approx(flops)


def scatter(bare: pd.DataFrame, advice: Advice | None, stars: int = 100) -> dict[str, float]:
    """Log ratio of the 95% to the 5% quantile of s over simulated stars with the advised trials."""
    found = {}
    for dimension in DIMENSIONS:
        own = bare[bare["dimension"] == dimension]
        x, t = list(own["x"].astype(float)), list(own["forward_gflops"])
        network = [f"{size:g} seed 0" for size in x]
        for trial in () if advice is None else advice.trials:
            if trial.dimension in (dimension, None):
                assert trial.shape is not None
                size = getattr(trial.shape, dimension)
                gflops = trial.shape.forward_flops(image_size=224) / 1e9
                x += [float(size)] * len(trial.durations)
                t += [gflops * duration for duration in trial.durations]
                network += [f"{size:g} seed {trial.seed}"] * len(trial.durations)
        model, rng = pd.factorize(np.array(network))[0], np.random.default_rng(1)
        exact = SHARED_FIT[dimension].error(x, t)
        errors = [exact * (1 + relative_noise(rng, model, **NOISE)) for _ in range(stars)]
        batch = varpro.problems(
            (varpro.normalise(np.array(x))[0], varpro.normalise(np.array(t))[0]), np.array(errors)
        )
        laws = varpro.fit(SHAPE_LAW, batch, keep=4, max_steps=60, tolerance=1e-8).nonlinear
        s = laws[:, 2] / laws[:, :2].sum(axis=1)
        found[dimension] = float(np.log(np.quantile(s, 0.95) / np.quantile(s, 0.05)))
    return found


def test_stars_with_the_advised_trials_scatter_less_than_with_others_as_dear(bare, fit, advice):
    base, advised = scatter(bare, None), scatter(bare, advice)
    total = sum(advised.values())
    assert total < 0.4 * sum(base.values())
    assert all(advised[name] < 0.8 * base[name] for name in DIMENSIONS)
    for kinds, margin in ((("durations",), 3), (("repeat",), 2), (("centre",), 1.2)):
        other, _ = advise_table(bare, BUDGET, fit=fit, kinds=kinds)
        assert {trial.kind for trial in other.trials} <= {*kinds, "centre"}
        assert sum(scatter(bare, other).values()) > margin * total


def test_one_dimension_gets_the_whole_budget_where_it_alone_matters(bare, fit):
    one, _ = advise_table(bare, BUDGET, fit=fit, dimension="mlp_dim")
    assert {trial.dimension for trial in one.trials} <= {"mlp_dim", None}
    assert [found.dimension for found in one.expectations] == ["mlp_dim"]


def test_the_optimum_is_known_worse_the_further_it_is_extrapolated(bare, fit):
    far, _ = advise_table(bare, BUDGET, at_flops=3e21, fit=fit)
    assert {found.quantity for found in far.expectations} == {"x*"}
    assert all(found.ratio_after < found.ratio_now for found in far.expectations)
    assert far.at_flops == 3e21 and "x* = " in "\n".join(far.lines())
    # That lies five times beyond the data; within them x* is known much better.
    near, _ = advise_table(bare, BUDGET, at_flops=3e20, fit=fit)
    for k in range(3):
        assert near.expectations[k].ratio_now < far.expectations[k].ratio_now


def test_a_table_without_shapes_gets_advice_in_its_own_durations(fit, bare):
    table = star_table(bare.drop(columns=["width", "depth", "mlp_dim"]))
    found = advise(table, table_space(table), BUDGET, fit=fit)
    assert found.trials and all(trial.shape is None for trial in found.trials)
    assert {d for trial in found.trials for d in trial.durations} <= {1.0, 2.0, 4.0, 8.0, 16.0} | {
        np.sqrt(32.0)
    }
    assert "durations (1 = the shortest measured)" in "\n".join(found.lines())
    advised, plan = advise_table(bare.drop(columns=["width", "images"]), BUDGET, fit=fit)
    assert plan is None and advised.notes[-1].endswith("for a plan, give a store")


def test_sizes_far_from_those_measured_come_with_a_caution(advice):
    for name, smallest in (("width", 608), ("depth", 8), ("mlp_dim", 1088)):
        new = [trial.size for trial in advice.trials if trial.dimension == name]
        factor = smallest / min(new, default=smallest)
        said = [caution for caution in advice.cautions if caution.startswith(f"{name} ")]
        assert bool(said) == (factor > 2)
        if said:
            start = f"{name} {min(new)} lies a factor of {factor:.2g} below the smallest measured"
            assert said[0].startswith(start) and "take the step in parts" in said[0]
    assert advice.cautions
    assert f"  caution: {advice.cautions[0]}" in advice.lines()


def test_an_optimum_that_the_fit_has_not_is_not_said_to_be_known():
    x, duration = np.meshgrid([5.0, 7, 16, 32, 64], [1.0, 4, 16], indexing="ij")
    frame = pd.DataFrame({"x": x.ravel(), "train_flops": 1e15 * (x * duration).ravel()})
    table = star_table(frame.assign(error=ODD["rises"](x, x * duration).ravel()))
    found = advise(table, table_space(table), 3e17, kinds=("size",))
    said = [reason for reason in found.reasons if "must straddle" in reason]
    assert said and all("straddle an optimum; the fit has none, but" in reason for reason in said)


def test_a_budget_that_is_too_small_is_told_what_would_do(bare, fit):
    nothing, plan = advise_table(bare, 1e15, fit=fit)
    assert nothing.trials == () and plan is None
    (first, second, *_) = nothing.lines()
    assert first == "no trial to advise for 1e+15 training FLOPs"
    least = float(second.split("the cheapest costs ")[1].split(" ")[0])
    some, _ = advise_table(bare, 1.01 * least, fit=fit)
    assert some.trials


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": -1.0}, r"budget=-1.0 is not a number of training FLOPs"),
        ({"budget": np.nan}, r"budget=nan is not a number"),
        ({"at_flops": 0.0}, r"at_flops=0.0 is not a number of training FLOPs"),
        ({"dimension": "heads"}, r"dimension='heads' was not measured; choose from width, depth"),
        (
            {"kinds": ("sizes",)},
            r"kinds: 'sizes' is no kind of measurement; did you mean 'size'. choose from centre",
        ),
    ],
)
def test_choices_that_make_no_sense_are_refused(options, message):
    table = published_table()
    with pytest.raises(ValueError, match=message):
        advise(table, table_space(table), options.pop("budget", 1e20), **options)


ODD = {
    "flat": lambda x, t: 0.3 + 0 * x * t,
    "falls": lambda x, t: 0.5 * x**-0.5 + 0.1 * t**-0.5,
    "rises": lambda x, t: 0.01 * x**0.5 + 0.1 * t**-0.5,
    "exact": lambda x, t: 0.5 * x**-0.5 + (0.01 * x**0.8 + 0.1) * t**-0.6 + 0.05,
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("factor", [1.0, 1e8])
def test_whatever_the_points_the_advice_is_whole(name, factor):
    x, duration = np.meshgrid([5.0, 7, 16, 32, 64], [1.0, 4, 16], indexing="ij")
    t = x * duration
    frame = pd.DataFrame({"x": (factor * x).ravel(), "train_flops": 1e15 * t.ravel()})
    table = star_table(frame.assign(error=ODD[name](x, t).ravel()))
    found = advise(table, table_space(table), 3e17)
    assert found.flops <= 3e17
    assert all(1 <= e.ratio_after <= e.ratio_now < np.inf for e in found.expectations)
    content = json.loads(json.dumps(finite(found.to_dict()), allow_nan=False))
    assert len(content["trials"]) == len(found.trials)
    caution = "has no optimum" if name == "rises" else "no noise to speak of"
    assert caution in " ".join(found.notes)
