"""Dropout and stochastic depth: their rates, their expectation, and that layouts agree on them."""

from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from vitscale.scaling.models.initial import draw_parameters
from vitscale.scaling.models.noise import (
    draw_words,
    drop_elements,
    drop_examples,
    linear_drop_rates,
    uniform,
)
from vitscale.scaling.models.vit import Vit, merge_vit, split_vit
from vitscale.scaling.shape import Shape

SHAPE = Shape(width=8, depth=3, mlp_dim=12, heads=2, patch=4)
IMAGES = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
WORDS = draw_words(jax.random.key(0), 40)


def model(**settings) -> tuple[Any, Any]:
    graph, template = split_vit(Vit(SHAPE, image_size=8, **settings))
    return graph, draw_parameters(template, jax.random.key(2))


def features(graph, params, **noise) -> np.ndarray:
    return np.asarray(merge_vit(graph, params).features(IMAGES, **noise))


def test_numbers_are_uniform_and_places_independent():
    numbers = np.stack([uniform(words, (100, 7, 13)).ravel() for words in WORDS])
    count = numbers.size
    assert 0 <= numbers.min() and numbers.max() < 1
    counts = np.histogram(numbers, bins=64, range=(0, 1))[0]
    chi_squared = ((counts - count / 64) ** 2 / (count / 64)).sum()
    assert chi_squared < 63 + 5 * (2 * 63) ** 0.5
    between = np.corrcoef(numbers)[np.triu_indices(len(WORDS), 1)]
    assert np.abs(between).max() < 5 / numbers.shape[1] ** 0.5
    for lag in (1, 13, 91):  # neighbours along each axis
        within = np.corrcoef(numbers[:, lag:].ravel(), numbers[:, :-lag].ravel())[0, 1]
        assert abs(within) < 5 / count**0.5


def test_dropout_keeps_the_expectation():
    dropped = np.asarray(drop_elements(jnp.ones((400, 500)), 0.3, WORDS[0]))
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1) / np.float32(0.7)}
    assert dropped.mean() == pytest.approx(1, abs=5 * (0.3 / 0.7 / dropped.size) ** 0.5)


def test_stochastic_depth_drops_whole_examples():
    branch = jnp.ones((5000, 2, 3))
    dropped = np.asarray(drop_examples(branch, jnp.float32(0.25), WORDS[1]))
    assert (dropped == dropped[:, :1, :1]).all()
    assert (dropped[:, 0, 0] == 0).mean() == pytest.approx(0.25, abs=0.03)
    np.testing.assert_array_equal(drop_examples(branch, jnp.float32(0), WORDS[1]), branch)
    np.testing.assert_array_equal(drop_examples(branch, jnp.float32(1), WORDS[1]), 0)


def test_the_rate_rises_linearly_over_depth():
    rates = np.asarray(linear_drop_rates(12, 0.1))
    np.testing.assert_allclose(np.diff(rates), 0.1 / 11, rtol=1e-5)
    assert rates.mean() == pytest.approx(0.05)
    assert linear_drop_rates(1, 0.1).tolist() == [0]


def test_evaluation_is_deterministic_and_rate_zero_changes_nothing():
    graph, params = model()
    evaluated = features(graph, params)
    key = jax.random.key(5)
    np.testing.assert_array_equal(features(graph, params, noise=key), evaluated)
    traced = [
        str(
            jax.make_jaxpr(lambda p, k=noise: merge_vit(graph, p).features(IMAGES, noise=k))(params)
        )
        for noise in (None, key)
    ]
    assert traced[0] == traced[1]


def test_layouts_and_rematerialisation_agree_on_the_noise():
    rates: Any = {"noise": jax.random.key(5), "dropout": 0.2, "stochastic_depth": 0.4}
    expected = features(*model(), **rates)
    assert not np.allclose(expected, features(*model()))
    for layout, remat in (("scanned", "none"), ("unrolled", "dots"), ("scanned", "full")):
        settings = model(layout=layout, remat=remat)
        np.testing.assert_allclose(features(*settings, **rates), expected, rtol=1e-4, atol=1e-5)


def test_a_last_block_that_is_always_dropped_is_the_identity():
    shallow = Shape(width=8, depth=2, mlp_dim=12, heads=2, patch=4)
    graph, template = split_vit(Vit(shallow, image_size=8))
    params: Any = draw_parameters(template, jax.random.key(2))
    noised = features(graph, params, noise=jax.random.key(3), stochastic_depth=1.0)
    last = params["blocks"][1]
    for layer in (last["attention"]["out"], last["mlp"]["down"]):  # branches that write nothing
        layer.update(kernel=jnp.zeros_like(layer["kernel"]), bias=jnp.zeros_like(layer["bias"]))
    np.testing.assert_allclose(noised, features(graph, params), rtol=1e-6)


def test_rates_without_random_numbers_are_refused():
    graph, params = model()
    with pytest.raises(ValueError, match=r"dropout=0\.1 needs random numbers; give a key as noise"):
        features(graph, params, dropout=0.1)
    with pytest.raises(ValueError, match=r"stochastic_depth=1\.5 is not a rate; expected a number"):
        features(graph, params, noise=jax.random.key(0), stochastic_depth=1.5)
