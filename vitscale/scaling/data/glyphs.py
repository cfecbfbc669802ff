"""Glyphs: an endless stream of procedural characters, drawn on the device inside the training step.

A class is three curved strokes (quadratic Bezier curves). An image of it bends, turns, shears, scales
and shifts them anew and varies the pen, so no two images are alike and data is never what limits
learning, as the scaling law assumes. Training classes have long-tailed (Zipf) frequencies; a set of
classes is held out of training for few-shot measurements. No file, no download, no repeats.

The classes are fixed by `CLASS_SEED`, not by a trial's seed: every trial sees the same world.
"""

import functools

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vitscale.scaling.data.batch import Batch, FewshotTask, ImageSet, image_set
from vitscale.scaling.data.catalog import CATALOG

CLASS_SEED = 20210608
HELD_OUT_CLASSES = 32
ZIPF_EXPONENT = 1.0
STROKES = 3
POINTS_A_STROKE = 10
IMAGE_SIZE = CATALOG["glyphs"].image_size
CLASSES = CATALOG["glyphs"].classes

_POOL_A_CLASS, _TEST_A_CLASS = 32, 64
_EVALUATION_EXAMPLES = 2048
_TASK_SEED = 7

_BEND = (
    0.12  # how far control points move from one image of a class to the next; the page is 2 wide
)
_TURN, _SHEAR, _SCALE, _SHIFT = 0.2, 0.15, 0.12, 0.12
_PEN, _PEN_SPREAD = 0.09, 0.2  # radius of the pen, and its relative variation


def training_batch(key: Key[Array, ""], size: int) -> Batch:
    """`size` images of the training classes, class k with probability proportional to 1/k^zipf."""
    noise = _noise(key, size)
    uniform = jax.scipy.special.ndtr(noise[:, -1:])
    labels = (uniform > jnp.asarray(_cumulative_frequencies())[:-1]).sum(-1)
    return Batch(_draw(noise, jnp.asarray(_strokes())[labels]), labels)


def held_out_images(
    key: Key[Array, ""], labels: Int[Array, " batch"]
) -> Float[Array, "batch h w 1"]:
    """Images of the held-out classes `labels`, from 0 to `HELD_OUT_CLASSES` - 1."""
    return _draw(_noise(key, len(labels)), jnp.asarray(_strokes())[CLASSES + labels])


@functools.cache
def evaluation_images() -> ImageSet:
    """Fresh images of the training classes; the same whatever the trial."""
    key = jax.random.fold_in(jax.random.key(_TASK_SEED), 1)
    images, labels = jax.jit(training_batch, static_argnums=1)(key, _EVALUATION_EXAMPLES)
    return image_set(np.asarray(images), np.asarray(labels), classes=CLASSES)


@functools.cache
def held_out_task() -> FewshotTask:
    """The held-out classes as a few-shot task; the same images whatever the trial."""
    pool_key, test_key = jax.random.split(jax.random.key(_TASK_SEED))
    pool_labels = np.tile(np.arange(HELD_OUT_CLASSES), _POOL_A_CLASS)
    test_labels = np.tile(np.arange(HELD_OUT_CLASSES), _TEST_A_CLASS)
    pool = held_out_images(pool_key, jnp.asarray(pool_labels))
    test = held_out_images(test_key, jnp.asarray(test_labels))
    return FewshotTask(
        pool=image_set(np.asarray(pool), pool_labels), test=image_set(np.asarray(test), test_labels)
    )


_BENDS = STROKES * 3 * 2
_NUMBERS_AN_IMAGE = _BENDS + 8  # bends, turn, shear, two scales, two shifts, pen, class


def _noise(key: Key[Array, ""], size: int) -> Float[Array, "batch numbers"]:
    """All random numbers of `size` images in one call: each call costs a third of a second to compile."""
    return jax.random.normal(key, (size, _NUMBERS_AN_IMAGE))


def _draw(
    noise: Float[Array, "batch numbers"], strokes: Float[Array, "batch strokes 3 2"]
) -> Float[Array, "batch h w 1"]:
    """Draw varied images of glyphs given by the control points of their strokes, in [-1, 1]^2."""
    strokes = strokes + _BEND * noise[:, :_BENDS].reshape(strokes.shape)
    points = jnp.einsum("tc,bscd->bstd", jnp.asarray(_bernstein()), strokes)
    points = _affine(noise[:, _BENDS : _BENDS + 6], points.reshape(len(strokes), -1, 2))
    pen = _PEN * jnp.exp(_PEN_SPREAD * noise[:, _BENDS + 6])[:, None, None, None]
    # A round brush is the product of its profiles along x and y, so a glyph is one small matrix
    # product a point: cheap enough to draw within the training step.
    grid = (jnp.arange(IMAGE_SIZE) + 0.5) / IMAGE_SIZE * 2 - 1
    profile = jnp.exp(-0.5 * ((points[..., None] - grid) / pen) ** 2)
    ink = jnp.einsum("bpy,bpx->byx", profile[:, :, 1], profile[:, :, 0])
    return (1 - 2 * jnp.exp(-2 * ink))[..., None]


def _affine(noise: Float[Array, "batch 6"], points: Float[Array, "batch points 2"]) -> Array:
    """Turn, shear, scale and shift each glyph by its own random amount."""
    turn, shear = _TURN * noise[:, 0], _SHEAR * noise[:, 1]
    scale_x, scale_y = jnp.exp(_SCALE * noise[:, 2]), jnp.exp(_SCALE * noise[:, 3])
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    x, y = points[..., 0].T, points[..., 1].T
    turned = jnp.stack(
        [scale_x * cos * x + (shear - scale_y * sin) * y, scale_x * sin * x + scale_y * cos * y]
    )
    return turned.transpose(2, 1, 0) + _SHIFT * noise[:, None, 4:6]


@functools.cache
def _strokes() -> np.ndarray:
    """Control points of every class, held-out ones last: (classes, strokes, 3, 2)."""
    rng = np.random.default_rng(CLASS_SEED)
    shape = (CLASSES + HELD_OUT_CLASSES, STROKES, 3, 2)
    return rng.uniform(-0.85, 0.85, shape).astype(np.float32)


@functools.cache
def _cumulative_frequencies() -> np.ndarray:
    frequency = 1.0 / np.arange(1, CLASSES + 1) ** ZIPF_EXPONENT
    return (np.cumsum(frequency) / frequency.sum()).astype(np.float32)


@functools.cache
def _bernstein() -> np.ndarray:
    """Weights of the three control points at each point along a stroke: (points, 3)."""
    t = np.linspace(0, 1, POINTS_A_STROKE)[:, None]
    return np.hstack([(1 - t) ** 2, 2 * t * (1 - t), t**2]).astype(np.float32)
