"""What training minimises: softmax or sigmoid cross-entropy, and the targets of a batch."""

import math
from typing import assert_never

import jax
import optax
from jax import numpy as jnp
from jaxtyping import Array, Float, Int

from vitscale.scaling.recipe import Loss


def class_targets(
    labels: Int[Array, " batch"], classes: int, label_smoothing: float = 0.0
) -> Float[Array, "batch classes"]:
    """One-hot targets, `label_smoothing` of their weight spread evenly over all classes."""
    targets = jax.nn.one_hot(labels, classes)
    if not label_smoothing:
        return targets
    return (1 - label_smoothing) * targets + label_smoothing / classes


def cross_entropy(
    logits: Float[Array, "batch classes"], targets: Float[Array, "batch classes"], loss: Loss
) -> Float[Array, ""]:
    """Mean loss of a batch in nats: softmax, or sigmoid summed over classes."""
    match loss:
        case "softmax":
            return optax.softmax_cross_entropy(logits, targets).mean()
        case "sigmoid":
            return optax.sigmoid_binary_cross_entropy(logits, targets).sum(-1).mean()
        case _:
            assert_never(loss)


def mixed_up(
    images: Float[Array, "batch height width channels"],
    targets: Float[Array, "batch classes"],
    key: Array,
    alpha: float,
) -> tuple[Array, Array]:
    """Mixup: each image and target blended with the next one's by one weight from Beta(alpha, alpha).

    Zhang et al. 2018, arXiv 1710.09412; one weight for a batch, as in the public code of AugReg.
    """
    weight = jax.random.beta(key, alpha, alpha)
    weight = jnp.maximum(weight, 1 - weight)
    blend = lambda x: weight * x + (1 - weight) * jnp.roll(x, 1, axis=0)  # noqa: E731
    return blend(images), blend(targets)


SIGMOID_HEAD_BIAS = -10.0
"""What the classifier's biases start at under the sigmoid loss: with thousands of classes, almost none is
there (Scaling Vision Transformers, Appendix C)."""


def untrained_loss(loss: Loss, classes: int) -> float:
    """Loss in nats of a model that knows nothing of the images: what training must stay well below.

    For the sigmoid loss that is where training starts, or what the frequency of evenly frequent classes
    gives, whichever is more.
    """
    if loss == "softmax":
        return math.log(classes)
    rare = math.log1p(math.exp(SIGMOID_HEAD_BIAS))
    start = classes * rare - SIGMOID_HEAD_BIAS
    by_frequency = math.log(classes) + (classes - 1) * math.log(classes / max(classes - 1, 1))
    return max(start, by_frequency)
