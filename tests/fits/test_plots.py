"""Figures of real fits: what is drawn is what the laws say, and every word can be read."""

import dataclasses

import matplotlib
import numpy as np
import pandas as pd
import pytest
import star_samples as stars
from figure_words import check_words, shown_axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.image import imread

from vitscale.fits import plots
from vitscale.fits.datasets import load_scaling_vit_fewshot
from vitscale.fits.frontier import fit_frontier
from vitscale.fits.plots.style import metric_label, nice_ticks
from vitscale.fits.rule import SOVIT_X0, flops_like, published_rule, rule_from_fit
from vitscale.fits.shape_law import fit_star
from vitscale.fits.tables import star_table
from vitscale.scaling.shape import named_shape


@pytest.fixture(scope="module")
def without_center(table):
    return fit_star(table, include_center=False, resamples=0)


@pytest.fixture(scope="module")
def no_optimum():
    # Larger is better at any compute: no term grows with x.
    x, t = (v.ravel() for v in np.meshgrid([1.0, 2, 4, 8], [1e9, 4e9, 1.6e10]))
    noise = 1 + 0.01 * np.random.default_rng(0).standard_normal(len(x))
    error = (0.5 * x**-0.5 + 2e3 * t**-0.45 + 0.05) * noise
    table = star_table(
        pd.DataFrame({"depth": x, "train_flops": t, "loss": error}), x="depth", error="loss"
    )
    return table, fit_star(table, resamples=0)


@pytest.fixture(scope="module")
def runs():
    frame = load_scaling_vit_fewshot().dropna(subset=["core_days_fig2", "inet10"])
    return frame["core_days_fig2"].to_numpy(), 1 - frame["inet10"].to_numpy() / 100, frame["model"]


@pytest.fixture(scope="module")
def figures(table, fit, without_center, no_optimum, runs):
    """One of each kind and state, as a user would draw them."""
    compute, error, models = runs
    law = fit_frontier(compute, error)
    budget = flops_like("ViT-g/14 x 16e9")
    few = table[(table["dimension"] == "depth") & table["x"].isin([8, 12, 24])]
    return {
        "star": plots.star_figure(table, fit),
        "star, lengths unknown": plots.star_figure(table.drop(columns="examples"), fit),
        "star, centre left out": plots.star_figure(table, without_center),
        "star, few points": plots.star_figure(few, fit_star(few, resamples=0)),
        "star, no optimum": plots.star_figure(*no_optimum),
        "frontier": plots.frontier_figure(
            compute,
            error,
            fit=law,
            size=np.array([named_shape(name).params() for name in models]),
            compute_unit="core_days",
        ),
        "frontier, plain": plots.frontier_figure(compute, error, model=models.to_numpy()),
        "shape": plots.optimal_shape_figure(
            rule_from_fit(fit, SOVIT_X0),
            fit,
            compare={"SoViT-400m/14": (named_shape("SoViT-400m/14"), budget)},
        ),
        "shape, published": plots.optimal_shape_figure(published_rule("sovit-figure1")),
        "shape, not identified": plots.optimal_shape_figure(
            rule_from_fit(without_center, SOVIT_X0), without_center
        ),
        "isoflop": plots.isoflop_figure(table, fit),
        "isoflop, no optimum": plots.isoflop_figure(*no_optimum),
        "parity": plots.parity_figure(table, fit),
        "parity, centre left out": plots.parity_figure(table, without_center),
        "profile": plots.profile_figure(fit),
        "profile, not identified": plots.profile_figure(without_center),
        "profile, none": plots.profile_figure(no_optimum[1]),
    }


FIGURES = (
    *("star", "star, lengths unknown", "star, centre left out", "star, few points"),
    *("star, no optimum", "frontier", "frontier, plain", "shape", "shape, published"),
    *("isoflop", "isoflop, no optimum", "parity", "parity, centre left out"),
    *("shape, not identified", "profile", "profile, not identified", "profile, none"),
)


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_has_its_name_and_unit(figures, name):
    figure = figures[name]
    labels = [axes.get_xlabel() for axes in shown_axes(figure) if axes.get_xlabel()]
    assert labels or not shown_axes(figure)
    labels += [axes.get_ylabel() for axes in shown_axes(figure) if axes.get_ylabel()]
    for label in labels:
        assert ("(" in label and ")" in label) or label == "parameters", label
    panels = [axes for axes in shown_axes(figure) if axes.get_subplotspec()]
    assert all(axes.get_ylabel() for axes in panels[:1])


