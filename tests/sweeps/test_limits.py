"""A run that may spend so much, and no more; and what was cancelled."""

import pytest
from sweep_samples import star_plan

from vitscale.sweeps.attempts import (
    attempts,
    cancel,
    cancelled,
    failures_since_resumed,
    record_attempt,
    resume,
)
from vitscale.sweeps.engines.local import LocalEngine
from vitscale.sweeps.engines.simulated import SimulatedEngine
from vitscale.sweeps.run import Limits, run
from vitscale.sweeps.store import Store
from vitscale.sweeps.words import report_lines

PLAN = star_plan(widths=(8, 16, 24))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open(tmp_path / "store", create=True)


def spent_of(trials) -> float:
    return sum(trial.spent_flops() for trial in trials)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.99, 1.0])
@pytest.mark.parametrize("workers", [1, 64])
def test_no_trial_starts_that_the_budget_does_not_cover(store, share, workers):
    budget = share * spent_of(PLAN.trials)
    engine = SimulatedEngine(workers=workers)
    report = run(PLAN, engine, store, limits=Limits(max_flops=budget))
    assert report.spent_flops <= budget * (1 + 1e-12)
    left = [trial for trial in PLAN.trials if trial.id in report.unfinished]
    # Not even the cheapest of those left would have fitted.
    assert all(report.spent_flops + trial.spent_flops() > budget for trial in left)
    assert bool(left) == (share < 1) == bool(report.stopped) == (not report.complete)
    if left:
        assert "the same command goes on" in report_lines(report)[-1]
    rest = run(PLAN, engine, store)
    assert rest.complete and set(rest.measured) == {trial.id for trial in left}


@pytest.mark.slow
def test_time_that_is_over_lets_trials_save_and_the_next_run_goes_on(store):
    # Eight seconds are enough to begin, also where much else runs, and not enough to end.
    plan = star_plan(widths=(8,), steps=(1500, 3000))
    with LocalEngine(workers=2, runner="simulated") as engine:
        report = run(plan, engine, store, limits=Limits(max_hours=8 / 3600))
        assert report.stopped == "it has run for the 0.00222222 hours that it may"
        assert not report.complete and not report.interrupted
        assert len(store.resumable()) >= 1
        assert run(plan, engine, store).complete


@pytest.mark.parametrize(
    "limits", [{"max_flops": 0.0}, {"max_hours": -1.0}, {"max_hours": float("nan")}]
)
def test_limits_that_leave_nothing_are_refused(limits):
    with pytest.raises(ValueError, match="leaves nothing to run; use a positive number"):
        Limits(**limits)


def test_cancelled_trials_are_left_out_until_they_are_resumed(store):
    first, *rest = (trial.id for trial in PLAN.trials)
    cancel(store, [first])
    report = run(PLAN, SimulatedEngine(), store)
    assert report.complete and report.cancelled == (first,) and set(report.measured) == set(rest)
    assert any("cancelled" in line for line in report_lines(report))
    resume(store, [first])
    assert cancelled(store) == set()
    assert run(PLAN, SimulatedEngine(), store).measured == (first,)


def test_a_running_trial_that_is_cancelled_saves_and_stops(store):
    plan = star_plan(widths=(8,), steps=(1000, 2000))
    victim = plan.trials[0].id
    heard = []

    class Canceller:
        def update(self, state) -> None:
            job = state.running.get(victim)
            if job is not None and job.progress is not None and job.progress.step > 15:
                cancel(store, [victim])
            if victim in state.cancelled:
                raise KeyboardInterrupt  # enough seen

        def say(self, message: str) -> None:
            heard.append(message)

        def close(self) -> None: ...

    with LocalEngine(workers=2, runner="simulated") as engine:
        report = run(plan, engine, store, display=Canceller())
    assert report.cancelled == (victim,)
    assert "cancelled; vitscale resume undoes it" in heard[0]
    assert victim in store.resumable()


def test_attempts_are_kept_and_count_until_they_are_resumed(store):
    first, second = PLAN.trials[0].id, PLAN.trials[1].id
    for reason in ("one", "two"):
        record_attempt(store, first, "failed", reason=reason, core_seconds=1.5, log_tail="line")
    record_attempt(store, second, "lost", reason="killed")
    store.place.put("attempts/notes.txt", b"by hand")
    store.place.put(f"attempts/{first}-1700000000000-00000000.json", b"{")
    found = attempts(store)
    assert [a.reason for a in found[first]] == ["one", "two"]
    assert found[first][0].core_seconds == 1.5 and found[first][0].log_tail == "line"
    assert len(failures_since_resumed(found[first])) == 2
    assert failures_since_resumed(found[second]) == []

    report = run(PLAN, SimulatedEngine(), store, shared=True)
    assert [failure.trial.id for failure in report.failed] == [first]
    assert report.failed[0].reason == "two" and len(report.measured) == len(PLAN.trials) - 1
    resume(store, [first, second])
    assert failures_since_resumed(attempts(store)[first]) == []
    assert run(PLAN, SimulatedEngine(), store, shared=True).measured == (first,)
