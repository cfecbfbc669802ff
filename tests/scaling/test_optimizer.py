"""Optimizers against optax, against float64 by hand, and scanned blocks against unrolled ones."""

import dataclasses
from typing import Any, get_args

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from jax import numpy as jnp

from vitscale.scaling.models.initial import draw_parameters
from vitscale.scaling.models.vit import BlockLayout, Vit, split_vit
from vitscale.scaling.mup import learning_rate_multipliers
from vitscale.scaling.optimizer import apply_updates, decay_rates, gradient_transformation
from vitscale.scaling.optimizers.adafactor import adafactor, scale_by_factored_moment
from vitscale.scaling.optimizers.adam import adam
from vitscale.scaling.optimizers.sgd import sgd_momentum
from vitscale.scaling.recipe import Optimizer, Recipe
from vitscale.scaling.shape import Readout, Shape, named_shape

SHAPE = Shape(width=32, depth=2, mlp_dim=64, heads=4, patch=4)
RECIPE = Recipe(
    data="glyphs",
    image_size=24,
    batch_size=8,
    learning_rate=1e-3,
    warmup_steps=5,
    cooldown_steps=20,
    body_weight_decay=0.01,
    head_weight_decay=1.0,
)


def recipe(**changes) -> Recipe:
    return Recipe(**(vars(RECIPE) | changes))


def template(shape: Shape = SHAPE, readout: Readout = "gap", layout: BlockLayout = "unrolled"):
    """Shapes of the parameters of a model, which is not built."""
    build = lambda: Vit(shape, image_size=24, readout=readout, classes=40, layout=layout)  # noqa: E731
    return split_vit(nnx.eval_shape(build))[1]


def gradients_of(params, step: int):
    """Gradients of very different sizes, the same in every call."""
    generator = np.random.default_rng(step)
    draw = lambda p: generator.normal(size=p.shape) * 10.0 ** generator.uniform(-6, 2)  # noqa: E731
    return jax.tree.map(lambda p: jnp.asarray(draw(p), jnp.float32), params)


def run(
    transformation: optax.GradientTransformation, params: Any, steps: int, gradients=gradients_of
) -> tuple[list[Any], Any]:
    """Updates of each step."""
    state, found = transformation.init(params), []
    update = jax.jit(transformation.update)
    for step in range(steps):
        updates, state = update(gradients(params, step), state, params)
        found.append(updates)
    return found, state


def compare(ours, theirs, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), ours, theirs)


PARAMS = {
    "matrix": jnp.ones((48, 32)),
    "wide": jnp.ones((32, 100)),
    "position": jnp.ones((1, 40, 64)),
    "narrow": jnp.ones((31, 64)),
    "bias": jnp.ones(64),
}


def adafactor_by_hand(gradients: list[np.ndarray]) -> list[np.ndarray]:
    """Scaling Vision Transformers, Section 3.4, in float64."""
    row, column, full, momentum, found = 0.0, 0.0, 0.0, 0.0, []
    for t, gradient in enumerate(gradients, start=1):
        decay = min(0.999, 1 - t**-0.8)
        squared = gradient.astype(np.float64) ** 2 + 1e-30
        if gradient.ndim > 1 and min(gradient.shape[-2:]) >= 32:
            row = decay * row + (1 - decay) * squared.mean(-1)
            column = decay * column + (1 - decay) * squared.mean(-2)
            moment = np.einsum("...i,...j->...ij", row, column) / row.mean(-1)[..., None, None]
        else:
            full = moment = decay * full + (1 - decay) * squared
        momentum = 0.9 * momentum + 0.1 * gradient / np.sqrt(moment)
        found.append(momentum)
    return found


@pytest.mark.parametrize("name", PARAMS)
def test_adafactor_by_hand(name):
    updates, _ = run(adafactor(momentum_dtype="float32"), PARAMS, 6)
    expected = adafactor_by_hand([np.asarray(gradients_of(PARAMS, s)[name]) for s in range(6)])
    for ours, theirs in zip(updates, expected, strict=True):
        np.testing.assert_allclose(ours[name], theirs, rtol=2e-5, atol=1e-5)


def test_the_second_moment_forgets_at_least_a_thousandth_a_step():
    # Without the cap, the decay at step 20,000 would be 0.99964.
    transformation = scale_by_factored_moment()
    state: Any = transformation.init({"bias": jnp.zeros(1)})
    state = state._replace(step=jnp.asarray(20_000))
    updates: Any = transformation.update({"bias": jnp.ones(1)}, state)[0]
    np.testing.assert_allclose(updates["bias"], 0.001**-0.5, rtol=1e-3)


