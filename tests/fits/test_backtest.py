"""Back-tests: honest about what was left out, right about what they count, and readable."""

import json

import numpy as np
import pytest
import star_samples as stars
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy import stats

from vitscale.fits import plots
from vitscale.fits.arm import estimate
from vitscale.fits.datasets import load_chinchilla, load_scaling_vit_fewshot
from vitscale.fits.frontier import pareto_frontier
from vitscale.fits.prediction.backtest import (
    Backtest,
    Row,
    backtest,
    backtest_frontier,
    backtest_star,
    backtest_star_at,
)
from vitscale.fits.prediction.prediction import predictor
from vitscale.fits.shape_law import arm_of


@pytest.fixture(scope="module")
def table():
    return stars.published_table()


@pytest.fixture(scope="module")
def star(table):
    return backtest_star(table, cutoffs=3, resamples=40)


def test_levels_share_their_fits_and_widen(table, star):
    depth = table[table["dimension"] == "depth"]
    half, most = backtest_star_at(depth, levels=(0.5, 0.9), cutoffs=3, resamples=40)
    # As if each level had been asked for alone.
    assert most.rows == tuple(row for row in star.rows if row.name == "depth")
    for narrow, wide in zip(half.rows, most.rows, strict=True):
        assert (narrow.measured, narrow.predicted) == (wide.measured, wide.predicted)
        assert wide.low < narrow.low < narrow.predicted < narrow.high < wide.high
    assert half.coverage <= most.coverage


def frontier(metric: str):
    runs = load_scaling_vit_fewshot().dropna(subset=[metric, "core_days_fig2"])
    compute, error = runs["core_days_fig2"].to_numpy(float), 1 - runs[metric].to_numpy(float) / 100
    on = pareto_frontier(compute, error)
    return compute[on], error[on]


def row(*, inside: bool, name: str = "law", cutoff: float = 1.0, high: float = 1.1) -> Row:
    measured = 1.0 if inside else 2.0
    return Row(
        name=name,
        cutoff=cutoff,
        horizon=2,
        measured=measured,
        predicted=1.05,
        low=0.9,
        high=high,
    )


def test_what_is_left_out_cannot_change_its_prediction():
    compute, error = frontier("inet10")
    cut = float(np.sort(compute)[20])
    spoiled = np.where(compute <= cut, error, error * 0.3)
    first, other = (
        backtest("double-saturating", {"C": compute}, e, cutoffs=[cut], resamples=30)
        for e in (error, spoiled)
    )
    for honest, changed in zip(first.rows, other.rows, strict=True):
        assert honest.measured != changed.measured
        assert (honest.predicted, honest.low, honest.high) == (
            changed.predicted,
            changed.low,
            changed.high,
        )


def test_rows_are_all_the_runs_beyond_their_cutoff_and_the_fit_that_of_the_rest(table, star):
    for name, cut in {(r.name, r.cutoff) for r in star.rows}:
        points = table[table["dimension"] == name]
        kept = points["compute"] <= cut
        beyond = points[~kept]
        rows = [r for r in star.rows if (r.name, r.cutoff) == (name, cut)]
        assert sorted(r.measured for r in rows) == sorted(beyond["error"])
        law = estimate(arm_of(points[kept])).law
        by_run = dict(zip(beyond["error"], law.error(beyond["x"], beyond["compute"]), strict=True))
        for r in rows:
            assert r.predicted == pytest.approx(by_run[r.measured], rel=2e-3)
        largest = beyond["compute"].max() / points[kept]["compute"].max()
        assert max(r.horizon for r in rows) == pytest.approx(largest)


def test_the_published_star_is_covered(star):
    assert len(star.rows) >= 40
    assert star.coverage >= 0.9
    assert star.rms < 0.08
    assert star.width < 0.25
    assert "nothing speaks against" in star.conclusion or "safe side" in star.conclusion


