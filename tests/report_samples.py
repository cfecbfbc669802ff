"""Stores to report on: a star and a grid of small networks, measured by a known law with noise."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from vitscale.scaling.recipe import Recipe, Trial
from vitscale.scaling.shape import Shape
from vitscale.sweeps.config import plan_to_toml
from vitscale.sweeps.engines.simulated import Noise, SimulatedEngine
from vitscale.sweeps.plan import GridSweep, Plan, StarSweep
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store

RECIPE = Recipe(
    data="glyphs",
    image_size=16,
    channels=1,
    batch_size=64,
    learning_rate=1e-3,
    warmup_steps=10,
    cooldown_steps=100,
)

Law = Callable[[Trial, int], float]


def law(trial: Trial, examples: int, *, few: float = 0.10, many: float = 0.09) -> float:
    """A world with an optimum in every dimension: eq. (2) three times over.

    `few`, `many`: what a lack, and what an excess of blocks costs.
    """
    shape = trial.shape
    t = shape.forward_flops(image_size=16, channels=1) * examples / 1e9
    tall = 1.5 * shape.width**-0.9 + few * shape.depth**-0.7 + 0.3 * shape.mlp_dim**-0.8
    wide = 0.012 * shape.width**0.8 + many * shape.depth**0.8 + 0.004 * shape.mlp_dim**0.7
    return 0.08 + tall + (1.5 * wide + 0.4) * t**-0.5


shallow = partial(law, few=0.001, many=0.3)
"""A world in which no number of blocks is small enough for ten times the compute of `measured_store`."""


def measured_store(folder: Path, *, small: bool = False, world: Law = law) -> Path:
    """A store in `folder` with a star, and unless `small` a grid, as a sweep leaves it in that `world`."""
    star = StarSweep(
        center=Shape(width=64, depth=12, mlp_dim=256, heads=16, patch=4),
        arms={"width": (8, 16, 24, 32), "depth": (1, 2, 4, 6), "mlp_dim": (8, 16, 32, 64)},
        recipe=RECIPE,
        durations=(64 * 400, 64 * 1600, 64 * 6400),
        head_dim=4,
    )
    grid = GridSweep(
        widths=(12, 16, 24, 32),
        depths=(1, 2, 3, 4),
        mlp_dims=(16, 32, 48, 64),
        patch=4,
        recipe=RECIPE,
        durations=(64 * 200, 64 * 800, 64 * 3200),
        head_dim=4,
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    store = Store.open(folder, create=True)
    engine = SimulatedEngine(world, noise=Noise(own=0.003, seed=1))
    for name, sweep in (("star", star),) if small else (("star", star), ("grid", grid)):
        plan = Plan(name=name, sweep=sweep)
        store.record_plan(name, plan_to_toml(plan))
        assert run(plan, engine, store).complete
    return store.path
