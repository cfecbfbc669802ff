"""Looks: contrast by the W3C's formula, colours under simulated colour blindness, words at every size."""

import itertools

import colour
import matplotlib
import numpy as np
import pytest
from colour.blindness import matrix_cvd_Machado2009
from figure_words import check_words, words
from matplotlib.colors import to_hex, to_rgb
from matplotlib.image import imread

from vitscale.fits import plots
from vitscale.fits.frontier import fit_frontier
from vitscale.fits.plots.looks import Look, palette, points
from vitscale.fits.rule import SOVIT_X0, flops_like, rule_from_fit
from vitscale.scaling.shape import named_shape

# As it is imported, colour has numpy print twelve digits; files of other tests are to have them all.
np.set_printoptions(legacy=False)

THEMES = ("light", "dark")
VISIONS = (None, "Protanomaly", "Deuteranomaly")


def linear(color) -> np.ndarray:
    """sRGB to light, as in the definition of relative luminance of WCAG 2.2."""
    value = np.array(to_rgb(color))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(first, second) -> float:
    dim, bright = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (first, second))
    return (bright + 0.05) / (dim + 0.05)


def difference(first, second, vision: str | None) -> float:
    """CIEDE2000 of two colours as seen with full or without one kind of cones (Machado et al., 2009)."""
    seen = []
    for color in (first, second):
        light = linear(color)
        if vision is not None:
            light = np.clip(matrix_cvd_Machado2009(vision, 1.0) @ light, 0, 1)
        seen.append(colour.XYZ_to_Lab(colour.RGB_to_XYZ(light, "sRGB")))
    return float(colour.delta_E(*seen))


def test_contrast_is_that_of_the_guidelines():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    # The guidelines' own example of the palest grey that passes on white.
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("theme", THEMES)
def test_lines_and_words_stand_out_from_the_background(theme):
    colors = Look(theme=theme).palette
    for name in ("ink", "text"):
        assert contrast(getattr(colors, name), colors.background) >= 4.5, name
    lines = [*colors.series, colors.grey, *colors.lengths(5), *colors.ordered().colors]  # pyright: ignore
    for line in lines:
        assert contrast(line, colors.background) >= 3, line


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", THEMES)
def test_series_are_told_apart_with_any_colour_vision(theme, vision):
    colors = Look(theme=theme).palette
    for first, second in itertools.combinations([*colors.series, colors.ink], 2):
        assert difference(first, second, vision) >= 12, (first, second)
    # Ordered colours in steps, as three or four lengths need them.
    for first, second in itertools.combinations(colors.lengths(4), 2):
        assert difference(first, second, vision) >= 8, (first, second)


def drawn(table, fit):
    compute, error = table["compute"].to_numpy(), table["error"].to_numpy()
    mark = {"SoViT-400m/14": (named_shape("So400m/14"), flops_like("ViT-g/14 x 16e9"))}
    return {
        "star": plots.star_figure(table, fit),
        "isoflop": plots.isoflop_figure(table, fit),
        "parity": plots.parity_figure(table, fit),
        "profile": plots.profile_figure(fit),
        "shape": plots.optimal_shape_figure(rule_from_fit(fit, SOVIT_X0), fit, compare=mark),
        "frontier": plots.frontier_figure(
            compute, error, fit=fit_frontier(compute, error), size=compute, compute_unit="core_days"
        ),
    }


@pytest.fixture(scope="module")
def slides(table, fit):
    with plots.look("dark", "slide"):
        return drawn(table, fit)


@pytest.mark.parametrize("name", ["star", "isoflop", "parity", "profile", "shape", "frontier"])
def test_words_of_slides_are_large_whole_and_apart(slides, name):
    figure = slides[name]
    check_words(figure)
    width, height = figure.get_size_inches()
    # On a slide 13.3 inches wide, no word is smaller than 12 points.
    smallest = min(float(text.get_fontsize()) for text in words(figure))
    assert smallest * 13.33 / max(width, height * 16 / 9) >= 12
    assert 1.3 <= width / height <= 2.6


def test_a_dark_figure_is_dark_in_its_file(slides, tmp_path):
    pixels = imread(plots.save(slides["profile"], tmp_path / "dark.png"))
    background = Look(theme="dark").palette.background
    assert to_hex(pixels[0, 0][:3]) == background
    assert to_hex(slides["profile"].axes[0].get_facecolor()) == background
    ticks = slides["profile"].axes[0].get_xticklabels()
    assert {to_hex(tick.get_color()) for tick in ticks} == {Look(theme="dark").palette.ink}


def test_the_look_ends_with_its_block(fit):
    before = dict(matplotlib.rcParams)
    with plots.look("dark", "slide") as chosen:
        assert chosen == Look(theme="dark", size="slide")
        assert (palette(), points(8)) == (chosen.palette, 14)
        with plots.look("light"):
            assert palette().background == "#ffffff"
        assert palette() == chosen.palette
        plots.profile_figure(fit)
    assert dict(matplotlib.rcParams) == before
    assert (palette(), points(8)) == (Look().palette, 8)
    figure = plots.profile_figure(fit)
    assert to_hex(figure.get_facecolor()) == "#ffffff"
    np.testing.assert_allclose(figure.get_size_inches(), (9.9, 2.8))


def test_unknown_looks_are_refused():
    with pytest.raises(ValueError, match="theme='sepia' is unknown; choose from light, dark"):
        with plots.look("sepia"):  # pyright: ignore[reportArgumentType]
            pass
    with pytest.raises(ValueError, match="size='poster' is unknown; choose from paper, slide"):
        with plots.look(size="poster"):  # pyright: ignore[reportArgumentType]
            pass
