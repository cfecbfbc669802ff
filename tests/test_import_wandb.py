"""`vitscale import` of what the real W&B writes when it is offline."""

import json
import math
import re

import pytest
from command_line import refused, vitscale
from import_samples import CONFIG, RUNS, STEPS, check_both, error_at, imported

from vitscale.sweeps.importers.table import read_source
from vitscale.sweeps.store import Store

wandb = pytest.importorskip("wandb")


def start(tmp_path, name, **settings):
    return wandb.init(
        mode="offline",
        project="star",
        dir=tmp_path,
        id=name,
        config={"model": RUNS[name], **CONFIG},
        settings=wandb.Settings(silent=True, console="off", **settings),
    )


def log(run, name, steps=STEPS, *, last=None):
    for step in steps:
        value = last if last is not None and step == STEPS[-1] else error_at(name, step)
        run.log(
            {"train/loss": 1.5 * value, "val/error": value, "val": {"top1": 1 - value}}, step=step
        )


def write(tmp_path, *, codes=(0, 0), last=None):
    """Both runs; gives W&B's folder of them."""
    for name, code in zip(RUNS, codes, strict=True):
        run = start(tmp_path, name)
        log(run, name, last=last)
        run.finish(exit_code=code)
    wandb.teardown()  # returns when all is on the disk, which finish() does not wait for
    return tmp_path / "wandb"


def log_of(path, name):
    [file] = path.glob(f"offline-run-*/run-{name}.wandb")
    return file


def test_both_runs_by_guessing_alone(tmp_path, capsys):
    path = write(tmp_path)
    check_both(imported(capsys, path))
    check_both(imported(capsys, tmp_path))  # the folder that W&B was told
    one = imported(capsys, log_of(path, "wide").parent)
    assert one["width"].tolist() == [64]
    assert imported(capsys, log_of(path, "wide"))["trial_id"].tolist() == one["trial_id"].tolist()
    nested = imported(capsys, path, "--accuracy", "error=val.top1")
    assert sorted(nested["value"]) == pytest.approx(sorted(imported(capsys, path)["value"]))
    _, out, _ = vitscale(capsys, "import", path, "--dry-run")
    assert (
        "width from model.hidden_size" in out and "guessed to be errors or losses: val/err" in out
    )


def test_every_point_of_a_curve(tmp_path, capsys):
    found = imported(capsys, write(tmp_path), "--every-point")
    assert sorted(set(found["examples"])) == [64 * step for step in STEPS]
    assert len(set(found["trial_id"])) == 2
    assert len(found) == 20


def test_runs_that_failed_or_diverged(tmp_path, capsys):
    path = write(tmp_path, codes=(0, 1), last=math.nan)
    _, out, _ = vitscale(capsys, "import", path, "--dry-run")
    assert "1 runs did not finish and were left out (--unfinished brings them): run deep" in out
    assert imported(capsys, path)["status"].tolist() == ["diverged"]
    assert imported(capsys, path, "--unfinished")["status"].tolist() == ["diverged"] * 2


def test_a_resumed_run_is_one_run(tmp_path, capsys):
    for steps, code in ((STEPS[:6], 1), (STEPS[4:], 0)):
        run = start(tmp_path, "wide")
        log(run, "wide", steps)
        run.finish(exit_code=code)
    wandb.teardown()
    found = imported(capsys, tmp_path / "wandb", "--every-point")
    assert len(set(found["trial_id"])) == 1
    assert sorted(found["examples"]) == [64 * step for step in STEPS]


def test_importing_twice_adds_nothing(tmp_path, capsys):
    path, store = write(tmp_path), tmp_path / "store"
    for written in (2, 0):
        code, out, _ = vitscale(capsys, "import", path, "--store", store)
        assert code == 0 and f"{written} of 2 models of 2 runs written" in out
    check_both(Store.open(store).read())


def test_runs_as_json_of_its_api(tmp_path, capsys):
    runs = [
        {
            "id": name,
            "name": f"run {name}",
            "state": "finished",
            "config": {"model": shape, **CONFIG},
            "summary": {"val/error": error_at(name, 100), "_step": 100, "global_step": 100},
        }
        for name, shape in RUNS.items()
    ]
    (tmp_path / "runs.json").write_text(json.dumps(runs))
    check_both(imported(capsys, tmp_path / "runs.json"))
    (tmp_path / "runs.jsonl").write_text("\n".join(map(json.dumps, runs)))
    check_both(imported(capsys, tmp_path / "runs.jsonl"))


class TestDamage:
    def test_a_log_that_is_cut_short_is_of_a_run_that_was_killed(self, tmp_path, capsys):
        path = write(tmp_path)
        file = log_of(path, "deep")
        file.write_bytes(file.read_bytes()[:-200])
        _, out, _ = vitscale(capsys, "import", path, "--dry-run")
        assert "1 runs did not finish and were left out (--unfinished brings them): run deep" in out
        assert imported(capsys, path)["width"].tolist() == [64]
        store = tmp_path / "store"
        error = refused(capsys, "import", file, "--store", store)
        assert "holds no finished run that was measured; see --unfinished" in error
        assert not store.exists()

    @pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
    def test_damage(self, tmp_path, capsys, place):
        path, store = write(tmp_path), tmp_path / "store"
        file = log_of(path, "deep")
        data = bytearray(file.read_bytes())
        # Of what was logged: a length that is off reads as a log that was cut short.
        logged = [found.start() for found in re.finditer(b"val/", data)]
        data[logged[int(place * len(logged))]] ^= 0x10
        file.write_bytes(data)
        error = refused(capsys, "import", path, "--store", store)
        assert f"{file} is damaged; sync or copy the run again" in error
        file.write_bytes(b"nothing of W&B")
        error = refused(capsys, "import", path, "--store", store)
        assert f"{file} is not a log of W&B" in error
        assert not store.exists()

    def test_no_cut_passes_for_the_end(self, tmp_path):
        file = log_of(write(tmp_path), "deep")
        data = file.read_bytes()
        for length in range(7, len(data), 61):
            file.write_bytes(data[:length])
            [run] = read_source(file.parent).runs
            assert run.state == "unfinished"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("\xff", "is no JSON"),
            ("[{", "is no JSON"),
            ("3", "is no list of runs"),
            ('[{"config": 3, "summary": {}}]', "run 1 has no config and summary"),
        ],
    )
    def test_json_of_another_kind(self, tmp_path, capsys, text, message):
        path = tmp_path / "runs.json"
        path.write_bytes(text.encode("latin-1"))
        assert message in refused(capsys, "import", path, "--dry-run")
