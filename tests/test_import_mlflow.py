"""`vitscale import` of what the real MLflow writes, into a database and into folders."""

import math
import shutil
import sqlite3

import pytest
from command_line import refused, vitscale
from import_samples import CONFIG, RUNS, STEPS, check_both, error_at, imported

from vitscale.sweeps.store import Store

mlflow = pytest.importorskip("mlflow")


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A database without runs, which takes MLflow seconds to make."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def write(empty, tmp_path, monkeypatch):
    """Records both runs by MLflow, and gives the path to import."""
    # MLflow 3 wants to be told that its older form is meant.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")

    def write(backend: str, *, ends=("FINISHED", "FINISHED"), last=None):
        path = tmp_path / ("mlflow.db" if backend == "sqlite" else "mlruns")
        if backend == "sqlite":
            shutil.copy(empty, path)
        client = mlflow.MlflowClient(
            tracking_uri=f"sqlite:///{path}" if backend == "sqlite" else path.as_uri()
        )
        experiment = client.create_experiment("star", artifact_location=(tmp_path / "a").as_uri())
        for (name, shape), end in zip(RUNS.items(), ends, strict=True):
            run = client.create_run(experiment, run_name=name).info.run_id
            for key, value in {**CONFIG, **shape}.items():
                client.log_param(run, f"model/{key}", value)
            for step in STEPS:
                value = last if last is not None and step == STEPS[-1] else error_at(name, step)
                client.log_metric(run, "train/loss", 1.5 * value, step=step)
                client.log_metric(run, "val/error", value, step=step)
            client.set_terminated(run, status=end)
        return path

    return write


@pytest.fixture(params=["sqlite", "files"])
def backend(request):
    return request.param


def test_both_runs_by_guessing_alone(write, tmp_path, capsys, backend):
    path = write(backend)
    check_both(imported(capsys, path))
    _, out, _ = vitscale(capsys, "import", path, "--dry-run")
    assert (
        "width from model/hidden_size" in out and "guessed to be errors or losses: val/err" in out
    )


def test_every_point_of_a_curve(write, tmp_path, capsys, backend):
    found = imported(capsys, write(backend), "--every-point")
    assert sorted(set(found["examples"])) == [64 * step for step in STEPS]
    assert len(set(found["trial_id"])) == 2
    assert len(found) == 20


def test_runs_that_failed_or_diverged(write, tmp_path, capsys, backend):
    path = write(backend, ends=("FINISHED", "FAILED"))
    _, out, _ = vitscale(capsys, "import", path, "--dry-run")
    assert "1 runs did not finish and were left out (--unfinished brings them): run deep" in out
    assert imported(capsys, path)["width"].tolist() == [64]
    check_both(imported(capsys, path, "--unfinished"))


@pytest.mark.parametrize("last", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_diverged(write, tmp_path, capsys, backend, last):
    found = imported(capsys, write(backend, last=last))
    assert found["status"].tolist() == ["diverged"] * 2
    assert [value for value in found["value"] if value is not None] == []


def test_deleted_runs_stay_away(write, tmp_path, capsys):
    path = write("sqlite")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}")
    [run] = client.search_runs(["1"], "attributes.run_name = 'deep'")
    client.delete_run(run.info.run_id)
    assert imported(capsys, path)["width"].tolist() == [64]


def test_the_same_runs_of_both_forms_are_the_same_measurements(write, tmp_path, capsys, backend):
    path, store = write(backend), tmp_path / "store"
    for written in (2, 0):
        code, out, _ = vitscale(capsys, "import", path, "--store", store)
        assert code == 0 and f"{written} of 2 models of 2 runs written" in out
    check_both(Store.open(store).read())


def test_its_table_of_runs_as_csv(write, tmp_path, capsys):
    path = write("sqlite")
    mlflow.set_tracking_uri(f"sqlite:///{path}")
    frame = mlflow.search_runs(experiment_names=["star"])
    frame.to_csv(tmp_path / "runs.csv", index=False)
    check_both(imported(capsys, tmp_path / "runs.csv", "--set", "steps=100"))


class TestDamage:
    def nothing(self, capsys, tmp_path, path) -> str:
        error = refused(capsys, "import", path, "--store", tmp_path / "store")
        assert not (tmp_path / "store").exists()
        return error

    def test_a_database_cut_short(self, write, tmp_path, capsys):
        path = write("sqlite")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert "is no database of MLflow" in self.nothing(capsys, tmp_path, path)

    def test_another_database(self, tmp_path, capsys):
        path = tmp_path / "other.db"
        with sqlite3.connect(path) as db:
            db.execute("create table things (name text)")
        assert "is no database of MLflow (no such table" in self.nothing(capsys, tmp_path, path)
        path.write_text("not a database at all, but text that is long enough")
        assert "is no database of MLflow" in self.nothing(capsys, tmp_path, path)

    def test_a_metric_that_is_no_metric(self, write, tmp_path, capsys):
        path = write("files")
        file = sorted(path.glob("*/*/metrics/val/error"))[0]
        file.write_text(file.read_text() + "17 oops")
        error = self.nothing(capsys, tmp_path, path)
        assert f"{file}: line 11 is '17 oops'" in error
        file.write_bytes(b"\xff\xfe\x00")
        assert f"{file} is damaged" in self.nothing(capsys, tmp_path, path)

    @pytest.mark.parametrize("content", [b"", b"status: [", b"\xff"])
    def test_what_describes_a_run(self, write, tmp_path, capsys, content):
        path = write("files")
        file = next(folder.parent for folder in path.glob("*/*/params")) / "meta.yaml"
        file.write_bytes(content)
        assert f"{file} is damaged" in self.nothing(capsys, tmp_path, path)
