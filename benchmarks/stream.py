"""What part of a training step goes into drawing its images? They are drawn inside the step.

Times a step with images drawn in it against the same step on a fixed batch, alternating.

    uv run python benchmarks/stream.py                   # about 1 minute
"""

import os
import time

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("NPROC", "1")

import jax
import numpy as np

from vitscale.scaling.data import catalog, sources
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.schedule import NEVER
from vitscale.scaling.shape import Shape
from vitscale.scaling.train import Run, Training, training_for

SHAPES = ((8, 1, 16), (12, 5, 48), (24, 5, 48), (48, 6, 128))


def milliseconds(training: Training, steps: int = 60) -> float:
    """Time of one step."""
    run = Run(np.uint32(0), np.float32(1e-3), np.float32(NEVER), np.float32(0))
    state, loss = training.step(training.init(0), run)
    loss.block_until_ready()
    began = time.perf_counter()
    for _ in range(steps):
        state, loss = training.step(state, run)
    loss.block_until_ready()
    return (time.perf_counter() - began) / steps * 1e3


def main() -> None:
    """Print the least of five alternating rounds for each shape."""
    import dataclasses

    recipe = RECIPES["glyphs"]
    glyphs = sources.SOURCES["glyphs"]
    fixed_batch = jax.tree.map(
        np.asarray, glyphs.training_batch(jax.random.key(0), recipe.batch_size)
    )
    sources.SOURCES["fixed"] = dataclasses.replace(
        glyphs, training_batch=lambda key, size: fixed_batch
    )
    catalog.CATALOG["fixed"] = catalog.CATALOG["glyphs"]
    fixed_recipe = dataclasses.replace(recipe, data="fixed")
    print("width depth mlp_dim   drawn ms   fixed ms   stream's part")
    for width, depth, mlp_dim in SHAPES:
        shape = Shape(width=width, depth=depth, mlp_dim=mlp_dim, heads=width // 4, patch=4)
        both = [training_for(shape, each) for each in (recipe, fixed_recipe)]
        rounds = [[milliseconds(training) for training in both] for _ in range(5)]
        drawn, fixed = np.min(rounds, axis=0)
        print(
            f"{width:5} {depth:5} {mlp_dim:7} {drawn:10.2f} {fixed:10.2f}   "
            f"{100 * (drawn - fixed) / drawn:.0f}%",
            flush=True,
        )


if __name__ == "__main__":
    main()
