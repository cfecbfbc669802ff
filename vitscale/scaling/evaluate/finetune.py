"""Fine-tuning of the whole model on a task's images, also at a higher resolution.

The protocol of the Vision Transformer (arXiv 2010.11929, Section 3.2 and Appendix B.1.1): a new
classifier that starts at zero, SGD with momentum, cosine decay, gradients clipped, no weight decay;
at another resolution the patch size stays and positions are interpolated. Images are taken as the
source gives them, without augmentation, and are enlarged where the resolution is higher.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import nnx
from jax import numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PyTree
from scipy import special

from vitscale.scaling.data.batch import FewshotTask, ImageSet, Source, to_unit_range
from vitscale.scaling.evaluate.finetune_settings import (
    HIGH_RESOLUTION,
    FinetuneSettings,
    settings_for,
)
from vitscale.scaling.evaluate.finite import NotFiniteError
from vitscale.scaling.evaluate.frozen import FORWARD_BATCH, FrozenModel, Metric
from vitscale.scaling.evaluate.held_out import held_out_split
from vitscale.scaling.models.resize import resize_positions
from vitscale.scaling.models.vit import Vit, merge_vit, split_vit
from vitscale.scaling.schedule import learning_rate_factor


class Labelled(NamedTuple):
    """Images in memory, as bytes or from -1 to 1, and their classes."""

    images: Any
    labels: Int[np.ndarray, " n"]

    def at(self, positions: Int[np.ndarray, " m"]) -> "Labelled":
        """Those at some positions."""
        return Labelled(self.images[positions], self.labels[positions])


class _State(NamedTuple):
    params: PyTree[Array]
    momentum: PyTree[Array]


class _Tuning(NamedTuple):
    """Compiled functions of one model, number of classes and resolution."""

    init: Callable[[PyTree[Array]], _State]
    step: Callable[[_State, ArrayLike, ArrayLike, ArrayLike], tuple[_State, Array]]
    logits: Callable[[PyTree[Array], ArrayLike], Array]


def metrics(model: FrozenModel, source: Source) -> Iterator[Metric]:
    """`<task>_finetune_error` of every few-shot task: trained on its pool, at the recipe's image size."""
    yield from _metrics(model, source, model.recipe.image_size, "finetune_error")


def high_resolution_metrics(model: FrozenModel, source: Source) -> Iterator[Metric]:
    """`<task>_finetune_high_resolution_error`: at 384/224 times the recipe's image size, to whole
    patches."""
    patch = model.shape.patch
    size = max(1, round(model.recipe.image_size * HIGH_RESOLUTION / patch)) * patch
    yield from _metrics(model, source, size, "finetune_high_resolution_error")


def _metrics(model: FrozenModel, source: Source, image_size: int, suffix: str) -> Iterator[Metric]:
    for name, build in source.fewshot_tasks.items():
        error = finetune_error(model, build(), settings_for(name), image_size=image_size)
        yield Metric(f"{name}_{suffix}", error)


def finetune_error(
    model: FrozenModel,
    task: FewshotTask,
    settings: FinetuneSettings,
    *,
    image_size: int,
    seed: int = 0,
) -> float:
    """Error on the test images of `model` trained further on the pool images of `task`.

    - `image_size`: to which images are resized, and for which positions are interpolated.
    - `seed`: of the order of the images and of what is held out to choose the learning rate.

    The images are held in memory. Raises `NotFiniteError` where no learning rate gives a finite loss.
    """
    pool, test = _in_memory(task.pool), _in_memory(task.test)
    classes = max(task.pool.classes, task.test.classes)
    tuning = _tuning_of(model, settings, classes, image_size)

    def train(data: Labelled, rate: float) -> PyTree[Array]:
        start = tuning.init(_initial(model, classes, image_size))
        return _train(tuning, start, settings, data, rate, seed)

    rate = settings.learning_rates[0]
    if len(settings.learning_rates) > 1:
        kept, held_out = held_out_split(pool.labels, settings.held_out, seed)
        # A pool with too few examples of each class to hold any out is judged by its training loss.
        judge = pool.at(held_out) if len(held_out) else pool
        losses = [
            _loss(tuning, train(pool.at(kept), rate), judge) for rate in settings.learning_rates
        ]
        rate = settings.learning_rates[int(np.argmin(losses))]
    logits = _logits(tuning, train(pool, rate), test)
    if not np.isfinite(logits).all():
        raise NotFiniteError(
            f"fine-tuning at a learning rate of {rate:g} gives NaN or infinity; use smaller ones"
        )
    return float(np.mean(logits.argmax(1) != test.labels))


def _in_memory(images: ImageSet) -> Labelled:
    parts = [Labelled(*batch) for batch in images.batches(FORWARD_BATCH)]
    labels = np.concatenate([np.asarray(part.labels) for part in parts])
    pixels = np.concatenate([np.asarray(part.images) for part in parts])
    return Labelled(pixels, labels).at(np.flatnonzero(labels >= 0))


