"""Stars that buy their own trials: to the target, within the budget, and the same after any kill."""

import dataclasses
import importlib
import json
import math

import numpy as np
import pytest

from vitscale import cli
from vitscale.auto import (
    _hoped,
    goal_of,
    next_look,
    recorded_rounds,
    round_name,
    run_auto,
    spent_flops,
)
from vitscale.auto_result import Goal, Known, is_reached
from vitscale.fits.uncertainty import Interval
from vitscale.scaling.progress import Progress
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import Shape
from vitscale.sweeps.affordable import affordable_part, flops_of, longest_run
from vitscale.sweeps.config import plan_from_toml, plan_to_toml
from vitscale.sweeps.engines.engine import Attempt
from vitscale.sweeps.engines.simulated import Noise, SimulatedEngine, small_law
from vitscale.sweeps.plan import Part, Plan, StarSweep
from vitscale.sweeps.presets import preset
from vitscale.sweeps.run import Limits, run
from vitscale.sweeps.store import Store

DURATIONS = tuple(64 * steps for steps in (100, 300, 900))
NOISE = Noise(own=0.003, shared=0.002, seed=1)


def star(**changes) -> StarSweep:
    values = {
        "center": Shape(width=48, depth=8, mlp_dim=160, heads=12, patch=4),
        "arms": {"width": (8, 12, 16, 24), "depth": (1, 2, 3, 4), "mlp_dim": (16, 32, 48, 64)},
        "recipe": RECIPES["glyphs"],
        "durations": DURATIONS,
        "head_dim": 4,
    }
    return StarSweep(**(values | changes))


PLAN = Plan(name="small", sweep=star())
COST = flops_of(PLAN)


def runner(store: Store, law=small_law, noise=NOISE):
    return lambda plan, limits: run(
        plan, SimulatedEngine(law, noise=noise, workers=1), store, limits=limits
    )


def auto(store: Store, *, budget=3 * COST, target=1.2, law=small_law, plan=PLAN, **options):
    goal = goal_of(plan, budget=budget, target=target, **options)
    return run_auto(plan, runner(store, law), store, goal)


