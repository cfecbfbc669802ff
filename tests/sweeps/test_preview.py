"""The bill of a plan, against counting every single step."""

import dataclasses
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_samples import CENTER, RECIPE, star_plan, trial

from vitscale.scaling.progress import Speed
from vitscale.scaling.recipe import Trial
from vitscale.scaling.shape import Shape
from vitscale.sweeps.parquet import Facts
from vitscale.sweeps.preview import (
    checkpoint_bytes,
    makespan,
    preview,
    state_bytes,
    trial_cost,
)
from vitscale.sweeps.stored_speed import speed_of


def steps_taken(of: Trial, durations) -> set:
    """Every optimizer step of one trunk with a cooldown branch for each of `durations`."""
    taken = set()
    for duration in durations:
        total = duration // of.recipe.batch_size
        cooldown = min(of.recipe.cooldown_steps, int(of.recipe.cooldown_max_fraction * total))
        taken |= {("trunk", step) for step in range(total - cooldown)}
        taken |= {(duration, step) for step in range(total - cooldown, total)}
    return taken


@given(
    steps=st.lists(st.integers(10, 200), min_size=1, max_size=5, unique=True).map(sorted),
    data=st.data(),
)
def test_costs_are_those_of_every_step_counted(steps, data):
    durations = tuple(64 * count for count in steps)
    of = Trial(shape=CENTER, recipe=RECIPE, durations=durations)
    done = set(data.draw(st.lists(st.sampled_from(durations), unique=True)))
    left = set(durations) - done
    per_step = 3 * 64 * of.forward_flops_per_example()

    resumed = trial_cost(of, done, resumes=True)
    anew = trial_cost(of, done, resumes=False)
    assert resumed.spent_flops == len(steps_taken(of, durations)) * per_step
    assert resumed.separate_flops == sum(steps) * per_step
    assert resumed.remaining_durations == tuple(sorted(left))
    assert resumed.remaining_steps == len(
        steps_taken(of, durations) - (steps_taken(of, done) if left else steps_taken(of, durations))
    )
    assert anew.remaining_steps == len(steps_taken(of, left))
    assert anew.remaining_flops == anew.remaining_steps * per_step


def test_the_totals_add_up_and_skip_what_is_measured():
    plan = star_plan()
    whole = preview(plan)
    assert (whole.trials, whole.measurements, whole.remaining_measurements) == (4, 8, 8)
    # 20 and 40 steps, cooldowns of 10: 60 steps apart, 30 + 10 + 10 = 50 with one trunk.
    assert whole.saved_fraction == pytest.approx(1 / 6)
    assert whole.remaining_flops == whole.spent_flops

    first, second = plan.trials[:2]
    measured = {first.id: {1280, 2560}, second.id: {1280}, "0123456789ab": {64}}
    rest = preview(plan, measured=measured, resumable=[second.id])
    assert rest.remaining_measurements == 5
    per_step = 3 * 64 * second.forward_flops_per_example()
    # The trunk goes on from step 10 to 30 and cools down for 10.
    assert rest.costs[1].remaining_flops == 30 * per_step
    assert rest.costs[0].remaining_flops == 0
    json.dumps(rest.as_dict())


def test_the_time_is_that_of_the_trials_on_the_workers():
    plan = star_plan()
    speed = Speed(compile_seconds=2.0, step_overhead_seconds=0.1, flops_per_second=1e9)
    jobs = [2.0 + 50 * 0.1 + t.spent_flops() / 1e9 for t in plan.trials]
    assert preview(plan).seconds is None
    assert preview(plan, speed=speed).seconds == pytest.approx(sum(jobs))
    assert preview(plan, speed=speed, workers=9).seconds == pytest.approx(max(jobs))
    with pytest.raises(ValueError, match="workers=0 cannot train anything"):
        preview(plan, workers=0)


@given(st.lists(st.integers(1, 50), max_size=6), st.integers(1, 3))
def test_makespan_is_within_grahams_bound_of_the_best(jobs, workers):
    best = min(
        max(sum(job for job, w in zip(jobs, on, strict=True) if w == k) for k in range(workers))
        for on in itertools.product(range(workers), repeat=len(jobs))
    )
    # Graham 1969: longest first is at most 4/3 - 1/(3m) of the optimum.
    assert best <= makespan(jobs, workers) <= best * (4 / 3 - 1 / (3 * workers)) + 1e-9


def test_a_finished_trial_costs_nothing_more():
    of = trial()
    for resumes in (True, False):
        cost = trial_cost(of, of.durations, resumes=resumes)
        assert (cost.remaining_steps, cost.remaining_flops) == (0, 0.0)


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
@pytest.mark.parametrize("momentum", ["float32", "bfloat16"])
def test_a_checkpoint_has_the_size_of_the_state(optimizer, momentum):
    import jax

    from vitscale.scaling.train import training_for

    recipe = dataclasses.replace(RECIPE, optimizer=optimizer, momentum_dtype=momentum)
    of = Trial(
        shape=Shape(width=128, depth=2, mlp_dim=512, heads=2, patch=4),
        recipe=recipe,
        durations=(1280,),
    )
    state = training_for(of.shape, of.recipe).template
    actual = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    assert state_bytes(of) == pytest.approx(actual, rel=0.07)  # small arrays are left out
    assert checkpoint_bytes([of, of, trial()], 2) == 10 * state_bytes(of)


def test_the_speed_is_read_off_what_was_measured():
    """From times of trials of two sizes made with a known overhead and rate, and one that diverged."""
    truth = Speed(compile_seconds=0.0, step_overhead_seconds=2e-3, flops_per_second=3e9)
    facts = {}
    for width in (8, 64):
        of = trial(width=width)
        facts[of] = {
            d: Facts(
                "ok",
                1.0,
                truth.seconds(steps=d // 64, flops=3 * d * of.forward_flops_per_example()),
            )
            for d in of.durations
        }
    facts[trial(width=16)] = {1280: Facts("diverged", 1.0, 1e9)}
    found = speed_of(facts)
    assert found is not None
    assert found.step_overhead_seconds == pytest.approx(2e-3)
    assert found.flops_per_second == pytest.approx(3e9)
    assert speed_of({}) is None
