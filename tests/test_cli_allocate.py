"""`vitscale allocate` and the report of runs of parameters and tokens, given tables as language-model teams have them."""

import json
import re
import shlex
import warnings

import numpy as np
import pandas as pd
import pytest
from command_line import refused, vitscale
from report_samples import measured_store

from vitscale.fits import plots
from vitscale.fits.allocation import best_parameters
from vitscale.fits.law_table import law_table
from vitscale.report.allocation_report import allocation_page
from vitscale.report.source import file_sha256

LAW = {"alpha": 0.35, "beta": 0.3, "A": 400.0, "B": 500.0, "E": 1.8}
COLUMNS = ("--inputs", "N=params", "D=tokens", "--error", "val_loss")


def loss(n, d):
    return LAW["E"] + LAW["A"] * n ** -LAW["alpha"] + LAW["B"] * d ** -LAW["beta"]


def runs(ratios=(3, 10, 30, 100, 300), sizes=6) -> pd.DataFrame:
    """Runs of a known law with 0.3% of noise, `ratios` tokens a parameter at each size."""
    n = np.repeat(np.geomspace(2e7, 2e9, sizes), len(ratios)).round()
    d = (n * np.tile(ratios, sizes)).round()
    noise = np.exp(0.003 * np.random.default_rng(0).standard_normal(len(n)))
    return pd.DataFrame(
        {"params": n, "tokens": d, "train_flops": 6 * n * d, "val_loss": loss(n, d) * noise}
    )


