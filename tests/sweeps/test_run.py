"""Running a plan: everything once, whatever is killed, and an honest report."""

import contextlib
import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any

import pandas as pd
import pytest
from sweep_samples import row, star_plan

from vitscale.scaling.progress import Progress
from vitscale.sweeps.attempts import record_attempt
from vitscale.sweeps.config import plan_to_toml, read_plan
from vitscale.sweeps.engines.engine import Attempt
from vitscale.sweeps.engines.local import LocalEngine, log_tail
from vitscale.sweeps.engines.simulated import SimulatedEngine
from vitscale.sweeps.files import StoreError
from vitscale.sweeps.plan import Plan
from vitscale.sweeps.presets import preset
from vitscale.sweeps.preview import preview
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store
from vitscale.sweeps.words import preview_lines, report_lines

# A run in a process of its own, with workers that sleep 10 ms a step instead of training.
RUN = """
import dataclasses, json, sys
from vitscale.sweeps.config import read_plan
from vitscale.sweeps.display import run_display
from vitscale.sweeps.engines.local import LocalEngine
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store
assert "jax" not in sys.modules
report = run(
    read_plan(sys.argv[1]),
    LocalEngine(workers=2, runner="simulated"),
    Store.open(sys.argv[2], create=True),
    display=run_display(),
)
print(json.dumps(dataclasses.asdict(report)))
"""


@pytest.fixture
def local():
    """Makes engines of sleeping workers, which end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda workers: stack.enter_context(LocalEngine(workers=workers, runner="simulated"))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open(tmp_path / "store", create=True)


def start(plan: Plan, tmp_path) -> subprocess.Popen[str]:
    path = tmp_path / "plan.toml"
    path.write_text(plan_to_toml(plan))
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(path), str(tmp_path / "store")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def report_of(process: subprocess.Popen[str]) -> dict:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)


def wait_for(condition, what: str):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def values(store: Store) -> dict:
    table = store.read()
    assert not table.duplicated(["trial_id", "examples", "metric"]).any()
    return table.set_index(["trial_id", "examples"])["value"].to_dict()


def undisturbed(plan: Plan, tmp_path) -> dict:
    """The same plan's values when nothing happens to it."""
    calm = Store.open(tmp_path / "calm", create=True)
    assert run(plan, SimulatedEngine(), calm).complete
    return values(calm)


def test_a_run_measures_all_and_a_second_run_nothing(store):
    plan = star_plan()
    report = run(plan, SimulatedEngine(), store)
    assert report.complete and not report.interrupted
    assert set(report.measured) == {trial.id for trial in plan.trials}
    assert len(values(store)) == 8
    assert report.spent_flops == pytest.approx(preview(plan).spent_flops)
    assert report.spent_flops == pytest.approx(store.read()["spent_flops"].sum())
    again = run(plan, SimulatedEngine(), store)
    assert (again.attempts, again.spent_flops, again.measured) == (0, 0.0, ())
    assert set(again.skipped) == set(report.measured)
    assert store.resumable() == set()
    (text,) = (store.path / "plans").iterdir()
    assert read_plan(text) == plan


def test_only_what_is_missing_is_measured(store):
    run(star_plan(widths=(8, 16)), SimulatedEngine(), store)
    wider = run(star_plan(widths=(8, 16, 24)), SimulatedEngine(), store)
    assert (len(wider.measured), len(wider.skipped)) == (1, 3)
    longer = run(star_plan(widths=(8, 16, 24), steps=(20, 40, 80)), SimulatedEngine(), store)
    assert (len(longer.measured), len(longer.skipped)) == (4, 0)
    assert len(values(store)) == 4 * 3
    per_trial = store.read().groupby("trial_id")["spent_flops"].sum()
    for trial in star_plan(widths=(8, 16, 24), steps=(20, 40, 80)).trials:
        assert per_trial[trial.id] == pytest.approx(trial.spent_flops())


class ScriptedEngine:
    """Ends each attempt as it is told to, and notes the order in which trials were asked for."""

    pack = 1

    def __init__(self, outcomes: Iterable[Any], *, room: int = 1) -> None:
        self.outcomes = iter(outcomes)
        self.asked: list[str] = []
        self.cancelled = 0
        self._room = room
        self._running: list = []

    def capacity(self) -> int:
        return self._room - len(self._running)

    def submit(self, trial, store) -> None:
        assert self.capacity() > 0
        self.asked.append(trial.id)
        self._running.append((trial, store))

    def poll(self, timeout: float) -> list[Progress | Attempt]:
        events: list[Progress | Attempt] = []
        for trial, store in self._running:
            outcome: Any = next(self.outcomes, "done")
            if outcome == "interrupt":
                raise KeyboardInterrupt
            if outcome == "done":
                for duration in trial.durations:
                    store.append(trial, duration, [row(trial, duration)])
            events.append(
                Attempt(
                    trial_id=trial.id,
                    outcome="done" if outcome == "nothing" else outcome,
                    reason=outcome,
                    core_seconds=2.0,
                )
            )
        self._running = []
        return events

    def cancel(self, trial_id: str | None = None, *, grace_seconds: float = 0.0) -> set[str]:
        self.cancelled += 1
        return set()


