"""Trials that diverge: nothing is spoilt by it, and they may be trained anew at half the learning rate."""

import dataclasses

import jax
import numpy as np
import pytest
from trial_samples import RECIPE, SHAPE, TRIAL, MemorySink, Together

from vitscale.scaling.data.batch import Batch
from vitscale.scaling.loop import Lane
from vitscale.scaling.recipe import Trial
from vitscale.scaling.retries import (
    Divergence,
    divergences,
    given_up_because,
    learning_rate_after,
    record_divergence,
    retried_because,
    steps_to_pay,
)
from vitscale.scaling.train import Run, training_for
from vitscale.scaling.trial import PreemptedError, run_trial, run_trials
from vitscale.sweeps.store import Store

DURATIONS = TRIAL.durations[:2]


def wild(*, lr_retries: int, learning_rate: float = 4.0, **changed) -> Trial:
    """Its loss is far above that of an untrained model after 50 steps, at 4; at 0.004 it learns."""
    recipe = dataclasses.replace(
        RECIPE, learning_rate=learning_rate, lr_retries=lr_retries, **changed
    )
    return Trial(shape=SHAPE, recipe=recipe, durations=DURATIONS)


@pytest.fixture
def wild_above(monkeypatch):
    """Have trials diverge at step 30 where their learning rate is above a limit: at any other step, and
    any other rate, it would depend on rounding."""

    def arrange(limit: float) -> None:
        import vitscale.scaling.trial as module

        original = module._Runner._run

        def run_of(self, total_steps, cooldown_steps):
            run = original(self, total_steps, cooldown_steps)
            for lane, rate in zip(
                self._lanes, np.reshape(run.peak_learning_rate, -1).tolist(), strict=True
            ):
                lane.breaks = rate > limit
            return run

        look = Lane.look

        def looked(self, losses, last_step):
            look(self, losses, last_step)
            if self.breaks and last_step >= 30 and not self.diverged:
                self.diverged = "loss or gradient not finite at step 30"

        monkeypatch.setattr(module._Runner, "_run", run_of)
        monkeypatch.setattr(Lane, "breaks", False, raising=False)
        monkeypatch.setattr(Lane, "look", looked)

    return arrange


def test_a_recipe_without_retries_keeps_its_id():
    assert wild(lr_retries=0).recipe.identity().keys() == RECIPE.identity().keys()
    assert wild(lr_retries=0).id != wild(lr_retries=1).id


@pytest.mark.parametrize("value", [-1, 1.5, 21])
def test_retries_are_a_small_whole_number(value):
    with pytest.raises(ValueError, match=r"lr_retries=.* is not a whole number from 0 to 20"):
        dataclasses.replace(RECIPE, lr_retries=value)


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_a_step_without_a_finite_loss_changes_nothing(optimizer, lanes, tmp_path):
    labels = np.arange(64) % 10
    np.savez(tmp_path / "set.npz", images=np.zeros((64, 8, 8), np.uint8), labels=labels)
    data = {"data": f"npz:{tmp_path / 'set.npz'}", "train_split": "train[:32]"}
    data |= {"eval_split": "train[32:]", "image_size": 8}
    recipe = dataclasses.replace(RECIPE, optimizer=optimizer, **data)
    training = training_for(dataclasses.replace(SHAPE, patch=4), recipe, lanes=lanes)
    each = (lambda x: np.stack([x] * lanes)) if lanes > 1 else np.asarray
    seeds = each(np.uint32(0))
    run = Run(
        seed=seeds,
        peak_learning_rate=each(np.float32(1e-3)),
        total_steps=each(np.float32(np.inf)),
        cooldown_steps=each(np.float32(0)),
    )
    images = np.random.default_rng(0).random((16, 8, 8, 1), np.float32)
    labels = labels[:16].astype(np.int32)
    state, loss = training.step(training.init(seeds), run, Batch(each(images), each(labels)))
    assert np.isfinite(loss).all()
    before = jax.device_get(state)
    broken = each(images)
    broken.reshape(lanes, -1)[-1, 0] = np.nan  # in the last lane alone
    after, loss = training.step(state, run, Batch(broken, each(labels)))
    after = jax.device_get(after)
    loss = np.reshape(loss, -1)
    assert np.isnan(loss[-1]) and np.isfinite(loss[:-1]).all()
    assert (np.reshape(after.step, -1) == 2).all()
    last = (lambda x: x[-1]) if lanes > 1 else (lambda x: x)
    for old, new in zip(
        jax.tree.leaves((before.params, before.optimizer)),
        jax.tree.leaves((after.params, after.optimizer)),
        strict=True,
    ):
        np.testing.assert_array_equal(last(old), last(new))
        assert np.isfinite(np.asarray(new, np.float32)).all()
    if lanes > 1:
        kernels = before.params["head"]["kernel"], after.params["head"]["kernel"]
        assert not np.array_equal(kernels[0][0], kernels[1][0])


