"""Endless training batches of a stored data set.

What is in a batch is a function of the recipe and the step alone: example p of step s stands at place
s * batch_size + p of the stream, and the order of examples and all that varies an image are functions
of the seed and the place. So a run resumes anywhere, hosts read equal parts of each batch, and threads
and processes change nothing.
"""

import os
from collections.abc import Callable, Generator
from typing import NamedTuple, assert_never

import numpy as np
from jaxtyping import Int

from vitscale.scaling.data.batch import Batch
from vitscale.scaling.data.boxes import Boxes
from vitscale.scaling.data.examples import squares_of
from vitscale.scaling.data.order import Order
from vitscale.scaling.data.prefetch import prefetched
from vitscale.scaling.data.selection import Selection
from vitscale.scaling.data.vary import training_boxes, varied
from vitscale.scaling.recipe import Recipe

_CHUNK = 32
_AHEAD = 4

MakeBatch = Callable[[Int[np.ndarray, " n"]], Batch]
"""Places in the stream to the examples there."""


def stream(
    recipe: Recipe, selection: Selection, first_step: int = 0, host: int = 0, hosts: int = 1
) -> Generator[Batch, None, None]:
    """This host's equal part of each batch from `first_step` on; close it to end its threads.

    Small images of one size are cut and varied a batch at a time in one thread; others by Grain, in
    a thread for each processor, or in `VITSCALE_DATA_WORKERS` processes where that is set. Raises
    `ValueError` where the hosts cannot share a batch equally, and for images that cannot be used.
    """
    if recipe.batch_size % hosts or not 0 <= host < hosts:
        raise ValueError(
            f"batch_size={recipe.batch_size} cannot be shared equally by {hosts} hosts (this is "
            f"number {host}); use a multiple of the number of hosts"
        )
    share = _Share(recipe.batch_size, host, recipe.batch_size // hosts, first_step)
    match selection.stored.loader:
        case "decoded":
            make = training_examples(recipe, selection)
            return prefetched(
                lambda step: make(share.places(step, 0, share.size)), first_step, ahead=_AHEAD
            )
        case "encoded":
            return _with_grain(_Chunks(recipe, selection, share), share)
        case _:
            assert_never(selection.stored.loader)


def training_examples(recipe: Recipe, selection: Selection) -> MakeBatch:
    """What makes the training examples at given places of the stream."""
    squares = squares_of(
        selection.stored, selection.train, image_size=recipe.image_size, channels=recipe.channels
    )
    order = Order(recipe.seed, selection.train_examples)

    def make(places: Int[np.ndarray, " n"]) -> Batch:
        def boxes_of(heights: Int[np.ndarray, " n"], widths: Int[np.ndarray, " n"]) -> Boxes:
            return training_boxes(recipe, places, heights, widths)

        images, labels = squares(order.at(places), boxes_of)
        return Batch(varied(recipe, places, images), labels)

    return make


class _Share(NamedTuple):
    """A host's `size` places in each batch of `batch_size`, from `first_step` on."""

    batch_size: int
    host: int
    size: int
    first_step: int

    @property
    def chunks(self) -> int:
        """Pieces that a share is made in, so that threads share the work of one batch too."""
        return -(-self.size // _CHUNK)

    def places(self, step: int, start: int, stop: int) -> Int[np.ndarray, " n"]:
        first = step * self.batch_size + self.host * self.size
        return np.arange(first + start, first + min(stop, self.size))


class _Chunks:
    """The chunks of all steps by number, as Grain takes a source of data."""

    def __init__(self, recipe: Recipe, selection: Selection, share: _Share) -> None:
        self._made_of = (recipe, selection, share)
        self._share, self._make = share, training_examples(recipe, selection)

    def __reduce__(self):
        return _Chunks, self._made_of  # each process opens the files anew

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> Batch:
        step, chunk = divmod(index, self._share.chunks)
        first = chunk * _CHUNK
        step += self._share.first_step
        return self._make(self._share.places(step, first, first + _CHUNK))


def _with_grain(source: _Chunks, share: _Share) -> Generator[Batch, None, None]:
    import grain

    workers = _data_workers()
    threads = 1 if workers else os.cpu_count() or 1
    buffered = max(_AHEAD * share.chunks, 2 * threads)
    chunks = grain.MapDataset.source(source).to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=buffered)
    )
    if workers:
        from absl import flags

        flags.FLAGS.mark_as_parsed()  # Grain reads its flags, which are at their defaults
        chunks = chunks.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2)
        )
    iterator = iter(chunks)
    try:
        while True:
            parts = [next(iterator) for _ in range(share.chunks)]
            images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
            yield Batch(images, labels)
    finally:
        iterator.close()


def _data_workers() -> int:
    """Processes to read images in; 0 for threads of this one."""
    text = os.environ.get("VITSCALE_DATA_WORKERS", "0")
    if not text.isdecimal():
        raise ValueError(f"VITSCALE_DATA_WORKERS={text!r} is not a number of processes, 0 or more")
    return int(text)