@pytest.fixture(autouse=True)
def no_warnings():
    """Nothing of numpy reaches a user."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def saved(tmp_path):
    def save(frame: pd.DataFrame):
        frame.to_csv(tmp_path / "runs.csv", index=False)
        return tmp_path / "runs.csv"

    return save


def test_runs_at_one_ratio_are_refused_everywhere(capsys, saved, tmp_path):
    table = saved(runs(ratios=(20,), sizes=12))
    said = refused(capsys, "allocate", table, "--flops", 1e20, *COLUMNS)
    assert "20 tokens a parameter" in said
    page = tmp_path / "page.html"
    code, _, err = vitscale(capsys, "report", table, "--law", "chinchilla", *COLUMNS, "--out", page)
    assert code == 2 and "20 tokens a parameter" in err and not page.exists()
    code, out, _ = vitscale(capsys, "fit", table, "--law", "chinchilla", *COLUMNS, "--json")
    told = json.loads(out)
    assert code == 0 and not told["identified"]
    for name, found in told["parameters"].items():
        assert found["low"] is None or found["high"] is None or found["low"] < found["high"], name


def test_tokens_that_follow_from_parameters_are_refused(capsys, saved):
    frame = runs(ratios=(20,), sizes=12)
    frame["tokens"] = (1000 * frame["params"] ** 0.8).round()
    assert "vary D at fixed N" in refused(
        capsys, "allocate", saved(frame), "--flops", 1e20, *COLUMNS
    )


def test_few_runs_are_resampled_until_they_can_be_fitted(capsys, saved):
    some = runs().sample(9, random_state=1)
    command = ("allocate", saved(some), "--flops", 1e20, *COLUMNS)
    code, out, _ = vitscale(capsys, *command, "--json")
    (share,) = json.loads(out)["shares"]
    truth = float(best_parameters(LAW, 1e20))
    assert code == 0 and share["parameters"]["low"] < truth < share["parameters"]["high"]
    command = ("allocate", saved(some.head(7)), "--flops", 1e20, *COLUMNS)
    assert "7 different runs, but intervals need at least 8" in refused(capsys, *command)
    code, out, _ = vitscale(capsys, *command, "--resamples", 0)
    assert code == 0 and "no intervals" in out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--flops", 23), "the smallest run"),
        (("--flops", 1e30), "the largest run"),
        (("--flops", 1e20, "--flops-per-pair", 0), "--flops-per-pair 0"),
        (("--flops", 1e20, "--flops-per-pair", -6), "--flops-per-pair -6"),
        (("--flops", 1e20, "--resamples", 5), "0 for none"),
    ],
)
def test_refusals(capsys, saved, flags, words):
    assert words in refused(capsys, "allocate", saved(runs()), *flags, *COLUMNS)


def test_one_column_for_two_inputs_is_refused(capsys, saved):
    table = saved(runs())
    flags = ("--inputs", "N=params", "D=params", "--error", "val_loss")
    for command in (("allocate", table, "--flops", 1e20), ("fit", table, "--law", "chinchilla")):
        assert "N and D are both the column params" in refused(capsys, *command, *flags)


def _cautions(capsys, table, flops, *columns) -> list[str]:
    command = ("allocate", table, "--flops", flops, "--resamples", 0, *(columns or COLUMNS))
    code, out, _ = vitscale(capsys, *command, "--json")
    told = json.loads(out)["cautions"]
    code_of_text, text, _ = vitscale(capsys, *command)
    assert code == code_of_text == 0
    assert all(sentence in text for sentence in told)
    return told


def test_units_that_were_mixed_up_are_told(capsys, saved):
    frame = runs()
    assert not _cautions(capsys, saved(frame), 1e21)
    (units,) = _cautions(capsys, saved(frame.assign(params=frame["params"] / 1e6)), 1e15)
    assert units.startswith("train_flops is 1e+06 times 6 N D")
    (swapped,) = _cautions(
        *(capsys, saved(frame), 1e21, "--inputs", "N=tokens", "D=params", "--error", "val_loss")
    )
    assert "30 of 30 runs saw fewer than one token a parameter" in swapped
    (far,) = _cautions(capsys, saved(frame), 20 * frame["train_flops"].max())
    assert "20 times that of the largest run" in far
    (state,) = _cautions(capsys, saved(frame.assign(State=["crashed", *["finished"] * 29])), 1e21)
    assert "1 runs are crashed by State (row 1)" in state


def test_runs_that_the_law_does_not_describe(capsys, saved):
    frame = runs()
    noise = np.exp(0.5 * np.random.default_rng(1).standard_normal(len(frame)))
    table = saved(frame.assign(val_loss=frame["val_loss"] * noise))
    _, out, _ = vitscale(capsys, "allocate", table, "--flops", 1e21, "--resamples", 0, *COLUMNS)
    assert "caution: the law does not describe these points" in out
    better = runs()
    better.loc[12, "val_loss"] *= 0.9
    (beaten,) = _cautions(capsys, saved(better), 1e21)
    assert "row 13" in beaten and "better than the law's best" in beaten


def test_the_commands_of_the_report_make_it_again(capsys, saved, tmp_path, monkeypatch):
    """With the flags that were given, from the folder in which they were given."""
    saved(runs())
    monkeypatch.chdir(tmp_path)
    given = ("report", "runs.csv", "--law", "chinchilla", "--no-backtest", "--out", "mine.html")
    code, printed, _ = vitscale(capsys, *given, *COLUMNS, "--flops", 1e21)
    assert code == 0 and "without the scatter of runs" in printed
    page = (tmp_path / "mine.html").read_text(encoding="utf-8")
    commands = [line for line in _code(page) if line.startswith("vitscale ")]
    assert len(commands) == 3
    (tmp_path / "mine.html").unlink()
    for command in commands:
        code, _, err = vitscale(capsys, *shlex.split(command)[1:])
        assert code == 0, (command, err)
    again = (tmp_path / "mine.html").read_text(encoding="utf-8")
    assert [line for line in _code(again) if line.startswith("vitscale ")] == commands


def _code(page: str) -> list[str]:
    import html
    import re

    return [
        html.unescape(re.sub("<[^>]+>", "", found))
        for found in re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)
    ]


def test_which_runs_lie_on_the_frontier(capsys, saved, tmp_path):
    frame = runs()
    frame["name"] = [f"run {k}" for k in range(len(frame))]
    on = tmp_path / "on.csv"
    command = ("frontier", saved(frame), "--error", "val_loss", "--model", "name")
    code, out, _ = vitscale(capsys, *command, "--resamples", 0, "--out", on, "--json")
    told = json.loads(out)["points"]
    pairs = [*zip(frame["name"], frame["train_flops"], frame["val_loss"], strict=True)]
    better = {
        name
        for name, spent, lost in pairs
        if not any(other <= spent and less < lost for _, other, less in pairs)
    }
    assert code == 0 and {point["model"] for point in told} == better
    assert pd.read_csv(on).to_dict("records") == told
    assert all(f"run {point['row'] - 1}" == point["model"] for point in told)
    assert "call it" in refused(capsys, *command, "--out", tmp_path / "on.json")


def test_a_figure_of_the_division(capsys, saved, tmp_path):
    figure = tmp_path / "division.svg"
    flags = ("--flops", 1e22, *COLUMNS, "--resamples", 50)
    code, out, _ = vitscale(capsys, "allocate", saved(runs()), *flags, "--figure", figure)
    assert code == 0 and f"wrote {figure}" in out and figure.read_text().startswith("<?xml")


def test_commands_for_vits_say_which_are_for_other_models(capsys, saved, tmp_path):
    table, fit = saved(runs()), tmp_path / "fit.json"
    out = ("--out", tmp_path / "out.html")
    for command in (
        ("fit", table),
        ("advise", table, "--budget", 1e20),
        ("plot", table, "--only", "star", "--out", tmp_path / "figures"),
    ):
        assert "vitscale allocate" in refused(capsys, *command)
    code, _, err = vitscale(capsys, "report", table, *out)
    assert code == 2 and "vitscale allocate" in err
    assert "no import" in refused(capsys, "import", table, "--store", tmp_path / "store")
    assert vitscale(capsys, "fit", table, "--law", "chinchilla", *COLUMNS, "--out", fit)[0] == 0
    assert "vitscale allocate" in refused(capsys, "shape", "--fit", fit, "--flops", 1e20)
    assert "models are ViTs" in refused(capsys, "shape", "--like", "GPT-3")


def test_the_figures_of_such_a_table(capsys, saved, tmp_path):
    command = ("plot", saved(runs()), "--law", "chinchilla", *COLUMNS, "--format", "svg")
    code, out, _ = vitscale(capsys, *command, "--out", tmp_path / "drawn", "--json")
    told = json.loads(out)
    assert code == 0 and not told["not_drawn"]
    assert [each["figure"] for each in told["written"]] == ["allocation", "backtest"]
    assert "--x is for a star" in refused(capsys, *command, "--x", "params", "--out", tmp_path)


@pytest.fixture
def drawn(monkeypatch):
    """Figures in place of the files that they would be saved to."""
    figures = []

    def keep(figure, path):
        figures.append(figure)
        return path

    monkeypatch.setattr(plots, "save", keep)
    return figures


def test_rows_of_one_network_are_drawn_together_everywhere(capsys, saved, tmp_path, drawn):
    """A table in which every run stands thrice, and a column says so, gives the intervals of the runs."""
    once = runs().assign(run=[f"run {k}" for k in range(30)])
    thrice = once.loc[once.index.repeat(3)]
    page = tmp_path / "page.html"
    told, rows, bands = [], [], []
    for frame, model in ((once, ()), (thrice, ("--model", "run"))):
        table, drawn[:] = saved(frame), []
        flags = (*COLUMNS, *model)
        command = ("allocate", table, "--flops", 1e21, *flags, "--figure", tmp_path / "of.svg")
        _, out, _ = vitscale(capsys, *command, "--resamples", 50, "--json")
        told.append(json.loads(out)["shares"][0]["parameters"])
        flags += ("--law", "chinchilla")
        assert vitscale(capsys, "plot", table, *flags, "--out", tmp_path)[0] == 0
        bands.append([each.axes[0].collections[0].get_paths()[0].vertices for each in drawn[:2]])
        assert vitscale(capsys, "report", table, *flags, "--no-backtest", "--out", page)[0] == 0
        rows += re.findall(
            r">parameters N</th>.*?</tr>", page.read_text(encoding="utf-8"), re.DOTALL
        )
    alone, together = told
    assert (alone.pop("method"), together.pop("method")) == (
        "bootstrap (runs)",
        "bootstrap (clusters)",
    )
    assert together == pytest.approx(alone, rel=1e-3)
    assert len(rows) == 2 and rows[0] == rows[1]
    for first, second in zip(*bands, strict=True):
        assert second == pytest.approx(first, rel=1e-3)
    command = ("allocate", table, "--flops", 1e21, *COLUMNS, "--resamples", 50, "--json")
    apart = json.loads(vitscale(capsys, *command)[1])["shares"][0]["parameters"]
    assert apart["high"] / apart["low"] < 0.95 * alone["high"] / alone["low"]
    few = saved(once.assign(run=[f"size {k // 5}" for k in range(30)]))
    said = refused(capsys, "allocate", few, "--flops", 1e21, *COLUMNS, "--model", "run")
    assert "6 clusters of runs" in said and "--resamples 0" in said


def test_an_end_that_nothing_bounds_is_no_number():
    """By runs whose scatter leaves open whether the loss falls with N at all."""
    frame = runs()
    noise = np.exp(0.15 * np.random.default_rng(4).standard_normal(len(frame)))
    frame["val_loss"] = loss(frame["params"], frame["tokens"]) * noise
    table = law_table(frame, "chinchilla", inputs=COLUMNS[1:3], target="val_loss")
    page = allocation_page("runs", table, flops=1e21)
    assert page.sizes is not None
    shown = {row[0]: row[2] for row in (*page.sizes.rows, *page.tables[0].rows)}
    assert re.fullmatch(r"unbounded to [\d.]+ billion", shown["parameters N"])
    assert re.fullmatch(r"[\d.]+ billion to unbounded", shown["tokens D"])
    assert re.fullmatch(r"unbounded to [\d.]+", shown["loss"])
    # Of the law's parameters, a floor may be none at all, and of A nothing is known.
    assert re.fullmatch(r"0 to [\d.]+", shown["E"]) and shown["A"] == "unknown"


def test_a_store_is_refused_before_its_metrics_are_mixed(capsys, tmp_path):
    """As it lies, and exported; whatever of its columns are named."""
    store, exported = measured_store(tmp_path / "store", small=True), tmp_path / "store.csv"
    assert vitscale(capsys, "store", "export", store, exported)[0] == 0
    columns = ("--inputs", "N=params", "D=examples", "--error", "value")
    out = ("--law", "chinchilla", "--out", tmp_path / "page.html")
    for source in (store, exported):
        for command in (
            ("allocate", source, "--flops", 1e15, *columns),
            ("allocate", source, "--flops", 1e15),
            ("plot", source, *out, *columns),
        ):
            said = refused(capsys, *command)
            assert "vitscale fit" in said and "vitscale frontier" in said and "a run a row" in said
        code, printed, err = vitscale(capsys, "report", source, *out, *columns)
        assert (code, printed) == (2, "") and "vitscale frontier" in err
    assert not (tmp_path / "page.html").exists()


def test_runs_that_are_no_file_have_no_hash(tmp_path):
    table = law_table(runs(), "chinchilla", inputs=COLUMNS[1:3], target="val_loss")
    told = dict(allocation_page("s3://bucket/runs.parquet", table).provenance)
    assert told["measurements"] == "s3://bucket/runs.parquet" and "their SHA-256" not in told
    with pytest.raises(FileNotFoundError, match=r"runs\.csv does not exist, so it has no SHA-256"):
        file_sha256(tmp_path / "runs.csv")


TOKENS_PER_IMAGE = 196


def images(frame: pd.DataFrame) -> pd.DataFrame:
    """The same runs with D in images of so many tokens each."""
    return frame.assign(tokens=frame["tokens"] / TOKENS_PER_IMAGE).drop(columns="train_flops")


def test_a_report_of_images_is_that_of_their_tokens(capsys, saved, tmp_path):
    """At 6 FLOPs for each token of an image, in the answer, its budgets and the commands of the page."""
    told, pages = [], []
    for frame, pair in (
        (runs(), ()),
        (images(runs()), ("--flops-per-pair", 6 * TOKENS_PER_IMAGE)),
    ):
        page = tmp_path / "page.html"
        command = ("report", saved(frame), "--law", "chinchilla", *COLUMNS, *pair, "--out", page)
        code, out, _ = vitscale(capsys, *command, "--no-backtest", "--json")
        assert code == 0
        told.append(json.loads(out))
        pages.append(page.read_text(encoding="utf-8"))
    (of_tokens, of_images), most = told, 6 * (runs()["params"] * runs()["tokens"]).max()
    n = float(best_parameters(LAW, 10 * most))
    parameters, seen = re.findall(r"([\d.]+) (million|billion|trillion)", of_images["headline"])
    assert of_images["headline"].split(" on ")[0] == of_tokens["headline"].split(" on ")[0]
    units = {"million": 1e6, "billion": 1e9, "trillion": 1e12}
    assert float(parameters[0]) * units[parameters[1]] == pytest.approx(n, rel=0.3)
    spent = 6 * TOKENS_PER_IMAGE
    for value, unit in (parameters, seen):
        spent *= float(value) * units[unit]
    assert spent == pytest.approx(10 * most, rel=0.02)
    assert of_images["reasons"] == of_tokens["reasons"]
    again = [line for line in _code(pages[1]) if line.startswith("vitscale ")]
    assert [line.partition(" --flops-per-pair ")[2].split()[:1] for line in again] == [
        ["1176"],
        [],
        ["1176"],
    ]
    code, out, _ = vitscale(capsys, *shlex.split(again[0])[1:], "--resamples", 0, "--json")
    (share,) = json.loads(out)["shares"]
    assert code == 0 and share["times_largest"] == pytest.approx(10)


def test_a_picture_of_images_has_the_compute_of_their_tokens(capsys, saved, tmp_path, drawn):
    table = saved(images(runs()))
    command = ("plot", table, "--law", "chinchilla", *COLUMNS, "--out", tmp_path)
    code, _, err = vitscale(capsys, *command, "--flops-per-pair", 6 * TOKENS_PER_IMAGE)
    assert code == 0, err
    shown, *lines = drawn[0].axes[0].lines
    assert np.asarray(shown.get_xdata()) == pytest.approx(runs()["train_flops"].to_numpy())
    # The best parameters at the largest run's compute are those that the law of tokens has there.
    compute, best = (np.asarray(values) for values in lines[0].get_data())
    assert best == pytest.approx(best_parameters(LAW, compute), rel=0.3)


@pytest.mark.parametrize("name", ["report", "plot"])
def test_flops_of_a_pair_are_of_chinchillas_law(capsys, saved, tmp_path, name):
    out = ("--out", tmp_path / "page.html")
    command = (name, saved(runs()), *out, "--flops-per-pair", 1176)
    assert "--law chinchilla only" in refused(capsys, *command)
    command = (name, saved(runs()), *out, *COLUMNS, "--law", "chinchilla", "--flops-per-pair", -6)
    assert "--flops-per-pair -6" in refused(capsys, *command)
