"""Fine-tuning against the same training written out, step by step."""

import dataclasses
import functools
import math

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from vitscale.scaling.data.batch import FewshotTask, Source, image_set
from vitscale.scaling.evaluate.finetune import finetune_error
from vitscale.scaling.evaluate.finetune_settings import SETTINGS, FinetuneSettings, settings_for
from vitscale.scaling.evaluate.finite import NotFiniteError
from vitscale.scaling.evaluate.frozen import FrozenModel
from vitscale.scaling.evaluate.table import evaluate
from vitscale.scaling.models.initial import draw_parameters
from vitscale.scaling.models.resize import resize_positions
from vitscale.scaling.models.vit import Vit, merge_vit, split_vit
from vitscale.scaling.recipe import Recipe
from vitscale.scaling.shape import Shape

CLASSES, IMAGES = 4, 48
SHAPE = Shape(width=8, depth=2, mlp_dim=12, heads=2, patch=4)
RECIPE = Recipe(
    data="glyphs",
    image_size=8,
    channels=1,
    batch_size=8,
    learning_rate=1e-3,
    warmup_steps=1,
    cooldown_steps=1,
)
# Batches of all images: their order within a batch then changes nothing but rounding.
SETTINGS_HERE = FinetuneSettings(
    steps=6, learning_rates=(0.3,), held_out=0.25, batch_size=IMAGES, warmup_steps=2
)


def images(seed: int):
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(9).uniform(40, 215, size=(CLASSES, 8, 8, 1))
    labels = np.tile(np.arange(CLASSES), IMAGES // CLASSES)
    pixels = means[labels] + 60 * rng.normal(size=(IMAGES, 8, 8, 1))
    return np.clip(pixels, 0, 255).astype(np.uint8), labels


TASK = FewshotTask(pool=image_set(*images(1)), test=image_set(*images(2)))


@functools.cache
def model() -> FrozenModel:
    vit = Vit(SHAPE, image_size=8, channels=1, classes=11)
    graph, params = split_vit(vit)
    params = draw_parameters(params, jax.random.key(0))
    forward = jax.jit(lambda p, x: (merge_vit(graph, p).features(x), merge_vit(graph, p)(x)))
    return FrozenModel(shape=SHAPE, recipe=RECIPE, classes=11, params=params, forward=forward)


def by_hand(peak: float, steps: int, warmup: int, size: int) -> float:
    """Full-batch SGD with momentum, clipped gradients and a cosine, in as few words as possible."""
    graph, _ = split_vit(Vit(SHAPE, image_size=size, channels=1, classes=CLASSES))
    params = {
        **model().params,
        "position": resize_positions(model().params["position"], size // 4),
        "head": {"kernel": jnp.zeros((8, CLASSES)), "bias": jnp.zeros(CLASSES)},
    }

    def prepared(pixels):
        x = jnp.asarray(pixels, jnp.float32) / 127.5 - 1
        return x if size == 8 else jax.image.resize(x, (len(x), size, size, 1), "bilinear")

    (pool, labels), (test, test_labels) = images(1), images(2)
    pool, test = prepared(pool), prepared(test)

    @jax.jit
    def gradient(params):
        def loss(params):
            logits = merge_vit(graph, params)(pool)
            return -jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels].mean()

        return jax.grad(loss)(params)

    flat, tree = jax.tree.flatten(params)
    speed = [jnp.zeros_like(p) for p in flat]
    for step in range(steps):
        g = jax.tree.leaves(gradient(jax.tree.unflatten(tree, flat)))
        norm = float(np.sqrt(sum(float((x**2).sum()) for x in g)))
        speed = [0.9 * v + x * min(1.0, 1 / norm) for v, x in zip(speed, g, strict=True)]
        along = max(step - warmup, 0) / (steps - warmup)
        rate = peak * min(step / warmup if warmup else 1, 1) * (1 + np.cos(np.pi * along)) / 2
        flat = [p - rate * v for p, v in zip(flat, speed, strict=True)]
    predicted = merge_vit(graph, jax.tree.unflatten(tree, flat))(test).argmax(1)
    return float(np.mean(np.asarray(predicted) != test_labels))


@pytest.mark.parametrize("size", [8, 12])
def test_training_is_the_one_written_out(size):
    error = finetune_error(model(), TASK, SETTINGS_HERE, image_size=size)
    assert error == pytest.approx(by_hand(0.3, 6, 2, size), abs=1e-9)
    assert error < 1 - 1 / CLASSES


def test_the_layout_of_the_blocks_changes_nothing():
    stacked = dict(model().params)
    stacked["blocks"] = jax.tree.map(
        lambda *layers: jnp.stack(layers), *(stacked["blocks"][i] for i in range(SHAPE.depth))
    )
    scanned = dataclasses.replace(model(), params=stacked)
    errors = [finetune_error(m, TASK, SETTINGS_HERE, image_size=8) for m in (model(), scanned)]
    assert errors[0] == pytest.approx(errors[1], abs=1e-9)


def test_a_learning_rate_that_diverges_is_not_chosen():
    rates = dataclasses.replace(SETTINGS_HERE, learning_rates=(math.nan, 0.3))
    error = finetune_error(model(), TASK, rates, image_size=8)
    assert error == finetune_error(model(), TASK, SETTINGS_HERE, image_size=8)
    hopeless = dataclasses.replace(SETTINGS_HERE, learning_rates=(math.nan,))
    with pytest.raises(NotFiniteError, match="learning rate of nan gives NaN or infinity"):
        finetune_error(model(), TASK, hopeless, image_size=8)


def test_the_papers_settings_by_the_name_of_the_data_set(monkeypatch):
    # Vision Transformer, Table 4 (without the learning rate tried for ResNets alone).
    assert settings_for("imagenet2012").steps == 20_000
    assert settings_for("cifar100").learning_rates == (0.001, 0.003, 0.01, 0.03)
    assert settings_for("oxford_flowers102") == settings_for("any other")
    monkeypatch.setitem(SETTINGS, "birds", SETTINGS_HERE)
    source = Source(
        classes=CLASSES, evaluation=lambda: TASK.test, fewshot_tasks={"birds": lambda: TASK}
    )
    recipe = dataclasses.replace(RECIPE, evaluators=("finetune", "finetune_high_resolution"))
    metrics = list(evaluate(dataclasses.replace(model(), recipe=recipe), source))
    # 8 pixels times 384/224 are 13.7, three whole patches of 4.
    assert {m.name: m.value for m in metrics} == {
        "birds_finetune_error": finetune_error(model(), TASK, SETTINGS_HERE, image_size=8),
        "birds_finetune_high_resolution_error": finetune_error(
            model(), TASK, SETTINGS_HERE, image_size=12
        ),
    }
