"""A small trial on glyphs, and sinks that keep its rows in memory."""

from pathlib import Path

from vitscale.scaling.measurement import Measurement
from vitscale.scaling.recipe import Recipe, Trial
from vitscale.scaling.shape import Shape

RECIPE = Recipe(
    data="glyphs",
    image_size=16,
    channels=1,
    batch_size=16,
    learning_rate=4e-3,
    warmup_steps=10,
    timescale_steps=50,
    cooldown_steps=40,
    body_weight_decay=1e-4,
    momentum_dtype="bfloat16",
)
SHAPE = Shape(width=8, depth=2, mlp_dim=12, heads=2, patch=8)
TRIAL = Trial(shape=SHAPE, recipe=RECIPE, durations=(16 * 60, 16 * 120, 16 * 240))


class MemorySink:
    """What a store does for a trial, kept in memory, checkpoints on disk."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.rows: dict[int, list[Measurement]] = {}

    def measured(self, trial):
        return set(self.rows)

    def append(self, trial, duration, rows):
        return self.rows.setdefault(duration, list(rows)) is rows

    def checkpoint_dir(self, trial):
        self.folder.mkdir(exist_ok=True)
        return self.folder

    def forget_checkpoints(self, trial):
        pass

    def values(self) -> dict:
        return {
            (row.examples, row.metric): row.value for rows in self.rows.values() for row in rows
        }


class Together:
    """A sink that keeps each trial's rows in a sink of its own."""

    def __init__(self, sinks: dict[str, MemorySink]):
        self._sinks = sinks

    def measured(self, trial):
        return self._sinks[trial.id].measured(trial)

    def append(self, trial, duration, rows):
        return self._sinks[trial.id].append(trial, duration, rows)

    def checkpoint_dir(self, trial):
        return self._sinks[trial.id].checkpoint_dir(trial)

    def forget_checkpoints(self, trial):
        self._sinks[trial.id].forget_checkpoints(trial)
