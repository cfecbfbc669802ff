"""Trials an hour, packed into one vectorised step against one after another, in one run.

uv run python -m benchmarks.packing                    # widths 64, 96, 128: for an accelerator
uv run python -m benchmarks.packing --smoke            # tiny, on any machine

16 trials of one shape that differ in seed, glyphs, 600 steps each. What is timed is training, from the
first step after compilation to the last.
"""

import argparse
import dataclasses
import itertools
import json
import time
from pathlib import Path

import jax
import numpy as np

from vitscale.scaling.execution import Execution
from vitscale.scaling.recipe import Recipe
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.schedule import NEVER
from vitscale.scaling.shape import Shape
from vitscale.scaling.train import Run, training_for

RESULTS = Path(__file__).parent / "results"
TRIALS = 16


def steps_a_second(shape: Shape, recipe: Recipe, lanes: int, steps: int) -> float:
    """Optimizer steps a second of one trial, times the trials trained together; best of three."""
    training = training_for(shape, recipe, Execution(), lanes=lanes)
    numbers = (0, 1e-3, NEVER, 0)
    size = () if lanes == 1 else (lanes,)
    run = Run(
        *(np.full(size, n, np.uint32 if i == 0 else np.float32) for i, n in enumerate(numbers))
    )
    seeds = np.arange(lanes, dtype=np.uint32).reshape(size)
    state, loss = training.step(training.init(seeds), run, None)
    rounds = []
    for _ in itertools.repeat(None, 3):
        jax.block_until_ready(loss)
        began = time.monotonic()
        for _ in range(steps):
            state, loss = training.step(state, run, None)
        jax.block_until_ready(loss)
        rounds.append(lanes * steps / (time.monotonic() - began))
    return max(rounds)


def main() -> None:
    """Measure each width alone and packed, and print and keep the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true")
    smoke = parser.parse_args().smoke
    recipe = dataclasses.replace(RECIPES["glyphs"], precision="float32" if smoke else "bfloat16")
    steps = 20 if smoke else 600
    rows = []
    for width in (8, 16) if smoke else (64, 96, 128):
        depth = 2 if smoke else 6
        shape = Shape(width=width, depth=depth, mlp_dim=4 * width, heads=width // 8, patch=4)
        alone = steps_a_second(shape, recipe, 1, steps)
        packed = steps_a_second(shape, recipe, TRIALS, max(1, steps // TRIALS * 4))
        rows.append({"width": width, "alone": alone, "packed": packed, "ratio": packed / alone})
        print(
            f"{shape}: alone {alone:.0f}, {TRIALS} packed {packed:.0f} steps/s: {packed / alone:.2f}x"
        )
    device = jax.devices()[0].device_kind
    if not smoke:
        text = json.dumps({"device": device, "trials": TRIALS, "rows": rows}, indent=1)
        (RESULTS / "packing.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