@pytest.mark.parametrize("name", FIGURES)
def test_no_words_are_cut_or_cover_others(figures, name):
    check_words(figures[name])


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_one_legend_outside_its_panels(figures, name):
    figure = figures[name]
    FigureCanvasAgg(figure).draw()
    renderer = figure.canvas.get_renderer()
    (legend,) = figure.legends
    box = legend.get_window_extent(renderer)
    assert not any(box.overlaps(axes.get_tightbbox(renderer)) for axes in shown_axes(figure))


@pytest.mark.parametrize("dimension", range(3))
def test_star_lines_are_the_law_at_the_compute_of_their_points(figures, table, fit, dimension):
    name = stars.DIMENSIONS[dimension]
    law = fit.dimensions[name].law
    arm = table[table["dimension"] == name]
    solid = [
        line
        for line in figures["star"].axes[dimension].get_lines()
        if line.get_linestyle() == "-" and len(line.get_xdata()) > 2
    ]
    images = sorted(arm["examples"].unique())
    # Four segments in all where a length was measured at the sizes of the arm.
    assert len(solid) == len(images)
    for line, seen in zip(solid, images, strict=True):
        rows = arm[arm["examples"] == seen].sort_values("x")
        x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
        t = np.exp(np.interp(np.log(x), np.log(rows["x"]), np.log(rows["compute"])))
        by_hand = law.alpha * x**-law.a + (law.beta * x**law.b + law.xi) * t**-law.c + law.eps
        np.testing.assert_allclose(y, by_hand, rtol=1e-9)
        assert (x[0], x[-1]) == pytest.approx((rows["x"].min(), rows["x"].max()))


def test_star_diamonds_lie_where_the_size_is_optimal(figures, fit):
    for axes, name in zip(figures["star"].axes, stars.DIMENSIONS, strict=False):
        law, diamonds = fit.dimensions[name].law, markers(axes, "D")
        assert diamonds
        for x, error in diamonds:
            # eq. (5) in x and t, where x = x*(t), so t = (x / x*(1))^(1/s).
            t = (x / float(law.optimal_x(1.0))) ** (1 / law.s)
            assert error == pytest.approx(float(law.frontier_error(x, t)), rel=1e-3)


def markers(axes, kind: str) -> list[tuple[float, float]]:
    lines = [line for line in axes.get_lines() if line.get_marker() == kind]
    return [(float(x), float(y)) for line in lines for x, y in line.get_xydata()]


def test_star_says_what_is_not_identified(figures, without_center):
    titles = [axes.get_title() for axes in figures["star, centre left out"].axes]
    s = without_center.dimensions["width"].s
    assert titles[0] == f"width: s = {s.estimate:.3f} [{s.low:.3f}, {s.high:.3f}]"
    assert titles[2] == "mlp_dim: s not identified"
    assert markers(figures["star, centre left out"].axes[2], "D") == []
    assert markers(figures["star, centre left out"].axes[0], "D")


def test_residuals_are_measured_over_fitted(figures, table, fit):
    for k, name in enumerate(stars.DIMENSIONS):
        rows = table[table["dimension"] == name]
        law = fit.dimensions[name].law
        expected = 100 * (rows["error"] / law.error(rows["x"], rows["compute"]) - 1)
        axes = figures["star"].axes[3 + k]
        drawn = [y for kind in "o*" for _, y in markers(axes, kind)]
        np.testing.assert_allclose(np.sort(drawn), np.sort(expected), atol=1e-9)


def test_a_centre_left_out_is_hollow_and_beyond_the_solid_law(figures):
    axes = figures["star, centre left out"].axes[2]
    (center, *_) = [
        line for line in axes.get_lines() if line.get_marker() == "*" and len(line.get_xdata())
    ]
    assert to_rgba(center.get_markerfacecolor()) == to_rgba("white")
    ends = {
        style: max(
            np.max(line.get_xdata()) for line in axes.get_lines() if line.get_linestyle() == style
        )
        for style in ("-", ":")
    }
    assert ends == {"-": pytest.approx(3072), ":": pytest.approx(6144)}


def test_lengths_are_named(figures):
    def labels(name):
        return [text.get_text() for text in figures[name].legends[0].get_texts()]

    assert labels("star")[:3] == ["64M images", "256M images", "512M images"]
    assert labels("star, lengths unknown")[:3] == ["shortest training", "4× as long", "8× as long"]
    assert "centre (not in the fit)" in labels("star, centre left out")


