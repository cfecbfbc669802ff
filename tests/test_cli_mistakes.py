"""What a user is told who names the wrong thing: which one was meant."""

import dataclasses
import signal
import subprocess
import sys
import warnings

import pandas as pd
from command_line import refused, vitscale
from PIL import Image

from vitscale.commands.saying import warnings_as_notes
from vitscale.fits.datasets import load_sovit_star, path
from vitscale.scaling.recipe import Trial
from vitscale.sweeps.data_warnings import data_warnings
from vitscale.sweeps.engines.simulated import SimulatedEngine
from vitscale.sweeps.presets import preset
from vitscale.sweeps.preview import preview
from vitscale.sweeps.run import Limits
from vitscale.sweeps.run import run as run_plan
from vitscale.sweeps.store import Store

STAR = path("sovit_star_sweep")


def test_the_folder_around_a_store(capsys, tmp_path):
    Store.open(tmp_path / "quick" / "store", create=True)
    for command in (["fit"], ["status"], ["plot", "--out", tmp_path / "p"], ["report"]):
        err = refused(capsys, command[0], tmp_path / "quick", *command[1:])
        assert f"did you mean {tmp_path / 'quick' / 'store'}?" in err
    assert "name a store" in refused(capsys, "status", tmp_path)


def test_a_column_of_numbers_is_no_column_of_dimensions(capsys):
    err = refused(capsys, "fit", STAR, "--compute", "forward_gflops", "--dimension", "width")
    assert "the column width holds numbers" in err and "--x width" in err


def test_a_table_or_a_fit_in_place_of_the_other(capsys, tmp_path):
    err = refused(capsys, "shape", "--flops", 1e21, "--fit", STAR)
    assert f"is a table, not a fit; run this first: vitscale fit {STAR} --out fit.json" in err
    fit = tmp_path / "fit.json"
    flags = ["--compute", "forward_gflops", "--resamples", 0, "--out", fit]
    assert vitscale(capsys, "fit", STAR, *flags)[0] == 0
    err = refused(capsys, "shape", "--flops", 1e21, "--fits", fit)
    assert f"is a fit, not a file of vitscale shapefinder; did you mean --fit {fit}?" in err
    assert "delete" not in err


def test_a_bad_table_is_refused_before_anything_is_said(capsys, tmp_path):
    bad = tmp_path / "bad.csv"
    rows = pd.DataFrame(load_sovit_star()).assign(error=-1.0)
    rows.to_csv(bad)
    out = tmp_path / "r.html"
    err = refused(capsys, "report", bad, "--compute", "forward_gflops", "--out", out)
    assert "not a positive number" in err and not out.exists()


def test_the_weights_of_a_trial_without_a_duration(capsys, tmp_path):
    for duration in ("4800", "9600"):
        (tmp_path / f"w-{duration}").mkdir()
    err = refused(capsys, "convert", tmp_path / "w", tmp_path / "out", "--to", "timm")
    assert f"did you mean {tmp_path / 'w-4800'} or {tmp_path / 'w-9600'}?" in err


def test_names_are_checked_before_sums(capsys, tmp_path):
    """A hundred images are less than a batch; what is misspelt is said first."""
    length = ["--examples", 100, "--store", tmp_path / "store"]
    assert "did you mean 'S/16'?" in refused(capsys, "train", "S16", *length)
    named = ["--recipe", "augreg", "--data", "tfds:no-such-set"]
    err = refused(capsys, "train", "S/16", *named, *length)
    assert "no-such-set" in err and "batch" not in err


def test_a_folder_without_splits_is_told_how_to_split(capsys, tmp_path):
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "images" / "a" / "1.png").write_bytes(b"")
    flags = ["--data", f"folder:{tmp_path / 'images'}", "--recipe", "augreg"]
    err = refused(capsys, "train", "S/16", *flags, "--examples", 1e6, "--store", tmp_path / "s")
    assert '--set "train_split=train[:90%]" "eval_split=train[90%:]"' in err
    assert "vitscale data prepare" in err


def test_warnings_are_notes_once_and_without_a_path(capsys):
    with warnings_as_notes():
        for _ in range(2):
            warnings.warn("few images", stacklevel=1)
    assert capsys.readouterr().err == "note: few images\n"


def test_a_half_measured_store_says_first_what_is_left(capsys, tmp_path):
    plan = preset("quickstart-star")
    store = Store.open(tmp_path / "store", create=True)
    engine = SimulatedEngine()
    run_plan(plan, engine, store, limits=Limits(max_flops=0.3 * preview(plan).spent_flops))
    left = preview(plan, measured=store.measured_durations()).remaining_measurements
    assert left > 0
    said = f"{left} of {preview(plan).measurements} measurements of quickstart-star are still to do"
    _, out, err = vitscale(capsys, "fit", store.path, "--resamples", 0)
    text = out + err
    assert f"{said}; the same sweep goes on with: vitscale resume {store.path}" in text
    assert "measure more" not in text.partition(said)[0]


def test_few_images_are_warned_of_in_the_plan(capsys, tmp_path):
    for number in range(20):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number, 0, 0)).save(path)
    recipe = dataclasses.replace(
        preset("quickstart-star").sweep.recipe,
        data=f"folder:{tmp_path / 'images'}",
        train_split="train[:50%]",
        eval_split="train[50%:]",
        image_size=32,
        channels=3,
        crop="inception",
        batch_size=8,
        warmup_steps=2,
    )
    shape = preset("quickstart-star").trials[0].shape
    told = {
        examples: data_warnings([Trial(shape=shape, recipe=recipe, durations=(examples,))])
        for examples in (496, 504)
    }
    assert all("10 images to measure on are fewer than 100" in said[-1] for said in told.values())
    assert [len(said) for said in told.values()] == [1, 2]
    assert "504 examples are 50 passes over its 10 images" in told[504][0]


def test_quickstart_ended_by_sigterm_says_that_it_goes_on(tmp_path):
    out = ["--out", str(tmp_path / "quick"), "--workers", "1"]
    command = [sys.executable, "-m", "vitscale", "quickstart", *out]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        began = [process.stderr.readline() for _ in range(5)]
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
    assert process.returncode == 75
    assert "coarse demonstration" in "".join(began) and "warning" not in "".join(began)
    assert "the same command goes on" in said
