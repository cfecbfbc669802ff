"""Weights as the nested parameters that a model takes, and back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from vitscale.scaling.models.weights.rows import require_names, require_size
from vitscale.scaling.models.weights.spec import VitSpec, Weights, parameter_sizes

if TYPE_CHECKING:
    # Outside annotations, these two would import jax.
    from jaxtyping import PyTree

    from vitscale.scaling.models.vit import BlockLayout


def params_from_weights(
    weights: Weights, *, layout: "BlockLayout" = "unrolled"
) -> "PyTree[np.ndarray]":
    """Parameters of a `Vit` with the weights' sizes and these blocks, as `split_vit` nests them.

    "scanned" blocks are stacked along a leading depth axis.
    """
    match layout:
        case "unrolled":
            arrays = weights.arrays
        case "scanned":
            arrays = _stacked(weights)
        case _:
            assert_never(layout)
    tree: dict[str | int, Any] = {}
    for name, array in arrays.items():
        *parents, last = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(int(parent) if parent.isdecimal() else parent, {})
        node[last] = array
    return tree


def weights_from_params(params: "PyTree[Any]", spec: VitSpec) -> Weights:
    """The weights in a model's parameters, however its blocks are laid out, as float32.

    Raises `ValueError` where names or sizes are not those of `spec`.
    """
    arrays = _flat(params, "")
    sizes = parameter_sizes(spec)
    if not any(name.startswith("blocks/0/") for name in arrays):
        arrays = _unstacked(arrays, spec.shape.depth)
    require_names("the parameters", arrays, sizes)
    for name, size in sizes.items():
        require_size(name, arrays[name], size, spec)
    return Weights(spec=spec, arrays={name: np.asarray(arrays[name], np.float32) for name in sizes})


def _flat(tree: Mapping[Any, Any], prefix: str) -> dict[str, np.ndarray]:
    flat = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}/")
        else:
            flat[f"{prefix}{key}"] = np.asarray(value)
    return flat


def _stacked(weights: Weights) -> dict[str, np.ndarray]:
    """The arrays with those of the blocks stacked: `blocks/mlp/...` for `blocks/0/mlp/...`, ..."""
    stacked = {}
    for name, array in weights.arrays.items():
        if not name.startswith("blocks/"):
            stacked[name] = array
        elif name.startswith("blocks/0/"):
            rest = name.removeprefix("blocks/0/")
            blocks = range(weights.spec.shape.depth)
            stacked[f"blocks/{rest}"] = np.stack(
                [weights.arrays[f"blocks/{i}/{rest}"] for i in blocks]
            )
    return stacked


def _unstacked(arrays: dict[str, np.ndarray], depth: int) -> dict[str, np.ndarray]:
    unstacked = {}
    for name, array in arrays.items():
        if not name.startswith("blocks/"):
            unstacked[name] = array
            continue
        if array.ndim < 1 or len(array) != depth:
            raise ValueError(
                f"{name} has the sizes {array.shape}; expected depth={depth} blocks along its "
                f"first axis: give the parameters with the spec that they were made for"
            )
        rest = name.removeprefix("blocks/")
        unstacked |= {f"blocks/{i}/{rest}": array[i] for i in range(depth)}
    return unstacked
