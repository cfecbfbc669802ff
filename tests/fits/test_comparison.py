"""Models beside the shapes for their compute, against published counts and SoViT's own example."""

import pytest

from vitscale.fits.answer import Setting, answer
from vitscale.fits.comparison import (
    VIT_FAMILY,
    compare_models,
    compared,
    comparison_table,
    vit_family,
)
from vitscale.fits.rule import flops_like, published_rule
from vitscale.scaling.shape import named_shape

RULE = published_rule("sovit-figure1")
SETTING = Setting(heads=16)


@pytest.fixture(scope="module")
def family():
    return compare_models(vit_family(), 16e9, RULE, SETTING)


def test_models_are_counted_as_published(family):
    # Parameters in millions and forward GFLOPs of the trunk at patch 14, by XLA's own count; g and G
    # are those of Scaling Vision Transformers, Table 2, without the classifier.
    published = {"B": (85.7, 46.31), "L": (303.2, 161.8), "g": (1011, 533.0), "G": (1843, 965.2)}
    by_name = {each.name: each for each in family}
    assert list(by_name) == [f"ViT-{name}/14" for name in VIT_FAMILY]
    for name, (millions, gflops) in published.items():
        each = by_name[f"ViT-{name}/14"]
        assert each.params / 1e6 == pytest.approx(millions, rel=1e-3)
        assert each.forward_flops / 1e9 == pytest.approx(gflops, rel=1e-3)


def test_each_pair_costs_the_same_to_train(family):
    for each in family:
        of_model = 3 * each.forward_flops * each.images
        of_answer = 3 * each.answer.forward_flops * each.answer.images
        assert of_answer == pytest.approx(of_model, rel=1e-9)


def test_the_g_of_sovit(family):
    """SoViT-400m/14 has 428M of g/14's 1011M parameters and 0.41 of its FLOPs, and saw 40 billion images
    (Getting ViT in Shape, Table 1 and Section 4); the published shape is 6 to 9% off its own rule."""
    g = next(each for each in family if each.name == "ViT-g/14")
    assert g.params_ratio == pytest.approx(412.4 / 1011.2, rel=0.12)
    assert g.forward_ratio == pytest.approx(219.5 / 533.0, rel=0.12)
    assert g.answer.images == pytest.approx(40e9, rel=0.1)
    assert g.answer.flops == pytest.approx(flops_like("ViT-g/14 x 16e9"))


def test_small_models_should_be_larger_and_large_ones_smaller(family):
    ratios = [each.params_ratio for each in family]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] > 5 and ratios[-1] < 0.4


def test_sizes_of_one_s_own_are_compared_too(family):
    best = answer(RULE, 1e21, SETTING)
    same = compared("ours", best.shape, best.images, best)
    assert (same.params_ratio, same.forward_ratio) == (1, 1)
    assert "1 times the parameters" in same.sentence()


def test_the_table_has_every_model(family):
    table = comparison_table(family)
    assert list(table.index) == [each.name for each in family]
    assert table.loc["ViT-g/14", "width"].startswith("1408 → 1087")  # pyright: ignore


def test_no_images():
    with pytest.raises(ValueError, match="images=0"):
        compare_models({"B": named_shape("B/14")}, 0, RULE, SETTING)