def content(store: Store):
    return store.read()[["trial_id", "examples", "value", "spent_flops"]]


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open(tmp_path / "store", create=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An undisturbed loop of some rounds that reaches its target, and its store."""
    store = Store.open(tmp_path_factory.mktemp("whole") / "store", create=True)
    return auto(store), store


def test_it_reaches_its_target_around_the_true_optimum(whole):
    found, store = whole
    assert found.reached and found.complete and len(found.looks) > 2
    assert found.ended == "every interval is within a factor of 1.2"
    # small_law is best at (16, 2, 32) for 1e11 FLOPs, and grows by these powers of compute.
    tau = longest_run(star()) / 1e11
    best = {"width": 16 * tau ** (0.65 / 2.7), "depth": 2 * tau ** (0.65 / 1.4)}
    best |= {"mlp_dim": 32 * tau ** (0.65 / 1.1)}
    assert {each.dimension for each in found.looks[-1].known} == set(best)
    for each in found.looks[-1].known:
        assert each.size is not None and each.size.low <= best[each.dimension] <= each.size.high
        assert each.factor == each.size.high / each.size.low <= 1.2
    # It took no look more than it needed.
    assert not any(is_reached(look.known, 1.2) for look in found.looks[:-1])
    # Every round is a plan of the store; what they cost is what all their trials cost.
    rounds = recorded_rounds(PLAN, store)
    assert [plan.name for plan in rounds] == [look.plan.name for look in found.looks[:-1]]
    assert rounds[0].name == "small-auto-1" and rounds[0].sweep == PLAN.sweep
    rows = content(store)
    assert (
        found.looks[-1].spent_flops == math.fsum(rows["spent_flops"]) == spent_flops(rounds, store)
    )


def test_each_look_is_a_line_and_the_end_says_what_to_do(whole):
    found, store = whole
    first, second = (look.line(found.goal.budget, found.goal.compute) for look in found.looks[:2])
    assert first == (
        f"0 of {3 * COST:.3g} training FLOPs spent; next: the star, 13 networks for {COST:.3g} FLOPs"
    )
    assert second.startswith(
        f"after round 1: {COST:.3g} of {3 * COST:.3g} training FLOPs spent; best"
    )
    assert "(factor " in second and "as factors are then expected to be width" in second
    lines = found.lines()
    assert lines[0] == "reached: every interval is within a factor of 1.2"
    assert f"  vitscale fit {store.name} --out fit.json" in lines
    assert any(line.startswith("  vitscale shape --fit fit.json --flops ") for line in lines)
    written = json.loads(json.dumps(found.to_dict()))
    assert written["reached"] and written["sizes"]["width"]["factor"] <= 1.2
    assert written["shape"]["shape"]["patch"] == 4 and len(written["looks"]) == len(found.looks)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("kill_at", [20, 39, 47])
def test_killed_at_any_measurement_it_comes_to_the_same(whole, store, kill_at):
    found, undisturbed = whole
    assert len(content(undisturbed)) > 47  # 39 are the star's
    count = iter(range(10**6))

    def mortal(trial, examples):
        if next(count) == kill_at:
            raise KilledError
        return small_law(trial, examples)

    with pytest.raises(KilledError):
        auto(store, law=mortal)
    assert len(content(store)) == kill_at
    again = auto(store)
    assert content(store).equals(content(undisturbed))
    assert store.recorded_plans() == undisturbed.recorded_plans()
    assert again.looks[-1] == found.looks[-1] and again.ended == found.ended
    # Once done, the same command trains nothing.
    assert not auto(store).reports and content(store).equals(content(undisturbed))


def test_interrupted_between_rounds_it_goes_on(whole, store):
    found, undisturbed = whole
    ran = []

    def one_round(plan, limits):
        if ran:
            report = dataclasses.replace(
                ran[0], plan=plan.name, interrupted=True, unfinished=("x",)
            )
            return report
        ran.append(runner(store)(plan, limits))
        return ran[0]

    goal = goal_of(PLAN, budget=3 * COST, target=1.2)
    stopped = run_auto(PLAN, one_round, store, goal)
    assert not stopped.complete and not stopped.reached
    assert stopped.ended == "interrupted in small-auto-2; the same command goes on"
    assert auto(store).looks[-1] == found.looks[-1]
    assert content(store).equals(content(undisturbed))


@pytest.mark.parametrize("part", [0.3, 0.77, 1.0, 1.31])
def test_the_budget_is_kept(store, part):
    found = auto(store, budget=part * COST, target=1.001)
    assert not found.reached and found.complete
    assert 0 < found.looks[-1].spent_flops <= part * COST
    assert math.fsum(content(store)["spent_flops"]) == found.looks[-1].spent_flops
    # What a plan promises to cost is never more than what is left of the budget.
    rounds = recorded_rounds(PLAN, store)
    for number, plan in enumerate(rounds):
        before = spent_flops(rounds[:number], store)
        assert flops_of(plan) <= part * COST - before


def test_steps_that_were_lost_do_not_break_the_budget(store):
    # A machine died with half of a round: what is to be done again costs more than there is.
    goal = goal_of(PLAN, budget=COST, target=1.2)
    asked = []

    def dear(plan, limits):
        asked.append(limits)
        for trial in plan.trials[:3]:
            engine = SimulatedEngine(small_law)
            engine.submit(dataclasses.replace(trial, durations=DURATIONS[:2]), store)
            engine.poll(0)
        return runner(store)(plan, dataclasses.replace(limits, max_flops=0.1 * COST))

    found = run_auto(PLAN, dear, store, goal)
    assert asked == [Limits(max_flops=COST)]
    assert found.ended.startswith("the budget is spent: it has spent") and found.complete
    again = auto(store, budget=COST)
    assert again.looks[-1].spent_flops <= COST


def test_a_larger_budget_goes_on_where_a_smaller_one_ended(store):
    small = auto(store, budget=0.2 * COST, target=1.5)
    assert "cannot be fitted: " in small.ended and not small.looks[-1].known
    assert (
        small.looks[0].why.endswith("to fit") and "without shapes the centre" in small.looks[0].why
    )
    assert small.shape is None and small.lines()[-3].startswith("no shape: ")
    large = auto(store, budget=2 * COST, target=1.5)
    assert large.looks[0].why == f"the star, 13 networks for {COST:.3g} FLOPs"
    assert large.looks[-1].known and large.looks[-1].spent_flops <= 2 * COST


def test_the_part_of_a_star_that_a_budget_covers():
    plan = preset("quickstart-star")
    assert affordable_part(plan, flops_of(plan)) == (plan, ())
    part, left_out = affordable_part(plan, flops_of(plan) - 1)
    assert part.sweep.seeds == (0,) and left_out == ("seeds 1",)
    part, left_out = affordable_part(plan, 0.3 * flops_of(plan))
    assert left_out == ("seeds 1", "durations 81,920")
    part, left_out = affordable_part(plan, 0.2 * flops_of(plan))
    assert left_out[-1] == "shapes the centre, depth 4" and flops_of(part) <= 0.2 * flops_of(plan)
    assert len(part.trials) == 11 and plan_from_toml(plan_to_toml(part)) == part
    with pytest.raises(
        ValueError, match=r"budget=1000 is less than the cheapest trial of quickstart"
    ):
        affordable_part(plan, 1000)


def test_what_is_not_identified_is_said_and_is_no_success():
    size = Interval(estimate=20.0, low=19.0, high=21.0, level=0.95, method="clustered")
    sure = Known(dimension="width", size=size, identified=True, flags=())
    unsure = dataclasses.replace(sure, identified=False, flags=("width: it hangs on one network",))
    opened = dataclasses.replace(sure, size=dataclasses.replace(size, high=math.inf))
    none = dataclasses.replace(sure, size=None)
    assert sure.words() == "width 20 (factor 1.11)"
    assert unsure.words() == "width 20 (factor 1.11, not identified)"
    assert opened.words() == "width 20 (not bounded)" and opened.to_dict()["factor"] is None
    assert none.words() == "width has no optimum yet" and none.to_dict()["estimate"] is None
    assert is_reached([sure], 1.2) and not is_reached([], 1.2)
    assert not any(is_reached([sure, other], 1.2) for other in (unsure, opened, none))


def test_a_star_without_an_optimum_is_not_taken_for_known(store):
    # Errors that only fall with width have no best width.
    found = auto(
        store,
        budget=1.5 * COST,
        law=lambda trial, examples: small_law(trial, examples) + 30 / trial.shape.width**2,
        plan=Plan(name="small", sweep=star(arms={"width": (8, 12, 16, 24)})),
    )
    assert [each.dimension for each in found.looks[-1].known] == ["width"]
    assert found.reached == (found.looks[-1].known[0].reliable_factor <= 1.2)
    assert found.shape is None and "a shape needs all" in found.no_shape


def test_advised_networks_that_diverge_are_not_asked_for_again(store):
    def wild(trial, examples):
        measured = trial.shape in star().shapes() and trial.recipe.seed == 0
        return small_law(trial, examples) if measured and examples in DURATIONS else np.inf

    found = auto(store, law=wild, target=1.001)
    assert not found.reached and found.complete
    assert found.ended.startswith(("what is advised was tried", "no further trial is worth"))
    assert found.looks[-1].spent_flops <= 3 * COST


def test_it_ends_by_rounds_by_hours_and_by_failures(store, tmp_path):
    found = auto(store, rounds=1, target=1.001)
    assert found.ended == "as many rounds as --rounds allows, 1" and found.complete
    goal = goal_of(PLAN, budget=3 * COST, target=1.001)

    def slow(plan, limits):
        return dataclasses.replace(runner(store)(plan, limits), wall_seconds=3600.0)

    found = run_auto(PLAN, slow, store, goal, max_hours=1.0)
    assert found.ended == "it has run for the 1 hours that it may" and not found.complete

    class Failing:
        pack = 1

        def __init__(self):
            self.ids = []

        def capacity(self):
            return 1 - len(self.ids)

        def submit(self, trial, store):
            self.ids.append(trial.id)

        def poll(self, timeout) -> list[Progress | Attempt]:
            ids, self.ids = self.ids, []
            return [Attempt(trial_id=i, outcome="failed", reason="broken") for i in ids]

        def cancel(self, trial_id=None, *, grace_seconds=0.0):
            return set()

    other = Store.open(tmp_path / "other", create=True)
    found = run_auto(PLAN, lambda plan, limits: run(plan, Failing(), other, retries=0), other, goal)
    assert found.ended == "13 trials of small-auto-1 failed; the same command goes on with them"
    assert not found.complete and any("broken" in line for line in found.lines())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": None}, "auto spends a budget"),
        ({"budget": 0.0}, "budget=0 is not a number of training FLOPs"),
        ({"budget": math.nan}, "budget=nan is not a number of training FLOPs"),
        ({"target": -1.0}, "target=-1 is no ratio of an interval's ends"),
        ({"target": 1.0}, "target=1 is no ratio of an interval's ends"),
        ({"compute": -1.0}, "compute=-1 is not a number of training FLOPs"),
        ({"rounds": 0}, "rounds=0 is not a number of rounds"),
    ],
)
def test_goals_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        goal_of(PLAN, **({"budget": 1e15} | changes))


def test_stores_and_plans_of_something_else_are_refused(store):
    goal = Goal(budget=1e15, compute=1e12)
    with pytest.raises(ValueError, match="laptop-grid is a grid, and auto begins with a star"):
        run_auto(preset("laptop-grid"), runner(store), store, goal)
    only = (Part(dimension="width", size=8, seeds=(0,), durations=DURATIONS),)
    with pytest.raises(ValueError, match="trains parts of a star alone"):
        goal_of(Plan(name="small", sweep=star(only=only)), budget=1e15)
    with pytest.raises(
        ValueError, match=r"budget=1e\+06 is less than the cheapest trial of small-auto-1"
    ):
        auto(store, budget=1e6)
    assert not store.recorded_plans()
    auto(store, budget=0.3 * COST, target=1.5)
    recipe = dataclasses.replace(RECIPES["glyphs"], learning_rate=1e-3)
    other = Plan(name="small", sweep=star(recipe=recipe))
    with pytest.raises(ValueError, match=r"holds small-auto-1 with another centre or recipe"):
        auto(store, plan=other)
    with pytest.raises(ValueError, match=r"holds measurements of another recipe \(recipe_id="):
        auto(store, plan=dataclasses.replace(other, name="other"))


def test_an_expectation_that_says_nothing_is_no_number():
    assert (_hoped(1.2345), _hoped(1e130)) == ("1.23", "over 100")


def test_names_of_rounds_are_names_of_plans():
    long = Plan(name="n" * 64, sweep=star())
    assert round_name(long, 12) == "n" * 56 + "-auto-12"


def command(capsys, *arguments) -> tuple[int, str, str]:
    code = cli.run([str(argument) for argument in ("sweep", "auto", *arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_plan_is_shown_and_nothing_is_trained(capsys, tmp_path):
    code, out, err = command(
        capsys, "quickstart", "--budget", 2e12, "--store", tmp_path / "store", "--plan"
    )
    assert (code, err) == (0, "") and not (tmp_path / "store").exists()
    assert "quickstart-star-auto-1" in out and "without seeds 1; durations 81,920" in out
    assert "is known within a factor of 1.3, or 2e+12 are spent, in 20 rounds at most" in out
    code, out, _ = command(capsys, "quickstart", "--budget", 2e12, "--json")
    assert code == 0 and len(json.loads(out)["coming"]) == 2


def test_the_command_runs_goes_on_and_shows_what_comes(capsys, tmp_path, monkeypatch):
    class Engine(SimulatedEngine):
        workers = 1

        def __init__(self, **options):
            super().__init__(small_law, noise=NOISE)

        def check(self, trial):
            pass

        def check_store(self, where):
            pass

    local = importlib.import_module("vitscale.sweeps.engines.local")
    monkeypatch.setattr(local, "LocalEngine", Engine)
    toml, store = tmp_path / "small.toml", tmp_path / "store"
    toml.write_text(plan_to_toml(PLAN))
    flags = ("--budget", 3 * COST, "--store", store, "--target", 1.2, "--json")
    code, out, err = command(capsys, toml, *flags, "--rounds", 1)
    found = json.loads(out)
    assert code == 0 and not found["reached"] and len(found["reports"]) == 1
    assert err.count("training FLOPs spent") == 2
    code, out, _ = command(capsys, toml, *flags, "--plan")
    shown = json.loads(out)
    assert shown["plan"] == "small-auto-2" and "after round 1" in shown["coming"][0]
    code, out, _ = command(capsys, toml, *flags)
    assert code == 0 and json.loads(out)["reached"]
    code, out, _ = command(capsys, toml, *flags[:-1])
    assert code == 0 and out.startswith("reached: every interval")
    code = cli.run(["status", str(store), "--json"])
    assert {"small-auto-1", "small-auto-2"} <= set(json.loads(capsys.readouterr().out)["plans"])
    plan, look = next_look(PLAN, Store.open(store), goal_of(PLAN, budget=3 * COST, target=1.2))
    assert look is not None and look.plan is None and plan.name == f"small-auto-{look.round - 1}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("auto", "laptop"), "auto spends a budget; give the training FLOPs"),
        (("auto", "laptop", "--budget", "0"), "budget=0 is not a number"),
        (("auto", "laptop", "--budget", "1e15", "--target", "-2"), "target=-2 is no ratio"),
        (("auto", "laptop", "--budget", "1e6"), "is less than the cheapest trial"),
        (("auto", "laptop", "--budget", "1e15", "--extend"), "--extend is not for auto"),
        (("auto", "laptop", "--budget", "1e15", "--max-flops", "1"), "--budget says what auto may"),
        (("auto", "laptop", "--budget", "1e15", "--submit"), "vitscale worker --follow"),
        (("star", "laptop", "--budget", "1e15"), "--budget: only vitscale sweep auto takes that"),
    ],
)
def test_what_the_command_refuses(capsys, arguments, message):
    code = cli.run(["sweep", *arguments])
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "") and captured.err.count("\n") == 1
    assert message in captured.err
