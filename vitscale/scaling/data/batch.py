"""Labelled images, as training and evaluation pass them on."""

import dataclasses
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, UInt8


class Batch(NamedTuple):
    """Images, and the class of each.

    Images are floats from -1 to 1 or bytes from 0 to 255, which mean the same (`to_unit_range`); a class
    of -1 is an example that only fills up a batch.
    """

    images: Float[Any, "batch height width channels"] | UInt8[Any, "batch height width channels"]
    labels: Int[Any, " batch"]


def to_unit_range(images: Any, xp: Any = np) -> Any:
    """Bytes as floats from -1 to 1 (the papers' value range); floats as they are."""
    if images.dtype == np.uint8:
        return images.astype(xp.float32) * (2 / 255) - 1
    return images


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSet:
    """A finite set of labelled images that is read in order, any number of times.

    - `examples`: how many. `classes`: labels are from 0 to `classes` - 1.
    - `batches(size)`: all of them once, in a fixed order; the last batch may be smaller.
    """

    examples: int
    classes: int
    batches: Callable[[int], Iterator[Batch]]


def image_set(
    images: Float[np.ndarray, "n height width channels"] | UInt8[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"],
    *,
    classes: int | None = None,
) -> ImageSet:
    """Arrays in memory as an `ImageSet`; `classes` is by default one more than the largest label."""

    def batches(size: int) -> Iterator[Batch]:
        for start in range(0, len(images), size):
            yield Batch(images[start : start + size], labels[start : start + size])

    return ImageSet(
        examples=len(images),
        classes=int(labels.max()) + 1 if classes is None else classes,
        batches=batches,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FewshotTask:
    """Images to draw few-shot training sets from, and the images to test on."""

    pool: ImageSet
    test: ImageSet


Stream = Callable[..., Generator[Batch, None, None]]
"""`stream(first_step, host, hosts)`: training batches of real images from `first_step` on, without end.

Each is this host's equal part of the batch of its step, as bytes. Batches are a function of the recipe
(its seed with it) and the step alone, so that a run resumes anywhere and gives the same ones."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """Images to train on and to measure on.

    - `classes`: to train on.
    - `drawn(key, size)`: a training batch made on the device, inside the jitted step; or None.
    - `stream`: training batches read on the host; or None. One of the two is given.
    - `evaluation`: images of the training classes that are never trained on.
    - `fewshot_tasks`: by metric prefix; each is built when it is first needed.
    """

    classes: int
    drawn: Callable[[Array, int], Batch] | None = None
    stream: Stream | None = None
    evaluation: Callable[[], ImageSet]
    fewshot_tasks: dict[str, Callable[[], FewshotTask]]