def test_a_loss_that_is_not_finite_is_told_with_its_step():
    lane = Lane(worst_loss=9.7)
    lane.look(np.array([4.0, np.inf, 4.0]), 3)
    assert lane.diverged == "loss or gradient not finite at step 2"


def test_retries_train_anew_at_half_the_learning_rate(tmp_path, wild_above):
    wild_above(1.5e-2)
    trial = wild(lr_retries=2, learning_rate=3.2e-2)
    sink, told = MemorySink(tmp_path / "retried"), []
    run_trial(trial, sink, on_progress=told.append)
    rows = [row for rows in sink.rows.values() for row in rows]
    assert {(row.status, row.learning_rate) for row in rows} == {("ok", 8e-3)}
    assert {row.reason for row in rows} == {
        "diverged at learning rate 0.032 (loss or gradient not finite at step 30), then learning rate "
        "0.016 (loss or gradient not finite at step 30); measured at learning rate 0.008"
    }
    # What it measures is what a trial measures that had the lower rate from the start.
    plain = MemorySink(tmp_path / "plain")
    run_trial(wild(lr_retries=0, learning_rate=8e-3), plain)
    assert sink.values() == plain.values()
    # The first duration pays for what was lost, at least 30 steps twice and at most two whole trunks.
    spent = {row.examples: row.spent_flops for row in rows}
    a_step, steps = trial.train_flops(RECIPE.batch_size), trial.spent_steps()
    lost = (sum(spent.values()) / a_step) - steps
    assert 60 <= lost <= 2 * max(trial.trunk_steps(d) for d in DURATIONS)
    assert spent[DURATIONS[1]] == trial.spent_flops() - trial.spent_flops(DURATIONS[:1])
    # Progress only ever goes on.
    assert [p.step for p in told] == sorted(p.step for p in told)
    assert told[-1].step == told[-1].total_steps == pytest.approx(steps + lost)


def test_only_when_all_retries_diverge_it_has_diverged(tmp_path, wild_above):
    wild_above(0.0)
    trial = wild(lr_retries=1, learning_rate=3.2e-2)
    sink = MemorySink(tmp_path)
    run_trial(trial, sink)
    rows = [row for [row] in sink.rows.values()]
    assert [row.status for row in rows] == ["diverged"] * 2
    assert {row.learning_rate for row in rows} == {1.6e-2}
    assert "0.032 (" in rows[0].reason and "then learning rate 0.016 (" in rows[0].reason
    assert rows[0].spent_flops >= 60 * trial.train_flops(RECIPE.batch_size)
    assert rows[1].spent_flops == 0


@pytest.mark.parametrize("stop_at", [20, 45, 90, 140])
def test_a_retry_that_is_stopped_goes_on_as_one(tmp_path, wild_above, stop_at):
    wild_above(1.5e-2)
    trial = wild(lr_retries=2, learning_rate=3.2e-2)
    whole, stopped = MemorySink(tmp_path / "whole"), MemorySink(tmp_path / "stopped")
    run_trial(trial, whole)
    told = []
    with pytest.raises(PreemptedError):
        run_trial(
            trial,
            stopped,
            on_progress=told.append,
            should_stop=lambda: bool(told) and told[-1].step >= stop_at,
        )
    run_trial(trial, stopped)
    assert stopped.values() == whole.values()
    reasons = [{row.reason for rows in s.rows.values() for row in rows} for s in (stopped, whole)]
    assert reasons[0] == reasons[1] and len(reasons[0]) == 1