@pytest.mark.parametrize("leave_out", ["size", "duration"])
def test_other_ways_to_leave_out(table, leave_out):
    test = backtest_star(table, leave_out=leave_out, cutoffs=2, resamples=40)
    assert test.along == leave_out
    longest = table.groupby(["dimension", "model"])["compute"].transform("max")
    for name, points in table.groupby("dimension"):
        rows = [r for r in test.rows if r.name == name]
        assert rows
        if leave_out == "duration":
            ends = points.loc[points["compute"] == longest[points.index], "error"]
            assert sorted(r.measured for r in rows) == sorted(ends)
        else:
            assert {r.measured for r in rows} <= set(points["error"])
            assert max(r.horizon for r in rows) > 1.2


def test_misfit_is_what_holds_the_frontier():
    # With parameters and noise alone, intervals beyond the data hold about half of the runs.
    bare, ours, total = 0, 0, 0
    for metric in ("inet10", "cifar10", "pets10"):
        compute, error = frontier(metric)
        kept = compute <= np.quantile(compute, 0.6)
        fit = predictor("double-saturating", {"C": compute[kept]}, error[kept], resamples=60)
        found = fit.predict({"C": compute[~kept]})
        spread = fit.refits.log_prediction([compute[~kept]])[1:]
        half = 1.645 * np.hypot(spread.std(axis=0), fit.noise)
        bare += (np.abs(np.log(error[~kept] / found.predicted)) <= half).sum()
        ours += ((found.low <= error[~kept]) & (error[~kept] <= found.high)).sum()
        total += (~kept).sum()
    assert ours / total > 0.7
    assert bare / total < ours / total - 0.2


def test_the_range_of_the_coverage_is_binomial():
    rows = [row(inside=k < 17, cutoff=k, name=str(k)) for k in range(20)]
    test = Backtest(rows=tuple(rows), level=0.9, along="compute")
    expected = stats.binomtest(17, 20).proportion_ci(method="exact")
    assert test.coverage == 0.85
    np.testing.assert_allclose(test.coverage_range, expected, rtol=1e-9)


def test_runs_that_share_a_cutoff_count_as_fewer():
    # Five cut-offs of ten runs, right or wrong together: as good as five runs.
    rows = [
        Row(name=str(case), cutoff=1, horizon=2, measured=10 + k, predicted=1, low=0, high=high)
        for case, high in enumerate((99, 99, 99, 99, 5))
        for k in range(10)
    ]
    test = Backtest(rows=tuple(rows), level=0.9, along="x")
    expected = stats.binomtest(4, 5).proportion_ci(method="exact")
    np.testing.assert_allclose(test.coverage_range, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("inside", "words"),
    [(2, "the intervals are too narrow here"), (18, "nothing speaks against"), (400, "safe side")],
)
def test_conclusions(inside, words):
    total = max(inside, 20)
    rows = [row(inside=k < inside, name=str(k)) for k in range(total)]
    rows = [
        Row(**{**vars(r), "measured": r.measured + 1e-6 * k}) for k, r in enumerate(rows)
    ]  # distinct runs
    assert words in Backtest(rows=tuple(rows), level=0.9, along="x").conclusion


def test_a_bias_is_named():
    rows = [
        Row(name=str(k), cutoff=1, horizon=2, measured=1 + k / 100, predicted=1.2, low=0, high=2)
        for k in range(9)
    ]
    test = Backtest(rows=tuple(rows), level=0.9, along="x")
    assert "too high by" in test.conclusion
    assert test.bias == pytest.approx(np.mean(np.log(1.2 / (1 + np.arange(9) / 100))))


def test_table_and_json(star):
    lines = star.lines()
    cases = {(r.name, r.cutoff) for r in star.rows}
    assert len(lines) == 3 + len(cases)
    assert lines[-1] == star.conclusion
    assert all(len(line) <= 80 for line in lines[:-1])
    content = json.loads(json.dumps(star.to_dict()))
    assert content["coverage"] == star.coverage
    assert len(content["rows"]) == len(star.rows)
    assert content["rows"][0]["inside"] == star.rows[0].inside


