"""`--track` with the real TensorBoard, MLflow and W&B: what they get comes back as the same measurements."""

import contextlib
import dataclasses
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from command_line import refused, vitscale
from import_samples import imported

from vitscale.scaling.recipe import Trial
from vitscale.sweeps.config import plan_to_toml
from vitscale.sweeps.engines.local import LocalEngine
from vitscale.sweeps.engines.simulated import SimulatedEngine, small_law
from vitscale.sweeps.importers.table import read_source
from vitscale.sweeps.plan import Plan, StarSweep
from vitscale.sweeps.presets import preset
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store
from vitscale.sweeps.trackers.table import TRACKERS, open_trackers
from vitscale.sweeps.trackers.tracking import Tracking

SAME = ["width", "depth", "mlp_dim", "heads", "patch", "image_size", "channels", "readout", "seed"]
SAME += ["batch_size", "learning_rate", "data", "params", "forward_flops_per_example"]
SAME += ["train_flops", "examples", "steps", "metric", "value"]

# A driver of its own, to be killed: workers sleep 10 ms a step, so a trial takes about a second.
DRIVER = """
import sys
from vitscale.sweeps.config import read_plan
from vitscale.sweeps.engines.local import LocalEngine
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store
from vitscale.sweeps.trackers.table import open_trackers
from vitscale.sweeps.trackers.tracking import Tracking
if __name__ == "__main__":
    store = Store.open(sys.argv[2], create=True)
    tracking = Tracking(open_trackers([sys.argv[3]]), store)
    with LocalEngine(workers=2, runner="simulated") as engine:
        report = run(read_plan(sys.argv[1]), engine, store, tracking=tracking)
    print(tracking.close(), report.complete)
"""


def small_plan(widths: tuple[int, ...], steps: tuple[int, ...]) -> Plan:
    """A star with one arm and few steps."""
    sweep = preset("quickstart-star").sweep
    assert isinstance(sweep, StarSweep)
    batch = sweep.recipe.batch_size
    small = dataclasses.replace(
        sweep,
        arms={"width": widths},
        recipe=dataclasses.replace(sweep.recipe, warmup_steps=5, cooldown_steps=10),
        durations=tuple(batch * count for count in steps),
        seeds=(0,),
    )
    return Plan(name="small", sweep=small)


