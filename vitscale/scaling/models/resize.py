"""Parameters for another image size or patch size: positions and the patches' kernel are resized.

Blocks, class token, readout and classifier need no change. Positions are interpolated bicubically,
which keeps their norm where bilinear shrinks it (Touvron's thesis on DeiT, Section 3.2); the kernel
is resized such that a resized patch has the same embedding (FlexiViT, arXiv 2212.08013, Section 3.3).
"""

import dataclasses
import math

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Array, Float, PyTree

from vitscale.scaling.models.weights.spec import VitSpec


def resize_positions(
    positions: Float[Array | np.ndarray, "1 tokens width"], to_side: int
) -> Float[Array | np.ndarray, "1 resized_tokens width"]:
    """Learned positions for a grid of `to_side` x `to_side` patches.

    Keys's cubic kernel with a = -0.5 and no antialiasing in either direction; beyond the grid's edge
    its weights are left out and the rest scaled up. (PyTorch has a = -0.75 and repeats the edge.)
    A class token has no position here and so is not touched. Raises `ValueError` where the grid is
    not square or `to_side` is not a size.
    """
    _, tokens, width = positions.shape
    side = math.isqrt(tokens)
    if not side or side * side != tokens:
        raise ValueError(
            f"{tokens} positions are no square grid; expected those of a square image, such as "
            f"14 x 14 = 196"
        )
    _require_size("to_side", to_side)
    if side == to_side:
        return positions
    grid = jnp.asarray(positions, jnp.float32).reshape(side, side, width)
    resized = jax.image.resize(grid, (to_side, to_side, width), "cubic", antialias=False)
    return resized.reshape(1, to_side * to_side, width)


def resize_patch_kernel(
    kernel: Float[Array | np.ndarray, "pixels width"],
    *,
    from_patch: int,
    to_patch: int,
    channels: int,
) -> Float[Array | np.ndarray, "resized_pixels width"]:
    """The kernel that embeds patches of `from_patch` pixels, for patches of `to_patch`.

    With B the bilinear resize of a patch, the new kernel is the pseudo-inverse of B's transpose times
    the old one (FlexiViT, eq. 4). Enlarged patches then have exactly the embedding of the patches
    they were enlarged from; shrunk ones have the closest in the mean over white noise.

    - `kernel`: from pixels, row by row with the channels innermost, to channels of the model.

    Raises `ValueError` where a size is not one or does not fit the kernel.
    """
    for name, size in (("from_patch", from_patch), ("to_patch", to_patch), ("channels", channels)):
        _require_size(name, size)
    if kernel.shape[0] != from_patch**2 * channels:
        raise ValueError(
            f"the kernel has {kernel.shape[0]} pixels, but from_patch={from_patch} and "
            f"channels={channels} make {from_patch**2 * channels}; give the patch size it was made for"
        )
    if from_patch == to_patch:
        return kernel
    # B resizes rows and columns alike, and the pseudo-inverse of a Kronecker product is that of
    # its factors.
    one_axis = jnp.asarray(_pseudo_inverse(from_patch, to_patch))
    pixels = jnp.asarray(kernel, jnp.float32).reshape(from_patch, from_patch, channels, -1)
    resized = jnp.einsum("ra,cb,abkw->rckw", one_axis, one_axis, pixels, precision="highest")
    return resized.reshape(to_patch**2 * channels, -1)


def resize_params(
    params: PyTree[Array | np.ndarray], from_spec: VitSpec, to_spec: VitSpec
) -> PyTree[Array | np.ndarray]:
    """A model's parameters, of `from_spec`, for the image size and patch size of `to_spec`.

    The blocks may be laid out in either way. Raises `ValueError` where the specs differ in anything
    else, which no resizing changes.
    """
    same = dataclasses.replace(
        to_spec,
        image_size=from_spec.image_size,
        shape=dataclasses.replace(to_spec.shape, patch=from_spec.shape.patch),
    )
    if same != from_spec:
        raise ValueError(
            f"{to_spec} differs from {from_spec} in more than image size and patch; resizing changes "
            f"no more than these"
        )
    kernel = resize_patch_kernel(
        params["embedding"]["kernel"],
        from_patch=from_spec.shape.patch,
        to_patch=to_spec.shape.patch,
        channels=from_spec.channels,
    )
    return {
        **params,
        "embedding": {**params["embedding"], "kernel": kernel},
        "position": resize_positions(params["position"], to_spec.side),
    }


def _pseudo_inverse(from_patch: int, to_patch: int) -> Float[np.ndarray, "resized_pixels pixels"]:
    """Of the transposed bilinear resize along one axis, in float32."""
    # Even inside a jitted function, as the sizes are known.
    with jax.ensure_compile_time_eval():
        resize = jax.image.resize(
            jnp.eye(from_patch), (to_patch, from_patch), "linear", antialias=False
        )
    return np.linalg.pinv(np.asarray(resize, np.float64).T).astype(np.float32)


def _require_size(name: str, value: int) -> None:
    if type(value) is not int or value < 1:
        raise ValueError(f"{name}={value!r} is not a size; expected a whole number from 1")