def test_the_dearest_trials_start_first(store):
    plan, engine = star_plan(widths=(8, 16, 24, 40)), ScriptedEngine([])
    run(plan, engine, store)
    cost = {trial.id: trial.spent_flops() for trial in plan.trials}
    assert engine.asked == sorted(cost, key=cost.__getitem__, reverse=True)
    assert not engine.cancelled


@pytest.mark.parametrize(
    ("outcomes", "attempts", "failed"),
    [
        (["failed", "done"], 5, 0),
        (["failed", "failed"], 5, 1),
        (["lost"] * 5, 9, 0),
        (["preempted"] * 9, 13, 0),
        (["lost"] * 60 + ["preempted"] * 41, 104, 1),
        (["lost", "failed", "lost", "done"], 7, 0),
        (["nothing", "nothing"], 5, 1),
    ],
)
def test_failures_and_losses_have_their_own_budgets(store, outcomes, attempts, failed):
    engine = ScriptedEngine(outcomes)
    report = run(star_plan(), engine, store)
    assert (report.attempts, len(report.failed)) == (attempts, failed)
    assert report.complete == (not failed)
    assert report.core_seconds == 2.0 * attempts
    assert len(report.measured) == 4 - failed
    for failure in report.failed:
        assert failure.trial == star_plan().trials[0]
        assert failure.reason in (outcomes[-1], "it ended without a measurement at 1280 examples")
        assert any(failure.trial.id in line for line in report_lines(report))


def test_failures_of_all_workers_count(store):
    """One elsewhere and one here are two; what others give up while it waits here is not tried."""
    here, elsewhere, *others = (trial.id for trial in star_plan().trials)
    record_attempt(store, here, "failed", reason="it broke elsewhere")

    class OthersFail(ScriptedEngine):
        def submit(self, trial, store):
            if not self.asked:
                for _ in range(2):
                    record_attempt(store, elsewhere, "failed", reason="it broke there")
            super().submit(trial, store)
            self.outcomes = iter(["failed"] if trial.id == here else ["done"])

    engine = OthersFail([])
    report = run(star_plan(), engine, store, shared=True)
    assert sorted(engine.asked) == sorted([here, *others])
    assert {f.trial.id: f.reason for f in report.failed} == {
        here: "failed",
        elsewhere: "it broke there",
    }


def test_ctrl_c_ends_in_order(store):
    engine = ScriptedEngine(["done", "interrupt"])
    report = run(star_plan(), engine, store)
    assert report.interrupted and not report.complete
    assert (len(report.measured), len(report.unfinished)) == (1, 3)
    assert engine.cancelled
    assert "the same command goes on" in report_lines(report)[-1]
    assert run(star_plan(), SimulatedEngine(), store).complete


def test_a_store_that_cannot_be_written_stops_the_run_at_once(store):
    engine = ScriptedEngine(["unstorable"])
    with pytest.raises(StoreError, match="unstorable"):
        run(star_plan(), engine, store)
    assert engine.cancelled and len(engine.asked) == 1


def test_divergence_is_a_result_and_is_reported(store):
    plan = star_plan()
    culprit = plan.trials[2].id

    def law(trial, examples):
        return float("nan") if trial.id == culprit and examples > 1280 else 0.5

    report = run(plan, SimulatedEngine(law), store)
    assert report.complete and report.diverged == (culprit,)
    kept = values(store)
    assert pd.isna(kept.pop((culprit, 2560)))
    assert list(kept.values()) == [0.5] * 7
    assert run(plan, SimulatedEngine(law), store).attempts == 0


def test_a_damaged_file_is_named_before_anything_is_spent(store):
    run(star_plan(), SimulatedEngine(), store)
    path = store.path / "measurements" / f"{star_plan().trials[0].id}-1280.parquet"
    path.write_bytes(path.read_bytes()[:100])
    engine = ScriptedEngine([])
    with pytest.raises(StoreError, match=f"{path.name} is damaged or cut short; move it out"):
        run(star_plan(steps=(20, 40, 60)), engine, store)
    assert engine.asked == []
    path.unlink()
    assert run(star_plan(), SimulatedEngine(), store).measured == (star_plan().trials[0].id,)


