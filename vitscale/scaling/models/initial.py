"""Parameters to start training from, drawn for any model of the family from one stream of numbers.

All parameters are cut from a single uniform draw, because each random call inside a jitted function
costs a third of a second to compile, as much as hundreds of steps of a small ViT. The numbers do not
depend on how the blocks are laid out.
"""

from typing import Any

import jax
from jax import numpy as jnp
from jaxtyping import Array, Key, PyTree

POSITION_STD = 0.9
"""Initial size of learned positions, about that of embedded patches. With big_vision's
1/sqrt(width), small nets spend their first thousand steps on telling positions apart, and the deeper
the net the longer: at width 32 and 800 steps, depth 4 ended 0.26 nats behind depth 1, and with 0.9 a
little ahead of it."""


def draw_parameters(
    template: PyTree[Any], key: Key[Array, ""], *, head_bias: float = 0.0
) -> PyTree[Array]:
    """Parameters with the shapes of `template`, nested dicts such as `split_vit` gives.

    Kernels and probes are Xavier-uniform; the classifier's kernel is zero and its bias `head_bias`;
    positions are uniform with standard deviation `POSITION_STD`; norms start as the identity, all
    else at zero. Starting what writes to the residual stream smaller by 1/sqrt(2 depth), as GPT-2
    does, measured worse at every depth tried.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    paths = [[entry.key for entry in path] for path, _ in leaves]
    shapes = [leaf.shape for _, leaf in leaves]
    limits = [_limit(path, shape) for path, shape in zip(paths, shapes, strict=True)]
    drawn = sorted((i for i, limit in enumerate(limits) if limit), key=lambda i: _order(paths[i]))
    total = sum(_size(shapes[i]) for i in drawn)
    numbers = jax.random.uniform(key, (total,), minval=-1.0)
    values = [_constant(p, s, head_bias) for p, s in zip(paths, shapes, strict=True)]
    start = 0
    for i in drawn:
        end = start + _size(shapes[i])
        values[i] = limits[i] * numbers[start:end].reshape(shapes[i])
        start = end
    return jax.tree_util.tree_unflatten(structure, values)


def _limit(path: list[str | int], shape: tuple[int, ...]) -> float:
    """Half the width of the uniform distribution of a parameter; 0 for a constant one."""
    if path[0] == "head":
        return 0.0
    match path[-1]:
        case "kernel":
            return (6 / (shape[-2] + shape[-1])) ** 0.5
        case "probe":
            return (6 / (1 + shape[-1])) ** 0.5
        case "position":
            return 3**0.5 * POSITION_STD
        case _:
            return 0.0


def _constant(path: list[str | int], shape: tuple[int, ...], head_bias: float) -> Array:
    if path[0] == "head" and path[-1] == "bias":
        return jnp.full(shape, head_bias, jnp.float32)
    return jnp.ones(shape) if path[-1] == "scale" else jnp.zeros(shape)


def _order(path: list[str | int]) -> tuple[list[str], list[int]]:
    """Unrolled blocks follow one another parameter by parameter, as they lie in a scanned stack."""
    names = [entry for entry in path if isinstance(entry, str)]
    return names, [entry for entry in path if isinstance(entry, int)]


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
