"""The frontier and its laws against the coefficients that Scaling Vision Transformers prints."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from vitscale.fits.datasets import load_scaling_vit_fewshot
from vitscale.fits.frontier import Envelope, fit_frontier, pareto_frontier
from vitscale.fits.laws import SCALING_VIT_FRONTIERS, double_saturating, saturating

ENVELOPES: tuple[Envelope, ...] = ("minimum", "smoothed")


def _runs(metric: str):
    rows = load_scaling_vit_fewshot().dropna(subset=[metric, "core_days_fig2"])
    error = 1 - rows[metric].to_numpy(float) / 100
    return rows["core_days_fig2"].to_numpy(float), error, rows["model"].to_numpy()


@pytest.mark.parametrize(
    ("metric", "law", "expected"),
    [
        ("inet10", "imagenet-10shot", {"a": 0.624, "d": 0.476, "b": 0.314, "c": 0.124}),
        ("inet5", "imagenet-5shot", {"a": 0.675, "d": 0.658, "b": 0.316, "c": 0.140}),
    ],
)
def test_published_frontiers(metric, law, expected):
    compute, error, _ = _runs(metric)
    fit = fit_frontier(compute, error)
    assert fit.parameters == pytest.approx(expected, abs=6e-4)
    published = SCALING_VIT_FRONTIERS[law]
    assert fit.parameters["b"] == pytest.approx(published["b"], abs=0.02)
    assert fit.parameters["c"] == pytest.approx(published["c"], abs=0.02)
    assert fit.converged


def test_imagenet_10shot_residuals():
    compute, error, _ = _runs("inet10")
    fit = fit_frontier(compute, error)
    on = pareto_frontier(compute, error)
    assert fit.n == on.sum() == 32
    assert fit.rms == pytest.approx(0.029, abs=5e-4)
    assert np.sqrt(np.mean(np.log(fit.error(compute[on]) / error[on]) ** 2)) == pytest.approx(
        fit.rms
    )
    published = double_saturating(compute[on], **SCALING_VIT_FRONTIERS["imagenet-10shot"])
    assert np.sqrt(np.mean(np.log(published / error[on]) ** 2)) == pytest.approx(0.036, abs=5e-4)


@pytest.mark.parametrize("metric", ["inet10", "cifar10", "birds5", "pets10"])
@pytest.mark.parametrize("law", ["double-saturating", "saturating"])
def test_scipy_finds_nothing_better(metric, law):
    compute, error, _ = _runs(metric)
    on = pareto_frontier(compute, error)
    fit = fit_frontier(compute, error, law=law)

    def residual(v):
        a, b, c, d = np.exp(np.clip(v, -12, 3))
        extra = {"d": d} if law == "double-saturating" else {}
        function = double_saturating if extra else saturating
        return np.log(function(compute[on], a=a, b=b, c=c, **extra) / error[on])

    rng = np.random.default_rng(0)
    lowest = min(
        2 * optimize.least_squares(residual, rng.normal(-1, 0.7, 4), max_nfev=300).cost
        for _ in range(6)
    )
    assert fit.n * fit.rms**2 <= lowest * (1 + 1e-5)


points = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=30)


@given(points)
def test_frontier_by_brute_force(runs):
    compute, error = np.array(runs, float).T
    on = pareto_frontier(compute, error)
    for i in range(len(runs)):
        beaten = any(
            (compute[j] <= compute[i] and error[j] <= error[i])
            and (compute[j] < compute[i] or error[j] < error[i])
            for j in range(len(runs))
        )
        twin = any(runs[j] == runs[i] and on[j] for j in range(len(runs)) if j != i)
        assert on[i] == (not beaten and not twin)


def test_intervals_hold_the_estimate_and_repeat_themselves():
    compute, error, model = _runs("inet10")
    first, again = (fit_frontier(compute, error, model=model, resamples=60) for _ in range(2))
    assert first.intervals == again.intervals
    for name, value in first.parameters.items():
        assert first.intervals[name].low <= value <= first.intervals[name].high
    assert first.intervals["b"].high > first.intervals["b"].low


def test_refusals():
    compute = np.array([1.0, 2, 3])
    with pytest.raises(
        ValueError, match="frontier has 3 points, but a double-saturating law has 4"
    ):
        fit_frontier(compute, 1 / compute)
    with pytest.raises(ValueError, match="error has values that are not positive"):
        fit_frontier(compute, np.array([0.1, np.nan, 0.2]))
    with pytest.raises(ValueError, match="law='broken' is unknown; choose from double-saturating"):
        fit_frontier(compute, compute, law="broken")  # pyright: ignore[reportArgumentType]


def _family(rng, *, noise: float):
    """Twelve networks at eight durations each, compute = size x examples, and the runs without noise."""
    size = np.geomspace(1, 200, 12)[:, None]
    examples = np.geomspace(1, 60, 8)[None]
    exact = 0.15 + 0.45 * size**-0.45 + 0.45 * examples**-0.4
    measured = exact * np.exp(noise * rng.standard_normal(exact.shape))
    model = np.repeat(np.arange(12), 8)
    return (size * examples).ravel(), exact.ravel(), measured.ravel(), model


def test_the_smoothed_frontier_is_less_biased_than_the_running_minimum():
    at = np.geomspace(4, 6000, 12)
    bias: dict[str, list[float]] = {name: [] for name in ENVELOPES}
    for seed in range(12):
        compute, exact, measured, model = _family(np.random.default_rng(seed), noise=0.05)
        truth = fit_frontier(compute, exact).error(at)
        for envelope in ENVELOPES:
            fit = fit_frontier(compute, measured, model=model, envelope=envelope)
            bias[envelope].append(np.log(fit.error(at) / truth).mean())
    low, ours = np.mean(bias["minimum"]), np.mean(bias["smoothed"])
    assert -0.05 < low < -0.025
    assert abs(ours) < 0.012
    assert abs(ours) < abs(low) / 3


def test_the_smoothed_frontier_of_exact_runs_is_theirs():
    compute, exact, _, model = _family(np.random.default_rng(0), noise=0)
    at = np.geomspace(4, 6000, 12)
    plain, smoothed = (
        fit_frontier(compute, exact, model=model, envelope=envelope).error(at)
        for envelope in ENVELOPES
    )
    np.testing.assert_allclose(smoothed, plain, rtol=0.01)


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_the_band_is_that_of_the_resampled_laws(envelope):
    compute, error, model = _runs("inet10")
    fit = fit_frontier(compute, error, model=model, envelope=envelope, resamples=40)
    at = np.array([1.0, 100, 1e4])
    d = fit.draws
    curves = np.array(
        [
            a * (at + shift) ** -b + c
            for a, shift, b, c in zip(d["a"], d["d"], d["b"], d["c"], strict=True)
        ]
    )
    low, high = fit.band(at, 0.8)
    best = fit.error(at)
    # Quantiles of the resamples, and the law itself where they leave it outside.
    np.testing.assert_allclose(low, np.minimum(np.quantile(curves, 0.1, axis=0), best))
    np.testing.assert_allclose(high, np.maximum(np.quantile(curves, 0.9, axis=0), best))
    assert (low <= best).all() and (best <= high).all()
    with pytest.raises(ValueError, match="no resamples to draw a band from"):
        fit_frontier(compute, error).band(at)


def test_refusals_of_an_envelope():
    compute, error, _ = _runs("inet10")
    with pytest.raises(ValueError, match="envelope='smoothed' needs model"):
        fit_frontier(compute, error, envelope="smoothed")
    with pytest.raises(
        ValueError, match="envelope='hull' is unknown; choose from minimum, smoothed"
    ):
        fit_frontier(compute, error, envelope="hull")  # pyright: ignore[reportArgumentType]
