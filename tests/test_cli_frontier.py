"""`vitscale frontier` and `vitscale allocate`, as a user meets them."""

import json

import pytest

from vitscale import cli
from vitscale.fits.datasets import load_scaling_vit_fewshot, path


def vitscale(capsys, *arguments) -> tuple[int, str, str]:
    code = cli.run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def runs(tmp_path):
    frame = load_scaling_vit_fewshot().dropna(subset=["core_days_fig2"])
    frame.assign(top1_error=1 - frame["inet10"] / 100).to_csv(tmp_path / "runs.csv", index=False)
    return tmp_path / "runs.csv"


def test_the_frontier_of_scaling_vit(capsys, runs, tmp_path):
    """a .63, d .52, b .32, c .12: legend of Figure 2 of arXiv 2106.04560."""
    figure = tmp_path / "frontier.svg"
    flags = ("--compute", "core_days_fig2", "--error", "top1_error", "--figure", figure)
    code, out, _ = vitscale(capsys, "frontier", runs, *flags, "--json")
    told = json.loads(out)
    assert code == 0 and figure.read_text().startswith("<?xml")
    assert told["metric"] == "top1_error" and told["n"] < told["runs"]
    for name, published in {"a": 0.63, "d": 0.52, "b": 0.32, "c": 0.12}.items():
        found = told["parameters"][name]
        assert found["estimate"] == pytest.approx(published, abs=0.05)
        assert found["low"] < published < found["high"]
    _, words, _ = vitscale(capsys, "frontier", runs, *flags[:4], "--resamples", 0)
    assert f"{told['n']} of {told['runs']} runs" in words and "intervals" not in words


def test_a_bend_that_was_not_seen_is_said(capsys, tmp_path):
    # A power law with a floor bends nowhere.
    lines = [f"{c:g},{0.2 + 5 * c**-0.3}" for c in (1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6)]
    (tmp_path / "runs.csv").write_text("\n".join(["compute,error", *lines]))
    command = ("frontier", tmp_path / "runs.csv", "--resamples", 0)
    _, out, _ = vitscale(capsys, *command)
    assert "the runs do not decide d" in out
    _, out, _ = vitscale(capsys, *command, "--law", "saturating")
    assert "caution" not in out
    (row,) = [line.split() for line in out.splitlines() if line.startswith("  b ")]
    assert float(row[1]) == pytest.approx(0.3, abs=1e-3)


def test_a_budget_of_tokens_and_parameters(capsys, tmp_path):
    out = tmp_path / "law.json"
    command = ("allocate", path("chinchilla"), "--flops", "1e21", "5.76e23", "--resamples", 50)
    code, text, _ = vitscale(capsys, *command, "--out", out)
    told = json.loads(out.read_text())
    assert code == 0
    assert [share["compute"] for share in told["shares"]] == [1e21, 5.76e23]
    assert [share["beyond_the_runs"] for share in told["shares"]] == [False, True]
    assert "caution: N or D at 5.76e+23 lies beyond the runs" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frontier", "RUNS"], "lacks columns named compute, error"),
        (
            ["frontier", "RUNS", "--compute", "core_days_fig2", "--error", "to1_error"],
            "'top1_error'?",
        ),
        (["frontier", "RUNS", "--figure", "frontier.gif"], "'.gif'"),
        (["allocate", "RUNS", "--flops", "1e21"], "chinchilla law takes N, D"),
        (["allocate", str(path("chinchilla")), "--flops", "-1"], "training FLOPs"),
        (["allocate", str(path("chinchilla")), "--flops", "1e21", "--delta", "0"], "delta=0"),
    ],
)
def test_refusals(capsys, runs, arguments, words):
    given = [str(runs) if word == "RUNS" else word for word in arguments]
    code, out, err = vitscale(capsys, *given)
    assert (code, out) == (2, "")
    assert err.startswith("vitscale: ") and err.count("\n") == 1
    assert words in err
