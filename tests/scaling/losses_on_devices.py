"""Train a few steps and print the losses as JSON; `test_devices.py` runs it on many devices and hosts.

Arguments: an `Execution` as JSON; then, for several hosts, the coordinator, how many, and which.
"""

import json
import sys

import jax
import numpy as np

from vitscale.scaling import hosts
from vitscale.scaling.execution import Execution
from vitscale.scaling.recipe import Recipe
from vitscale.scaling.schedule import NEVER
from vitscale.scaling.shape import Shape
from vitscale.scaling.train import Run, training_for

# Wide enough that its kernels are split over the fsdp axis.
SHAPE = Shape(width=128, depth=2, mlp_dim=512, heads=4, patch=4)
RECIPE = Recipe(
    data="glyphs",
    image_size=16,
    channels=1,
    batch_size=32,
    learning_rate=1e-3,
    mixup=0.2,
    label_smoothing=0.1,
    warmup_steps=2,
    cooldown_steps=5,
)
STEPS = 6


def losses(execution: Execution, recipe: Recipe = RECIPE) -> list[float]:
    """Loss of each of the first steps."""
    training = training_for(SHAPE, recipe, execution)
    state = training.init(recipe.seed)
    run = Run(np.uint32(0), np.float32(1e-3), np.float32(NEVER), np.float32(0))
    found = []
    for _ in range(STEPS):
        state, loss = training.step(state, run, None)
        found.append(float(loss))
    return found


if __name__ == "__main__":
    chosen = Execution(**json.loads(sys.argv[1]))
    if len(sys.argv) > 2:
        hosts.start(coordinator=sys.argv[2], hosts=int(sys.argv[3]), host=int(sys.argv[4]))
    found = losses(chosen)
    if hosts.is_first():
        print(json.dumps({"devices": jax.device_count(), "losses": found}))
