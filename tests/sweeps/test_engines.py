"""What every engine must do, whatever it is made of."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sweep_samples import RECIPE, star_plan

from vitscale.scaling import failpoints
from vitscale.scaling.progress import Progress
from vitscale.scaling.recipe import Trial
from vitscale.sweeps.attempts import cancel
from vitscale.sweeps.config import plan_to_toml
from vitscale.sweeps.engines.engine import Attempt, Engine
from vitscale.sweeps.engines.local import LocalEngine
from vitscale.sweeps.engines.simulated import SimulatedEngine
from vitscale.sweeps.plan import GridSweep, Plan
from vitscale.sweeps.run import Limits, run
from vitscale.sweeps.store import Store

PLAN = star_plan(steps=(40, 80))  # four trials of about a second, where there are processes
LONG = star_plan(name="long", steps=(40, 4_000))
PACK = Plan(  # three trials that can be trained together, of six seconds each
    name="pack",
    sweep=GridSweep(
        widths=(8,),
        depths=(1,),
        mlp_dims=(16,),
        patch=4,
        recipe=RECIPE,
        durations=(64 * 40, 64 * 600),
        seeds=(0, 1, 2),
        head_dim=8,
    ),
)
WAIT_S = 120.0


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    """A cluster of two hosts on loopback, of one CPU each."""
    pytest.importorskip("ray")
    from benchmarks.ray_cluster import fake_cluster

    with fake_cluster([{"num_cpus": 1}, {"num_cpus": 1}]) as address:
        yield address


@pytest.fixture(params=["local", "ray", "simulated"])
def engine(request) -> Iterator[Engine]:
    """Each engine with room for two trials."""
    with contextlib.ExitStack() as stack:
        match request.param:
            case "local":
                yield stack.enter_context(LocalEngine(workers=2, runner="simulated"))
            case "simulated":
                yield SimulatedEngine(workers=2)
            case "ray":
                from vitscale.sweeps.engines.ray import RayEngine

                address = request.getfixturevalue("ray_address")
                yield stack.enter_context(RayEngine(address=address, runner="simulated"))


def has_processes(engine: Engine) -> bool:
    return not isinstance(engine, SimulatedEngine)


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store.open(tmp_path / "store", create=True)
    store.prepare()
    return store


def events_until(engine: Engine, done: Callable[[list], bool]) -> list[Progress | Attempt]:
    events, began = [], time.monotonic()
    while not done(events):
        assert time.monotonic() - began < WAIT_S, f"only {events[-3:]} so far"
        events += engine.poll(0.2)
    return events


def ends(events: list) -> list[Attempt]:
    return [event for event in events if isinstance(event, Attempt)]


def attempt(engine: Engine, trial: Trial, store: Store) -> Attempt:
    """The end of one attempt."""
    engine.submit(trial, store)
    (end,) = ends(events_until(engine, lambda events: bool(ends(events))))
    assert end.trial_id == trial.id
    return end


def workers_of(trial: Trial, store: Store) -> list[int]:
    """Processes that write the trial's log."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(process / "fd" / "2") == str(store.log_path(trial.id)):
                found.append(int(process.name))
    return found


def test_trials_are_measured_and_make_room_again(engine, store):
    first, second, third, _ = PLAN.trials
    assert engine.capacity() == 2
    engine.submit(first, store)
    assert engine.capacity() == 1
    engine.submit(second, store)
    assert engine.capacity() == 0
    with pytest.raises(RuntimeError, match="poll until one is free"):
        engine.submit(third, store)
    events = events_until(engine, lambda events: len(ends(events)) == 2)
    assert {end.trial_id for end in ends(events)} == {first.id, second.id}
    assert {end.outcome for end in ends(events)} == {"done"}
    assert engine.capacity() == 2
    assert store.measured(first) == set(first.durations)
    assert store.measured(third) == set()
    if has_processes(engine):
        steps = [e for e in events if isinstance(e, Progress) and e.trial_id == first.id]
        assert steps and all(0 <= e.step <= e.total_steps == 90 for e in steps)


