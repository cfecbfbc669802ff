"""One training step and what it needs, as pure functions on pytrees, compiled once for each shape.

`training_for` gives the functions of a shape and recipe; trials that differ only in seed, learning rate
or duration share them, because all of those are traced numbers of the step.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import nnx
from jax import numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, ArrayLike, Float, Int, PyTree

from vitscale.scaling.data.batch import Batch, to_unit_range
from vitscale.scaling.data.sources import source_for
from vitscale.scaling.execution import Execution
from vitscale.scaling.mesh import (
    device_mesh,
    everywhere,
    over_devices,
    spread_batch,
    state_shardings,
)
from vitscale.scaling.models.initial import draw_parameters
from vitscale.scaling.models.vit import Vit, default_layout, merge_vit, split_vit
from vitscale.scaling.mup import learning_rate_multipliers
from vitscale.scaling.objective import (
    SIGMOID_HEAD_BIAS,
    class_targets,
    cross_entropy,
    mixed_up,
)
from vitscale.scaling.optimizer import apply_updates, decay_rates, gradient_transformation
from vitscale.scaling.recipe import Recipe
from vitscale.scaling.schedule import NEVER, learning_rate_factor
from vitscale.scaling.shape import Shape


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
    """Compiled functions for one shape and recipe, on one mesh of devices.

    - `init(seed)`: the state before the first step, each array where `shardings` has it.
    - `step(state, run, batch)`: one step; gives the new state and the loss of its batch. Takes over
      `state`. `batch` is None where it is drawn inside the step. Where the loss or a gradient is not
      finite, the loss given is not finite, and parameters and optimizer stay as they were.
    - `forward(params, images)`: frozen features, (batch, width), and logits, (batch, classes).
    """

    classes: int
    mesh: Mesh
    template: TrainState
    shardings: TrainState
    init: Callable[[ArrayLike], TrainState]
    step: Callable[..., tuple[TrainState, Float[Array, ""]]]
    forward: Callable[[PyTree[Array], ArrayLike], tuple[Array, Array]]


def training_for(
    shape: Shape, recipe: Recipe, execution: Execution | None = None, *, lanes: int = 1
) -> Training:
    """Functions that train `shape` by `recipe`; its seed and learning rate play no part.

    - `lanes`: trials trained together, one vectorised step for all, on one device. With more than one,
      seeds, runs, states, host batches and losses have a leading axis of lanes.

    Raises `ValueError` where the data cannot be had or the devices do not divide the batch.
    """
    plain = dataclasses.replace(
        recipe,
        seed=0,
        learning_rate=1.0,
        lr_width_exponent=0.0,
        lr_depth_exponent=0.0,
        lr_retries=0,
    )
    return _training_for(shape, plain, execution or Execution(), lanes)


@functools.lru_cache(maxsize=64)
def _training_for(shape: Shape, recipe: Recipe, execution: Execution, lanes: int) -> Training:
    mesh = device_mesh(recipe, execution)
    if lanes > 1 and mesh.size > 1:
        raise ValueError(f"{lanes} trials together need one device, there are {mesh.size}")
    source = source_for(recipe)
    model = _Model(shape, recipe, source.classes, execution)
    optimizer = gradient_transformation(recipe)

    def init(seed: ArrayLike) -> TrainState:
        params = model.draw(random_key(seed, "init"))
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))

    def step(state: TrainState, run: Run, batch: Batch | None) -> tuple[TrainState, Array]:
        if source.drawn is not None:
            key = jax.random.fold_in(random_key(run.seed, "data"), state.step)
            batch = source.drawn(key, recipe.batch_size)
        if mesh.size > 1:
            batch = jax.lax.with_sharding_constraint(batch, over_devices(mesh))
        assert batch is not None
        loss, gradients = _loss_and_gradients(model, state, run, batch, execution.micro_batches)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = apply_updates(
            state.params,
            updates,
            decay_rates(state.params, recipe),
            learning_rate=run.peak_learning_rate,
            factor=_learning_rate_factor(recipe, state, run),
            multipliers=learning_rate_multipliers(state.params, recipe),
        )
        # A sum of squares that overflows clips the gradients to nothing, which is no training either.
        sound = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(gradients))
        params, optimizer_state = jax.tree.map(
            functools.partial(jnp.where, sound),
            (params, optimizer_state),
            (state.params, state.optimizer),
        )
        loss = jnp.where(sound | ~jnp.isfinite(loss), loss, jnp.nan)
        return TrainState(state.step + 1, params, optimizer_state), loss

    if lanes > 1:
        init, step = jax.vmap(init), jax.vmap(step)
    template = jax.eval_shape(init, jnp.zeros(() if lanes == 1 else (lanes,), jnp.uint32))
    shardings = state_shardings(template, mesh)
    whole, split = everywhere(mesh), over_devices(mesh)
    return Training(
        classes=source.classes,
        mesh=mesh,
        template=template,
        shardings=shardings,
        init=jax.jit(init, out_shardings=shardings),
        step=jax.jit(
            step,
            in_shardings=(shardings, whole, split),
            out_shardings=(shardings, whole),
            donate_argnums=0,
        ),
        forward=_spread_forward(
            jax.jit(
                model.outputs,
                in_shardings=(shardings.params if lanes == 1 else whole, split),
                out_shardings=whole,
            ),
            mesh,
        ),
    )


def _spread_forward(forward: Callable, mesh: Mesh) -> Callable:
    """`forward` for images in this host's memory, in any number, on all devices of the mesh."""
    if mesh.size == 1:
        return forward

    def spread(params: PyTree[Array], images: np.ndarray) -> tuple[Array, Array]:
        full = np.resize(images, (-(-len(images) // mesh.size) * mesh.size, *images.shape[1:]))
        features, logits = forward(params, spread_batch(full, mesh))
        return features[: len(images)], logits[: len(images)]

    return spread


class _Model:
    """The network of a recipe as pure functions of its parameters."""

    def __init__(self, shape: Shape, recipe: Recipe, classes: int, execution: Execution):
        self.recipe, self.classes = recipe, classes
        layout = execution.layout
        if layout == "auto":
            layout = default_layout(shape, jax.default_backend())
            if execution.remat != "none":
                # Measured on CPU: unrolled blocks take as much memory with rematerialisation as without.
                layout = "scanned"
        build = functools.partial(
            Vit,
            shape,
            image_size=recipe.image_size,
            channels=recipe.channels,
            readout=recipe.readout,
            classes=classes,
            layout=layout,
            remat=execution.remat,
            attention=execution.attention,
            dtype=jnp.dtype(recipe.precision),
        )
        self._graph, self._template = split_vit(nnx.eval_shape(build))

    def draw(self, key: Array) -> PyTree[Array]:
        """Parameters to start from."""
        head_bias = SIGMOID_HEAD_BIAS if self.recipe.loss == "sigmoid" else 0.0
        return draw_parameters(self._template, key, head_bias=head_bias)

    def outputs(self, params: PyTree[Array], images: Array) -> tuple[Array, Array]:
        """Frozen features and logits."""
        vit = merge_vit(self._graph, params)
        features = vit.features(to_unit_range(images, jnp))
        return features, vit.classify(features)

    def loss(
        self, params: PyTree[Array], images: Array, targets: Array, noise: Array
    ) -> Float[Array, ""]:
        """Training loss of a batch; `noise` is the key of dropout and stochastic depth."""
        recipe = self.recipe
        logits = merge_vit(self._graph, params)(
            images,
            noise=noise,
            dropout=recipe.dropout,
            stochastic_depth=recipe.stochastic_depth,
        )
        return cross_entropy(logits, targets, recipe.loss)


def _loss_and_gradients(
    model: _Model, state: TrainState, run: Run, batch: Batch, micro_batches: int
) -> tuple[Array, PyTree[Array]]:
    """Mean loss of a batch and its gradients, accumulated over its micro-batches."""
    recipe = model.recipe
    images = to_unit_range(batch.images, jnp)
    targets = class_targets(batch.labels, model.classes, recipe.label_smoothing)
    noise = jax.random.fold_in(random_key(run.seed, "noise"), state.step)
    if recipe.mixup:
        key = jax.random.fold_in(random_key(run.seed, "mixup"), state.step)
        images, targets = mixed_up(images, targets, key, recipe.mixup)
    value_and_gradients = jax.value_and_grad(model.loss)
    if micro_batches == 1:
        return value_and_gradients(state.params, images, targets, noise)

    def split(x: Array) -> Array:
        # Every device keeps its own examples: each micro-batch takes some of all of them.
        return x.reshape(-1, micro_batches, *x.shape[1:]).swapaxes(0, 1)

    def add(total: PyTree[Array], part: tuple[Array, Array, Array]) -> tuple[PyTree[Array], None]:
        images, targets, index = part
        found = value_and_gradients(state.params, images, targets, jax.random.fold_in(noise, index))
        return jax.tree.map(jnp.add, total, found), None

    zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, state.params))
    parts = (split(images), split(targets), jnp.arange(micro_batches))
    total, _ = jax.lax.scan(add, zero, parts)
    return jax.tree.map(lambda x: x / micro_batches, total)


def _learning_rate_factor(recipe: Recipe, state: TrainState, run: Run) -> Array:
    """The schedule at the step of `state`, as a multiple of the peak learning rate."""
    return learning_rate_factor(
        recipe.schedule,
        state.step,
        warmup_steps=recipe.warmup_steps,
        timescale_steps=recipe.timescale_steps,
        total_steps=run.total_steps,
        cooldown_steps=run.cooldown_steps,
        xp=jnp,
    )


def random_key(seed: Any, purpose: str) -> Array:
    """Random key of a trial's seed for one purpose, so that no two uses share their numbers."""
    purposes = {"init": 0, "data": 1, "mixup": 2, "noise": 3}
    return jax.random.fold_in(jax.random.key(seed), purposes[purpose])
