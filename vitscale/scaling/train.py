"""One training step and what it needs, as pure functions on pytrees, compiled once for each shape.

`training_for` gives the functions of a shape and recipe; trials that differ only in seed, learning rate
or duration share them, because all of those are traced numbers of the step.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from flax import nnx
from jax import numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PyTree

from vitscale.scaling.data.catalog import check_trainable
from vitscale.scaling.data.sources import SOURCES, Source
from vitscale.scaling.models.initial import draw_parameters
from vitscale.scaling.models.vit import BlockLayout, Vit, merge_vit, split_vit
from vitscale.scaling.optimizer import apply_updates, decay_rates, gradient_transformation
from vitscale.scaling.recipe import Loss, Recipe
from vitscale.scaling.schedule import NEVER, learning_rate_factor
from vitscale.scaling.shape import Shape

_SIGMOID_HEAD_BIAS = -10.0  # Scaling Vision Transformers, Appendix C
_UNROLL_UP_TO_DEPTH = 16
"""Deepest net whose blocks are unrolled by default on CPU; deeper ones compile too slowly."""


class TrainState(NamedTuple):
    """All that training carries from one step to the next."""

    step: Int[Array, ""]
    params: PyTree[Array]
    optimizer: PyTree[Array]


class Run(NamedTuple):
    """The traced numbers of a run: change them without compiling anew.

    `total_steps` is infinite on a trunk; a cooldown's is where it ends.
    """

    seed: Any
    peak_learning_rate: Any
    total_steps: Any = NEVER
    cooldown_steps: Any = 0


@dataclasses.dataclass(frozen=True)
class Training:
    """Compiled functions for one shape and recipe.

    - `init(seed)`: the state before the first step.
    - `step(state, run)`: one step; gives the new state and the loss of its batch. Takes over `state`.
    - `forward(params, images)`: frozen features, (batch, width), and logits, (batch, classes).
    """

    source: Source
    classes: int
    init: Callable[[ArrayLike], TrainState]
    step: Callable[[TrainState, Run], tuple[TrainState, Float[Array, ""]]]
    forward: Callable[[PyTree[Array], ArrayLike], tuple[Array, Array]]


def training_for(shape: Shape, recipe: Recipe, layout: BlockLayout | None = None) -> Training:
    """Functions that train `shape` by `recipe`; the seed of the recipe plays no part.

    `layout=None` unrolls shallow nets on CPU and scans all others.
    """
    if layout is None:
        shallow = shape.depth <= _UNROLL_UP_TO_DEPTH and jax.default_backend() == "cpu"
        layout = "unrolled" if shallow else "scanned"
    return _training_for(shape, dataclasses.replace(recipe, seed=0), layout)


@functools.lru_cache(maxsize=64)
def _training_for(shape: Shape, recipe: Recipe, layout: BlockLayout) -> Training:
    classes = check_trainable(recipe).classes
    source = SOURCES[recipe.data]
    optimizer = gradient_transformation(recipe)

    def build() -> Vit:
        return Vit(
            shape,
            image_size=recipe.image_size,
            channels=recipe.channels,
            readout=recipe.readout,
            classes=classes,
            layout=layout,
            dtype=jnp.dtype(recipe.precision),
        )

    graph, template = split_vit(nnx.eval_shape(build))
    head_bias = _SIGMOID_HEAD_BIAS if recipe.loss == "sigmoid" else 0.0

    def init(seed: ArrayLike) -> TrainState:
        params = draw_parameters(template, _key(seed, "init"), head_bias=head_bias)
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))

    def batch_loss(params: PyTree[Array], images: Array, labels: Array) -> Array:
        logits = merge_vit(graph, params)(images)
        return loss_function(logits, labels, recipe.loss, recipe.label_smoothing)

    def step(state: TrainState, run: Run) -> tuple[TrainState, Array]:
        key = jax.random.fold_in(_key(run.seed, "data"), state.step)
        batch = source.training_batch(key, recipe.batch_size)
        loss, gradients = jax.value_and_grad(batch_loss)(state.params, batch.images, batch.labels)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = apply_updates(
            state.params,
            updates,
            decay_rates(state.params, recipe),
            learning_rate=run.peak_learning_rate,
            factor=learning_rate_factor(
                recipe.schedule,
                state.step,
                warmup_steps=recipe.warmup_steps,
                timescale_steps=recipe.timescale_steps,
                total_steps=run.total_steps,
                cooldown_steps=run.cooldown_steps,
                xp=jnp,
            ),
        )
        return TrainState(state.step + 1, params, optimizer_state), loss

    def forward(params: PyTree[Array], images: Array) -> tuple[Array, Array]:
        vit = merge_vit(graph, params)
        features = vit.features(images)
        return features, vit.classify(features)

    return Training(
        source=source,
        classes=classes,
        init=jax.jit(init),
        step=jax.jit(step, donate_argnums=0),
        forward=jax.jit(forward),
    )


def loss_function(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, " batch"],
    loss: Loss,
    label_smoothing: float = 0.0,
) -> Float[Array, ""]:
    """Mean loss of a batch in nats: softmax cross-entropy, or sigmoid cross-entropy summed over classes."""
    classes = logits.shape[-1]
    targets = jax.nn.one_hot(labels, classes)
    targets = (1 - label_smoothing) * targets + label_smoothing / classes
    if loss == "softmax":
        return optax.softmax_cross_entropy(logits, targets).mean()
    return optax.sigmoid_binary_cross_entropy(logits, targets).sum(-1).mean()


def chance_loss(loss: Loss, classes: int) -> float:
    """Loss in nats of a model that knows nothing: what training must stay well below."""
    return math.log(classes) if loss == "softmax" else classes * math.log(2)


def _key(seed: Any, purpose: str) -> Array:
    """Random key of a trial's seed for one purpose, so that no two uses share their numbers."""
    return jax.random.fold_in(jax.random.key(seed), {"init": 0, "data": 1}[purpose])
