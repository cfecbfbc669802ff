"""Sweeps that extend themselves: until the optimum that we know is inside, and no further."""

import dataclasses

import numpy as np
import pytest

from vitscale.extend import extension_of, refuse_unextendable, run_extending, sizes_beyond
from vitscale.fits.grid import choose_x0
from vitscale.fits.store_tables import whole_grid_table
from vitscale.scaling.recipe import Trial
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import Shape
from vitscale.sweeps.config import plan_from_toml
from vitscale.sweeps.engines.simulated import SimulatedEngine, small_law
from vitscale.sweeps.plan import GridSweep, Part, Plan, StarSweep
from vitscale.sweeps.run import Limits, run
from vitscale.sweeps.store import Store

RECIPE = RECIPES["glyphs"]
# Lengths that give every shape of a grid some compute in common with its neighbours, about 1e11
# FLOPs, where `small_law` is best at (16, 2, 32); the star's are shorter, as it is larger.
LENGTHS = tuple(64 * count for count in (400, 2_000, 10_000))
DURATIONS = tuple(64 * count for count in (100, 300, 900))


def grid(**changes) -> Plan:
    """A grid whose shapes are all smaller than the best of `small_law` at their compute."""
    values = {"widths": (8, 12), "depths": (1, 2, 3), "mlp_dims": (10, 13)} | changes
    sweep = GridSweep(patch=4, head_dim=4, recipe=RECIPE, durations=LENGTHS, **values)
    return Plan(name="small", sweep=sweep)


def star(**changes) -> Plan:
    arms = {"width": (8, 12, 16, 24), "depth": (1, 2, 3, 4), "mlp_dim": (16, 32, 48, 64)} | changes
    center = Shape(width=48, depth=8, mlp_dim=160, heads=12, patch=4)
    sweep = StarSweep(center=center, arms=arms, recipe=RECIPE, durations=DURATIONS, head_dim=4)
    return Plan(name="arms", sweep=sweep)


def run_plan(store: Store):
    return lambda plan, limits: run(plan, SimulatedEngine(small_law), store)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open(tmp_path / "store", create=True)


def test_a_grid_grows_until_its_optimum_is_inside(store):
    said = []
    found = run_extending(grid(), run_plan(store), store, rounds=6, say=said.append)
    assert found.complete and found.extensions
    assert "strictly inside the grid" in found.ended
    last = found.extensions[-1].plan
    assert last is not None and isinstance(last.sweep, GridSweep)
    start = choose_x0(whole_grid_table(store.read()))
    for name, values in last.sweep.values().items():
        assert min(values) < start.sizes[name].estimate < max(values)
    # Each extension is a plan of its own in the store, and says what it added and why.
    recorded = [plan_from_toml(text) for text in store.recorded_plans().values()]
    assert all(extension.plan in recorded for extension in found.extensions)
    assert any("largest width of the grid: added width 16" in line for line in said)
    # Nothing is measured twice: what is added costs what it costs, and no more.
    ids = {trial.id for trial in last.trials}
    assert sum(report.spent_flops for report in found.reports) == pytest.approx(
        sum(trial.spent_flops() for trial in last.trials)
    )
    assert set(store.measured_durations()) == ids


def test_stopped_after_any_plan_it_comes_to_the_same_plans(store, tmp_path):
    whole = run_extending(grid(), run_plan(store), store, rounds=6)
    for stop_after in range(1, len(whole.reports)):
        again = Store.open(tmp_path / f"again-{stop_after}", create=True)
        count = iter(range(100))

        def stopping(plan, limits, again=again, count=count, stop_after=stop_after):
            if next(count) == stop_after:  # half of this plan's trials, then a kill
                for trial in plan.trials[::2]:
                    engine = SimulatedEngine(small_law)
                    engine.submit(trial, again)
                    engine.poll(0)
                raise KeyboardInterrupt
            return run(plan, SimulatedEngine(small_law), again)

        with pytest.raises(KeyboardInterrupt):
            run_extending(grid(), stopping, again, rounds=6)
        resumed = run_extending(grid(), run_plan(again), again, rounds=6)
        assert resumed.extensions == whole.extensions and resumed.ended == whole.ended
        columns = ["trial_id", "examples", "value"]
        assert again.read()[columns].equals(store.read()[columns])


