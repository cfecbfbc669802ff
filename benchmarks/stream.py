"""What part of a training step goes into drawing its images? They are drawn inside the step.

Times a step with images drawn in it against the same step on a fixed batch, alternating.

    uv run python benchmarks/stream.py                   # about 1 minute
"""

import dataclasses
import os
import time

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("NPROC", "1")

import jax
import numpy as np

from vitscale.scaling.data import glyphs
from vitscale.scaling.data.batch import Batch
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.schedule import NEVER
from vitscale.scaling.shape import Shape
from vitscale.scaling.train import Run, Training, training_for

SHAPES = ((8, 1, 16), (12, 5, 48), (24, 5, 48), (48, 6, 128))


def milliseconds(training: Training, batch: Batch | None, steps: int = 60) -> float:
    """Time of one step."""
    run = Run(np.uint32(0), np.float32(1e-3), np.float32(NEVER), np.float32(0))
    state, loss = training.step(training.init(0), run, batch)
    loss.block_until_ready()
    began = time.perf_counter()
    for _ in range(steps):
        state, loss = training.step(state, run, batch)
    loss.block_until_ready()
    return (time.perf_counter() - began) / steps * 1e3


def main() -> None:
    """Print the least of five alternating rounds for each shape."""
    drawn_recipe = RECIPES["glyphs"]
    # The same images as the step's argument: random pixels would train alike, but these are glyphs.
    given_recipe = dataclasses.replace(drawn_recipe, data=f"pixels:{glyphs.CLASSES}")
    given = glyphs.training_batch(jax.random.key(0), drawn_recipe.batch_size)
    print("width depth mlp_dim   drawn ms   given ms   stream's part")
    for width, depth, mlp_dim in SHAPES:
        shape = Shape(width=width, depth=depth, mlp_dim=mlp_dim, heads=width // 4, patch=4)
        cases = [
            (training_for(shape, drawn_recipe), None),
            (training_for(shape, given_recipe), given),
        ]
        rounds = [[milliseconds(*case) for case in cases] for _ in range(5)]
        drawn, without = np.min(rounds, axis=0)
        print(
            f"{width:5} {depth:5} {mlp_dim:7} {drawn:10.2f} {without:10.2f}   "
            f"{100 * (drawn - without) / drawn:.0f}%",
            flush=True,
        )


if __name__ == "__main__":
    main()