def test_frontier_law_and_rings(figures, runs):
    compute, error, _ = runs
    axes = figures["frontier"].axes[0]
    fit = fit_frontier(compute, error)
    (line,) = [
        line for line in axes.get_lines() if line.get_label() == "double-saturating law, fitted"
    ]
    c, p = np.asarray(line.get_xdata(), float), fit.parameters
    np.testing.assert_allclose(line.get_ydata(), p["a"] * (c + p["d"]) ** -p["b"] + p["c"])
    (rings,) = [line for line in axes.get_lines() if line.get_label() == "Pareto frontier"]
    brute = {
        (a, b)
        for a, b in zip(compute, error, strict=True)
        if not any(
            (c <= a and e < b) or (c < a and e <= b) for c, e in zip(compute, error, strict=True)
        )
    }
    assert {(float(a), float(b)) for a, b in rings.get_xydata()} == brute
    assert len(brute) == 32


def test_frontier_band_and_others(runs):
    compute, error, _ = runs
    fit = fit_frontier(compute, error)
    at = np.geomspace(1, 1e4, 20)
    band = plots.Band(compute=at, low=0.9 * fit.error(at), high=1.1 * fit.error(at), level=0.9)
    simple = fit_frontier(compute, error, law="saturating")
    figure = plots.frontier_figure(compute, error, fit=fit, band=band, others={"one power": simple})
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [
        *("runs", "Pareto frontier", "90% interval of the law"),
        *("double-saturating law, fitted", "one power"),
    ]


def test_shape_lines_are_the_rule_and_dashed_beyond_the_data(figures, fit):
    rule = rule_from_fit(fit, SOVIT_X0)
    for axes, name in zip(figures["shape"].axes, stars.DIMENSIONS, strict=True):
        last = 3e9 * fit.dimensions[name].t_range[1]
        lines = [line for line in axes.get_lines() if len(line.get_xdata()) > 2]
        assert {line.get_linestyle() for line in lines} == {"-", "--"}
        for line in lines:
            flops, sizes = np.asarray(line.get_xdata(), float), line.get_ydata()
            s = fit.dimensions[name].s.estimate
            x0 = SOVIT_X0.sizes[name].estimate
            np.testing.assert_allclose(sizes, x0 * (flops / 3e9 / 8e9) ** (s / 3))
            if flops[0] >= last * 0.999:
                assert line.get_linestyle() == "--"
            assert rule.sizes(8e9)[name].estimate == x0
        hatched = [band for band in axes.collections if band.get_hatch()]
        assert any(band.get_paths()[0].vertices[:, 0].max() > last for band in hatched)


def test_shape_marks_what_it_is_compared_with(figures):
    budget = 3 * 532.9808e9 * 16e9
    for axes, size in zip(figures["shape"].axes, (1152, 27, 4304), strict=True):
        ((compute, drawn),) = markers(axes, "s")
        assert (compute, drawn) == (pytest.approx(budget, rel=1e-6), size)
    labels = [text.get_text() for text in figures["shape"].legends[0].get_texts()]
    assert {"SoViT-400m/14", "extrapolated, outside the measured compute"} <= set(labels)


def test_shape_says_what_is_not_identified(figures, without_center):
    titles = [axes.get_title() for axes in figures["shape, not identified"].axes]
    assert titles[2] == "optimal mlp_dim:\nexponent not identified"
    s = without_center.dimensions["width"].s
    weight = 1 / 3  # compute is shared by three dimensions
    ends = f"[{s.low * weight:.3f}, {s.high * weight:.3f}]"
    assert titles[0] == f"optimal width ∝ compute$^{{s/3}}$\ns/3 = {s.estimate * weight:.3f} {ends}"
    published = [text.get_text() for text in figures["shape, published"].legends[0].get_texts()]
    assert not any("interval" in label or "extrapolated" in label for label in published)


def test_a_rule_without_flops_keeps_its_own_unit(fit):
    start = dataclasses.replace(SOVIT_X0, flops_per_unit=None, compute_unit="core_days")
    rule = dataclasses.replace(rule_from_fit(fit, SOVIT_X0), start=start)
    figure = plots.optimal_shape_figure(rule)
    assert figure.axes[0].get_xlabel() == "compute (core-days)"


