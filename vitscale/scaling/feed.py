"""Training batches on the devices, from wherever their source has them."""

import contextlib
from collections.abc import Generator, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from vitscale.scaling.data.batch import Batch, Source
from vitscale.scaling.mesh import place_batch


def device_batches(
    sources: Sequence[Source], mesh: Mesh, first_step: int
) -> Generator[Batch | None, None, None]:
    """Batches from `first_step` on, without end; None where the step draws its own.

    - `sources`: one for each trial that is trained together with others; more than one are stacked.

    Each host reads its own part of every batch.
    """
    streams = [source.stream for source in sources if source.stream is not None]
    if not streams:
        while True:
            yield None
    with contextlib.ExitStack() as stack:
        opened = []
        for stream in streams:
            batches = stream(first_step, host=jax.process_index(), hosts=jax.process_count())
            opened.append(stack.enter_context(contextlib.closing(batches)))
        while True:
            parts = [next(batches) for batches in opened]
            stacked = Batch(*(np.stack(arrays) for arrays in zip(*parts, strict=True)))
            yield place_batch(parts[0] if len(parts) == 1 else stacked, mesh)
