"""The Adafactor of Scaling Vision Transformers (arXiv 2106.04560, Section 3.4 and Appendix B).

It differs from Adafactor's own paper (arXiv 1804.04235): updates are neither clipped nor scaled by
the size of the parameters, the second moment forgets at least a thousandth a step, and there is
momentum, in half precision. Its state is half the bytes of float32 parameters, of which nearly all
is the momentum.
"""

from typing import Any, NamedTuple

import jax
import optax
from jax import numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from vitscale.scaling.models.stacked import is_stacked
from vitscale.scaling.optimizers.storage import stored_in
from vitscale.scaling.recipe import Precision

_MOMENTUM = 0.9
_DECAY_EXPONENT = 0.8
_MAX_DECAY = 0.999
_EPSILON = 1e-30  # added to squared gradients
_MIN_FACTORED_SIZE = 32  # big_vision's `scale_by_adafactor`; optax's own default is 128


class Factored(NamedTuple):
    """Mean squared gradients of matrices over their columns (`row`) and over their rows (`column`)."""

    row: Float[Array, "*stack rows"]
    column: Float[Array, "*stack columns"]


class FactoredState(NamedTuple):
    """Steps taken, and for each parameter a `Factored` second moment or, if it is small, a full one."""

    step: Int[Array, ""]
    moments: PyTree[Any]


def adafactor(*, momentum_dtype: Precision = "bfloat16") -> optax.GradientTransformation:
    """Updates for a learning rate of one: gradients by the root of a factored second moment, averaged.

    Parameters are nested dicts as `split_vit` gives them, so that those of scanned blocks are known.
    State: half the bytes of float32 parameters with a bfloat16 momentum.
    """
    momentum = stored_in(optax.ema(_MOMENTUM, debias=False), "ema", momentum_dtype)
    return optax.chain(scale_by_factored_moment(), momentum)


def scale_by_factored_moment() -> optax.GradientTransformation:
    """Divide gradients by the root of their second moment, which matrices keep by rows and columns.

    The moment of element (i, j) is row_i column_j / mean(row). Both are averages with the decay
    min(0.999, 1 - t**-0.8) at step t = 1, 2, ... Matrices are the last two axes of a parameter, each
    at least 32 long. The depth axis of scanned blocks is never one of them: `optax` would factor over
    the two longest axes, which makes a scanned model train unlike the same one unrolled.
    """

    def init(params: PyTree[Array]) -> FactoredState:
        moments = jax.tree_util.tree_map_with_path(_empty_moment, params)
        return FactoredState(jnp.zeros((), jnp.int32), moments)

    def update(
        gradients: PyTree[Array], state: FactoredState, params: PyTree[Array] | None = None
    ) -> tuple[PyTree[Array], FactoredState]:
        step = state.step + 1
        decay = jnp.minimum(_MAX_DECAY, 1.0 - step.astype(jnp.float32) ** -_DECAY_EXPONENT)
        moments = jax.tree.map(lambda g, m: _averaged(g, m, decay), gradients, state.moments)
        updates = jax.tree.map(_normalized, gradients, moments)
        return updates, FactoredState(step, moments)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def _empty_moment(path: tuple[Any, ...], param: Array) -> Factored | Array:
    shape = param.shape
    layer_shape = shape[1:] if is_stacked(path) else shape
    if len(layer_shape) < 2 or min(layer_shape[-2:]) < _MIN_FACTORED_SIZE:
        return jnp.zeros_like(param)
    return Factored(
        row=jnp.zeros(shape[:-1], param.dtype),
        column=jnp.zeros((*shape[:-2], shape[-1]), param.dtype),
    )


def _averaged(gradient: Array, moment: Factored | Array, decay: Array) -> Factored | Array:
    squared = gradient**2 + _EPSILON
    if isinstance(moment, Factored):
        seen = Factored(row=squared.mean(axis=-1), column=squared.mean(axis=-2))
    else:
        seen = squared
    return jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, moment, seen)


def _normalized(gradient: Array, moment: Factored | Array) -> Array:
    if not isinstance(moment, Factored):
        return gradient * moment**-0.5
    row = moment.row / moment.row.mean(axis=-1, keepdims=True)
    return gradient * row[..., :, None] ** -0.5 * moment.column[..., None, :] ** -0.5