def test_figure_shows_each_run_and_marks_those_outside(star):
    figure = plots.backtest_figure(star, metric="10-shot error")
    FigureCanvasAgg(figure).draw()
    for axes, name in zip(figure.axes, ("width", "depth", "mlp_dim"), strict=True):
        rows = [r for r in star.rows if r.name == name]
        dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
        drawn = sorted(tuple(np.asarray(dot.get_xydata(), float)[0]) for dot in dots)
        assert drawn == sorted((r.measured, r.predicted) for r in rows)
        hollow = sum(d.get_markerfacecolor() == "#ffffff" for d in dots)
        assert hollow == sum(not r.inside for r in rows)
        assert axes.get_xlabel() == "measured 10-shot error (fraction)"
        assert axes.get_title() == f"{name}: {len(rows) - hollow} of {len(rows)} inside"
    plain = plots.backtest_figure(star).axes[0]
    assert (plain.get_xlabel(), plain.get_ylabel()) == ("measured value", "predicted value")
    many = Backtest(
        rows=tuple(row(inside=True, name=str(k)) for k in range(7)), level=0.9, along="x"
    )
    with pytest.raises(ValueError, match="7 names, more than the 6 panels"):
        plots.backtest_figure(many)


def test_refusals(table):
    x = np.geomspace(1, 10, 5)
    with pytest.raises(ValueError, match="5 runs leave no cut-off that keeps 5 or more"):
        backtest("saturating", {"C": x}, 1 / x)
    with pytest.raises(ValueError, match="the cut-off 3 keeps 3 of 5 runs"):
        backtest("saturating", {"C": np.arange(1.0, 6)}, 1 / x, cutoffs=[3.0])
    with pytest.raises(ValueError, match="leave_out='time' is unknown; choose from compute"):
        backtest_star(table, leave_out="time")  # pyright: ignore[reportArgumentType]
    few = table.groupby("dimension").head(9)
    with pytest.raises(ValueError, match="nothing can be back-tested: width has too few runs"):
        backtest_star(few)


def test_a_frontier_is_back_tested_on_its_own_runs():
    runs = load_scaling_vit_fewshot().dropna(subset=["inet10", "core_days_fig2"])
    compute, error = runs["core_days_fig2"].to_numpy(float), 1 - runs["inet10"].to_numpy() / 100
    test = backtest_frontier(compute, error, compute_name="core_days", cutoffs=2)
    on = error[pareto_frontier(compute, error)]
    assert {row.measured for row in test.rows} <= set(on)
    assert test.along == "core_days"
    assert "core_days" in test.lines()[0]


@pytest.mark.slow
def test_coverage_on_the_data_that_ship(table):
    # The full table is that of benchmarks/backtest_coverage.py.
    tests = [
        backtest_star(table, leave_out="compute", resamples=100),
        backtest_star(table, leave_out="size", resamples=100),
    ]
    tasks = ("inet", "cifar", "birds", "pets")
    for metric in (f"{task}{shots}" for task in tasks for shots in (5, 10)):
        compute, error = frontier(metric)
        found = backtest(
            "double-saturating", {"C": compute}, error, name=metric, cutoffs=3, resamples=100
        )
        tests.append(found)
    runs = load_chinchilla()
    found = backtest(
        "chinchilla",
        {"N": runs["N"], "D": runs["D"]},
        runs["loss"],
        along=runs["C"],
        cutoffs=3,
        resamples=100,
    )
    every = Backtest(
        rows=tuple(row for test in (*tests, found) for row in test.rows), level=0.9, along="all"
    )
    assert len(every.rows) > 300
    assert every.coverage >= 0.85
    assert every.coverage_range[0] > 0.8
    # Not bought by width.
    assert found.width < 0.1
    assert tests[0].width < 0.25