def test_what_another_process_holds_is_left_alone(engine, store):
    trial = PLAN.trials[0]
    with store.lock(trial) as free:
        assert free
        assert attempt(engine, trial, store).outcome == "busy"
    assert not store.measured(trial)
    assert attempt(engine, trial, store).outcome == "done"


def test_a_store_that_cannot_be_written_says_so(engine, store, monkeypatch):
    trial = PLAN.trials[0]
    if has_processes(engine):
        store.path.joinpath("measurements").rename(store.path / "away")
    else:
        monkeypatch.setattr(failpoints, "_passes", Counter())
        monkeypatch.setenv("VITSCALE_FAILPOINTS", "store.write=enospc")
    end = attempt(engine, trial, store)
    assert end.outcome == "unstorable" and str(store.path) in end.reason


def test_one_trial_is_cancelled_and_the_other_goes_on(engine, store):
    first, second = LONG.trials[0], PLAN.trials[1]
    engine.submit(first, store)
    engine.submit(second, store)
    engine.cancel(first.id)
    (end,) = ends(events_until(engine, lambda events: bool(ends(events))))
    assert (end.trial_id, end.outcome) == (second.id, "done")
    assert engine.capacity() == 2
    engine.cancel(first.id)  # of which nothing is left


def test_everything_is_cancelled_more_than_once(engine, store):
    for trial in LONG.trials[:2]:
        engine.submit(trial, store)
    engine.cancel()
    engine.cancel(grace_seconds=1.0)
    assert engine.capacity() == 2
    assert engine.poll(0.0) == []
    assert attempt(engine, PLAN.trials[0], store).outcome == "done"


class TestWithProcesses:
    """Of engines whose trials run in processes that may die."""

    @pytest.fixture(params=["local", "ray"])
    def engine(self, request):
        with contextlib.ExitStack() as stack:
            if request.param == "local":
                yield stack.enter_context(LocalEngine(workers=2, runner="simulated"))
            else:
                from vitscale.sweeps.engines.ray import RayEngine

                address = request.getfixturevalue("ray_address")
                yield stack.enter_context(RayEngine(address=address, runner="simulated"))

    def test_an_error_of_the_trial_is_its_failure(self, engine, store):
        trial = PLAN.trials[0]
        (store.checkpoint_dir(trial) / "step.json").write_text("{")
        end = attempt(engine, trial, store)
        assert end.outcome == "failed" and "JSONDecodeError" in end.reason

    @pytest.mark.parametrize(
        ("number", "outcome"), [(signal.SIGKILL, "lost"), (signal.SIGTERM, "preempted")]
    )
    def test_a_process_that_goes_away_is_no_failure(self, engine, store, number, outcome):
        trial = LONG.trials[0]
        engine.submit(trial, store)
        events_until(engine, lambda events: any(getattr(e, "step", 0) > 20 for e in events))
        (process,) = workers_of(trial, store)
        os.kill(process, number)
        (end,) = ends(events_until(engine, lambda events: bool(ends(events))))
        assert end.outcome == outcome and end.reason
        short = dataclasses.replace(trial, durations=trial.durations[:1])
        assert attempt(engine, short, store).outcome == "done"

    def test_those_that_are_asked_to_go_save_first(self, engine, store):
        trial = LONG.trials[0]
        engine.submit(trial, store)
        events_until(engine, lambda events: any(getattr(e, "step", 0) > 20 for e in events))
        assert engine.cancel(grace_seconds=20.0) == set()
        assert store.resumable() == {trial.id}
        assert workers_of(trial, store) == []

    def test_those_that_cannot_save_in_time_are_named(self, engine, store):
        trial = LONG.trials[0]
        engine.submit(trial, store)
        events_until(engine, lambda events: any(getattr(e, "step", 0) > 20 for e in events))
        (process,) = workers_of(trial, store)
        os.kill(process, signal.SIGSTOP)
        assert engine.cancel(grace_seconds=1.0) == {trial.id}
        assert workers_of(trial, store) == []


