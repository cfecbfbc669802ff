"""How fast a compiled step trains, in steps that are really run."""

import contextlib
import math
import time

import jax
import numpy as np

from vitscale.scaling.data.sources import source_for
from vitscale.scaling.feed import device_batches
from vitscale.scaling.finder.step import CompiledStep, refusing_memory
from vitscale.scaling.recipe import Recipe

_ROUNDS = 3
_ROUND_SECONDS = 0.5
_MOST_STEPS = 50


def images_per_second(step: CompiledStep, recipe: Recipe) -> float:
    """Images a second on all devices: the best of three rounds of about half a second.

    Parameters are those of a real start, because devices draw less power, and run faster, on zeros. The
    batch lies on the devices already. Raises `OutOfMemoryError` where they cannot hold it all.
    """
    training, rounds = step.training, []
    with (
        refusing_memory(),
        contextlib.closing(device_batches([source_for(recipe)], training.mesh, 0)) as batches,
    ):
        batch, state = next(batches), training.init(np.uint32(recipe.seed))
        state, loss = step.executable(state, step.run, batch)
        jax.block_until_ready(loss)
        size = 1
        for _ in range(1 + _ROUNDS):  # the first tells how many steps a round takes
            began = time.monotonic()
            for _ in range(size):
                state, loss = step.executable(state, step.run, batch)
            jax.block_until_ready((state, loss))
            rounds.append((time.monotonic() - began) / size)
            size = max(1, min(_MOST_STEPS, math.ceil(_ROUND_SECONDS / min(rounds))))
    return recipe.batch_size / min(rounds)
