"""Is every shape trained near its own best learning rate, and by which rule? A sweep in which big models
lose because they are badly tuned measures tuning, not shape.

Trains shapes of several widths and depths at multiples of the learning rate that a rule gives them:
"uniform", one rate for all parameters that falls with width and depth by the recipe's exponents, and
"mup", hidden kernels alone slower with width. Prints how much worse each rule's choice is than the best
multiple tried for the shape.

    uv run python -m benchmarks.learning_rate            # about 10 minutes on one core
"""

import argparse
import csv
import dataclasses
import itertools
import os
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import numpy as np

from vitscale.scaling.data.sources import source_for
from vitscale.scaling.evaluate import upstream
from vitscale.scaling.evaluate.frozen import FrozenModel
from vitscale.scaling.recipe import LearningRateScaling, Recipe
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import Shape
from vitscale.scaling.train import Run, training_for

SHAPES = ((8, 2), (16, 2), (32, 2), (64, 2), (32, 1), (32, 4))  # width, depth
FACTORS = (0.35, 0.6, 1.0, 1.7, 3.0)
RULES: dict[LearningRateScaling, Recipe] = {
    "uniform": RECIPES["glyphs"],
    "mup": dataclasses.replace(RECIPES["glyphs"], lr_scaling="mup", lr_width_exponent=0.0),
}
RESULTS = Path(__file__).parent / "results" / "learning_rate.csv"


def held_out_loss(shape: Shape, recipe: Recipe, factor: float, steps: int, seed: int) -> float:
    """Held-out loss in nats after `steps` at `factor` times the rule's learning rate."""
    training = training_for(shape, recipe)
    run = Run(
        seed=np.uint32(seed),
        peak_learning_rate=np.float32(factor * recipe.peak_learning_rate(shape)),
        total_steps=np.float32(steps),
        cooldown_steps=np.float32(recipe.cooldown_steps_of(steps)),
    )
    state = training.init(run.seed)
    for _ in range(steps):
        state, _ = training.step(state, run, None)
    model = FrozenModel(
        shape=shape,
        recipe=recipe,
        params=state.params,
        forward=training.forward,
        classes=training.classes,
    )
    return next(m.value for m in upstream.metrics(model, source_for(recipe)))


def measured(shape: Shape, rule: LearningRateScaling, steps: int, seeds: int) -> list[dict]:
    """Rows of one shape under one rule: every factor and seed."""
    return [
        {
            "rule": rule,
            "width": shape.width,
            "depth": shape.depth,
            "seed": seed,
            "factor": factor,
            "loss": held_out_loss(shape, RULES[rule], factor, steps, seed),
        }
        for seed in range(seeds)
        for factor in FACTORS
    ]


def line(shape: Shape, rule: LearningRateScaling, rows: list[dict]) -> str:
    """Loss at each factor, mean over seeds, and how far the rule's own is from the best."""
    losses = [np.mean([row["loss"] for row in rows if row["factor"] == f]) for f in FACTORS]
    shown = " ".join(f"{loss:6.3f}" for loss in losses)
    regret = losses[FACTORS.index(1.0)] - min(losses)
    peak = RULES[rule].peak_learning_rate(shape)
    return f"{rule:8}{shape.width:5} {shape.depth:5} {peak:8.2e}   {shown}   {regret:.3f}"


def main() -> None:
    """Run the check, print its table, and keep it as CSV."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    rows = []
    print("rule    width depth   its lr   loss (nats) at lr x", *FACTORS, "  rule - best")
    for (width, depth), rule in itertools.product(SHAPES, RULES):
        shape = Shape(width=width, depth=depth, mlp_dim=2 * width, heads=width // 4, patch=4)
        found = measured(shape, rule, options.steps, options.seeds)
        print(line(shape, rule, found), flush=True)
        rows += found
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
