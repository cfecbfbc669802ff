"""Interactive figures: what hovers is the table, and a page needs nothing from the network."""

import re
from typing import Any

import numpy as np

from vitscale.fits import plots
from vitscale.fits.frontier import fit_frontier
from vitscale.fits.plots import interactive
from vitscale.fits.rule import SOVIT_X0, rule_from_fit
from vitscale.fits.shape_law import fit_star


def traces(figure) -> list[Any]:
    return list(figure.data)


def points(figure) -> list[Any]:
    return [trace for trace in traces(figure) if trace.mode == "markers"]


def measured(figure) -> list[Any]:
    """Markers without those of optima."""
    return [trace for trace in points(figure) if trace.marker.symbol != "diamond"]


def test_star_points_tell_trial_size_compute_and_error(table, fit):
    shapes = {str(table["model"].iloc[0]): "width 608, depth 40, mlp_dim 6144"}
    figure = interactive.star_figure(table, fit, shapes=shapes)
    drawn = np.concatenate(
        [np.column_stack([p.x, p.y, p.customdata[:, 0]]) for p in measured(figure)]
    )
    rows = table[["x", "error", "compute"]].to_numpy(float)
    np.testing.assert_allclose(drawn[np.lexsort(drawn.T)], rows[np.lexsort(rows.T)])
    told = [text for trace in measured(figure) for text in trace.text]
    assert any("width 608, depth 40, mlp_dim 6144" in text for text in told)
    assert any("mlp_dim 1088 channels" in text for text in told)
    hover = measured(figure)[0].hovertemplate
    assert "forward GFLOPs × images" in hover and "error (fraction)" in hover
    assert figure.layout.yaxis.title.text == "error (fraction)"
    assert figure.layout.xaxis2.title.text == "depth (blocks)"


def test_star_lines_are_those_of_the_figure_on_paper(table, fit):
    figure = interactive.star_figure(table, fit)
    lines = [trace for trace in traces(figure) if trace.mode == "lines"]
    on_paper = plots.star_figure(table, fit).axes[0].get_lines()
    drawn = [line for line in on_paper if len(np.asarray(line.get_xydata())) > 100]
    assert [{"solid": "-", "dot": ":"}[t.line.dash] for t in lines[: len(drawn)]] == [
        line.get_linestyle() for line in drawn
    ]
    for trace, line in zip(lines, drawn, strict=False):
        np.testing.assert_allclose(trace.x, np.asarray(line.get_xdata()))
        np.testing.assert_allclose(trace.y, np.asarray(line.get_ydata()))


def test_star_diamonds_are_those_of_the_figure_on_paper(table, fit):
    figure = interactive.star_figure(table, fit)
    ours = [t for t in points(figure) if t.marker.symbol == "diamond"]
    on_paper = [
        line
        for axes in plots.star_figure(table, fit).axes
        for line in axes.get_lines()
        if line.get_marker() == "D"
    ]
    assert len(ours) == len(on_paper) > 0
    drawn = np.array([[t.x[0], t.y[0]] for t in ours])
    np.testing.assert_allclose(drawn, [np.asarray(line.get_xydata())[0] for line in on_paper])
    assert sum(bool(t.showlegend) for t in ours) == 1
    barred = [trace for trace in ours if trace.error_x.array]
    assert barred
    for trace in barred:
        (told,) = re.findall(r"^optimal \w+ ([\d.]+) \[([\d.]+), ([\d.]+)\]", trace.hovertemplate)
        x, low, high = map(float, told)
        ends = [trace.error_x.arrayminus[0], trace.error_x.array[0]]
        np.testing.assert_allclose(ends, [x - low, high - x], atol=1)


def test_star_with_its_centre_left_out_shows_it_hollow(table):
    figure = interactive.star_figure(table, fit_star(table, include_center=False, resamples=0))
    symbols = {symbol for t in points(figure) for symbol in np.atleast_1d(t.marker.symbol)}
    assert symbols == {"circle", "star-open", "diamond"}


def test_frontier_runs_ring_and_band(table):
    compute, error = table["compute"].to_numpy(), table["error"].to_numpy()
    model = table["model"].to_numpy()
    law = fit_frontier(compute, error, model=model, resamples=20)
    figure = interactive.frontier_figure(compute, error, fit=law, model=model)
    named = {trace.name: trace for trace in traces(figure)}
    runs, on = named["runs"], named["Pareto frontier"]
    assert len(runs.x) + len(on.x) == len(table)
    order = np.argsort(on.x)
    assert (np.diff(np.asarray(on.y)[order]) < 0).all()
    assert on.text[0].startswith(str(model[list(error).index(on.y[0])]))
    line, band = named["double-saturating law, fitted"], named["95% interval of the law"]
    count = len(line.x)
    assert (np.asarray(band.y)[count:][::-1] <= np.asarray(line.y) * (1 + 1e-12)).all()
    assert (np.asarray(band.y)[:count] >= np.asarray(line.y) * (1 - 1e-12)).all()


def test_optimal_shape_is_the_rule(fit):
    rule = rule_from_fit(fit, SOVIT_X0)
    figure = interactive.optimal_shape_figure(rule, fit)
    lines = [t for t in traces(figure) if t.mode == "lines" and t.hovertemplate]
    assert len(lines) == 3
    for line, name in zip(lines, rule.exponents, strict=True):
        sizes = [rule.sizes_at_flops(c)[name] for c in line.x[::40]]
        np.testing.assert_allclose(line.y[::40], [size.estimate for size in sizes])
        np.testing.assert_allclose(line.customdata[::40, 0], [size.low for size in sizes])
    assert "shaded beyond the measured compute" in figure.layout.title.text


def test_a_page_holds_all_that_it_needs(fit, tmp_path):
    with plots.look("dark"):
        figure = interactive.optimal_shape_figure(rule_from_fit(fit, SOVIT_X0), fit)
        page = interactive.save(figure, tmp_path / "new" / "page.html").read_text()
    assert page.startswith("<!doctype html>") and 'lang="en"' in page
    # Tags that fetch; addresses inside the library's text are no requests.
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=", page)
    assert "background: #15181d" in page and "plotly.js v" in page
    assert len(page) < 6e6
