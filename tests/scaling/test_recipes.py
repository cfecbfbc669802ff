"""Named recipes against the numbers that the papers and their code print."""

import numpy as np
import pytest

from vitscale.scaling.recipe import TRUNK_SCHEDULES, Trial
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.schedule import NEVER, learning_rate_factor
from vitscale.scaling.shape import named_shape

# Columns: learning rate, batch, warmup steps, clipping, weight decay of head and body as the papers
# print them (per learning rate), dropout.
PRINTED = {
    "sovit": (8e-4, 128, 10_000, 1.0, 3.0, 0.03, 0.0),  # Getting ViT in Shape, Table 5
    "scaling-vit": (8e-4, 4096, 10_000, 1.0, 3.0, 0.03, 0.0),  # Scaling ViT, Appendix B
    "vit": (1e-3, 4096, 10_000, 1e9, 0.03, 0.03, 0.1),  # ViT, Table 3, ImageNet-21k (not clipped)
    "vit-i1k": (3e-3, 4096, 10_000, 1.0, 0.3, 0.3, 0.1),  # ViT, Table 3, ImageNet
    "augreg": (1e-3, 4096, 10_000, 1.0, 0.1, 0.1, 0.0),  # AugReg, Section 3
}


@pytest.mark.parametrize("name", PRINTED)
def test_printed_numbers(name):
    recipe = RECIPES[name]
    found = (
        recipe.learning_rate,
        recipe.batch_size,
        recipe.warmup_steps,
        recipe.clip_norm,
        recipe.head_weight_decay / recipe.learning_rate,
        recipe.body_weight_decay / recipe.learning_rate,
        recipe.dropout,
    )
    assert found == pytest.approx(PRINTED[name], rel=1e-12)
    # Inception crop and flip, evaluation on the central 224 of 256 pixels.
    assert (recipe.crop, recipe.flip, recipe.eval_crop_ratio) == ("inception", True, 0.875)
    assert recipe.label_smoothing == 0 and recipe.image_size == 224


@pytest.mark.parametrize(
    ("name", "wd", "head_multiplier"),
    [
        # `config.wd` of big_vision's train_vit_g.py and vit_i1k.py, which its optimizer takes away
        # from weights as it is, whatever the learning rate.
        ("scaling-vit", 2.4e-5, 100),
        ("augreg", 1e-4, 1),
    ],
)
def test_decay_is_that_of_big_visions_configs(name, wd, head_multiplier):
    assert RECIPES[name].body_weight_decay == pytest.approx(wd, rel=1e-12)
    assert RECIPES[name].head_weight_decay == pytest.approx(wd * head_multiplier, rel=1e-12)


def learning_rates(name: str, steps: np.ndarray, total_steps: float, cooldown: int) -> np.ndarray:
    recipe = RECIPES[name]
    return recipe.learning_rate * learning_rate_factor(
        recipe.schedule,
        steps,
        warmup_steps=recipe.warmup_steps,
        timescale_steps=recipe.timescale_steps,
        total_steps=total_steps,
        cooldown_steps=cooldown,
    )


@pytest.mark.parametrize("name", ["sovit", "scaling-vit"])
def test_learning_rates_of_a_million_steps(name):
    # base / sqrt(1 + (step - 10K) / 10K), by min(1, step / 10K) and min(1, (1M - step) / 50K).
    expected = {
        0: 0.0,
        5_000: 4e-4,
        10_000: 8e-4,
        20_000: 5.65685425e-4,
        110_000: 2.41209076e-4,
        500_000: 1.13137085e-4,
        950_000: 8.20782682e-5,
        975_000: 4.05095747e-5,
        1_000_000: 0.0,
    }
    cooldown = RECIPES[name].cooldown_steps_of(1_000_000)
    assert cooldown == 50_000
    steps = np.asarray(list(expected), float)
    found = learning_rates(name, steps, 1_000_000, cooldown)
    np.testing.assert_allclose(found, list(expected.values()), rtol=1e-8, atol=1e-15)
    trunk = learning_rates(name, steps[:-3], NEVER, cooldown)
    np.testing.assert_allclose(trunk, list(expected.values())[:-3], rtol=1e-8)


def test_learning_rates_of_300_epochs():
    # Linear for ImageNet-21k, half a cosine from the end of warmup to zero for ImageNet.
    half = (93_800 + 10_000) // 2
    steps = np.asarray([5_000, 10_000, half, 93_800], float)
    np.testing.assert_allclose(
        learning_rates("augreg", steps, 93_800, 0), [5e-4, 1e-3, 5e-4, 0], atol=1e-12
    )
    np.testing.assert_allclose(
        learning_rates("vit", steps, 93_800, 0), [5e-4, 1e-3, 5e-4, 0], atol=1e-12
    )


def test_augmentation_of_medium2():
    # AugReg, Section 3.3: RandAugment of 2 layers at magnitude 15, Mixup with alpha 0.5.
    recipe = RECIPES["augreg"]
    assert (recipe.randaugment_layers, recipe.randaugment_magnitude, recipe.mixup) == (2, 15, 0.5)
    assert recipe.train_split == "train[:99%]"


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_tied_to_their_end_train_to_one_duration(name):
    recipe = RECIPES[name]
    shape = named_shape("B/16")
    durations = tuple(count * 10_000 * recipe.batch_size for count in (4, 8))
    if recipe.schedule in TRUNK_SCHEDULES:
        assert Trial(shape=shape, recipe=recipe, durations=durations).durations == durations
    else:
        with pytest.raises(ValueError, match="so a trial has one duration, got 2"):
            Trial(shape=shape, recipe=recipe, durations=durations)


def test_the_id_of_the_embedded_recipe_is_pinned():
    # Rows of stores are named by it: a change orphans every stored measurement of the presets.
    assert RECIPES["glyphs"].id == "4c9c601e8dbe"
