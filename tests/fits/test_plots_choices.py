"""Figures that compare choices: models with the shapes for their compute, and intervals with those after advice."""

import dataclasses
import math

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from vitscale.advise import advise_table
from vitscale.fits import plots
from vitscale.fits.answer import Setting
from vitscale.fits.comparison import compare_models, vit_family
from vitscale.fits.datasets import load_sovit_star
from vitscale.fits.frame_fit import fit_frame
from vitscale.fits.intervals.interval import Interval
from vitscale.fits.rule import SOVIT_X0, published_rule, rule_from_fit
from vitscale.scaling.shape import named_shape

SETTING = Setting(heads=16)


@pytest.fixture(scope="module")
def fit():
    return fit_frame(load_sovit_star(), resamples=0)[0].fit


@pytest.fixture(scope="module")
def family(fit):
    return compare_models(vit_family(), 16e9, rule_from_fit(fit, SOVIT_X0), SETTING)


@pytest.fixture(scope="module")
def advice(fit):
    return advise_table(load_sovit_star(), 1e21, fit=fit)[0]


def points(axes, marker: str) -> list[float]:
    """x of all single points drawn with `marker`."""
    lines = [line for line in axes.get_lines() if line.get_marker() == marker]
    return sorted(float(np.asarray(line.get_xdata())[0]) for line in lines)


def bars(axes) -> list[tuple[float, float]]:
    """Ends of all thick lines."""
    thick = [line for line in axes.get_lines() if line.get_linewidth() >= 5]
    return [tuple(np.asarray(line.get_xdata(), float)) for line in thick]


def assert_readable(figure: Figure) -> None:
    """Every word lies inside the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    page = figure.bbox
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_visible() and text.get_text().strip():
            box = text.get_window_extent(canvas.get_renderer())
            assert page.x0 <= box.x0 and box.x1 <= page.x1, text.get_text()
            assert page.y0 <= box.y0 and box.y1 <= page.y1, text.get_text()


def test_models_and_their_shapes_are_where_they_are(family):
    figure = plots.comparison_figure(family)
    params, forward = figure.axes
    counted = [each.params / 1e6 for each in family]
    counted += [each.answer.params / 1e6 for each in family]
    assert points(params, "o") == pytest.approx(sorted(counted))
    work = [each.forward_flops / 1e9 for each in family]
    work += [each.answer.forward_flops / 1e9 for each in family]
    assert points(forward, "o") == pytest.approx(sorted(work))
    for (low, high), each in zip(bars(params), family, strict=True):
        assert low < each.answer.params / 1e6 < high
    names = [label.get_text() for label in params.get_yticklabels()]
    assert names == [each.name for each in family]
    assert_readable(figure)


def test_without_intervals_there_are_no_bars():
    rule = published_rule("sovit-figure1")
    one = compare_models({"g": named_shape("g/14")}, 16e9, rule, SETTING)
    figure = plots.comparison_figure(one)
    assert all(low == high for axes in figure.axes for low, high in bars(axes))
    assert "intervals" not in " ".join(t.get_text() for t in figure.legends[0].get_texts())
    assert_readable(figure)


def test_nothing_to_compare():
    with pytest.raises(ValueError, match="no model to compare"):
        plots.comparison_figure(())


def test_intervals_before_and_after(advice):
    figure = plots.advice_figure(advice)
    for axes, expected in zip(figure.axes, advice.expectations, strict=True):
        now, after = bars(axes)
        assert now == pytest.approx((expected.interval.low, expected.interval.high))
        assert after[1] / after[0] == pytest.approx(expected.ratio_after)
        assert math.sqrt(after[0] * after[1]) == pytest.approx(expected.interval.estimate)
    assert_readable(figure)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_fewer_dimensions_are_readable_too(advice, dimensions):
    fewer = dataclasses.replace(advice, expectations=advice.expectations[:dimensions])
    assert_readable(plots.advice_figure(fewer))


def test_an_open_interval_is_cut(advice):
    open_end = Interval(estimate=1.0, low=0.0, high=math.inf, level=0.95, method="profile")
    first = dataclasses.replace(advice.expectations[0], interval=open_end, ratio_after=1e9)
    figure = plots.advice_figure(dataclasses.replace(advice, expectations=(first,)))
    now, after = bars(figure.axes[0])
    assert now == pytest.approx((1 / 30, 30)) and after == pytest.approx((1 / 30, 30))
    assert_readable(figure)