def _tuning_of(
    model: FrozenModel, settings: FinetuneSettings, classes: int, image_size: int
) -> _Tuning:
    vit = functools.partial(
        Vit,
        model.shape,
        image_size=image_size,
        channels=model.recipe.channels,
        readout=model.recipe.readout,
        classes=classes,
        # Unrolled blocks are a dict by number, scanned ones one stack.
        layout="unrolled" if 0 in model.params["blocks"] else "scanned",
        dtype=jnp.dtype(model.recipe.precision),
    )
    graph = split_vit(nnx.eval_shape(vit))[0]
    return _tuning(graph, image_size, settings.momentum, settings.clip_norm)


@functools.lru_cache(maxsize=16)
def _tuning(graph: nnx.GraphDef, image_size: int, momentum: float, clip_norm: float) -> _Tuning:
    """The functions, compiled once for all durations of a trial."""
    optimizer = optax.chain(optax.clip_by_global_norm(clip_norm), optax.trace(momentum))

    def logits(params: PyTree[Array], images: ArrayLike) -> Array:
        return merge_vit(graph, params)(_resized(to_unit_range(images, jnp), image_size))

    def loss(params: PyTree[Array], images: ArrayLike, labels: ArrayLike) -> Array:
        of_images = optax.softmax_cross_entropy_with_integer_labels
        return of_images(logits(params, images), labels).mean()

    def step(
        state: _State, images: ArrayLike, labels: ArrayLike, learning_rate: ArrayLike
    ) -> tuple[_State, Array]:
        value, gradients = jax.value_and_grad(loss)(state.params, images, labels)
        updates, momentum = optimizer.update(gradients, state.momentum)
        params = jax.tree.map(lambda p, u: p - learning_rate * u, state.params, updates)
        return _State(params, momentum), value

    return _Tuning(
        init=lambda params: _State(params, optimizer.init(params)),
        step=jax.jit(step, donate_argnums=0),
        logits=jax.jit(logits),
    )


def _initial(model: FrozenModel, classes: int, image_size: int) -> PyTree[Array]:
    """The model's parameters, copied, with positions for the image size and a classifier of zeros."""
    params = jax.tree.map(jnp.array, model.params)
    return {
        **params,
        "position": resize_positions(params["position"], image_size // model.shape.patch),
        "head": {"kernel": jnp.zeros((model.shape.width, classes)), "bias": jnp.zeros(classes)},
    }


def _resized(images: Float[Array, "b h w c"], size: int) -> Float[Array, "b size size c"]:
    if images.shape[1:3] == (size, size):
        return images
    shape = (len(images), size, size, images.shape[-1])
    return jax.image.resize(images, shape, "bilinear")


def _train(
    tuning: _Tuning,
    state: _State,
    settings: FinetuneSettings,
    data: Labelled,
    peak: float,
    seed: int,
) -> PyTree[Array]:
    """Parameters after all steps at one peak learning rate."""
    for step, chosen in enumerate(_order(len(data.labels), settings, seed)):
        factor = learning_rate_factor(
            "cosine",
            step,
            warmup_steps=settings.warmup_steps,
            timescale_steps=1,
            total_steps=settings.steps,
            cooldown_steps=0,
        )
        state, _ = tuning.step(state, *data.at(chosen), np.float32(peak * factor))
    return state.params


def _order(
    examples: int, settings: FinetuneSettings, seed: int
) -> Iterator[Int[np.ndarray, " batch"]]:
    """Positions of each step's batch: one random order of all examples after another, cut up."""
    rng = np.random.default_rng(seed)
    size, waiting = settings.batch_size, np.empty(0, np.int64)
    for _ in range(settings.steps):
        while len(waiting) < size:
            waiting = np.concatenate([waiting, rng.permutation(examples)])
        yield waiting[:size]
        waiting = waiting[size:]


def _logits(
    tuning: _Tuning, params: PyTree[Array], data: Labelled
) -> Float[np.ndarray, "n classes"]:
    parts = []
    for start in range(0, len(data.labels), FORWARD_BATCH):
        images = data.images[start : start + FORWARD_BATCH]
        # The last batch is filled up, so that one size, and one compilation, serves all.
        full = np.resize(images, (FORWARD_BATCH, *images.shape[1:]))
        parts.append(np.asarray(tuning.logits(params, full))[: len(images)])
    return np.concatenate(parts)


def _loss(tuning: _Tuning, params: PyTree[Array], data: Labelled) -> float:
    """Cross-entropy in nats, infinite where it is not finite."""
    logits = _logits(tuning, params, data).astype(np.float64)
    if not np.isfinite(logits).all():
        return np.inf
    return -float(special.log_softmax(logits, axis=1)[np.arange(len(logits)), data.labels].mean())
