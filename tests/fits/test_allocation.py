"""Budgets divided between parameters and tokens: brute force, the papers' figures, and coverage of a known law."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from vitscale.fits.allocation import allocate, best_parameters
from vitscale.fits.datasets import load_chinchilla
from vitscale.fits.laws import CHINCHILLA_FITS


@pytest.mark.parametrize("name", CHINCHILLA_FITS)
@pytest.mark.parametrize("compute", [1e18, 5.76e23])
def test_no_other_division_of_the_budget_has_less_loss(name, compute):
    law = CHINCHILLA_FITS[name]

    def loss(log_n: float) -> float:
        n = np.exp(log_n)
        d = compute / 6 / n
        return law["A"] * n ** -law["alpha"] + law["B"] * d ** -law["beta"]

    least = minimize_scalar(loss, bounds=(np.log(1e5), np.log(1e14)), method="bounded")
    assert np.log(best_parameters(law, compute)) == pytest.approx(least.x, abs=1e-3)  # pyright: ignore


def test_chinchilla_itself():
    """70 billion parameters and 1.4 trillion tokens for the compute of Gopher, 5.76e23 FLOPs (arXiv
    2203.15556, Table 3 and Section 4); exponents 0.50, 0.49 and 0.46 by its three approaches (Table 2)."""
    runs = load_chinchilla()
    found = allocate({"N": runs["N"], "D": runs["D"]}, runs["loss"], [5.76e23], resamples=100)
    (share,) = found.shares
    assert share.parameters.low < 70e9 < share.parameters.high
    assert share.tokens.low < 1.4e12 < share.tokens.high
    assert share.parameters.estimate * share.tokens.estimate * 6 == pytest.approx(5.76e23)
    assert found.exponent.low < 0.49 < found.exponent.high
    assert found.beyond(share)


def test_intervals_hold_what_made_the_runs():
    law = {"alpha": 0.35, "beta": 0.3, "A": 400.0, "B": 500.0, "E": 1.8}
    rng = np.random.default_rng(0)
    n, d = (
        np.exp(rng.uniform(np.log(1e7), np.log(1e10), 200)),
        np.exp(rng.uniform(np.log(1e9), np.log(1e12), 200)),
    )
    loss = law["E"] + law["A"] * n ** -law["alpha"] + law["B"] * d ** -law["beta"]
    noisy = loss * np.exp(0.003 * rng.standard_normal(200))
    found = allocate({"N": n, "D": d}, noisy, [1e20, 1e21], resamples=100)
    for share in found.shares:
        truth = float(best_parameters(law, share.compute))
        assert share.parameters.low < truth < share.parameters.high < 3 * share.parameters.low
        assert not found.beyond(share)
    assert found.exponent.low < 0.3 / 0.65 < found.exponent.high


def _width(interval) -> float:
    return np.log(interval.high / interval.low)


def test_rows_that_belong_together_are_no_runs_of_their_own():
    """Runs written down five times say what they said once, in intervals too: narrower ones, by about the root
    of five, come of taking each row for a run."""
    law = {"alpha": 0.35, "beta": 0.3, "A": 400.0, "B": 500.0, "E": 1.8}
    rng = np.random.default_rng(0)
    n, d = 10 ** rng.uniform(7, 10, 40), 10 ** rng.uniform(9, 12, 40)
    loss = law["E"] + law["A"] * n ** -law["alpha"] + law["B"] * d ** -law["beta"]
    noisy = loss * np.exp(0.003 * rng.standard_normal(40))

    def divided(times, **options):
        columns = {name: np.repeat(values, times) for name, values in (("N", n), ("D", d))}
        return allocate(columns, np.repeat(noisy, times), [1e21], resamples=100, **options)

    names = np.repeat([f"run {k}" for k in range(40)], 5)
    once, together, apart = divided(1), divided(5, cluster=names), divided(5)
    assert together.exponent.method == "bootstrap (clusters)"
    for size in (
        lambda found: found.exponent,
        lambda found: found.shares[0].parameters,
        lambda found: found.shares[0].tokens,
        lambda found: found.shares[0].loss,
        lambda found: found.fit.intervals["alpha"],
    ):
        assert size(together).estimate == pytest.approx(size(once).estimate, rel=1e-4)
        assert _width(size(together)) == pytest.approx(_width(size(once)), rel=0.35)
        assert 1.6 < _width(size(together)) / _width(size(apart)) < 3.1
    # Where none is asked for, none is drawn, of the law's parameters neither.
    none = allocate({"N": n, "D": d}, noisy, [1e21], cluster=np.arange(40) // 10, resamples=0)
    assert none.exponent.method == "none" and not none.fit.intervals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resamples": 5}, "resamples=5"),
        ({"compute": [0.0]}, "training FLOPs"),
        ({"cluster": [0, 1]}, "cluster has 2 entries for 234 runs"),
        ({"cluster": np.arange(234) % 7}, "7 clusters of runs, .* at least 8"),
    ],
)
def test_refusals(options, words):
    runs = load_chinchilla()
    with pytest.raises(ValueError, match=words):
        allocate({"N": runs["N"], "D": runs["D"]}, runs["loss"], **({"compute": [1e21]} | options))
