"""`vitscale store` as a user meets it."""

import json

import pandas as pd
import pytest

from vitscale.cli import run
from vitscale.sweeps.engines.simulated import SimulatedEngine, simulated_row
from vitscale.sweeps.plan import Plan
from vitscale.sweeps.presets import preset
from vitscale.sweeps.run import run as run_plan
from vitscale.sweeps.store import Store


@pytest.fixture(scope="module")
def plan() -> Plan:
    return preset("quickstart-grid")


@pytest.fixture
def store(tmp_path, plan) -> Store:
    made = Store.open(tmp_path / "store", create=True)
    run_plan(plan, SimulatedEngine(), made)
    return made


def test_compact_check_export(store, tmp_path, capsys):
    before = store.read()
    assert run(["store", "check", str(store.path)]) == 0
    assert f"{len(before):,} cooled-down models measured" in capsys.readouterr().out
    assert run(["store", "compact", str(store.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["compacted"] and told["files"] == told["durations"] == len(before)
    assert run(["store", "compact", str(store.path)]) == 0
    assert "nothing to compact" in capsys.readouterr().out
    assert run(["store", "export", str(store.path), str(tmp_path / "all.csv")]) == 0
    assert run(["store", "export", str(store.path), str(tmp_path / "all.parquet")]) == 0
    assert pd.read_csv(tmp_path / "all.csv")["value"].tolist() == before["value"].tolist()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "all.parquet"), before)
    assert run(["store", "export", str(store.path), str(tmp_path / "all.xlsx")]) == 2
    assert "name a .csv or .parquet file" in capsys.readouterr().err


def test_a_damaged_store_is_told_and_exits_1(store, capsys):
    path = next((store.path / "measurements").iterdir())
    path.write_bytes(b"")
    assert run(["store", "check", str(store.path)]) == 1
    out = capsys.readouterr().out
    assert f"{path} is empty" in out and "run the same sweeps again" in out
    assert run(["store", "compact", str(store.path)]) == 2
    assert "vitscale store check" in capsys.readouterr().err


def test_merge_brings_what_is_missing_and_keeps_what_is_there(store, plan, tmp_path, capsys):
    def noisy(trial, examples):
        return 0.5

    other = Store.open(tmp_path / "other", create=True)
    run_plan(plan, SimulatedEngine(noisy), other)
    run_plan(preset("quickstart-star"), SimulatedEngine(), other)
    target = str(tmp_path / "all")
    assert run(["store", "merge", target, str(store.path), str(other.path), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["merged"]
    grid, star = len(store.read()), len(other.read()) - len(store.read())
    assert (first["copied"], first["same"], first["differing"]) == (grid, 0, [])
    assert (second["copied"], second["same"]) == (star, 0)
    assert len(second["differing"]) == grid
    merged = Store.open(target)
    assert len(merged.read()) == grid + star and merged.check() == []
    assert len(merged.recorded_plans()) == 2
    assert run(["store", "merge", target, str(store.path)]) == 0
    assert f"0 cooled-down models and 0 plans brought, {grid} were there" in capsys.readouterr().out


def test_a_store_in_memory_is_fitted_and_shown_like_a_folder(plan, capsys):
    where = "memory://cli"
    run_plan(preset("quickstart-star"), SimulatedEngine(), Store.open(where, create=True))
    assert run(["status", where, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == where
    assert run(["fit", where, "--resamples", "0", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["dimensions"]) == {"width", "depth", "mlp_dim"}


@pytest.mark.parametrize("command", ["compact", "check"])
def test_what_is_no_store_is_refused(tmp_path, command, capsys):
    assert run(["store", command, str(tmp_path / "none")]) == 2
    assert "there is no store at" in capsys.readouterr().err


def test_curves_of_many_files_wait_for_compaction(store, capsys, monkeypatch):
    from vitscale.commands import status

    monkeypatch.setattr(status, "_MOST_FILES", 1)
    where = str(store.path)
    assert run(["status", where]) == 0
    assert f"make them one with: vitscale store compact {where}" in capsys.readouterr().out
    assert run(["status", where, "--metric", "simulated_error"]) == 0
    assert "simulated_error by shape" in capsys.readouterr().out
    assert run(["store", "compact", where]) == 0
    assert run(["status", where]) == 0
    assert "simulated_error by shape" in capsys.readouterr().out


def test_status_shows_curves_of_the_metric_that_a_fit_takes(plan, tmp_path, capsys):
    """`vitscale fit` takes the ten-shot error, also where another error was measured more often."""
    trial = plan.trials[0]
    first, last = trial.durations[0], trial.durations[-1]
    store = Store.open(tmp_path / "store", create=True)
    store.append(trial, first, [simulated_row(trial, first, (), "glyphs_25shot_error", 0.5)])
    names = ("glyphs_25shot_error", "glyphs_10shot_error")
    store.append(trial, last, [simulated_row(trial, last, (), n, 0.4) for n in names])
    assert run(["status", str(store.path)]) == 0
    assert "glyphs_10shot_error by shape" in capsys.readouterr().out
    assert run(["status", str(store.path), "--metric", names[0]]) == 0
    assert "glyphs_25shot_error by shape" in capsys.readouterr().out