def big_vision_adafactor(dtype: Any) -> optax.GradientTransformation:
    """As big_vision composes it from optax (`scale_by_adafactor`, with its default arguments)."""

    def decay(i: Any, exponent: Any) -> jax.Array:
        return jnp.minimum(0.999, 1.0 - (i + 1.0) ** -exponent)

    rms = optax.scale_by_factored_rms(
        min_dim_size_to_factor=32, decay_rate=0.8, epsilon=1e-30, decay_rate_fn=decay
    )
    return optax.chain(rms, optax.ema(0.9, debias=False, accumulator_dtype=dtype))


def test_adafactor_as_big_vision_composes_it():
    ours, _ = run(adafactor(momentum_dtype="float32"), PARAMS, 8)
    theirs, _ = run(big_vision_adafactor(jnp.float32), PARAMS, 8)
    compare(ours, theirs, rtol=2e-5, atol=1e-6)


# Depth 33 is longer than width 32: the two longest axes of a stack are not those of its matrices.
STACK = {
    "blocks": {
        "mlp": {"up": {"kernel": jnp.ones((33, 32, 64)), "bias": jnp.ones((33, 64))}},
        "norm": {"scale": jnp.ones((33, 32))},
    },
    "head": {"kernel": jnp.ones((32, 40))},
}


def unstacked(tree: Any) -> Any:
    """Parameters of scanned blocks as those of unrolled ones."""
    blocks = {i: jax.tree.map(lambda x, i=i: x[i], tree["blocks"]) for i in range(33)}
    return tree | {"blocks": blocks}


@pytest.mark.parametrize("optimizer", get_args(Optimizer))
def test_scanned_blocks_are_updated_as_unrolled_ones(optimizer: Optimizer):
    transformation = gradient_transformation(recipe(optimizer=optimizer, clip_norm=0.5))
    ours, _ = run(transformation, STACK, 2)
    split = lambda params, step: unstacked(gradients_of(STACK, step))  # noqa: E731
    theirs, _ = run(transformation, unstacked(STACK), 2, split)
    # Updates are near 1, and processors add up in different orders: some roundings of 1.2e-7.
    for mine, other in zip(ours, theirs, strict=True):
        compare(unstacked(mine), other, rtol=1e-5, atol=1e-6)


HALF = {
    "adam": (adam(momentum_dtype="bfloat16"), optax.scale_by_adam()),
    "adafactor": (adafactor(momentum_dtype="bfloat16"), big_vision_adafactor(jnp.float32)),
    "sgd": (sgd_momentum(dtype="bfloat16"), optax.trace(0.9)),
}


@pytest.mark.parametrize("name", HALF)
def test_half_precision_rounds_what_is_stored_and_nothing_else(name):
    transformation, reference = HALF[name]
    ours, state = run(transformation, PARAMS, 12)
    exact, _ = run(reference, PARAMS, 12)
    # A number rounds to bfloat16 by at most 2**-9 of it, and a moment keeps ten steps of roundings.
    for mine, other in zip(ours, exact, strict=True):
        for key, value in other.items():
            np.testing.assert_allclose(
                mine[key], value, rtol=0, atol=np.abs(value).max() * 10 / 512
            )
    assert any(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(state))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(ours))


@pytest.mark.parametrize("name", HALF)
def test_half_precision_does_not_shrink_moments(name):
    # Multiplied in bfloat16, 0.9 is 0.8984 and moments come out 1.5% smaller.
    params = {"bias": jnp.zeros(1_000)}

    def noisy(params, step):
        draw = np.random.default_rng(step).normal(1.0, 0.1, size=1_000)
        return {"bias": jnp.asarray(draw, jnp.float32)}

    ours, exact = (run(transformation, params, 60, noisy)[0][-1] for transformation in HALF[name])
    assert float(ours["bias"].mean()) == pytest.approx(float(exact["bias"].mean()), rel=1e-3)


@pytest.mark.parametrize("layout", get_args(BlockLayout))
def test_optimizer_state_takes_the_part_of_the_parameters_that_the_paper_says(layout):
    # Scaling Vision Transformers, Section 3.4 and big_vision's config: Adam 2x, with half-precision
    # momentum 1.5x, the modified Adafactor 0.5x.
    params = template(dataclasses.replace(named_shape("So400m/14"), depth=2), layout=layout)
    size = lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))  # noqa: E731

    def ratio(**changes) -> float:
        state = jax.eval_shape(gradient_transformation(recipe(**changes)).init, params)
        return size(state) / size(params)

    assert ratio() == pytest.approx(2, abs=1e-6)
    assert ratio(momentum_dtype="bfloat16") == pytest.approx(1.5, abs=1e-6)
    assert ratio(optimizer="adafactor", momentum_dtype="bfloat16") == pytest.approx(0.5, abs=4e-3)


