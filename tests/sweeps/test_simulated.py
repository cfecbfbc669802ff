"""The simulated engine: its laws are the published ones, and its noise is repeatable."""

import numpy as np
import pytest
from sweep_samples import star_plan, trial

from vitscale.scaling.shape import Shape
from vitscale.sweeps.engines.simulated import Noise, SimulatedEngine, published_arm_law, small_law
from vitscale.sweeps.plan import Plan, StarSweep
from vitscale.sweeps.presets import preset
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store

# What the fitted curves in Figures 4 and 5 of Getting ViT in Shape give after 64M, 256M and 512M
# images, read from the figures' vector coordinates.
PUBLISHED = {
    (608, 40, 6144): (0.647647, 0.449400, 0.398592),
    (1968, 24, 6144): (0.571664, 0.372204, 0.321084),
    (1968, 40, 3072): (0.562696, 0.360410, 0.315994),
}


def published_star() -> tuple[Plan, StarSweep]:
    plan = preset("sovit-star")
    assert isinstance(plan.sweep, StarSweep)
    return plan, plan.sweep


def test_the_published_star_measures_the_published_curves(tmp_path):
    plan, sweep = published_star()
    store = Store.open(tmp_path / "store", create=True)
    assert run(plan, SimulatedEngine(published_arm_law(sweep)), store).complete
    table = store.read().set_index(["width", "depth", "mlp_dim"]).sort_values("examples")
    assert len(table) == 57
    for shape, errors in PUBLISHED.items():
        np.testing.assert_allclose(table.loc[shape, "value"], errors, atol=3e-6)
    # The three laws disagree about the centre: .309253, .307611, .309503 at 512M.
    centre = table.loc[(1968, 40, 6144), "value"].iloc[-1]
    assert centre == pytest.approx((0.309253 + 0.307611 + 0.309503) / 3, abs=2e-6)
    assert set(table["device"]) == {"simulated"}


def test_the_small_law_is_best_where_it_says():
    # At the compute of 1e11 training FLOPs every dimension of (16, 2, 32) is at its own optimum.
    best = Shape(width=16, depth=2, mlp_dim=32, heads=2, patch=4)

    def error(compute: float, **sizes) -> float:
        """The law at a given compute, whatever the shape costs."""

        class Fake:
            shape = Shape(**({"width": 16, "depth": 2, "mlp_dim": 32, "heads": 2} | sizes), patch=4)

            def train_flops(self, examples):
                return compute

        return small_law(Fake(), 1)  # pyright: ignore[reportArgumentType]

    lowest = error(1e11)
    for dimension, step in (("width", 2), ("depth", 1), ("mlp_dim", 1)):
        for size in (getattr(best, dimension) - step, getattr(best, dimension) + step):
            assert error(1e11, **{dimension: size}) > lowest
    assert error(1e12, width=32) < error(1e12, width=16) < lowest


def test_noise_has_the_size_it_says_and_repeats_itself():
    noise = Noise(own=0.02, shared=0.05)
    trials = [trial(width=8 * k) for k in range(1, 400)]
    factors = np.array([[noise.factor(of, d) for d in of.durations] for of in trials])
    assert abs(factors.mean() - 1) < 0.01
    # Within a trial only `own` differs; between trials both do.
    assert np.std(factors[:, 0] - factors[:, 1]) == pytest.approx(0.02 * np.sqrt(2), rel=0.15)
    assert np.std(factors[:, 0]) == pytest.approx(np.hypot(0.02, 0.05), rel=0.15)
    again = np.array([[noise.factor(of, d) for d in of.durations] for of in trials])
    assert (factors == again).all()
    other = Noise(own=0.02, shared=0.05, seed=1)
    assert other.factor(trials[0], 1280) != noise.factor(trials[0], 1280)
    assert Noise().factor(trials[0], 1280) == 1.0


def test_two_rehearsals_give_the_same_numbers(tmp_path):
    tables = []
    for name in ("one", "two"):
        store = Store.open(tmp_path / name, create=True)
        run(star_plan(), SimulatedEngine(noise=Noise(own=0.1)), store)
        tables.append(store.read().drop(columns="measured_at"))
    assert tables[0].equals(tables[1])