def test_profile_crosses_its_threshold_at_the_ends_of_the_interval(figures, fit):
    for axes, (name, dimension) in zip(
        figures["profile"].axes, fit.dimensions.items(), strict=True
    ):
        curve, threshold = axes.get_lines()[:2]
        cut = float(np.asarray(threshold.get_ydata())[0])
        s, deviance = np.asarray(curve.get_xdata()), np.asarray(curve.get_ydata())
        left = np.interp(dimension.s.low, s, deviance)
        right = np.interp(dimension.s.high, s, deviance)
        assert (left, right) == (pytest.approx(cut, rel=0.05), pytest.approx(cut, rel=0.05)), name


def test_profile_is_a_likelihood_ratio_only_for_independent_noise(figures, table):
    assert "likelihood" not in figures["profile"].axes[0].get_ylabel()
    width = table.query("dimension == 'width'")
    independent = plots.profile_figure(fit_star(width, method="independent", resamples=0))
    assert "log likelihood ratio" in independent.axes[0].get_ylabel()


@pytest.mark.parametrize(
    ("metric", "largest", "label"),
    [
        ("error", 0.4, "error (fraction)"),
        ("error", 3.1, "error"),
        ("val_loss", 3.1, "val_loss (nats)"),
        ("bits per byte", 0.9, "bits per byte"),
        ("error in percent", 31.0, "error in percent (%)"),
        ("error (%)", 31.0, "error (%)"),
    ],
)
def test_a_metric_has_the_unit_that_it_surely_has(metric, largest, label):
    assert metric_label(metric, largest) == label


def test_profile_says_that_there_is_none(figures):
    (axes,) = figures["profile, none"].axes
    assert axes.get_title() == "depth: no exponent"
    assert any("has no optimum" in text.get_text() for text in axes.texts)


@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG\r\n"), (".svg", b"<?xml"), (".pdf", b"%PDF")]
)
def test_save_writes_whole_files_of_each_kind(fit, tmp_path, suffix, start):
    path = tmp_path / f"figure{suffix}"
    path.write_bytes(b"older")
    assert plots.save(plots.profile_figure(fit), path) == path
    first = path.read_bytes()
    assert first.startswith(start)
    # The same figure is the same file: no dates, no random names.
    plots.save(plots.profile_figure(fit), path)
    assert path.read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_saved_png_is_white_opaque_and_sharp(figures, tmp_path):
    pixels = imread(plots.save(figures["star"], tmp_path / "star.png"))
    width_in, height_in = figures["star"].get_size_inches()
    assert pixels.shape[:2] == (round(height_in * 160), round(width_in * 160))
    assert pixels[0, 0].tolist() == [1, 1, 1, 1]
    assert pixels[..., 3].min() == 1


def test_save_refusals(figures, tmp_path):
    with pytest.raises(
        ValueError, match=r"ends in '\.bmp'; a figure is written as \.png, \.svg, \.pdf"
    ):
        plots.save(figures["profile"], tmp_path / "figure.bmp")
    assert list(tmp_path.iterdir()) == []


def test_save_makes_the_folder(figures, tmp_path):
    assert plots.save(figures["profile"], tmp_path / "new" / "figure.png").exists()


def test_a_failed_save_leaves_the_older_file(figures, tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"older")

    def full(*args, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures["profile"], "savefig", full)
    with pytest.raises(OSError, match="No space left"):
        plots.save(figures["profile"], path)
    assert path.read_bytes() == b"older"
    assert [file.name for file in tmp_path.iterdir()] == ["figure.png"]


def test_figure_refusals(table, fit, runs):
    with pytest.raises(
        ValueError, match="the table has no rows of mlp_dim; give the table that was fitted"
    ):
        plots.star_figure(table[table["dimension"] != "mlp_dim"], fit)
    compute, error, _ = runs
    with pytest.raises(ValueError, match="size has 3 values but compute has 262"):
        plots.frontier_figure(compute, error, size=np.ones(3))
    with pytest.raises(ValueError, match="is not below high"):
        plots.optimal_shape_figure(published_rule("sovit-text"), low=1e22, high=1e20)


def test_drawing_leaves_the_users_settings_alone(fit):
    before = dict(matplotlib.rcParams)
    plots.profile_figure(fit)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.29, 0.71, [0.3, 0.5, 0.7]),
        (0.29, 0.65, [0.3, 0.4, 0.5, 0.6]),
        (0.9, 120, [1, 10, 100]),
        (560, 2100, [700, 1000, 1500, 2000]),
        (0.31, 0.345, [0.31, 0.32, 0.33, 0.34]),
    ],
)
def test_ticks_are_round_numbers(low, high, ticks):
    assert nice_ticks(low, high) == pytest.approx(ticks)
