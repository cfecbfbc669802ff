"""The paper's own sweeps against its published figures, and that every preset is a legal plan."""

import pytest

from vitscale.scaling.recipes import RECIPES
from vitscale.sweeps.presets import PRESETS, preset, preset_names
from vitscale.sweeps.preview import preview

# Forward GFLOPs of one image (224 pixels, patch 14, 16 heads) that the compute axes of Figures 3
# and 4 of Getting ViT in Shape give, divided by the images seen; to 1e-4.
PUBLISHED_GFLOPS = {
    (1968, 40, 6144): 834.9523,
    (608, 40, 6144): 190.7219,
    (768, 40, 6144): 250.7851,
    (1968, 8, 6144): 167.4685,
    (1968, 40, 1088): 426.9258,
    (608, 10, 928): 15.2244,
    (768, 6, 1360): 15.1761,
}


def gflops(name: str) -> dict[tuple[int, int, int], float]:
    return {
        (t.shape.width, t.shape.depth, t.shape.mlp_dim): t.forward_flops_per_example() / 1e9
        for t in preset(name).trials
    }


def by_hand(width: int, depth: int, mlp_dim: int) -> float:
    """XLA's FLOPs of one forward pass of 256 patches, written again."""
    n, h = 256, 16
    mac = n * 588 * width + depth * (4 * n * width**2 + 2 * n * n * width + 2 * n * width * mlp_dim)
    block = 22 * n * width + 9 * n * mlp_dim + 4 * h * n * n - h * n + 8 * n
    return 2 * mac + depth * block + 10 * n * width + 4 * n


def test_the_papers_star():
    plan = preset("sovit-star")
    assert len(plan.trials) == 19  # 18 star shapes and the centre
    assert {t.shape.heads for t in plan.trials} == {16}
    assert {t.durations for t in plan.trials} == {(64_000_000, 256_000_000, 512_000_000)}
    # 500K, 2M and 4M steps of 128 images.
    assert [plan.trials[0].steps(d) for d in plan.trials[0].durations] == [
        500_000,
        2_000_000,
        4_000_000,
    ]
    found = gflops("sovit-star")
    for shape, published in PUBLISHED_GFLOPS.items():
        if shape in found:
            assert found.pop(shape) == pytest.approx(published, abs=1e-4)
    assert len(found) == 19 - 5


def test_the_papers_grid():
    plan = preset("sovit-grid")
    assert len(plan.trials) == 64
    found = gflops("sovit-grid")
    for shape in [(608, 10, 928), (768, 6, 1360)]:
        assert found[shape] == pytest.approx(PUBLISHED_GFLOPS[shape], abs=1e-4)
    # The compute axis of Figure 3: the two x0 lie at 7.795e9 and 7.770e9 GFLOPs.
    assert found[608, 10, 928] * 512e6 == pytest.approx(7.795e9, rel=1e-4)
    assert found[768, 6, 1360] * 512e6 == pytest.approx(7.770e9, rel=1e-4)


def test_the_papers_bill():
    star, grid = preview(preset("sovit-star")), preview(preset("sovit-grid"))
    assert star.measurements + grid.measurements == 57 + 64
    shapes = [(1968, 40, 6144)]
    shapes += [(w, 40, 6144) for w in (608, 768, 928, 1088, 1328, 1648)]
    shapes += [(1968, d, 6144) for d in (8, 10, 12, 16, 20, 24)]
    shapes += [(1968, 40, m) for m in (1088, 1360, 1728, 2160, 2592, 3072)]
    forward = sum(by_hand(*shape) for shape in shapes)
    assert star.separate_flops == pytest.approx(3 * forward * 832e6, rel=1e-12)
    # 6.5M steps as separate runs; 3.95M of trunk and three cooldowns of 50K with a shared one.
    assert star.spent_flops == pytest.approx(3 * forward * 128 * 4.1e6, rel=1e-12)
    assert star.saved_fraction == pytest.approx(1 - 4.1 / 6.5)
    forward = sum(
        by_hand(w, d, m)
        for w in (416, 512, 608, 768)
        for d in (6, 8, 10, 12)
        for m in (768, 928, 1088, 1360)
    )
    assert grid.spent_flops == pytest.approx(3 * forward * 512e6, rel=1e-12)
    assert grid.saved_flops == 0


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_a_legal_plan(name):
    plan = preset(name)
    assert plan.name == name and name.endswith(plan.kind)
    assert plan.sweep.recipe == RECIPES[PRESETS[name.rpartition("-")[0]].recipe]
    assert preview(plan).spent_flops > 0


def test_an_unknown_preset_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown preset 'sovit-str'; did you mean 'sovit-star'"):
        preset("sovit-str")
    with pytest.raises(ValueError, match=r"unknown preset 'zzz'; choose from sovit-star, "):
        preset("zzz")
