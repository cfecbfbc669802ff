"""Small recipes, plans and rows that the tests of sweeps share."""

import dataclasses

from vitscale.scaling.measurement import Measurement
from vitscale.scaling.recipe import Recipe, Trial
from vitscale.scaling.shape import Shape
from vitscale.sweeps.plan import Plan, StarSweep

RECIPE = Recipe(
    data="glyphs",
    image_size=16,
    channels=1,
    batch_size=64,
    learning_rate=1e-3,
    warmup_steps=5,
    timescale_steps=100,
    cooldown_steps=10,
)
CENTER = Shape(width=48, depth=4, mlp_dim=128, heads=6, patch=4)
DURATIONS = (20 * 64, 40 * 64)


def star_plan(
    *,
    name: str = "sample",
    widths: tuple[int, ...] = (8, 16, 24),
    steps: tuple[int, ...] = (20, 40),
) -> Plan:
    """A star with one arm; `steps` are its durations in optimizer steps."""
    sweep = StarSweep(
        center=CENTER,
        arms={"width": widths},
        recipe=RECIPE,
        durations=tuple(64 * count for count in steps),
        head_dim=8,
    )
    return Plan(name=name, sweep=sweep)


def trial(*, width: int = 16, steps: tuple[int, ...] = (20, 40)) -> Trial:
    """One small trial."""
    return Trial(
        shape=dataclasses.replace(CENTER, width=width, heads=width // 8),
        recipe=RECIPE,
        durations=tuple(64 * count for count in steps),
    )


def row(of: Trial, examples: int, *, metric: str = "digits_10shot_error", **changes) -> Measurement:
    """A measurement of `of` with made-up values."""
    values = {
        "trial_id": of.id,
        "recipe_id": of.recipe.id,
        "data": of.recipe.data,
        **dataclasses.asdict(of.shape),
        "image_size": of.recipe.image_size,
        "channels": of.recipe.channels,
        "readout": of.recipe.readout,
        "seed": of.recipe.seed,
        "batch_size": of.recipe.batch_size,
        "params": of.params(),
        "forward_flops_per_example": of.forward_flops_per_example(),
        "steps": examples // of.recipe.batch_size,
        "examples": examples,
        "train_flops": of.train_flops(examples),
        "spent_flops": of.spent_flops(),
        "status": "ok",
        "reason": "",
        "metric": metric,
        "metric_version": 1,
        "value": 0.25,
        "value_sd": 0.01,
        "draws": 5,
        "train_seconds": 1.5,
        "eval_seconds": 0.5,
        "device": "cpu",
        "vitscale_version": "0.1.0",
        "measured_at": "2026-01-01T00:00:00+00:00",
    }
    return Measurement(**(values | changes))