def test_gradients_are_clipped_together_first():
    # Adam does not care how large gradients are, but for the steps before: clipping shrinks the
    # second step only, and all parameters alike.
    params = {"a": jnp.zeros(3), "b": jnp.zeros(4)}
    clipped = gradient_transformation(recipe(clip_norm=1.0))
    sizes = [0.1, 10.0]
    gradients = lambda tree, step: jax.tree.map(lambda p: sizes[step] + p, tree)  # noqa: E731
    ours, _ = run(clipped, params, 2, gradients)
    norm = 10.0 * 7**0.5
    scaled = lambda tree, step: jax.tree.map(lambda p: [0.1, 10 / norm][step] + p, tree)  # noqa: E731
    expected, _ = run(optax.scale_by_adam(), params, 2, scaled)
    compare(ours, expected, rtol=1e-5)


def test_decay_is_that_of_adamw_at_its_rate_over_the_learning_rate():
    params = draw_parameters(template(), jax.random.key(1))
    params["head"]["kernel"] += 1.0
    updates = gradients_of(params, 0)
    ours = apply_updates(
        params, updates, decay_rates(params, RECIPE), learning_rate=1e-3, factor=0.5
    )
    is_kernel = jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)
    is_head = jax.tree_util.tree_map_with_path(lambda path, _: path[0].key == "head", params)
    theirs = optax.chain(
        optax.add_decayed_weights(
            0.01 / 1e-3, jax.tree.map(lambda k, h: k and not h, is_kernel, is_head)
        ),
        optax.add_decayed_weights(
            1.0 / 1e-3, jax.tree.map(lambda k, h: k and h, is_kernel, is_head)
        ),
        optax.scale_by_learning_rate(0.5 * 1e-3),
    )
    changes, _ = theirs.update(updates, theirs.init(params), params)
    compare(ours, optax.apply_updates(params, changes), rtol=2e-5, atol=1e-7)


def named(tree) -> dict[str, float]:
    """Leaves by path, without the number of an unrolled block."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {"/".join(str(k.key) for k in path if k.key != 0): leaf for path, leaf in leaves}


@pytest.mark.parametrize("layout", get_args(BlockLayout))
def test_mup_slows_hidden_kernels_by_their_fan_in(layout: BlockLayout):
    shape = Shape(width=96, depth=1, mlp_dim=768, heads=4, patch=4)
    params = template(shape, "map", layout)
    found = named(learning_rate_multipliers(params, recipe(lr_scaling="mup", reference_width=48)))
    slow = {name: value for name, value in found.items() if value != 1.0}
    # Table 3 of Tensor Programs V: 1/fan-in for hidden and output matrices; 96 and 768 are twice and
    # four times the reference's 48 and 4 * 48.
    attention = [f"attention/{name}" for name in ("query", "key", "value", "out")]
    assert slow == {
        f"{place}/{name}/kernel": 0.25 if name == "mlp/down" else 0.5
        for place in ("blocks", "readout")
        for name in (*attention, "mlp/up", "mlp/down")
    } | {"head/kernel": 0.5}
    assert set(named(learning_rate_multipliers(params, RECIPE)).values()) == {1.0}


def test_mup_leaves_the_reference_shape_alone():
    shape = Shape(width=48, depth=1, mlp_dim=192, heads=4, patch=4)
    multipliers = learning_rate_multipliers(
        template(shape, "map"), recipe(lr_scaling="mup", reference_width=48)
    )
    assert set(jax.tree.leaves(multipliers)) == {1.0}


def test_under_mup_outputs_move_as_far_at_every_width():
    # The property that gives the rule: the first update of Adam changes what a matrix puts out by
    # as much whatever its fan-in, where one learning rate for all would change it by the width.
    def moved(width: int, lr_scaling: str) -> float:
        params = {"mlp": {"up": {"kernel": jnp.zeros((width, 64))}}}
        inputs = jnp.asarray(np.random.default_rng(0).normal(size=(16, width)), jnp.float32)
        gradient = {"mlp": {"up": {"kernel": inputs.T @ jnp.ones((16, 64))}}}
        transformation = gradient_transformation(recipe())
        updates, _ = transformation.update(gradient, transformation.init(params))
        after = apply_updates(
            params,
            updates,
            jax.tree.map(lambda _: 0.0, params),
            learning_rate=1e-3,
            factor=1.0,
            multipliers=learning_rate_multipliers(params, recipe(lr_scaling=lr_scaling)),
        )
        return float(jnp.abs(inputs @ after["mlp"]["up"]["kernel"]).mean())

    assert moved(1024, "mup") == pytest.approx(moved(64, "mup"), rel=0.2)
    assert moved(1024, "uniform") == pytest.approx(16 * moved(64, "uniform"), rel=0.2)