def test_a_trial_killed_after_its_checkpoints_saw_it_diverge_does_not_forget(tmp_path, wild_above):
    # The state that is saved is finite, and would train on.
    wild_above(1.5e-2)
    trial, store = wild(lr_retries=1, learning_rate=1.6e-2), Store.open(tmp_path, create=True)

    class KilledError(Exception):
        pass

    def kill(progress):
        if (store.checkpoint_dir(trial) / "trunk-retry-1").is_dir() and progress.step > 60:
            raise KilledError

    with pytest.raises(KilledError):
        run_trial(trial, store, on_progress=kill, checkpoint_seconds=0)
    assert len(divergences(store, trial)) == 1
    run_trial(trial, store, checkpoint_seconds=0)
    assert set(store.read()["learning_rate"]) == {8e-3}
    assert len(store.read().drop_duplicates(["examples", "metric"])) == len(store.read())
    assert not store.resumable()


def test_those_of_several_that_diverge_are_retried_alone_afterwards(tmp_path, wild_above):
    wild_above(1.5e-2)
    calm, hot = (wild(lr_retries=1, learning_rate=rate) for rate in (8e-3, 1.6e-2))
    sinks = {trial.id: MemorySink(tmp_path / trial.id) for trial in (calm, hot)}
    told = []
    with pytest.raises(PreemptedError):
        run_trials(
            [calm, hot],
            Together(sinks),
            on_progress=told.append,
            should_stop=lambda: bool(told) and told[-1].step >= 45,
        )
    assert len(divergences(sinks[hot.id], hot)) == 1  # and no checkpoint says so
    later = []
    run_trials([calm, hot], Together(sinks), on_progress=later.append)
    of_whom = {(progress.together, progress.trial_id) for progress in later}
    assert of_whom == {(2, min(calm.id, hot.id)), (1, hot.id)}
    assert {r.reason for rows in sinks[calm.id].rows.values() for r in rows} == {""}
    found = [row for rows in sinks[hot.id].rows.values() for row in rows]
    assert {(row.status, row.learning_rate) for row in found} == {("ok", 8e-3)}
    alone = MemorySink(tmp_path / "alone")
    run_trial(wild(lr_retries=0, learning_rate=8e-3), alone)
    assert sinks[hot.id].values() == alone.values()


def test_a_real_divergence_is_retried(tmp_path):
    # clip_norm off and a rate of 900: the loss is not finite within some steps. 20 halvings: 8.6e-4.
    trial = wild(lr_retries=20, learning_rate=900.0, clip_norm=1e9)
    sink = MemorySink(tmp_path)
    run_trial(trial, sink)
    rows = [row for rows in sink.rows.values() for row in rows]
    assert {row.status for row in rows} == {"ok"}
    rates = {row.learning_rate for row in rows}
    assert len(rates) == 1 and rates < {learning_rate_after(trial, k) for k in range(1, 21)}
    assert all(row.reason.startswith("diverged at learning rate 900 (") for row in rows)


def test_records_are_read_as_they_were_written(tmp_path):
    store = Store.open(tmp_path, create=True)
    first = Divergence(
        learning_rate=0.2, reason="loss 12 at step 50", measured=(), lost_steps=7, lost_seconds=1.5
    )
    second = dataclasses.replace(first, learning_rate=0.1, measured=(960,), lost_steps=5)
    record_divergence(store, TRIAL, 1, first)
    record_divergence(store, TRIAL, 1, second)  # facts are recorded once
    record_divergence(store, TRIAL, 2, second)
    assert divergences(store, TRIAL) == [first, second]
    assert steps_to_pay([first, second], set()) == 7
    assert steps_to_pay([first, second], {960}) == 5
    assert steps_to_pay([first, second], {960, 1920}) == 0
    assert retried_because([], 0.2) == ""
    assert given_up_because([first], 4.85) == (
        "loss 12 at step 50, where an untrained model has 4.85; try a smaller learning rate than 0.2"
    )
