"""Slices of eq. (2) at equal compute: marks against the law, points against the table."""

import numpy as np
import pytest
import star_samples as stars

from vitscale.fits import plots
from vitscale.fits.isoflop import read_at

LEVELS = (6e10, 2e11)


def marks(axes, kind):
    lines = [line for line in axes.get_lines() if line.get_marker() == kind]
    return np.array([line.get_xydata() for line in lines if len(line.get_xdata())])


def test_diamonds_are_the_lowest_points_of_the_slices(table, fit):
    figure = plots.isoflop_figure(table, fit, levels=LEVELS)
    for axes, name in zip(figure.axes, stars.DIMENSIONS, strict=True):
        law = fit.dimensions[name].law
        x = np.geomspace(100 if name != "depth" else 1, 20000, 400_001)
        for (at, error), level in zip(marks(axes, "D")[:, 0], LEVELS, strict=True):
            slice_ = law.error(x, level)
            assert at == pytest.approx(x[slice_.argmin()], rel=1e-4)
            assert at == pytest.approx(float(law.optimal_x(level)))
            assert error == pytest.approx(slice_.min(), rel=1e-6)


def test_intervals_are_those_of_the_optimum(table, fit):
    figure = plots.isoflop_figure(table, fit, levels=LEVELS)
    for axes, name in zip(figure.axes, stars.DIMENSIONS, strict=True):
        for ends, level in zip(marks(axes, "|"), LEVELS, strict=True):
            interval = fit.dimensions[name].x_star_at(level)
            np.testing.assert_allclose(ends[:, 0], [interval.low, interval.high])
            assert interval.low < float(fit.dimensions[name].optimal_x(level)) < interval.high


def test_lines_are_the_law_and_dotted_beyond_the_sizes(table, fit):
    figure = plots.isoflop_figure(table, fit, levels=(1e10,))
    # At so little compute the optimum is narrower than any network.
    drawn = [(line.get_linestyle(), np.asarray(line.get_xydata())) for line in figure.axes[0].lines]
    lines = [(dashes, points) for dashes, points in drawn if len(points) > 2]
    (solid,) = [points for dashes, points in lines if dashes == "-"]
    (dotted,) = [points for dashes, points in lines if dashes == ":"]
    assert solid[0, 0] == pytest.approx(608)
    assert dotted[-1, 0] == pytest.approx(608)
    law = fit.dimensions["width"].law
    for points in (solid, dotted):
        np.testing.assert_allclose(points[:, 1], law.error(points[:, 0], 1e10))


def test_points_are_read_between_the_runs_of_their_own_size(table, fit):
    figure = plots.isoflop_figure(table, fit, levels=(1e11,))
    arm = table[table["dimension"] == "width"]
    (points,) = marks(figure.axes[0], "o")
    for x, error in points:
        runs = arm[arm["x"] == x].sort_values("compute")
        t, e = runs["compute"].to_numpy(), runs["error"].to_numpy()
        assert t[0] <= 1e11 <= t[-1] and len(t) == 3
        # Below the chord through its neighbours, as a falling curve that flattens is; not below the lower one.
        chord = np.exp(np.interp(np.log(1e11), np.log(t), np.log(e)))
        assert e[-1] < error < chord
    # The centre has two durations only.
    assert 1968 not in points[:, 0]


def test_a_point_of_a_measured_compute_is_the_measurement():
    x, t = np.repeat([8.0, 16, 32, 64], 3), np.tile([1e9, 4e9, 1.6e10], 4)
    error = 0.1 + x**-0.3 + (x * t**-0.2) / 50
    at, read = read_at(x, t, error, 4e9)
    np.testing.assert_allclose(at, [8, 16, 32, 64])
    # Three durations lie on their parabola.
    np.testing.assert_allclose(read, error[1::3], rtol=1e-9)
    assert [len(part) for part in read_at(x, t, error, 1e11)] == [0, 0]


def test_levels_and_legend(table, fit):
    figure = plots.isoflop_figure(table, fit)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sum("forward GFLOPs × images" in label for label in labels) == 4
    assert labels[-3:] == [
        "eq. (2), dotted beyond the sizes",
        "measured, read at that compute",
        "optimal size x*(t), 95% interval",
    ]
    with pytest.raises(ValueError, match=r"levels=\[0.0\] must be positive computes in forward"):
        plots.isoflop_figure(table, fit, levels=(0.0,))
    with pytest.raises(ValueError, match="the table has no rows of depth; give the table that"):
        plots.isoflop_figure(table[table["dimension"] != "depth"], fit)
