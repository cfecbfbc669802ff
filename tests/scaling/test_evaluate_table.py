"""Evaluators by name, and the upstream loss against scikit-learn and formulas written out."""

import dataclasses
import math

import numpy as np
import pytest
from jax import numpy as jnp
from sklearn.metrics import log_loss

from vitscale.scaling.data.batch import FewshotTask, Source, image_set
from vitscale.scaling.evaluate.finite import NotFiniteError
from vitscale.scaling.evaluate.frozen import FrozenModel
from vitscale.scaling.evaluate.names import NAMES, check_evaluators
from vitscale.scaling.evaluate.table import EVALUATORS, PROBES, evaluate
from vitscale.scaling.recipe import Recipe
from vitscale.scaling.shape import Shape

CLASSES = 6
SHAPE = Shape(width=8, depth=1, mlp_dim=8, heads=1, patch=2)
RECIPE = Recipe(
    data="glyphs",
    image_size=4,
    channels=1,
    batch_size=8,
    learning_rate=1e-3,
    warmup_steps=1,
    cooldown_steps=1,
)


def images(a_class: int, seed: int):
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(9).normal(size=(CLASSES, 4, 4, 1))
    labels = np.tile(np.arange(CLASSES), a_class)
    return (means[labels] + rng.normal(size=(len(labels), 4, 4, 1))).astype(np.float32), labels


def source(a_class: int = 30) -> Source:
    task = FewshotTask(pool=image_set(*images(a_class, 1)), test=image_set(*images(20, 2)))
    return Source(
        classes=CLASSES,
        evaluation=lambda: image_set(*images(100, 0)),
        fewshot_tasks={"birds": lambda: task},
    )


def model(*evaluators: str, forward=None, **recipe) -> FrozenModel:
    """Features by a random projection, logits by a second one."""
    rng = np.random.default_rng(3)
    params = {
        "features": jnp.asarray(rng.normal(size=(16, 8)), jnp.float32),
        "head": jnp.asarray(0.1 * rng.normal(size=(8, CLASSES)), jnp.float32),
    }

    def project(params, x):
        features = jnp.asarray(x).reshape(len(x), -1) @ params["features"]
        return features, features @ params["head"]

    return FrozenModel(
        shape=SHAPE,
        recipe=dataclasses.replace(RECIPE, evaluators=evaluators, **recipe),
        classes=CLASSES,
        params=params,
        forward=forward or project,
    )


def test_every_name_has_one_evaluator():
    assert sorted([*EVALUATORS, *PROBES]) == sorted(NAMES)
    check_evaluators(NAMES)


def test_unknown_and_repeated_names_are_refused():
    with pytest.raises(ValueError, match="evaluators: 'fid' is unknown; choose from upstream, few"):
        check_evaluators(["upstream", "fid"])
    with pytest.raises(ValueError, match="evaluators: 'knn' stands twice"):
        check_evaluators(["knn", "upstream", "knn"])
    with pytest.raises(ValueError, match="'fid' is unknown"):
        list(evaluate(model("fid"), source()))


def test_upstream_metrics_are_those_of_scikit_learn():
    pixels, labels = images(100, 0)
    metrics = {m.name: m.value for m in evaluate(model("upstream"), source())}
    logits = np.asarray(model().forward(model().params, pixels)[1], np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert set(metrics) == {"upstream_loss", "upstream_error"}
    assert metrics["upstream_loss"] == pytest.approx(log_loss(labels, probabilities), rel=1e-5)
    assert metrics["upstream_error"] == np.mean(probabilities.argmax(1) != labels)


def test_a_model_trained_by_sigmoid_loss_gives_that_too():
    pixels, labels = images(100, 0)
    metrics = {m.name: m.value for m in evaluate(model("upstream", loss="sigmoid"), source())}
    logits = np.asarray(model().forward(model().params, pixels)[1], np.float64)
    chance = 1 / (1 + np.exp(-logits))
    of_class = labels[:, None] == np.arange(CLASSES)
    expected = -np.log(np.where(of_class, chance, 1 - chance)).sum(1).mean()
    assert metrics["upstream_sigmoid_loss"] == pytest.approx(expected, rel=1e-5)


def test_padding_changes_nothing():
    def padded(pixels, labels):
        places = np.random.default_rng(0).integers(0, len(labels), 7)
        pixels, labels = np.insert(pixels, places, 0, axis=0), np.insert(labels, places, -1)
        return image_set(pixels, labels, classes=CLASSES)

    names = ("upstream", "knn", "linear_probe")
    plain = list(evaluate(model(*names), source()))
    task = FewshotTask(pool=padded(*images(30, 1)), test=padded(*images(20, 2)))
    filled = dataclasses.replace(
        source(),
        evaluation=lambda: padded(*images(100, 0)),
        fewshot_tasks={"birds": lambda: task},
    )
    for one, other in zip(plain, evaluate(model(*names), filled), strict=True):
        assert one.name == other.name
        assert one.value == pytest.approx(other.value, abs=1e-6)


def test_probes_share_one_pass_over_the_images():
    seen = []

    def forward(params, x):
        seen.append(len(x))
        return model().forward(params, x)

    names = [m.name for m in evaluate(model(*PROBES, forward=forward), source())]
    assert len(seen) == 2
    assert names == [f"birds_{k}shot_error" for k in (1, 5, 10, 25)] + [
        f"birds_{k}shot_big_vision_error" for k in (1, 5, 10, 25)
    ] + ["birds_knn_error", "birds_linear_error"]


def test_shots_that_a_pool_cannot_give_are_left_out_with_a_warning():
    with pytest.warns(UserWarning, match="birds: a class of the pool has 7 examples"):
        names = [m.name for m in evaluate(model("fewshot"), source(a_class=7))]
    assert names == ["birds_1shot_error", "birds_5shot_error"]


@pytest.mark.parametrize("name", ["upstream", *PROBES])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_model_that_gives_nan_or_infinity_is_refused(name, value):
    def forward(params, x):
        features, logits = model().forward(params, x)
        return features.at[3, 2].set(value), logits.at[3, 2].set(value)

    with pytest.raises(NotFiniteError, match="hold NaN or infinity"):
        list(evaluate(model(name, forward=forward), source()))


def test_what_cannot_be_measured_is_refused():
    pixels, labels = images(1, 0)
    odd = dataclasses.replace(source(), evaluation=lambda: image_set(pixels, labels + 3))
    with pytest.raises(ValueError, match="holds class 8, but the model tells 6 classes apart"):
        list(evaluate(model("upstream"), odd))
    empty = image_set(pixels, np.full(CLASSES, -1), classes=CLASSES)
    nothing = dataclasses.replace(
        source(),
        evaluation=lambda: empty,
        fewshot_tasks={"birds": lambda: FewshotTask(pool=empty, test=empty)},
    )
    with pytest.raises(ValueError, match="the evaluation split holds no labelled image"):
        list(evaluate(model("upstream"), nothing))
    with pytest.raises(ValueError, match="the pool images of a few-shot task hold no labelled"):
        list(evaluate(model("knn"), nothing))
