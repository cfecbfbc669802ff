"""Is every shape trained near its own best learning rate? A sweep in which big models lose because
they are badly tuned measures tuning, not shape.

Trains shapes of several widths and depths at multiples of the learning rate that the recipe's rule
gives them, and prints how much worse the rule's choice is than the best multiple tried.

    uv run python benchmarks/learning_rate.py            # about 10 minutes on one core
"""

import argparse
import csv
import itertools
import os
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import jax
import numpy as np

from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import Shape
from vitscale.scaling.train import Run, training_for
from vitscale.scaling.trial import evaluate

SHAPES = ((8, 5), (16, 5), (24, 5), (48, 5), (24, 1), (24, 2), (8, 1))  # width, depth
FACTORS = (0.35, 0.6, 1.0, 1.7, 3.0)
RESULTS = Path(__file__).parent / "results" / "learning_rate.csv"


def final_metrics(shape: Shape, factor: float, steps: int, seed: int) -> dict[str, float]:
    """Metrics of `shape` after `steps` at `factor` times the rule's learning rate."""
    recipe = RECIPES["glyphs"]
    training = training_for(shape, recipe)
    state = training.init(seed)
    run = Run(
        seed=np.uint32(seed),
        peak_learning_rate=np.float32(factor * recipe.peak_learning_rate(shape)),
        total_steps=np.float32(steps),
        cooldown_steps=np.float32(recipe.cooldown_steps_of(steps)),
    )
    for _ in range(steps):
        state, _ = training.step(state, run)
    jax.block_until_ready(state)
    return {name: value for name, value, _, _ in evaluate(training, state.params)}


def main() -> None:
    """Run the check, print its table, and keep it as CSV."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    rows = []
    print("width depth   rule's lr   upstream loss (nats) at lr x", *FACTORS, "  rule - best")
    for width, depth in SHAPES:
        shape = Shape(width=width, depth=depth, mlp_dim=2 * width, heads=width // 4, patch=4)
        losses = []
        for factor in FACTORS:
            found = [
                final_metrics(shape, factor, options.steps, seed) for seed in range(options.seeds)
            ]
            means = {name: float(np.mean([m[name] for m in found])) for name in found[0]}
            losses.append(means["upstream_loss"])
            rows.append({"width": width, "depth": depth, "factor": factor} | means)
        rule = RECIPES["glyphs"].peak_learning_rate(shape)
        shown = " ".join(f"{loss:6.3f}" for loss in losses)
        regret = losses[FACTORS.index(1.0)] - min(losses)
        print(f"{width:5} {depth:5} {rule:11.2e}   {shown}   {regret:.3f}", flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    by_shape = itertools.groupby(rows, key=lambda row: (row["width"], row["depth"]))
    assert all(len(list(group)) == len(FACTORS) for _, group in by_shape)


if __name__ == "__main__":
    main()