def test_a_trial_that_another_run_holds_is_left_to_it(store):
    plan = star_plan()
    first = plan.trials[0]

    class Elsewhere(ScriptedEngine):
        """The other run finishes while we hear that the trial is busy."""

        def poll(self, timeout):
            for trial, held in self._running:
                if trial == first:
                    for duration in first.durations:
                        held.append(first, duration, [row(first, duration)])
            return super().poll(timeout)

    report = run(plan, Elsewhere(["busy"]), store)
    assert report.complete and report.elsewhere == (first.id,)
    assert (len(report.measured), report.attempts) == (3, 3)


def test_local_workers_measure_what_the_law_says(store, local, tmp_path):
    plan = star_plan()
    engine = local(2)
    report = run(plan, engine, store)
    assert report.complete and report.attempts == 4
    assert values(store) == undisturbed(plan, tmp_path)
    assert report.core_seconds > 0
    workers = children_of(os.getpid())
    assert engine.capacity() == len(workers) == 2
    run(star_plan(widths=(32, 40)), engine, store)
    assert children_of(os.getpid()) == workers
    engine.cancel()
    assert not any(alive(pid) for pid in workers)


def test_a_killed_worker_costs_the_steps_since_its_checkpoint(store, local, tmp_path):
    plan = star_plan(steps=(60, 120))
    engine = local(2)
    me, killed, seen = os.getpid(), [], []

    class Killer:
        """Kills a worker in the middle of a trial, three times."""

        def update(self, state) -> None:
            seen.append((state.attempts, [job.progress for job in state.running.values()]))
            busy = [
                j.progress for j in state.running.values() if j.progress and j.progress.step > 25
            ]
            if len(killed) < 3 and busy and len(killed) <= state.attempts:
                killed.append(children_of(me)[0])
                os.kill(killed[-1], signal.SIGKILL)

        def say(self, message: str) -> None:
            seen.append(message)

        def close(self) -> None: ...

    report = run(plan, engine, store, display=Killer())
    assert len(killed) == 3
    assert report.complete and report.attempts == 4 + 3
    assert values(store) == undisturbed(plan, tmp_path)
    assert sum("killed by SIGKILL" in str(line) for line in seen if isinstance(line, str)) == 3
    # A trial that goes on has fewer steps to do than the whole.
    totals = {p.total_steps for _, ps in (s for s in seen if isinstance(s, tuple)) for p in ps if p}
    whole = plan.trials[0].spent_steps()
    assert whole in totals and any(total < whole - 10 for total in totals)


def test_kill_9_of_the_whole_run_and_the_same_command_again(tmp_path):
    plan = star_plan(steps=(30, 60))
    first = start(plan, tmp_path)
    folder = tmp_path / "store" / "measurements"
    wait_for(lambda: folder.exists() and len(os.listdir(folder)) >= 3, "three measurements")
    workers = children_of(first.pid)
    assert len(workers) == 2
    first.kill()
    first.communicate()
    wait_for(lambda: not any(alive(pid) for pid in workers), "the workers to go with the run")

    done = Store.open(tmp_path / "store").measured_durations()
    finished = {t.id for t in plan.trials if done.get(t.id) == set(t.durations)}
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    report = report_of(start(plan, tmp_path))
    assert set(report["skipped"]) == finished
    assert set(report["measured"]) == {t.id for t in plan.trials} - finished
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(after) == 8 and after.items() >= written.items()
    assert values(Store.open(tmp_path / "store")) == undisturbed(plan, tmp_path)


def test_two_runs_of_one_sweep_at_once_share_the_work(tmp_path):
    plan = star_plan(widths=tuple(range(8, 48, 8)), steps=(20, 40))
    runs = [start(plan, tmp_path) for _ in range(2)]
    reports = [report_of(process) for process in runs]
    trials = {trial.id for trial in plan.trials}
    for report in reports:
        assert not report["failed"] and not report["unfinished"]
        assert {*report["measured"], *report["elsewhere"], *report["skipped"]} == trials
    mine, theirs = (set(report["measured"]) for report in reports)
    assert mine | theirs == trials
    assert values(Store.open(tmp_path / "store")) == undisturbed(plan, tmp_path)
    logs = os.listdir(tmp_path / "store" / "logs")
    assert len(logs) == len(trials)


def test_ctrl_c_on_a_terminal_stops_the_workers_too(tmp_path):
    plan = star_plan(steps=(200, 400))
    process = start(plan, tmp_path)
    checkpoints = tmp_path / "store" / "checkpoints"
    wait_for(lambda: checkpoints.exists() and len(os.listdir(checkpoints)) == 2, "both workers")
    workers = children_of(process.pid)
    for pid in [*workers, process.pid]:  # a terminal signals the whole group
        os.kill(pid, signal.SIGINT)
    report = report_of(process)
    assert report["interrupted"] and len(report["unfinished"]) == 4
    assert not any(alive(pid) for pid in workers)