class TestPacks:
    """Of engines that train several trials in one process."""

    @pytest.fixture(params=["local", "ray"])
    def engine(self, request):
        with contextlib.ExitStack() as stack:
            if request.param == "local":
                yield stack.enter_context(LocalEngine(workers=1, pack=3, runner="simulated"))
            else:
                from vitscale.sweeps.engines.ray import RayEngine

                address = request.getfixturevalue("ray_address")
                one = RayEngine(address=address, workers=1, pack=3, runner="simulated")
                yield stack.enter_context(one)

    def test_one_trial_is_cancelled_and_those_trained_with_it_are_given_back(self, engine, store):
        first, second, third = PACK.trials
        for trial in (first, second, third):
            engine.submit(trial, store)
        events_until(engine, lambda events: any(getattr(e, "step", 0) > 20 for e in events))
        engine.cancel(first.id, grace_seconds=20.0)
        engine.cancel(third.id)
        assert engine.capacity() == 3
        (end,) = ends(engine.poll(0.2))
        assert (end.trial_id, end.outcome) == (second.id, "preempted")
        assert f"together with {first.id}, which was cancelled" in end.reason
        short = dataclasses.replace(second, durations=second.durations[:1])
        assert attempt(engine, short, store).outcome == "done"
        engine.cancel(second.id)
        assert engine.poll(0.0) == []

    def test_a_run_goes_on_without_the_one_that_is_cancelled(self, engine, store, monkeypatch):
        monkeypatch.setitem(run.__globals__, "_CANCELLED_EVERY_S", 0.5)
        first, *others = PACK.trials

        class Cancels:
            """A display that has the first trial cancelled while it is trained with the others."""

            def update(self, state):
                if len(state.running) == 3:
                    cancel(store, [first.id])

            def say(self, message): ...

            def close(self): ...

        limits = Limits(max_hours=WAIT_S / 3600)
        report = run(PACK, engine, store, display=Cancels(), limits=limits)
        assert not report.stopped and report.cancelled == (first.id,)
        assert set(report.measured) == {trial.id for trial in others}


DRIVER = """
import sys
from vitscale.sweeps.config import read_plan
from vitscale.sweeps.engines.local import LocalEngine
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store
if sys.argv[3] == "local":
    engine = LocalEngine(workers=2, runner="simulated")
elif sys.argv[3] == "ray":
    from vitscale.sweeps.engines.ray import RayEngine
    engine = RayEngine(address=sys.argv[4], runner="simulated")
print("started", flush=True)
run(read_plan(sys.argv[1]), engine, Store.open(sys.argv[2]))
"""


@pytest.mark.parametrize("name", ["local", "ray"])
def test_a_killed_driver_costs_no_finished_trial(name, store, tmp_path, request):
    """Killed when half is done, and the same run again: what was done is not touched, what was not is done."""
    path = tmp_path / "plan.toml"
    path.write_text(plan_to_toml(PLAN))
    address = request.getfixturevalue("ray_address") if name == "ray" else ""
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(path), str(store.path), name, address],
        stdout=subprocess.PIPE,
    )
    began = time.monotonic()
    done = lambda: [t for t in PLAN.trials if store.measured(t) >= set(t.durations)]  # noqa: E731
    while len(done()) < 2:
        assert driver.poll() is None and time.monotonic() - began < WAIT_S
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    finished = {trial.id for trial in done()}
    before = store.read().set_index(["trial_id", "examples"])["measured_at"]
    with contextlib.ExitStack() as stack:
        if name == "local":
            engine = stack.enter_context(LocalEngine(workers=2, runner="simulated"))
        else:
            from vitscale.sweeps.engines.ray import RayEngine

            engine = stack.enter_context(RayEngine(address=address, runner="simulated"))
        report = run(PLAN, engine, store)
    assert report.complete and set(report.skipped) >= finished
    assert not finished & set(report.measured)
    after = store.read().set_index(["trial_id", "examples"])["measured_at"]
    assert (after.loc[before.index] == before).all()