@pytest.fixture(params=sorted(TRACKERS))
def name(request):
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Nothing of the user's environment, and all files below the test's folder."""
    for key in list(os.environ):
        if key.startswith(("WANDB_", "MLFLOW_")):
            monkeypatch.delenv(key)
    monkeypatch.chdir(tmp_path)


def track(name: str) -> tuple[str, str]:
    """What `--track` is given, and the path that it fills, below the working folder."""
    specs = {"tensorboard": ("tensorboard=tb", "tb"), "mlflow": ("mlflow=ml", "ml/mlflow.db")}
    return specs.get(name, (name, name))


def rows(frame: pd.DataFrame) -> list[list]:
    """What has to be the same, in one order."""
    frame = frame.sort_values(["width", "depth", "mlp_dim", "seed", "examples", "metric"])
    return frame[SAME].to_numpy().tolist()


def tracked(plan: Plan, engine, store: Store, spec: str) -> None:
    tracking = Tracking(open_trackers([spec]), store)
    report = run(plan, engine, store, tracking=tracking)
    assert tracking.close() == []
    assert report.complete


def test_a_sweep_comes_back_as_it_was_measured(tmp_path, capsys, name):
    spec, path = track(name)
    store = Store.open(tmp_path / "store", create=True)
    plan = small_plan(widths=(8, 12), steps=(40, 80))
    tracked(plan, SimulatedEngine(lambda *of: small_law(*of) / 7), store, spec)
    own = store.read()
    assert len(own) == sum(len(trial.durations) for trial in plan.trials)
    assert rows(imported(capsys, path)) == rows(own)
    # Run again, the sweep has nothing new to tell.
    before = {run.key: dict(run.curves) for run in read_source(tmp_path / path).runs}
    tracked(plan, SimulatedEngine(), store, spec)
    assert {run.key: dict(run.curves) for run in read_source(tmp_path / path).runs} == before
    usage = {"mlflow": "MLFLOW_DISABLE_TELEMETRY", "wandb": "WANDB_ERROR_REPORTING"}
    assert name not in usage or usage[name] in os.environ  # nothing is reported anywhere
    # A store of it gives the same fit.
    assert vitscale(capsys, "import", path, "--store", tmp_path / "back")[0] == 0
    assert rows(Store.open(tmp_path / "back").read()) == rows(own)


def test_what_diverged(tmp_path, capsys, name):
    spec, path = track(name)
    plan = small_plan(widths=(12, 16), steps=(40, 80))

    def law(trial: Trial, duration: int) -> float:
        last = trial.shape.width == 16 and duration == max(trial.durations)
        return float("nan") if last else small_law(trial, duration)

    store = Store.open(tmp_path / "store", create=True)
    tracked(plan, SimulatedEngine(law), store, spec)
    own = store.read()
    found = imported(capsys, path)
    assert set(own["status"]) == {"ok", "diverged"}
    columns = ["width", "examples", "status"]
    order = ["width", "depth", "mlp_dim", "examples"]
    assert (
        found.sort_values(order)[columns].to_numpy().tolist()
        == own.sort_values(order)[columns].to_numpy().tolist()
    )


def test_progress_of_real_processes_is_a_curve(tmp_path, name):
    spec, path = track(name)
    store = Store.open(tmp_path / "store", create=True)
    with LocalEngine(workers=1, runner="simulated") as engine:
        tracked(small_plan(widths=(8,), steps=(240,)), engine, store, spec)
    curves = [dict(run.curves) for run in read_source(tmp_path / path).runs]
    assert len(curves) == 2  # the arm's trial and the centre
    for curve in curves:
        points = curve["train/examples_per_second"]
        assert len(points) >= 2 and {point.value for point in points} == {6400.0}


@pytest.mark.slow
def test_a_killed_driver_goes_on_with_the_same_runs(tmp_path, capsys, name):
    spec, path = track(name)
    plan = small_plan(widths=(8, 12, 16), steps=(40, 80))
    (tmp_path / "plan.toml").write_text(plan_to_toml(plan))
    command = [sys.executable, "-c", DRIVER, "plan.toml", "store", spec]
    process = subprocess.Popen(command, start_new_session=True)
    measured = tmp_path / "store" / "measurements"
    until = time.monotonic() + 60
    while not (measured.is_dir() and any(measured.iterdir())):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[] True", done.stderr
    own = Store.open(tmp_path / "store").read()
    assert len(own) == 8  # four trials, two durations
    assert rows(imported(capsys, path)) == rows(own)


@pytest.fixture
def measured(tmp_path) -> Store:
    """A store that holds its one plan in full, measured before anyone asked for trackers."""
    store = Store.open(tmp_path / "store", create=True)
    plan = small_plan(widths=(8, 12), steps=(40, 80))
    (tmp_path / "plan.toml").write_text(plan_to_toml(plan))
    run(plan, SimulatedEngine(), store)
    return store


@pytest.mark.parametrize("of", ["sweep", "train"])
def test_the_command_tells_of_what_was_measured_before(measured, capsys, of):
    pytest.importorskip("tensorboard")
    arguments = ("sweep", "star") if of == "sweep" else ("train",)
    for _ in range(2):
        code, _, _ = vitscale(
            *(capsys, *arguments, "plan.toml", "--store", measured.path),
            *("--track", "tensorboard=tb"),
        )
        assert code == 0
    assert len(list(Path("tb").rglob("*tfevents*"))) == 3
    assert rows(imported(capsys, "tb")) == rows(measured.read())


@pytest.mark.parametrize("of", ["sweep", "train"])
def test_the_command_says_what_fails_and_ends_well(measured, capsys, of):
    pytest.importorskip("tensorboard")
    arguments = ("sweep", "star") if of == "sweep" else ("train",)
    code, out, err = vitscale(
        *(capsys, *arguments, "plan.toml", "--store", measured.path),
        *("--track", "tensorboard=plan.toml/tb", "tensorboard=tb"),
    )
    assert code == 0 and out
    assert err.count("--track tensorboard=plan.toml/tb failed and is switched off") == 1
    assert rows(imported(capsys, "tb")) == rows(measured.read())


@pytest.mark.parametrize("command", ["worker", "resume"])
def test_a_worker_tells_of_its_own_trials_alone(measured, capsys, command):
    pytest.importorskip("tensorboard")
    code, _, _ = vitscale(capsys, command, measured.path, "--track", "tensorboard=tb")
    assert code == 0 and not Path("tb").exists()


def test_a_missing_package_is_refused_before_anything_is_made(tmp_path, capsys, monkeypatch, name):
    find = importlib.util.find_spec
    hidden = TRACKERS[name].package
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda wanted, *of: None if wanted == hidden else find(wanted)
    )
    store = tmp_path / "store"
    arguments = ("sweep", "star", "quickstart", "--store", store, "--track", track(name)[0])
    error = refused(capsys, *arguments)
    assert f"pip install 'vitscale[{name}]'" in error
    assert not store.exists()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tensorbord=x", "--track has no key 'tensorbord'; did you mean 'tensorboard'?"),
        ("tensorboard", "--track tensorboard needs a folder for its logs"),
    ],
)
@pytest.mark.parametrize("command", [("sweep", "star", "quickstart"), ("worker",), ("resume",)])
def test_what_is_no_tracker(tmp_path, capsys, spec, message, command):
    store = tmp_path / "store"
    if command[0] == "sweep":
        arguments = [*command, "--store", store]
    else:
        vitscale(capsys, "sweep", "star", "quickstart", "--store", store, "--submit")
        arguments = [*command, store]
    assert message in refused(capsys, *arguments, "--track", spec)


def test_wandb_is_offline_unless_asked(monkeypatch):
    from vitscale.sweeps.trackers.wandb import WandB

    assert WandB("")._mode == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert WandB("")._mode == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert WandB("")._mode == "offline"