def test_an_arm_grows_to_both_sides_of_the_optimum(store):
    plan = star(width=(24, 32, 40), mlp_dim=(96, 112, 128))
    said = []
    found = run_extending(plan, run_plan(store), store, say=said.append)
    assert found.ended == "x*(t) lies within the arms at every compute, so nothing is added"
    last = found.extensions[-1].plan
    assert last is not None and isinstance(last.sweep, StarSweep)
    assert min(last.sweep.arms["width"]) < 24 and min(last.sweep.arms["mlp_dim"]) < 96
    assert last.sweep.arms["depth"] == (1, 2, 3, 4)  # had both sides already
    assert all(size % 4 == 0 for size in last.sweep.arms["width"])
    # The law is known: what is best along an arm, by brute force, lies within it at every compute.
    for dimension in ("width", "mlp_dim"):
        sizes = last.sweep.arms[dimension]
        cheapest = last.sweep.shape_at(dimension, min(sizes))
        trial = Trial(shape=cheapest, recipe=RECIPE, durations=DURATIONS)
        assert min(sizes) <= best_size(last.sweep, dimension, trial.train_flops(DURATIONS[0]))
    assert any("of the cheapest run" in line for line in said)


def best_size(sweep: StarSweep, dimension: str, compute: float) -> int:
    """Size along an arm with the least error of `small_law` at equal compute."""

    class At:
        def __init__(self, shape):
            self.shape = shape

        def train_flops(self, examples):
            return compute

    sizes = range(4, 200, 4) if dimension == "width" else range(1, 200)
    errors = [small_law(At(sweep.shape_at(dimension, size)), 1) for size in sizes]  # pyright: ignore
    return sizes[int(np.argmin(errors))]


def test_a_sweep_with_its_optimum_inside_is_left_alone(store):
    plan = grid(widths=(8, 16, 24), depths=(1, 2, 3), mlp_dims=(16, 32, 48))
    found = run_extending(plan, run_plan(store), store)
    assert len(found.reports) == 1 and not found.extensions
    assert "so nothing is added" in found.ended


def test_it_ends_by_rounds_by_flops_and_by_failures(store):
    found = run_extending(grid(), run_plan(store), store, rounds=1)
    assert len(found.extensions) == 1
    assert found.ended.startswith("as often as --extend-rounds allows, and the optimum is still on")
    asked = []

    def counting(plan, limits):
        asked.append(limits)
        return dataclasses.replace(run_plan(store)(plan, None), spent_flops=6e11)

    found = run_extending(grid(), counting, store, rounds=6, limits=Limits(max_flops=1e12))
    assert asked == [Limits(max_flops=1e12), Limits(max_flops=4e11)]
    assert "it has spent what it may, and would go on" in found.ended

    def failing(plan, limits):
        return dataclasses.replace(run_plan(store)(plan, None), unfinished=("x",))

    found = run_extending(grid(), failing, store)
    assert not found.complete and "not measured in full" in found.ended


def test_a_grid_of_one_length_cannot_be_judged(store):
    plan = Plan(name="one", sweep=dataclasses.replace(grid().sweep, durations=LENGTHS[:1]))
    run_plan(store)(plan, None)
    found = extension_of(plan, store, 1)
    assert found.plan is None
    assert "no compute was reached by all neighbouring shapes" in found.reasons[0]


def test_what_cannot_be_extended_is_refused():
    sweep = star().sweep
    assert isinstance(sweep, StarSweep)
    only = (Part(dimension="width", size=8, seeds=(0,), durations=DURATIONS),)
    with pytest.raises(ValueError, match=r"arms trains parts of a star alone \(\[\[only\]\]\)"):
        refuse_unextendable(Plan(name="arms", sweep=dataclasses.replace(sweep, only=only)), 3)
    with pytest.raises(ValueError, match=r"extend_rounds=-1 is not a number of rounds"):
        refuse_unextendable(star(), -1)


@pytest.mark.parametrize(
    ("values", "side", "multiple", "count", "target", "expected"),
    [
        ([8, 12, 16], "largest", 4, 1, None, (20,)),
        ([8, 12, 16], "smallest", 4, 3, None, (4,)),
        ([1, 2, 3], "smallest", 1, 3, None, ()),
        ([416, 512, 608, 768], "largest", 16, 1, None, (976,)),
        ([16, 32, 64], "largest", 16, 3, 100, (128,)),
        ([16, 32, 64], "largest", 16, 3, 1e9, (128, 256, 512)),
        ([10, 100], "largest", 1, 1, None, (200,)),  # a step of 2 at most
        ([40, 41], "largest", 1, 1, None, (49,)),  # and of 1.2 at least
        ([24], "largest", 8, 2, None, (32, 40)),
    ],
)
def test_sizes_go_on_geometrically(values, side, multiple, count, target, expected):
    found = sizes_beyond(values, side, multiple=multiple, count=count, target=target)
    assert found == expected
    assert all(size % multiple == 0 for size in found)
