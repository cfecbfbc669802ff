"""Coverage: intervals against scipy's, and marks against the numbers."""

import numpy as np
import pytest
from figure_words import check_words
from scipy.stats import binomtest

from vitscale.fits import plots
from vitscale.fits.prediction.backtest import Backtest, Row
from vitscale.fits.prediction.coverage import backtest_coverage, simulated_coverage


@pytest.mark.parametrize(("held", "count"), [(913, 1000), (8, 10), (0, 7), (7, 7)])
def test_the_interval_is_clopper_and_pearsons(held, count):
    found = simulated_coverage("stars", nominal=0.9, count=count, share=held / count)
    theirs = binomtest(held, count).proportion_ci(0.95, method="exact")
    np.testing.assert_allclose([found.low, found.high], [theirs.low, theirs.high], rtol=1e-9)


def row(name: str, cutoff: float, *, inside: bool) -> Row:
    end = 1.1 if inside else 0.9
    return Row(name=name, cutoff=cutoff, horizon=2, measured=1, predicted=0.85, low=0.8, high=end)


@pytest.fixture(scope="module")
def tests():
    rows = [row("width", cut, inside=cut != 3) for cut in (1, 2, 3, 4)]
    rows += [row("depth", cut, inside=True) for cut in (1, 2)]
    return [Backtest(rows=tuple(rows), level=level, along="compute") for level in (0.5, 0.9)]


def test_backtests_are_counted_by_name_and_together(tests):
    found = backtest_coverage(tests)
    assert [(each.name, each.nominal, each.count) for each in found] == [
        *(("width", 0.5, 4), ("depth", 0.5, 2), ("all", 0.5, 6)),
        *(("width", 0.9, 4), ("depth", 0.9, 2), ("all", 0.9, 6)),
    ]
    assert [each.share for each in found[:3]] == [0.75, 1.0, pytest.approx(5 / 6)]
    assert all(each.low <= each.share <= each.high for each in found)


def test_marks_bars_and_promises(tests):
    found = backtest_coverage(tests)
    figure = plots.coverage_figure(found, what="runs left out")
    check_words(figure)
    assert [axes.get_title() for axes in figure.axes] == ["nominal 50%", "nominal 90%"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"runs left out (%)"}
    for axes, level in zip(figure.axes, (50, 90), strict=True):
        lines = axes.get_lines()
        bars = [np.asarray(line.get_xydata()) for line in lines if line.get_marker() == "None"]
        *bars, promised = bars
        assert np.unique(promised[:, 0]).tolist() == [level]
        marks = [np.asarray(line.get_xydata())[0] for line in lines if line.get_marker() == "o"]
        for each, bar, mark in zip(found, bars, marks, strict=False):
            np.testing.assert_allclose(bar[:, 0], [100 * each.low, 100 * each.high])
            assert mark[0] == pytest.approx(100 * each.share)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        *("width", "depth", "all")
    ]


def test_groups_have_colours_of_their_own_and_the_goal_is_shaded():
    found = [
        simulated_coverage(name, group=group, nominal=0.9, count=1000, share=share)
        for name in ("rho 0", "rho 0.5")
        for group, share in (("width", 0.91), ("depth", 0.88), ("mlp_dim", 0.93))
    ]
    figure = plots.coverage_figure(found, goal=(0.87, 0.93))
    check_words(figure)
    marks = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    assert len({line.get_color() for line in marks}) == 3
    heights = [np.asarray(line.get_ydata())[0] for line in marks]
    assert len(set(heights)) == 6
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[-2:] == ["promised", "goal: 87 to 93%"]


def test_refusals():
    with pytest.raises(ValueError, match=r"coverage of 0 names does not make a figure"):
        plots.coverage_figure([])
    with pytest.raises(ValueError, match=r"stars: share=1.2 of count=10 is no coverage"):
        simulated_coverage("stars", nominal=0.9, count=10, share=1.2)
