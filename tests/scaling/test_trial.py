"""Trials: branches leave the trunk unharmed, kills change no number, divergence is recorded."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from trial_samples import RECIPE, SHAPE, TRIAL, MemorySink, Together

from vitscale.scaling.evaluate.frozen import FrozenModel, Outputs
from vitscale.scaling.execution import Execution
from vitscale.scaling.loop import Lane
from vitscale.scaling.recipe import Trial
from vitscale.scaling.shape import Shape
from vitscale.scaling.speed import calibrate
from vitscale.scaling.trial import PreemptedError, run_trial, run_trials
from vitscale.sweeps.store import Store
from vitscale.sweeps.wire import trial_to_dict

TIMES = ("train_seconds", "eval_seconds", "measured_at")
COSTS = ("trial_id", "recipe_id", "spent_flops")


def run(trial: Trial, folder: Path, **options) -> MemorySink:
    sink = MemorySink(folder)
    run_trial(trial, sink, **options)
    return sink


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> MemorySink:
    return run(TRIAL, tmp_path_factory.mktemp("undisturbed"))


def test_every_branch_equals_a_run_of_its_own(undisturbed, tmp_path):
    # Bitwise: the trunk went on unharmed after each branch, and a branch is nothing but a run with
    # its cooldown.
    for duration in TRIAL.durations:
        alone = run(dataclasses.replace(TRIAL, durations=(duration,)), tmp_path / str(duration))
        assert alone.values() == {
            key: value for key, value in undisturbed.values().items() if key[0] == duration
        }


def test_rows_say_what_ran_and_what_it_cost(undisturbed):
    rows = [row for rows in undisturbed.rows.values() for row in rows]
    assert {row.status for row in rows} == {"ok"}
    assert {row.metric for row in rows} >= {
        "upstream_loss",
        "upstream_error",
        "glyphs_10shot_error",
        "digits_10shot_error",
    }
    for row in rows:
        assert row.trial_id == TRIAL.id
        assert row.train_flops == 3 * row.forward_flops_per_example * row.examples
        assert row.steps * row.batch_size == row.examples
        assert row.value is not None and row.value > 0
    spent = {row.examples: row.spent_flops for row in rows}
    assert sum(spent.values()) == pytest.approx(TRIAL.spent_flops())


def test_seeds_differ_and_repeat(undisturbed, tmp_path):
    again = run(TRIAL, tmp_path / "again")
    assert again.values() == undisturbed.values()
    other = dataclasses.replace(TRIAL, recipe=dataclasses.replace(RECIPE, seed=1))
    assert run(other, tmp_path / "other").values() != undisturbed.values()


def test_scanned_blocks_measure_the_same_within_rounding(undisturbed, tmp_path):
    scanned = run(
        dataclasses.replace(TRIAL, durations=TRIAL.durations[:1]),
        tmp_path,
        execution=Execution(layout="scanned"),
    )
    key = (TRIAL.durations[0], "upstream_loss")
    assert scanned.values()[key] == pytest.approx(undisturbed.values()[key], rel=1e-3)


def test_training_learns_more_the_longer_it_lasts(undisturbed):
    values = undisturbed.values()
    losses = [values[duration, "upstream_loss"] for duration in TRIAL.durations]
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_schedules_tied_to_the_end_run_to_it(schedule, tmp_path):
    recipe = dataclasses.replace(RECIPE, schedule=schedule)
    trial = Trial(shape=SHAPE, recipe=recipe, durations=(16 * 60,))
    assert run(trial, tmp_path).values()[16 * 60, "upstream_loss"] < 4.85  # below ln 128


def test_a_measured_trial_costs_only_the_duration_it_lacks(undisturbed, tmp_path):
    sink = MemorySink(tmp_path)
    run_trial(dataclasses.replace(TRIAL, durations=TRIAL.durations[:2]), sink)
    first = dict(sink.rows)
    run_trial(TRIAL, sink)
    assert sink.values() == undisturbed.values()
    assert all(sink.rows[d] is rows for d, rows in first.items())


def test_divergence_is_recorded_with_its_reason(tmp_path):
    wild = dataclasses.replace(RECIPE, learning_rate=900.0, clip_norm=1e9)
    trial = Trial(shape=SHAPE, recipe=wild, durations=TRIAL.durations)
    sink = run(trial, tmp_path)
    assert set(sink.rows) == set(TRIAL.durations)
    for [row] in sink.rows.values():
        assert row.status == "diverged" and row.value is None
        assert "smaller learning rate" in row.reason


def test_a_model_that_breaks_in_its_last_step_is_recorded_as_diverged(tmp_path, monkeypatch):
    # The loss of each batch is taken before its update, so the last update shows at evaluation only.
    def broken(model, images):
        features = np.full((images.examples, SHAPE.width), np.nan)
        return Outputs(
            features, np.full((images.examples, 128), np.nan), np.zeros(images.examples, int)
        )

    monkeypatch.setattr(FrozenModel, "outputs", broken)
    sink = run(TRIAL, tmp_path)
    assert [row.status for [row] in sink.rows.values()] == ["diverged"] * 3


def test_a_spike_that_a_whole_run_survives_does_not_end_a_resumed_one():
    losses = np.full(150, 4.0)
    losses[48:50] = 12.0  # a mean of 4.3 over steps 1 to 50
    for began in (0, 20, 48):
        lane = Lane(worst_loss=9.7)
        for step in range(began, 150, 2):
            lane.look(losses[step : step + 2], step + 2)
        assert not lane.diverged
    worse = np.where(np.arange(150) < 100, losses, 12.0)
    for began in (0, 48, 100):
        lane = Lane(worst_loss=9.7)
        lane.look(worse[began:], 150)
        assert lane.diverged == "loss 12 at step 150"


def test_the_end_of_a_cooldown_does_not_speak_for_the_trunk():
    lane = Lane(worst_loss=9.7)
    lane.look(np.full(30, 4.0), 30)
    lane.look(np.full(50, 12.0), 80)  # a cooldown, judged with the trunk before it
    assert lane.diverged == "" and len(lane.unjudged) == 30
    lane.look(np.full(20, 4.0), 50)  # the trunk again, from 30
    assert lane.diverged == "" and not lane.unjudged


def test_divergence_costs_what_was_trained_since_the_last_duration(tmp_path, monkeypatch):
    look = Lane.look

    def until_150(self, losses, last_step):
        look(self, losses, last_step)
        if last_step >= 150:
            self.diverged = "loss 99"

    monkeypatch.setattr(Lane, "look", until_150)
    sink = run(TRIAL, tmp_path)
    assert [rows[0].status for rows in sink.rows.values()] == ["ok", "ok", "diverged"]
    paid, [lost] = TRIAL.durations[:2], sink.rows[TRIAL.durations[2]]
    before = sum(sink.rows[duration][0].spent_flops for duration in paid)
    assert before == TRIAL.spent_flops(paid)
    a_step = TRIAL.train_flops(RECIPE.batch_size)
    left = TRIAL.trunk_steps(TRIAL.durations[1])
    reached = TRIAL.trunk_steps(TRIAL.durations[2])
    assert (150 - left) * a_step <= lost.spent_flops <= (reached - left) * a_step


def test_a_duration_added_later_pays_for_its_trunk(tmp_path):
    sink = MemorySink(tmp_path / "one")
    run_trial(dataclasses.replace(TRIAL, durations=TRIAL.durations[:1]), sink)
    shutil.rmtree(tmp_path / "one")  # as a store forgets the checkpoints of a finished trial
    run_trial(dataclasses.replace(TRIAL, durations=TRIAL.durations[:2]), sink)
    added = sink.rows[TRIAL.durations[1]][0]
    assert added.spent_flops == added.train_flops


def test_a_trunk_begun_anew_is_paid_for_though_it_is_stopped_on_the_way(tmp_path):
    """Its first checkpoints are gone, and it is stopped twice past the cooldown that was measured before."""
    first, second, third = TRIAL.durations
    sink = MemorySink(tmp_path / "one")
    run_trial(dataclasses.replace(TRIAL, durations=(first,)), sink)
    shutil.rmtree(tmp_path / "one")
    trial = dataclasses.replace(TRIAL, durations=(first, third))
    begun = []
    for past in (TRIAL.trunk_steps(first) + 5, TRIAL.trunk_steps(second)):
        steps = []

        def hear(progress, steps=steps):
            steps.append(progress.step)

        with pytest.raises(PreemptedError):
            run_trial(
                trial,
                sink,
                on_progress=hear,
                should_stop=lambda past=past, steps=steps: steps[-1] >= past - sum(begun),
            )
        begun.append(steps[-1])
    run_trial(trial, sink)
    added = sink.rows[third][0]
    assert added.spent_flops == added.train_flops


def test_a_shorter_duration_added_to_a_started_trial_is_checkpointed_too(undisturbed, tmp_path):
    # The trunk has checkpoints far beyond the new duration; its line goes on from where it can.
    sink = MemorySink(tmp_path)
    run_trial(dataclasses.replace(TRIAL, durations=TRIAL.durations[2:]), sink, checkpoint_seconds=0)
    assert any((tmp_path / "trunk").iterdir())
    run_trial(TRIAL, sink, checkpoint_seconds=0)
    assert sink.values() == undisturbed.values()


def test_trials_trained_together_measure_what_they_measure_alone(undisturbed, tmp_path):
    other = dataclasses.replace(TRIAL, recipe=dataclasses.replace(RECIPE, seed=1))
    sinks = {trial.id: MemorySink(tmp_path / trial.id) for trial in (TRIAL, other)}
    run_trials([TRIAL, other], Together(sinks))
    first, second = sinks[TRIAL.id].values(), sinks[other.id].values()
    assert first.keys() == second.keys() == undisturbed.values().keys()
    for duration in TRIAL.durations:
        key = (duration, "upstream_loss")
        assert first[key] == pytest.approx(undisturbed.values()[key], rel=1e-3)
        assert second[key] != first[key]
    rows = [row for rows in sinks[other.id].rows.values() for row in rows]
    assert {row.trial_id for row in rows} == {other.id} and {row.seed for row in rows} == {1}
    spent = {row.examples: row.spent_flops for row in rows}
    assert sum(spent.values()) == pytest.approx(other.spent_flops())


def test_trials_stopped_together_go_on_in_whatever_order_they_come_back(tmp_path):
    other = dataclasses.replace(TRIAL, recipe=dataclasses.replace(RECIPE, seed=1))
    sinks = {trial.id: MemorySink(tmp_path / trial.id) for trial in (TRIAL, other)}
    told = []
    with pytest.raises(PreemptedError):
        run_trials(
            [TRIAL, other],
            Together(sinks),
            on_progress=told.append,
            should_stop=lambda: bool(told) and told[-1].step >= 8,
        )
    stopped = told[-1].step
    told.clear()
    with pytest.raises(PreemptedError):
        run_trials(
            [other, TRIAL], Together(sinks), on_progress=told.append, should_stop=lambda: True
        )
    run_trials([other, TRIAL], Together(sinks), on_progress=told.append)
    assert told[-1].total_steps == TRIAL.spent_steps() - stopped
    assert {row.seed for rows in sinks[other.id].rows.values() for row in rows} == {1}


def test_many_trained_together_go_on_from_an_object_store_on_another_machine(tmp_path, monkeypatch):
    recipe = dataclasses.replace(RECIPE, evaluators=("upstream",))
    trials = [
        Trial(shape=SHAPE, recipe=dataclasses.replace(recipe, seed=seed), durations=(16 * 60,))
        for seed in range(21)
    ]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "machine"))
    store = Store.open(f"memory://{tmp_path.name}", create=True)
    told = []

    def train(should_stop):
        told.clear()
        with contextlib.ExitStack() as locks:
            assert all(locks.enter_context(store.lock(trial)) for trial in trials)
            run_trials(trials, store, on_progress=told.append, should_stop=should_stop)

    with pytest.raises(PreemptedError):
        train(lambda: bool(told) and told[-1].step >= 8)
    stopped = told[-1].step
    first = min(trial.id for trial in trials)
    assert store.resumable() == {first}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other machine"))
    # As a version before named them, in folders of folders; they are of no use any more.
    old = store.place.scratch / "checkpoints" / first / "together-an-older" / "trunk" / "5"
    old.mkdir(parents=True)
    train(lambda: False)
    assert stopped and told[-1].total_steps == trials[0].spent_steps() - stopped
    assert store.resumable() == set() and not old.exists()
    assert set(store.measured_durations()) == {trial.id for trial in trials}


def test_one_of_several_that_diverges_leaves_the_others_alone(tmp_path):
    wild = dataclasses.replace(TRIAL, recipe=dataclasses.replace(RECIPE, learning_rate=900.0))
    sinks = {trial.id: MemorySink(tmp_path / trial.id) for trial in (TRIAL, wild)}
    run_trials([wild, TRIAL], Together(sinks))
    assert {row.status for rows in sinks[TRIAL.id].rows.values() for row in rows} == {"ok"}
    assert [row.status for [row] in sinks[wild.id].rows.values()] == ["diverged"] * 3


def test_trials_that_differ_in_more_are_not_trained_together(tmp_path):
    wider = dataclasses.replace(TRIAL, shape=dataclasses.replace(SHAPE, mlp_dim=SHAPE.mlp_dim + 8))
    with pytest.raises(ValueError, match="may differ in seed and learning_rate alone"):
        run_trials([TRIAL, wider], MemorySink(tmp_path))


def test_asked_to_stop_it_saves_and_goes_on_from_there(undisturbed, tmp_path):
    sink = MemorySink(tmp_path)
    told = []
    with pytest.raises(PreemptedError, match="asked to stop at step"):
        run_trial(TRIAL, sink, on_progress=told.append, should_stop=lambda: len(sink.rows) > 0)
    assert list(sink.rows) == [TRIAL.durations[0]]
    told.clear()
    run_trial(TRIAL, sink, on_progress=told.append)
    assert told[-1].total_steps < TRIAL.spent_steps(TRIAL.durations[1:])
    assert sink.values() == undisturbed.values()


def test_asked_to_stop_while_it_measures_no_step_is_trained_again(undisturbed, tmp_path):
    sink = MemorySink(tmp_path)
    told = []
    with pytest.raises(PreemptedError, match="asked to stop at step 60, while measuring"):
        run_trial(
            TRIAL,
            sink,
            on_progress=told.append,
            should_stop=lambda: bool(told) and told[-1].phase == "evaluate",
        )
    assert not sink.rows
    run_trial(TRIAL, sink, on_progress=told.append)
    assert told[-1].total_steps == TRIAL.spent_steps() - TRIAL.steps(TRIAL.durations[0])
    assert sink.values() == undisturbed.values()


def test_untrainable_recipes_say_so(tmp_path):
    jft = dataclasses.replace(RECIPE, data="jft-3b")
    with pytest.raises(ValueError, match="JFT-3B is internal to Google and was never published"):
        run(Trial(shape=SHAPE, recipe=jft, durations=(16 * 60,)), tmp_path)
    with pytest.raises(ValueError, match="images of 16 pixels and 1 channels; set image_size=16"):
        recipe = dataclasses.replace(RECIPE, channels=3)
        run(Trial(shape=SHAPE, recipe=recipe, durations=(16 * 60,)), tmp_path)


_CHILD = """
import json, sys
from vitscale.scaling.trial import run_trial
from vitscale.sweeps.store import Store
from vitscale.sweeps.wire import trial_from_dict
store = Store.open(sys.argv[1])
run_trial(trial_from_dict(json.loads(sys.argv[2])), store, checkpoint_seconds=0.0)
"""


@pytest.mark.slow
def test_killed_again_and_again_it_ends_in_the_same_numbers(undisturbed, tmp_path):
    store = Store.open(tmp_path / "store", create=True)
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    kills = 0
    for patience in (0.02, 0.3, 0.9, 0.1, None):
        arguments = [str(store.path), json.dumps(trial_to_dict(TRIAL))]
        child = subprocess.Popen([sys.executable, "-c", _CHILD, *arguments], env=environment)
        if patience is not None:
            # Wait for the child to make progress, then a moment longer, then kill it.
            before = _progress(store)
            while child.poll() is None and _progress(store) == before:
                time.sleep(0.01)
            time.sleep(patience)
            kills += child.poll() is None
            child.send_signal(signal.SIGKILL)
        assert child.wait() in (0, -signal.SIGKILL), "the child failed by itself"
    assert kills >= 3 and store.measured(TRIAL) == set(TRIAL.durations)
    frame = store.read()
    values = dict(
        zip(zip(frame["examples"], frame["metric"], strict=True), frame["value"], strict=True)
    )
    assert values == undisturbed.values()
    assert not list(store.checkpoint_dir(TRIAL).iterdir())


def _progress(store: Store) -> tuple:
    """Changes whenever a checkpoint or a measurement lands."""
    folders = (store.path / "checkpoints", store.path / "measurements")
    return tuple(sorted(str(p) for folder in folders for p in folder.glob("*/*/*"))), len(
        list(folders[1].iterdir())
    )


def test_calibration_gives_a_usable_speed():
    wide = dataclasses.replace(TRIAL, shape=Shape(width=64, depth=2, mlp_dim=64, heads=2, patch=4))
    speed = calibrate([TRIAL, wide], steps=15)
    assert speed.compile_seconds > 0 and speed.step_overhead_seconds >= 0
    assert 1e6 < speed.flops_per_second < 1e15
