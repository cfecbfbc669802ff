"""The answer: what it warns of, and what it refuses."""

import dataclasses
import math

import pytest
import star_samples as stars

from vitscale.fits.answer import Setting, answer
from vitscale.fits.datasets import load_sovit_star
from vitscale.fits.fit_file import FitFile
from vitscale.fits.rule import SOVIT_X0, published_rule, rule_from_fit
from vitscale.fits.shape_law import fit_star


@pytest.fixture(scope="module")
def fit():
    return fit_star(stars.published_table(), resamples=0)


def test_a_start_off_the_star_is_cautioned(fit):
    found = {}
    for start in (None, SOVIT_X0):
        rule = FitFile(fit=fit, start=start, setting=Setting()).rule()
        warnings = answer(rule, 3e21, Setting()).warnings
        found[start is None] = any("read off the star" in warning for warning in warnings)
    assert found == {True: True, False: False}


def _said(words: str, warnings: tuple[str, ...]) -> bool:
    return any(words in warning for warning in warnings)


def test_budgets_beyond_the_data_are_cautioned(fit):
    content = FitFile(fit=fit, start=SOVIT_X0, setting=Setting())
    most = content.measured_flops()
    assert most is not None
    least = 3e9 * float(stars.published_table()["compute"].to_numpy(float).min())
    said = {}
    for flops in (0.99 * least, 1.01 * least, 9.9 * most, 10.1 * most):
        found = answer(content.rule(), flops, Setting(), measured_flops=most).warnings
        said[flops] = (_said("below the least compute", found), _said("times the most", found))
    assert list(said.values()) == [(True, False), (False, False), (False, False), (False, True)]


def test_a_published_rule_is_cautioned_beyond_the_papers_sweep():
    compute = 3e9 * load_sovit_star()["forward_gflops"].to_numpy(float)
    rule = published_rule("sovit-figure1")
    said = []
    for flops in (0.99 * compute.min(), 1.01 * compute.min(), 9.9 * compute.max(), 1e26):
        found = answer(rule, flops, Setting(heads=16)).warnings
        assert _said("run vitscale quickstart", found) == _said("below the least", found)
        said.append((_said("below the least compute", found), _said("times the most", found)))
    assert said == [(True, False), (False, False), (False, False), (False, True)]


@pytest.mark.parametrize(
    ("flops", "message"),
    [
        (0.0, r"flops=0.0 is not a budget; give training FLOPs from above 0 to 1e\+35"),
        (math.nan, "flops=nan is not a budget"),
        (1.1e35, r"flops=1.1e\+35 is not a budget"),
        (1e-30, r"flops=1e-30 is too small for this rule, which gives width=0\.\d+; give a larger"),
        (1e9, r"flops=1e\+09 is too small for this rule, which gives depth=0\.\d+; give a larger"),
        (
            2e11,
            r"flops=2e\+11 is too small for this rule, which gives images=0\.\d+; give a larger",
        ),
    ],
)
def test_silly_budgets_are_refused(flops, message):
    with pytest.raises(ValueError, match=message):
        answer(published_rule("sovit-figure1"), flops, Setting(image_size=4480))


def test_another_patch_or_resolution_than_the_papers_is_cautioned(fit):
    words = "measured at patch 14 and 224 px"
    published = published_rule("sovit-figure1")
    own = dataclasses.replace(SOVIT_X0, source="our grid")
    assert not _said(words, answer(published, 1e21, Setting(heads=16)).warnings)
    for setting in (Setting(patch=16), Setting(image_size=448)):
        assert _said(words, answer(published, 1e21, setting).warnings)
        assert not _said(words, answer(rule_from_fit(fit, own), 1e21, setting).warnings)


def test_missing_dimensions_are_named(fit):
    renamed = {{"mlp_dim": "MLP"}.get(name, name): d for name, d in fit.dimensions.items()}
    words = (
        r"the fit has no mlp_dim \(it has width, depth, MLP\).* name the dimensions width, depth"
    )
    for start in (None, SOVIT_X0):
        other = dataclasses.replace(fit, dimensions=renamed)
        with pytest.raises(ValueError, match=words):
            FitFile(fit=other, start=start, setting=Setting()).rule()
    only = dataclasses.replace(fit, dimensions={"width": fit.dimensions["width"]})
    with pytest.raises(ValueError, match=r"the fit has no depth and no mlp_dim \(it has width\)"):
        FitFile(fit=only, start=None, setting=Setting()).rule()
    rule = dataclasses.replace(
        published_rule("sovit-text"),
        start=dataclasses.replace(SOVIT_X0, sizes={"width": SOVIT_X0.sizes["width"]}),
        exponents={"width": fit.dimensions["width"].s},
        weights={"width": 1.0},
    )
    with pytest.raises(ValueError, match="the rule has no depth and no mlp_dim"):
        answer(rule, 1e21, Setting())
