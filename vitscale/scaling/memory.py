"""The refusal of trials that cannot fit a device's memory, before and while they run."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import jax
from jax import numpy as jnp
from jaxtyping import PyTree

from vitscale.scaling.execution import Execution
from vitscale.scaling.finder.device import device_memory
from vitscale.scaling.finder.step import OutOfMemoryError, refusing_memory
from vitscale.scaling.hosts import any_says
from vitscale.scaling.recipe import Trial
from vitscale.scaling.train import Training

_ADVICE = (
    "use more --micro-batches, --remat full, --fsdp over more devices, or a smaller shape "
    "(vitscale shapefinder measures what fits)"
)


def least_bytes(trial: Trial, training: Training, execution: Execution) -> int:
    """What training needs on each device, whatever the compiler does: state, gradients, and without
    rematerialisation what the blocks keep of a micro-batch for their gradients."""
    state = _bytes_a_device(training.template, training.shardings)
    if jax.default_backend() == "cpu":
        state *= 2  # the trunk waits beside each cooldown
    gradients = _bytes_a_device(training.template.params, training.shardings.params)
    if execution.remat != "none":
        return state + gradients
    shape, recipe = trial.shape, trial.recipe
    tokens = shape.tokens(recipe.image_size)
    examples = recipe.batch_size // execution.micro_batches // training.mesh.size
    # Of each block: its input, query, key, value, the mixed values, what the MLP reads and its hidden
    # layer; attention weights are left out, which fused kernels do not keep.
    kept = shape.depth * tokens * (6 * shape.width + shape.mlp_dim)
    return state + gradients + examples * kept * jnp.dtype(recipe.precision).itemsize


def _bytes_a_device(arrays: PyTree[Any], shardings: PyTree[Any]) -> int:
    sizes = jax.tree.map(
        lambda leaf, sharding: math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize,
        arrays,
        shardings,
    )
    return sum(jax.tree.leaves(sizes))


@contextlib.contextmanager
def within_memory(trial: Trial, training: Training, execution: Execution) -> Iterator[None]:
    """Training inside is refused where it cannot fit, and where it turns out not to.

    Raises `ValueError` with the bytes and what to do.
    """
    device = training.mesh.local_devices[0]
    needed = least_bytes(trial, training, execution)
    try:
        there = device_memory(device, len(training.mesh.local_devices)).bytes
    except ValueError:
        there = needed  # nobody says how much there is
    if any_says(needed > there):
        raise ValueError(
            f"training {trial.shape} at batch_size={trial.recipe.batch_size} takes at least "
            f"{needed / 1e9:.1f} GB on each device, and {there / 1e9:.1f} GB are there; {_ADVICE}"
        )
    try:
        with refusing_memory():
            yield
    except OutOfMemoryError as error:
        raise ValueError(
            f"training {trial.shape} at batch_size={trial.recipe.batch_size} ran out of memory "
            f"({error}); {_ADVICE}"
        ) from None
