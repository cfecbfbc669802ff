"""`vitscale fit --law` and `--backtest`, as a user meets them."""

import json
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from command_line import refused, vitscale
from report_samples import measured_store

from vitscale.fits.datasets import path
from vitscale.fits.loss import LossName
from vitscale.sweeps.store import Store

RUNS = path("chinchilla")
STAR = path("sovit_star_sweep")


def test_chinchilla_as_its_replication_fits_it(capsys, tmp_path):
    out = tmp_path / "law.json"
    flags = ["--law", "chinchilla", "--loss", "log-huber", "--delta", "1e-3", "--out", out]
    code, text, _ = vitscale(capsys, "fit", RUNS, *flags)
    assert code == 0
    assert "the points decide every exponent" in text
    told = json.loads(out.read_text())
    # The replication's own points are another reading of the same figure (arXiv 2404.10102): alpha
    # .3478, beta .3658, E 1.817, with standard errors of .02, .02 and .03.
    for name, published, error in (
        ("alpha", 0.348, 0.02),
        ("beta", 0.366, 0.02),
        ("E", 1.817, 0.03),
    ):
        assert abs(told["parameters"][name]["estimate"] - published) < 2 * error
        assert told["parameters"][name]["low"] < told["parameters"][name]["high"]


def test_columns_of_other_names_are_mapped(capsys, tmp_path):
    frame = pd.read_csv(RUNS).rename(columns={"N": "params", "D": "tokens", "loss": "nats"})
    frame.to_csv(tmp_path / "runs.csv", index=False)
    mapped = ["--inputs", "N=params", "D=tokens", "--error", "nats", "--json"]
    _, first, _ = vitscale(capsys, "fit", tmp_path / "runs.csv", "--law", "chinchilla", *mapped)
    _, second, _ = vitscale(capsys, "fit", RUNS, "--law", "chinchilla", "--json")
    assert json.loads(first) == json.loads(second)


def test_of_a_store_one_metric_is_fitted(capsys, tmp_path):
    rows = pd.DataFrame(Store.open(measured_store(tmp_path / "store", small=True)).read())
    csv, both = tmp_path / "runs.csv", tmp_path / "both.parquet"
    rows.to_csv(csv, index=False)
    pd.concat([rows, rows.assign(metric="loss", value=3 * rows["value"])]).to_parquet(both)
    law = ("--law", "saturating", "--inputs", "C=train_flops", "--json")
    (metric,) = rows["metric"].unique()
    alone = json.loads(vitscale(capsys, "fit", csv, *law, "--error", "value")[1])
    chosen = json.loads(vitscale(capsys, "fit", both, *law, "--metric", metric)[1])
    assert chosen["parameters"] == alone["parameters"]
    tripled = json.loads(vitscale(capsys, "fit", both, *law, "--metric", "loss")[1])
    assert tripled["parameters"]["a"]["estimate"] > 2 * alone["parameters"]["a"]["estimate"]
    assert "choose one with --metric: " in refused(capsys, "fit", both, *law)
    said = refused(capsys, "fit", RUNS, "--law", "chinchilla", "--metric", "x")
    assert "--metric chooses among the rows of a store" in said


def test_backtest_of_a_law_predicts_what_it_never_saw(capsys, tmp_path):
    flags = ["--law", "chinchilla", "--backtest", "--along", "C", "--level", "0.9", "--json"]
    code, text, _ = vitscale(capsys, "fit", RUNS, *flags, "--figures", tmp_path)
    assert code == 0
    test = json.loads(text)["backtest"]
    compute = pd.read_csv(RUNS)["C"].to_numpy()
    for cutoff in {row["cutoff"] for row in test["rows"]}:
        beyond = [row for row in test["rows"] if row["cutoff"] == cutoff]
        assert len(beyond) == (compute > cutoff).sum()
    assert test["rms_log_error"] < 0.03
    assert (tmp_path / "backtest.png").stat().st_size > 10_000


def test_backtest_of_a_star(capsys):
    code, text, _ = vitscale(
        capsys, "fit", STAR, "--compute", "forward_gflops", "--backtest", "--resamples", 0
    )
    assert code == 0
    assert "back-test" in text
    assert "inside their" in text


def test_auto_compares_laws_and_says_what_cannot_be_told_apart(capsys, tmp_path):
    x = np.geomspace(1, 300, 25)
    y = (0.5 * x**-0.5 + 0.1) * np.exp(0.003 * np.random.default_rng(0).standard_normal(25))
    pd.DataFrame({"images": x, "error": y}).to_csv(tmp_path / "curve.csv", index=False)
    flags = ["--law", "auto", "--inputs", "x=images"]
    code, text, _ = vitscale(capsys, "fit", tmp_path / "curve.csv", *flags, "--json")
    assert code == 0
    told = json.loads(text)
    assert "saturating" in (told["undecided"] or [told["chosen"]])
    assert told["chosen"] != "power" and "power" not in told["undecided"]
    ahead = ["--json", "--at", 600, 1200]
    _, text, _ = vitscale(capsys, "fit", tmp_path / "curve.csv", *flags, *ahead)
    for row, truth in zip(json.loads(text)["predictions"], (600, 1200), strict=True):
        assert row["prediction"] == pytest.approx(0.5 * truth**-0.5 + 0.1, rel=0.02)


