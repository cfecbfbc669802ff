"""Parity: points, noise band and numbers against the table and the law, by hand."""

import numpy as np
import pytest
import star_samples as stars

from vitscale.fits import plots


@pytest.fixture(scope="module")
def figure(table, fit):
    return plots.parity_figure(table, fit)


@pytest.mark.parametrize("column", range(3))
def test_points_are_measured_and_predicted(figure, table, fit, column):
    name = stars.DIMENSIONS[column]
    arm = table[table["dimension"] == name]
    law = fit.dimensions[name].law
    x, t = arm["x"].to_numpy(), arm["compute"].to_numpy()
    by_hand = law.alpha * x**-law.a + (law.beta * x**law.b + law.xi) * t**-law.c + law.eps
    for axes, expected in (
        (figure.axes[column], by_hand),
        (figure.axes[3 + column], 100 * (by_hand / arm["error"].to_numpy() - 1)),
    ):
        lines = [line for line in axes.get_lines() if line.get_marker() in "o*"]
        drawn = np.concatenate([np.asarray(line.get_xydata(), float) for line in lines])
        points = np.column_stack([arm["error"], expected])
        np.testing.assert_allclose(
            drawn[np.argsort(drawn[:, 0])], points[np.argsort(points[:, 0])], atol=1e-9
        )


@pytest.mark.parametrize("column", range(3))
def test_the_band_holds_nineteen_of_twenty_points(figure, table, fit, column):
    dimension = fit.dimensions[stars.DIMENSIONS[column]]
    (band,) = figure.axes[3 + column].collections
    ends = np.unique(np.round(band.get_paths()[0].vertices[:, 1], 6))
    width = 200 * np.sqrt(dimension.noise.between**2 + dimension.noise.within**2)
    np.testing.assert_allclose(ends, [-width, width], atol=1e-5)
    lines = [line for line in figure.axes[3 + column].get_lines() if line.get_marker() in "o*"]
    off = np.abs(np.concatenate([np.asarray(line.get_ydata(), float) for line in lines]))
    assert (off <= width).mean() >= 0.9
    # Not by being wide: the noise is of the size of the residuals.
    assert width < 4 * 100 * dimension.rms


def test_titles_and_labels(figure, fit):
    assert (
        figure.axes[0].get_title() == f"width: rms {100 * fit.dimensions['width'].rms:.2g}%, n = 20"
    )
    assert figure.axes[0].get_ylabel() == "predicted error (fraction)"
    assert {axes.get_xlabel() for axes in figure.axes[3:]} == {"measured error (fraction)"}
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [
        "measurement",
        "centre",
        "predicted = measured",
        "noise, 2 standard deviations",
    ]