def failing(engine: LocalEngine, store: Store, monkeypatch, failpoints: str, **settings):
    monkeypatch.setenv("VITSCALE_FAILPOINTS", failpoints)
    return run(star_plan(widths=(8,)), engine, store, **settings)


def test_a_trial_that_raises_is_tried_again_then_listed_with_its_log(store, local, monkeypatch):
    report = failing(local(1), store, monkeypatch, "simulated.step=raise@5")
    assert report.complete and report.attempts == 3
    store = Store.open(store.path.parent / "other", create=True)
    report = failing(local(1), store, monkeypatch, "simulated.step=raise@5", retries=0)
    (failure,) = report.failed
    assert failure.trial == star_plan().trials[0] and failure.attempts == 1
    assert failure.reason == "RuntimeError: failpoint simulated.step"
    assert "Traceback (most recent call last)" in failure.log_tail
    said = report_lines(report)
    assert said[-2] == f"    log: {store.log_path(failure.trial.id)}"
    assert not any("Traceback" in line for line in said)
    (told,) = [line for line in report_lines(report, again="try again so") if "try" in line]
    assert told == "try again so"
    assert len(report.measured) == 1
    monkeypatch.delenv("VITSCALE_FAILPOINTS")
    again = run(star_plan(widths=(8,)), local(1), store)
    assert (len(again.measured), len(again.skipped)) == (1, 1)


@pytest.mark.parametrize(
    ("failpoint", "message"),
    [
        ("store.write=enospc", "the disk is full; free some space and run the same command again"),
        ("store.write=erofs", "it is on a read-only file system"),
    ],
)
def test_a_disk_that_fails_in_a_worker_ends_the_run_with_one_sentence(
    store, local, monkeypatch, failpoint, message
):
    # The run itself writes twice (a probe and the plan); the worker's first write is a result.
    store.prepare()
    failing_engine = local(1)
    plan = star_plan(widths=(8,))
    submit = failing_engine.submit

    def submit_with_failpoint(trial, into):
        monkeypatch.setenv("VITSCALE_FAILPOINTS", failpoint)
        submit(trial, into)
        monkeypatch.delenv("VITSCALE_FAILPOINTS")

    monkeypatch.setattr(failing_engine, "submit", submit_with_failpoint)
    with pytest.raises(StoreError, match=message):
        run(plan, failing_engine, store)
    assert os.listdir(store.path / "measurements") == os.listdir(store.path / "tmp") == []
    assert run(plan, local(1), store).complete


def test_data_that_cannot_be_had_is_named_before_a_process_starts(store):
    for name in ("sovit-star", "sovit-grid"):
        engine = LocalEngine(workers=1)
        with pytest.raises(ValueError, match=r"data='jft-3b' cannot be trained on here: JFT-3B is"):
            run(preset(name), engine, store)
        assert engine.capacity() == 1
    assert run(preset("sovit-grid"), SimulatedEngine(), store).complete


def test_a_worker_that_cannot_start_is_one_error(store, local, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match=r"a worker process could not start \(exit code 1\)"):
        run(star_plan(), local(2), store)


def test_calibration_reuses_its_workers(store, local):
    engine = local(2)
    speed = engine.calibrate(star_plan().trials[:1])
    assert speed.step_overhead_seconds == 0.01
    before = set(children_of(os.getpid()))
    engine.submit(star_plan().trials[0], _prepared(store))
    assert set(children_of(os.getpid())) == before
    engine.cancel()
    assert not set(children_of(os.getpid())) & before


def _prepared(store: Store) -> Store:
    store.prepare()
    return store


@pytest.mark.parametrize(("workers", "threads"), [(0, 1), (1, 0)])
def test_no_workers_are_refused(workers, threads):
    with pytest.raises(ValueError, match="must be 1 or more"):
        LocalEngine(workers=workers, threads=threads, runner="simulated")


def test_a_log_tail_is_the_last_lines(tmp_path):
    path = tmp_path / "log"
    path.write_text("".join(f"line {i}\n" for i in range(10_000)))
    assert log_tail(path).splitlines() == [f"line {i}" for i in range(9_980, 10_000)]
    assert log_tail(tmp_path / "none") == log_tail(None) == ""


def test_a_preview_reads_the_store_it_will_run_into(store):
    plan = star_plan()
    run(
        dataclasses.replace(plan, sweep=dataclasses.replace(plan.sweep, durations=(1280,))),
        SimulatedEngine(),
        store,
    )
    rest = preview(plan, measured=store.measured_durations(), resumable=store.resumable())
    assert rest.remaining_measurements == 4
    assert "4 trials, 8 measurements (4 to do)" in preview_lines(rest)[0]
    assert list(itertools.chain(*(c.remaining_durations for c in rest.costs))) == [2560] * 4