@pytest.mark.parametrize("loss", get_args(LossName))
def test_every_loss_is_a_flag(capsys, loss):
    code, text, _ = vitscale(capsys, "fit", RUNS, "--law", "chinchilla", "--loss", loss, "--json")
    assert code == 0
    assert json.loads(text)["parameters"]["alpha"]["estimate"] == pytest.approx(0.345, abs=0.01)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--law", "kaplan"], "law='kaplan' is unknown; choose from power"),
        (["--law", "chinchilla", "--inputs", "N=size"], "there is no such column; the table has"),
        (["--law", "chinchilla", "--inputs", "Q=N"], "expected INPUT=COLUMN with an input of the"),
        (["--law", "m4"], "but the table has no column x; it has C, N, D, loss"),
        (["--law", "chinchilla", "--compute", "C"], "--compute is for a star, not for --law"),
        (["--law", "chinchilla", "--loss", "huber", "--delta", "-1"], "is not a residual from"),
        (["--law", "chinchilla", "--error", "perplexity"], "there is no such column"),
        (
            ["--law", "chinchilla", "--backtest", "--along", "Q"],
            "--along Q: there is no such column",
        ),
        (["--law", "auto", "--loss", "huber"], "--loss does not apply to --law auto"),
        (
            ["--law", "auto", "--inputs", "x=C", "--level", "0.5", "--backtest"],
            "--level, --backtest",
        ),
        (["--law", "auto", "--inputs", "C"], "expected INPUT=COLUMN"),
        (["--law", "auto"], "the table has no column x; it has C, N, D, loss"),
        (["--law", "chinchilla", "--along", "C"], "--along is for the back-test of a law"),
        (["--law", "chinchilla", "--backtest", "--along", "loss"], "is what the law predicts"),
        (["--law", "chinchilla", "--model", "N", "--resamples", "3"], "resamples=3 are too few"),
        (["--leave-out", "size"], "add --backtest"),
        (["--delta", "0"], "--delta is for a law of your choice"),
        (["--loss", "huber"], "--loss is for a law of your choice; name it with --law"),
        (["--along", "C"], "--along is for a law of your choice"),
    ],
)
def test_one_sentence_with_the_way_out(capsys, flags, words):
    assert words in refused(capsys, "fit", RUNS, *flags)


def _language_models(folder):
    """Runs of Chinchilla's law with 0.3% of noise, at 25 pairs of N and D."""
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(2e7, 2e9, 5), np.geomspace(5e8, 5e10, 5)))
    exact = 1.8 + 400 * n**-0.35 + 500 * d**-0.3
    loss = exact * np.exp(0.003 * np.random.default_rng(0).standard_normal(25))
    table = pd.DataFrame({"N": n, "D": d, "loss": loss})
    table.to_csv(folder / "runs.csv", index=False)
    return folder / "runs.csv", table


def test_a_new_run_is_predicted_with_an_interval(capsys, tmp_path):
    runs, _ = _language_models(tmp_path)
    command = ("fit", runs, "--law", "chinchilla", "--at", "N=5e9", "D=1e11")
    code, out, _ = vitscale(capsys, *command, "--json")
    (row,) = json.loads(out)["predictions"]
    truth = 1.8 + 400 * 5e9**-0.35 + 500 * 1e11**-0.3
    assert code == 0 and row["at"] == {"N": 5e9, "D": 1e11}
    assert row["low"] < truth < row["high"] < 1.1 * row["low"]
    assert row["times_beyond_the_runs"] == pytest.approx(5)
    _, text, _ = vitscale(capsys, *command)
    assert "interval of a new run, 5 times beyond the runs" in text
    for at in (("1e11",), ("N=5e9",), ("N=-1", "D=1e11"), ("N=5e9", "M=1")):
        code, out, err = vitscale(capsys, "fit", runs, "--law", "chinchilla", "--at", *at)
        assert (code, out) == (2, "") and "--at" in err and err.count("\n") == 1
    code, out, _ = vitscale(
        *(capsys, "fit", runs, "--law", "saturating", "--inputs", "x=N", "--at", "1e10", "--json")
    )
    assert code == 0 and json.loads(out)["predictions"][0]["at"] == {"C": 1e10}


def test_a_loss_that_was_mistyped_is_named(capsys, tmp_path):
    runs, table = _language_models(tmp_path)
    _, out, _ = vitscale(capsys, "fit", runs, "--law", "chinchilla")
    assert "caution" not in out
    table.loc[7, "loss"] *= 10
    table.to_csv(runs, index=False)
    _, out, _ = vitscale(capsys, "fit", runs, "--law", "chinchilla")
    assert "row 8 is off by" in out and "--loss log-huber" in out
    table["loss"] = table["loss"].sample(frac=1, random_state=0).to_numpy() ** 3
    table.to_csv(runs, index=False)
    _, out, _ = vitscale(capsys, "fit", runs, "--law", "chinchilla")
    assert "does not describe these points" in out


def test_auto_is_for_one_input_by_any_name(capsys, tmp_path):
    runs, table = _language_models(tmp_path)
    table.assign(seen=np.geomspace(1e8, 1e11, 25)).to_csv(runs, index=False)
    command = ("fit", runs, "--law", "auto", "--inputs")
    code, out, err = vitscale(capsys, *command, "N=N", "D=D")
    assert (code, out) == (2, "") and "laws of one input" in err
    code, out, _ = vitscale(capsys, *command, "C=seen", "--json")
    told = json.loads(out)
    averaged = [law["law"] for law in told["laws"] if law["weight"] > 0.005]
    assert code == 0
    if told["undecided"] and set(averaged) != set(told["undecided"]):
        assert f"the average by back-tests, of {', '.join(averaged)}" in told["sentence"]
