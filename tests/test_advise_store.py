"""From a store to advice, from the advice to a plan that runs, and to intervals that shrank."""

import dataclasses
import json

import pytest

from vitscale.advise import advise_path, advise_store
from vitscale.commands.advise import Advise
from vitscale.commands.advise import run as run_command
from vitscale.fits.datasets import load_sovit_star, path
from vitscale.fits.shape_law import fit_star
from vitscale.fits.star_fit import StarFit
from vitscale.fits.store_fit import fit_store
from vitscale.fits.tables import star_table
from vitscale.scaling.recipe import Trial
from vitscale.scaling.shape import DIMENSIONS
from vitscale.sweeps.config import plan_to_toml, read_plan
from vitscale.sweeps.engines.simulated import Noise, SimulatedEngine, published_arm_law, small_law
from vitscale.sweeps.plan import Part, Plan, StarSweep
from vitscale.sweeps.presets import preset
from vitscale.sweeps.preview import preview
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store

BUDGET = 1e21


def published_star() -> StarSweep:
    sweep = preset("sovit-star").sweep
    assert isinstance(sweep, StarSweep)
    return sweep


def published_law(trial: Trial, examples: int) -> float:
    """The published laws at any size, not only at those of the star."""
    star = published_star()
    arms = {}
    for name in DIMENSIONS:
        sizes = {*star.arms[name], getattr(trial.shape, name)} - {getattr(star.center, name)}
        arms[name] = tuple(sorted(sizes))
    return published_arm_law(dataclasses.replace(star, arms=arms))(trial, examples)


def engine() -> SimulatedEngine:
    return SimulatedEngine(published_law, noise=Noise(own=0.0063, shared=0.0041))


@pytest.fixture
def store(tmp_path) -> Store:
    """The published star, simulated at the noise that it had."""
    store = Store.open(tmp_path / "store", create=True)
    assert run(preset("sovit-star"), engine(), store).complete
    return store


def fitted(store: Store) -> StarFit:
    return fit_store(store.read(), resamples=0)[0].fit


def test_what_is_advised_runs_and_shrinks_the_intervals_as_promised(store, tmp_path):
    before, done = fitted(store), store.measured_durations()
    advice, plan = advise_store(store, BUDGET, fit=before)
    assert plan is not None
    file = tmp_path / "advice.toml"
    file.write_text(plan_to_toml(plan))
    again = read_plan(file)
    assert again == plan
    # What `vitscale sweep star` shows: the price of the advice, and none of it measured before.
    bill = preview(again, measured=done)
    assert bill.spent_flops == bill.remaining_flops == pytest.approx(advice.flops)
    assert advice.flops <= BUDGET
    assert all(not set(trial.durations) & done.get(trial.id, set()) for trial in again.trials)
    assert len(again.trials) == len(advice.trials)
    assert run(again, engine(), store).complete
    after = fitted(store)
    for found in advice.expectations:
        # One draw of the noise: the interval's own length scatters by a few tens of percent.
        promised = found.ratio_after - 1
        assert 0.5 * promised < ratio(after, found.dimension) - 1 < 1.8 * promised
        assert ratio(after, found.dimension) < ratio(before, found.dimension)
    second, more = advise_store(store, BUDGET, fit=after)
    assert more is not None
    assert {trial.id for trial in more.trials}.isdisjoint(trial.id for trial in plan.trials)
    for first, then in zip(advice.expectations, second.expectations, strict=True):
        assert then.ratio_now < first.ratio_now


def ratio(fit: StarFit, name: str) -> float:
    """Upper over lower end of the interval of s that the fit reports."""
    return fit.dimensions[name].s.high / fit.dimensions[name].s.low


def test_a_star_whose_centre_is_missing_is_advised_to_train_it(tmp_path):
    sweep = dataclasses.replace(published_star(), durations=(64_000_000, 256_000_000))
    arms = tuple(
        Part(dimension=name, size=size, seeds=(0,), durations=sweep.durations)
        for name, sizes in sweep.arms.items()
        for size in sizes
    )
    store = Store.open(tmp_path / "store", create=True)
    star = Plan(name="arms", sweep=dataclasses.replace(sweep, only=arms))
    assert run(star, engine(), store).complete
    advice, plan = advise_store(store, BUDGET)
    assert "centre" in {trial.kind for trial in advice.trials}
    assert plan is not None and sweep.center in {trial.shape for trial in plan.trials}


def test_the_published_table_gets_a_plan_of_its_own_recipe(tmp_path):
    fit = fit_star(star_table(load_sovit_star()), resamples=0)
    advice, plan = advise_path(path("sovit_star_sweep"), BUDGET, fit=fit)
    assert plan is not None and isinstance(plan.sweep, StarSweep)
    star = published_star()
    assert plan.sweep.recipe == star.recipe and plan.sweep.center == star.center
    assert preview(plan).spent_flops == pytest.approx(advice.flops)
    frame = load_sovit_star()
    frame["forward_gflops"] *= 2  # counted in another way: not that star's FLOPs
    frame.to_csv(tmp_path / "star.csv")
    assert advise_path(tmp_path / "star.csv", BUDGET, fit=fit)[1] is None


def test_the_command_writes_a_plan_and_says_how_to_run_it(tmp_path, capsys):
    source = path("sovit_star_sweep")
    out = tmp_path / "plans" / "more.toml"
    assert run_command(Advise(source=str(source), budget=1e20, arm="width", out=out)) == 0
    text = capsys.readouterr().out
    assert text.startswith("train ") and f"vitscale sweep star {out} --store STORE" in text
    plan = read_plan(out)
    assert isinstance(plan.sweep, StarSweep)
    assert {part.dimension for part in plan.sweep.only} <= {"width", None}
    few = tmp_path / "few.toml"
    assert run_command(Advise(source=str(source), budget=1.0, arm="width", out=few, json=True)) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["trials"] == [] and printed["plan"] is None and not few.exists()
    assert "too small for any useful trial" in printed["notes"][0]


def test_seeds_go_on_from_those_measured(tmp_path):
    store = Store.open(tmp_path / "store", create=True)
    star = preset("quickstart-star")
    law = SimulatedEngine(small_law, noise=Noise(own=0.01))
    assert run(star, law, store).complete
    advice, plan = advise_store(store, 3e12, kinds=("repeat", "size"))
    assert plan is not None
    for trial in advice.trials:
        assert trial.seed >= 2 if trial.kind == "repeat" else trial.seed in (0, 1)
    assert {trial.id for trial in plan.trials}.isdisjoint(store.measured_durations())


def test_what_cannot_be_planned_is_refused(tmp_path, store):
    with pytest.raises(ValueError, match=r"x: .* is a store, whose columns are known"):
        advise_path(store.path, BUDGET, columns={"x": "width"})
    with pytest.raises(ValueError, match=r"--metric chooses among the rows of a store"):
        advise_path(path("sovit_star_sweep"), BUDGET, metric="error")
    for plan in (store.path / "plans").iterdir():
        plan.unlink()
    with pytest.raises(ValueError, match=r"recorded no star sweep of recipe_id=.*; run one into"):
        advise_store(store, BUDGET)
