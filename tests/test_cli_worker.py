"""`vitscale worker`, `status`, `resume` and `cancel` as their users meet them: real processes that train."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vitscale.cli import run
from vitscale.scaling.recipe import Recipe
from vitscale.scaling.shape import Shape
from vitscale.sweeps.attempts import cancel, full_id, record_attempt, resume
from vitscale.sweeps.config import plan_to_toml
from vitscale.sweeps.engines.simulated import SimulatedEngine, simulated_row
from vitscale.sweeps.plan import GridSweep, Plan, StarSweep
from vitscale.sweeps.run import run as run_plan
from vitscale.sweeps.store import Store
from vitscale.sweeps.work import work

RECIPE = Recipe(
    data="glyphs",
    image_size=16,
    channels=1,
    batch_size=32,
    learning_rate=3e-3,
    warmup_steps=2,
    cooldown_steps=4,
    evaluators=("upstream",),
)
PLAN = Plan(
    name="tiny",
    sweep=GridSweep(
        widths=(8, 16),
        depths=(1, 2),
        mlp_dims=(16,),
        patch=8,
        recipe=RECIPE,
        durations=(32 * 10, 32 * 20),
        head_dim=8,
    ),
)


@pytest.fixture
def toml(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(plan_to_toml(PLAN))
    return str(path)


def vitscale(*arguments, **environment) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "vitscale", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def test_workers_share_a_submitted_plan_and_take_over_from_the_dead(tmp_path, toml, capsys):
    where = str(tmp_path / "store")
    assert run(["sweep", "grid", toml, "--store", where, "--submit"]) == 0
    assert f"vitscale worker {where}" in capsys.readouterr().out
    first = vitscale("worker", where, "--workers", "1", "--json")
    second = vitscale("worker", where, "--workers", "1", "--json")
    store = Store.open(where)
    deadline = time.monotonic() + 120
    while not store.place.names("leases"):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    first.kill()
    first.communicate()
    out, err = second.communicate(timeout=240)
    assert second.returncode == 0, err
    (report,) = json.loads(out)["runs"]
    assert not report["failed"] and not report["unfinished"]
    assert store.measured_durations() == {t.id: set(t.durations) for t in PLAN.trials}
    assert store.place.names("leases") == [] and store.check() == []

    assert run(["status", where]) == 0
    shown = capsys.readouterr().out
    assert "4/4 trials done" in shown and "plan tiny: 8 of 8 durations done" in shown
    assert "upstream_error by shape, at 320, 640 examples" in shown and "16/2/16" in shown
    assert run(["worker", where]) == 0  # at once, since nothing is left
    assert run(["status", where, "--watch"]) == 0
    assert "4/4 trials done" in capsys.readouterr().out


def _training(tmp_path, *arguments) -> tuple[Store, subprocess.Popen[str]]:
    """A worker in the midst of the first of two trials that take hours, and its store."""
    plan = Plan(
        name="long",
        sweep=StarSweep(
            center=Shape(width=16, depth=2, mlp_dim=16, heads=2, patch=8),
            arms={"width": (8,)},
            recipe=RECIPE,
            durations=(32 * 200_000,),
            head_dim=8,
        ),
    )
    store = Store.open(tmp_path / "store", create=True)
    store.record_plan(plan.name, plan_to_toml(plan))
    worker = vitscale("worker", str(store.path), "--workers", "1", *arguments)
    assert worker.stderr is not None
    for line in worker.stderr:
        if "trunk" in line and "trunk 0/" not in line:
            break
    return store, worker


def _saved_steps(store: Store) -> list[int]:
    """Of trunks: the steps at which there is a checkpoint."""
    found = store.path.glob("checkpoints/*/trunk/*")
    return [int(path.name) for path in found if path.name.isdecimal()]


def test_sigterm_to_a_worker_saves_and_exits_75(tmp_path):
    store, worker = _training(tmp_path)
    status = subprocess.run(
        [sys.executable, "-m", "vitscale", "status", str(store.path)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "1 running" in status and "1 waiting" in status and "running: " in status
    worker.send_signal(signal.SIGTERM)
    _, said = worker.communicate(timeout=60)
    assert worker.returncode == 75 and "could not save" not in said
    assert len(store.resumable()) == 1


def test_a_worker_that_could_not_save_in_time_says_so(tmp_path):
    _, worker = _training(tmp_path, "--grace-seconds", "1")
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGSTOP)
    worker.send_signal(signal.SIGTERM)
    _, said = worker.communicate(timeout=60)
    assert worker.returncode == 75
    (line,) = [each for each in said.splitlines() if "could not save" in each]
    assert line.startswith("vitscale: 1 of the trials under way could not save within 1 s")
    assert "last checkpoint" in line and "--checkpoint-seconds" in line


def test_a_second_sigterm_does_not_cut_the_saving_short(tmp_path):
    store, worker = _training(tmp_path, "--checkpoint-seconds", "1000")
    assert _saved_steps(store) == []
    for _ in range(2):
        worker.send_signal(signal.SIGTERM)
        time.sleep(0.03)
    worker.communicate(timeout=60)
    assert worker.returncode == 75
    assert len(_saved_steps(store)) == 1 and not store.place.names("leases")


def test_what_failed_is_told_with_its_reason_and_tried_again_by_resume(tmp_path, capsys):
    store = Store.open(tmp_path / "store", create=True)
    failing, *others = PLAN.trials
    run_plan(PLAN, SimulatedEngine(), store)
    for duration in failing.durations:
        (store.path / "measurements" / f"{failing.id}-{duration}.parquet").unlink()
    for _ in range(2):
        record_attempt(store, failing.id, "failed", reason="RuntimeError: it broke")
    assert run(["status", str(store.path), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["counts"] | {"done": 3, "failed": 1} == status["counts"]
    told = {trial["trial_id"]: trial for trial in status["trials"]}
    assert told[failing.id]["reason"] == "RuntimeError: it broke"
    assert told[failing.id]["left_flops"] == pytest.approx(failing.spent_flops())
    assert run(["status", str(store.path)]) == 0
    shown = capsys.readouterr().out
    assert f"failed: {failing.id}" in shown and "RuntimeError: it broke" in shown
    assert "vitscale resume" in shown
    # A worker leaves it; resuming tries it, and only it.
    assert run(["worker", str(store.path), "--workers", "1", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["runs"][0]["attempts"] == 0
    assert run(["resume", str(store.path), "--workers", "1", "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["runs"]
    assert report["measured"] == [failing.id] and len(report["skipped"]) == len(others)


def _status(store: Store, trial_id: str, capsys) -> dict:
    assert run(["status", str(store.path), "--json"]) == 0
    told = {t["trial_id"]: t for t in json.loads(capsys.readouterr().out)["trials"]}
    return {name: told[trial_id][name] for name in ("state", "reason")}


def test_failed_is_what_nobody_tries_again(tmp_path, capsys):
    """Not what failed once, and also what its machine went away from after it had failed too often."""
    store = Store.open(tmp_path / "store", create=True)
    store.record_plan(PLAN.name, plan_to_toml(PLAN))
    failing = PLAN.trials[0].id
    record_attempt(store, failing, "failed", reason="it broke")
    assert _status(store, failing, capsys) == {"state": "waiting", "reason": "it broke"}
    assert run(["status", str(store.path)]) == 0
    shown = capsys.readouterr().out
    assert f"waiting: {failing}" in shown and "failed, to be tried again: it broke" in shown
    assert f"nobody is at work; go on with: vitscale worker {store.path}" in shown
    assert "vitscale resume" not in shown

    record_attempt(store, failing, "failed", reason="it broke again")
    record_attempt(store, failing, "lost", reason="its machine went away")
    assert _status(store, failing, capsys) == {"state": "failed", "reason": "it broke again"}
    (report,) = work(store, SimulatedEngine())
    assert [failure.trial.id for failure in report.failed] == [failing]
    assert run(["status", str(store.path), "--watch"]) == 0  # which does not wait for it
    assert "3/4 trials done, 1 failed" in capsys.readouterr().out

    assert resume(store, [failing]) == [failing]
    assert _status(store, failing, capsys) == {"state": "waiting", "reason": ""}
    record_attempt(store, failing, "failed", reason="it broke once more")
    assert _status(store, failing, capsys)["state"] == "waiting"
    assert resume(store, [failing]) == [failing]  # with all its retries


def test_a_sweep_that_tries_failed_trials_again_says_so_to_the_store(tmp_path, capsys):
    store = Store.open(tmp_path / "store", create=True)
    failing = PLAN.trials[0].id
    for _ in range(2):
        record_attempt(store, failing, "failed", reason="it broke")
    states = []

    class Looks(SimulatedEngine):
        def submit(self, trial, store):
            states.append(_status(store, failing, capsys)["state"])
            super().submit(trial, store)

    assert run_plan(PLAN, Looks(), store).complete
    assert set(states) == {"waiting"}


def test_cancelling(tmp_path, capsys):
    store = Store.open(tmp_path / "store", create=True)
    store.record_plan(PLAN.name, plan_to_toml(PLAN))
    first, second = PLAN.trials[0].id, PLAN.trials[1].id
    assert run(["cancel", str(store.path), "--trial", first, second]) == 0
    assert "2 trials cancelled" in capsys.readouterr().out
    assert run(["status", str(store.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["cancelled"] == 2
    assert run(["resume", str(store.path), "--trial", first, "--mark-only"]) == 0
    assert run(["cancel", str(store.path), "--plan", "tiny"]) == 0
    capsys.readouterr()
    assert run(["worker", str(store.path), "--workers", "1", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"][0]["cancelled"]) == 4


class _WhenSeen:
    """A display that does something once a trial is seen to be measured."""

    def __init__(self, act):
        self.act, self.acted = act, False

    def update(self, state) -> None:
        if state.measured and not self.acted:
            self.acted = True
            self.act()

    def say(self, message: str) -> None: ...

    def close(self) -> None: ...


def test_a_worker_takes_up_what_is_resumed_while_it_runs(tmp_path):
    """Also what it has passed by as cancelled or failed."""
    store = Store.open(tmp_path / "store", create=True)
    store.record_plan(PLAN.name, plan_to_toml(PLAN))
    first, second, *_ = (trial.id for trial in PLAN.trials)
    cancel(store, [first])
    for _ in range(2):
        record_attempt(store, second, "failed", reason="it broke")
    seen = _WhenSeen(lambda: resume(store, [first, second]))
    (report,) = work(store, SimulatedEngine(), display=lambda: seen)
    assert report.complete and not report.cancelled and not report.failed
    assert sorted(report.measured) == sorted(trial.id for trial in PLAN.trials)
    assert report.spent_flops == pytest.approx(sum(t.spent_flops() for t in PLAN.trials))


def test_a_worker_takes_up_what_is_resumed_in_a_plan_that_it_has_left(tmp_path):
    store = Store.open(tmp_path / "store", create=True)
    store.record_plan("a", plan_to_toml(dataclasses.replace(PLAN, name="a")))
    other = _other_plan("b")
    store.record_plan("b", plan_to_toml(other))
    cancel(store, [trial.id for trial in PLAN.trials])

    def act():
        resume(store, [PLAN.trials[0].id])

    displays = iter([_WhenSeen(lambda: None), _WhenSeen(act), _WhenSeen(lambda: None)])
    reports = work(store, SimulatedEngine(), display=lambda: next(displays))
    assert [report.plan for report in reports] == ["a", "b"]
    assert reports[0].measured == (PLAN.trials[0].id,) and len(reports[0].cancelled) == 3


def test_trials_are_listed_and_named_by_how_they_begin(tmp_path, capsys):
    store = Store.open(tmp_path / "store", create=True)
    store.record_plan(PLAN.name, plan_to_toml(PLAN))
    ids = [trial.id for trial in PLAN.trials]
    assert run(["status", str(store.path), "--trials"]) == 0
    shown = capsys.readouterr().out
    assert all(f"waiting: {trial_id}" in shown for trial_id in ids)
    assert run(["status", str(store.path)]) == 0
    assert ids[0] not in capsys.readouterr().out
    assert run(["cancel", str(store.path), "--trial", ids[0][:5], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cancelled"] == [ids[0]]
    assert run(["resume", str(store.path), "--trial", ids[0][:4], "--mark-only", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["resumed"] == [ids[0]]
    with pytest.raises(ValueError, match="may be any of abcd00000000, abcd00000001; write more"):
        full_id("abcd", ["abcd00000001", "abcd00000000", "0bcd00000001"])


def _other_plan(name: str, **recipe) -> Plan:
    changed = dataclasses.replace(RECIPE, learning_rate=1e-3, **recipe)
    return Plan(name=name, sweep=dataclasses.replace(PLAN.sweep, recipe=changed))


def test_nothing_to_resume(tmp_path, capsys):
    store = Store.open(tmp_path / "store", create=True)
    store.record_plan(PLAN.name, plan_to_toml(PLAN))
    assert run(["resume", str(store.path), "--mark-only"]) == 0
    assert "nothing to resume" in capsys.readouterr().out
    cancel(store, [PLAN.trials[0].id])
    assert run(["resume", str(store.path), "--mark-only"]) == 0
    assert "1 trial marked" in capsys.readouterr().out


def test_a_plan_whose_data_are_not_here_is_left_and_the_others_are_trained(tmp_path, toml, capsys):
    where = str(tmp_path / "store")
    unusable = tmp_path / "unusable.toml"
    elsewhere = _other_plan("elsewhere", data=f"folder:{tmp_path / 'no images'}", channels=3)
    unusable.write_text(plan_to_toml(elsewhere))
    assert run(["sweep", "grid", str(unusable), "--store", where, "--submit"]) == 0
    assert "warning: workers on this machine will leave the plan" in capsys.readouterr().err
    assert run(["sweep", "grid", toml, "--store", where, "--submit"]) == 0
    assert "warning" not in capsys.readouterr().err
    assert run(["worker", where, "--workers", "1"]) == 1
    out, err = capsys.readouterr()
    assert "elsewhere: cannot be trained here, and is left to others" in err
    assert "elsewhere: 4 trials left to others" in out and "tiny: 4 trials measured" in out
    measured = Store.open(where).measured_durations()
    assert measured == {t.id: set(t.durations) for t in PLAN.trials}


def test_a_plan_of_another_version_is_left_and_the_others_are_trained(tmp_path, toml, capsys):
    where = str(tmp_path / "store")
    assert run(["sweep", "grid", toml, "--store", where, "--submit"]) == 0
    newer = "momentum = 3\n" + plan_to_toml(dataclasses.replace(PLAN, name="newer"))
    key = Store.open(where).record_plan("newer", newer)
    capsys.readouterr()
    assert run(["worker", where, "--workers", "2"]) == 1
    told = capsys.readouterr()
    assert told.err.count(f"{key} is no plan (") == 1 and "no key 'momentum'" in told.err
    assert "left to others" in told.err
    done = {trial.id: set(trial.durations) for trial in PLAN.trials}
    assert Store.open(where).measured_durations() == done
    for command in (["status"], ["store", "check"]):
        assert run([*command, where]) == 1
        assert f"{key} is no plan (" in capsys.readouterr().out
    assert run(["worker", where, "--plan", "newer"]) == 2
    assert "use the version that wrote it" in capsys.readouterr().err


def test_plans_of_one_name_are_told_apart(tmp_path, capsys):
    store = Store.open(tmp_path / "store", create=True)
    run_plan(PLAN, SimulatedEngine(), store)
    other = _other_plan("tiny")
    file = store.record_plan("tiny", plan_to_toml(other)).removeprefix("plans/")
    assert run(["status", str(store.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["plans"]
    label = file.removesuffix(".toml")[:-6]
    assert sorted(each["done"] for each in told.values()) == [0, 8]
    assert told[label] == {"done": 0, "planned": 8}
    for name in (label, file.removesuffix(".toml"), file):
        assert run(["cancel", str(store.path), "--plan", name, "--json"]) == 0
        chosen = json.loads(capsys.readouterr().out)["cancelled"]
        assert sorted(chosen) == sorted(trial.id for trial in other.trials)
    resume(store, chosen)
    heard: list[str] = []
    reports = work(store, SimulatedEngine(), say=heard.append)
    assert {report.plan for report in reports} == set(told)
    assert {line.partition(":")[0] for line in heard} == set(told)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["cancel", "{store}", "--trial", "../../x"],
            "'../../x' is no trial id; ids have 12 digits",
        ),
        (["cancel", "{store}", "--trial", "0123456789ab"], "is in no plan of the store"),
        (["cancel", "{store}"], "say what to cancel"),
        (["cancel", "{store}", "--plan", "other"], "has no plan 'other'; it has tiny"),
        (["resume", "{store}", "--trial", "../x"], "is no trial id"),
        (["worker", "{store}", "--plan", "nothing"], "has no plan 'nothing'"),
        (["worker", "{store}", "--grace-seconds", "0"], "is no time to save in; use 1 or more"),
        (["worker", "{empty}"], "has no plans; submit one with: vitscale sweep star NAME"),
        (["worker", "{none}"], "there is no store at"),
        (["sweep", "grid", "quickstart", "--submit"], "name it with --store"),
        (
            ["sweep", "grid", "quickstart", "--store", "{empty}", "--max-flops", "0"],
            "max_flops=0 leaves",
        ),
        (["status", "{store}", "--metric", "nothing"], "metric='nothing' was not measured"),
    ],
)
def test_refusals(tmp_path, capsys, arguments, words):
    store = Store.open(tmp_path / "store", create=True)
    run_plan(PLAN, SimulatedEngine(), store)
    Store.open(tmp_path / "empty", create=True)
    places = {name: str(tmp_path / name) for name in ("store", "empty", "none")}
    before = sorted(path.name for path in (tmp_path / "store").rglob("*"))
    assert run([argument.format(**places) for argument in arguments]) == 2
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "store").rglob("*")) == before


def test_time_left_is_by_the_speed_of_runs_of_each_length(tmp_path, capsys):
    """A trial of two durations trains its trunk and two cooldowns; what is timed of each is a whole run."""
    store = Store.open(tmp_path / "store", create=True)
    store.record_plan(PLAN.name, plan_to_toml(PLAN))
    measured, running, *waiting = PLAN.trials
    seconds = {320: 3.0, 640: 7.0}
    for duration in measured.durations:
        row = simulated_row(measured, duration, (), "upstream_error", 0.5)
        store.append(
            measured, duration, [dataclasses.replace(row, train_seconds=seconds[duration])]
        )
    with store.lock(running):
        assert run(["status", str(store.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"]["running"] == 1
    flops = sum(3.0 * measured.forward_flops_per_example() * d for d in measured.durations)
    left = sum(trial.spent_flops() for trial in (running, *waiting))
    assert told["eta_seconds"] == pytest.approx(left / (flops / sum(seconds.values())))
