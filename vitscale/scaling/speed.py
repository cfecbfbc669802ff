"""How fast this process trains, measured in some seconds: what estimates of time stand on."""

import contextlib
import itertools
import time
from collections.abc import Sequence

import numpy as np

from vitscale.scaling.data.sources import source_for
from vitscale.scaling.execution import Execution
from vitscale.scaling.feed import device_batches
from vitscale.scaling.progress import Speed
from vitscale.scaling.recipe import Trial
from vitscale.scaling.schedule import NEVER
from vitscale.scaling.train import Run, training_for


def calibrate(
    trials: Sequence[Trial], *, steps: int = 60, execution: Execution | None = None
) -> Speed:
    """Time the cheapest and the dearest shape of `trials` for `steps` steps each; a step is taken to
    cost a fixed overhead plus its FLOPs at a fixed rate."""
    by_cost = sorted(trials, key=Trial.forward_flops_per_example)
    timed = [_time_steps(trial, steps, execution) for trial in (by_cost[0], by_cost[-1])]
    (_, small_seconds, small_flops), (_, large_seconds, large_flops) = timed
    rate = large_flops / large_seconds
    if large_flops > small_flops and large_seconds > small_seconds:
        rate = (large_flops - small_flops) / (large_seconds - small_seconds)
    return Speed(
        compile_seconds=max(compile_seconds for compile_seconds, _, _ in timed),
        step_overhead_seconds=max(0.0, large_seconds - large_flops / rate),
        flops_per_second=rate,
    )


def _time_steps(
    trial: Trial, steps: int, execution: Execution | None
) -> tuple[float, float, float]:
    """Seconds to compile, seconds a step (the best of a few rounds), training FLOPs a step."""
    began = time.monotonic()
    recipe = trial.recipe
    training = training_for(trial.shape, recipe, execution)
    run = Run(np.uint32(recipe.seed), np.float32(0), np.float32(NEVER), np.float32(0))
    with contextlib.closing(device_batches([source_for(recipe)], training.mesh, 0)) as batches:
        state, loss = training.step(training.init(recipe.seed), run, next(batches))
        loss.block_until_ready()
        compile_seconds = time.monotonic() - began
        rounds = []
        for size in itertools.repeat(max(1, steps // 3), 3):
            began = time.monotonic()
            for _ in range(size):
                state, loss = training.step(state, run, next(batches))
            loss.block_until_ready()
            rounds.append((time.monotonic() - began) / size)
    flops = 3.0 * trial.forward_flops_per_example() * recipe.batch_size
    return compile_seconds, min(rounds), flops
