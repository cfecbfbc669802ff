"""Devices as a mesh of data and FSDP axes: where batches, parameters and optimizer state lie.

Batches are split over all devices. Parameters and optimizer state are split over the `fsdp` axis and
repeated along `data`; XLA inserts the communication. One device is the mesh of one.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from vitscale.scaling.execution import Execution
from vitscale.scaling.models.stacked import is_stacked
from vitscale.scaling.recipe import Recipe

_SPLIT_FROM_ELEMENTS = 2**16
"""Smaller arrays are repeated on every device: sending their parts would take longer than it saves."""


def device_mesh(recipe: Recipe, execution: Execution, devices: Sequence[Any] | None = None) -> Mesh:
    """All devices (of all hosts) as a mesh with the axes "data" and "fsdp".

    Raises `ValueError` where they cannot be laid out so, or do not divide a micro-batch.
    """
    devices = jax.devices() if devices is None else list(devices)
    count = len(devices)
    if count % execution.fsdp:
        raise ValueError(
            f"fsdp={execution.fsdp} does not divide the {count} devices; use one of "
            f"{_divisors(count)}"
        )
    check_batch(recipe.batch_size, execution.micro_batches, count)
    return Mesh(np.array(devices).reshape(-1, execution.fsdp), ("data", "fsdp"))


def check_batch(batch_size: int, micro_batches: int, devices: int) -> None:
    """Raise `ValueError` where a batch cannot be split evenly over micro-batches and devices."""
    if batch_size % micro_batches:
        raise ValueError(
            f"micro_batches={micro_batches} does not divide batch_size={batch_size}; use one of "
            f"{_divisors(batch_size)}"
        )
    micro = batch_size // micro_batches
    if micro % devices:
        fitting = [count for count in _divisors(micro) if count < devices]
        raise ValueError(
            f"a micro-batch of {micro} examples (batch_size={batch_size}, "
            f"micro_batches={micro_batches}) does not divide over {devices} devices; use "
            f"{fitting[-1]} devices, or a batch size that is a multiple of "
            f"{devices * micro_batches}"
        )


def over_devices(mesh: Mesh) -> NamedSharding:
    """Arrays whose leading axis, the examples of a batch, is split over all devices."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def everywhere(mesh: Mesh) -> NamedSharding:
    """Arrays that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def state_shardings(state: PyTree[Any], mesh: Mesh) -> PyTree[NamedSharding]:
    """Where each array of a training state lies: large ones split along their longest axis that the
    `fsdp` axis divides, but never along the depth axis of scanned blocks, which is walked along."""
    parts = mesh.shape["fsdp"]

    def place(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        first = 1 if is_stacked(path) else 0
        fitting = [axis for axis in range(first, leaf.ndim) if leaf.shape[axis] % parts == 0]
        if parts == 1 or leaf.size < _SPLIT_FROM_ELEMENTS or not fitting:
            return everywhere(mesh)
        axis = max(fitting, key=lambda axis: leaf.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * axis, "fsdp"))

    return jax.tree_util.tree_map_with_path(place, state)


def place_batch(batch: PyTree[np.ndarray], mesh: Mesh) -> PyTree[Array]:
    """This host's equal part of a batch as global arrays, split over all devices."""
    sharding = over_devices(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)


def spread_batch(images: np.ndarray, mesh: Mesh) -> Array:
    """Images that every host has whole as one global array, split over all devices."""
    return jax.make_array_from_callback(
        images.shape, over_devices(mesh), lambda index: images[index]
    )


def _divisors(number: int) -> list[int]:
    return [i for i in range(1, number + 1) if number % i == 0]
