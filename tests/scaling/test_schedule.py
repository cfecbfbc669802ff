"""The schedule against the published one, and against what no public version gets right: the end."""

from typing import Any

import numpy as np
import pytest
from jax import numpy as jnp

from vitscale.scaling.schedule import NEVER, learning_rate_factor

PAPER: dict[str, Any] = {
    "warmup_steps": 10_000,
    "timescale_steps": 10_000,
    "total_steps": 1_000_000,
    "cooldown_steps": 50_000,
}

# Getting ViT in Shape's schedule (base 8e-4, warmup 10k, timescale 10k, cooldown 50k of 1M steps),
# from the formula of big_vision `utils.create_learning_rate_schedule`.
PUBLISHED = {
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


@pytest.mark.parametrize(("step", "expected"), PUBLISHED.items())
def test_rsqrt_reproduces_the_published_schedule(step, expected):
    assert 8e-4 * learning_rate_factor("rsqrt", step, **PAPER) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("schedule", ["rsqrt", "constant", "cosine", "linear"])
def test_no_schedule_goes_negative_or_rises_after_the_end(schedule):
    steps = np.array([999_999, 1_000_000, 1_000_001, 1_100_000, 10**9])
    factors = learning_rate_factor(schedule, steps, **PAPER)
    assert factors[0] > 0
    np.testing.assert_array_equal(factors[1:], 0.0)


@pytest.mark.parametrize("schedule", ["rsqrt", "constant"])
def test_a_trunk_is_the_same_schedule_before_the_cooldown(schedule):
    steps = np.arange(0, 950_001, 1000)
    trunk = learning_rate_factor(
        schedule, steps, **{**PAPER, "total_steps": NEVER, "cooldown_steps": 0}
    )
    np.testing.assert_array_equal(trunk, learning_rate_factor(schedule, steps, **PAPER))


def test_linear_and_cosine_pass_through_their_middles():
    middle = 505_000  # half way from the end of warmup to the end
    assert learning_rate_factor("linear", middle, **PAPER) == pytest.approx(0.5)
    assert learning_rate_factor("cosine", middle, **PAPER) == pytest.approx(0.5)
    quarter = 10_000 + 990_000 // 4
    assert learning_rate_factor("cosine", quarter, **PAPER) == pytest.approx(np.cos(np.pi / 8) ** 2)


def test_jax_and_numpy_agree_within_float32():
    steps = np.arange(0, 1_010_000, 3333)
    numpy = learning_rate_factor("rsqrt", steps, **PAPER)
    jax = learning_rate_factor("rsqrt", jnp.asarray(steps, jnp.float32), **PAPER, xp=jnp)
    np.testing.assert_allclose(jax, numpy, atol=3e-7)


def test_no_warmup_starts_at_the_peak():
    factor = learning_rate_factor(
        "constant", 0, warmup_steps=0, timescale_steps=1, total_steps=NEVER, cooldown_steps=0
    )
    assert factor == 1.0
