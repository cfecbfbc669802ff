"""What every tracker does: five methods, called from one thread that may be slow, or fail."""

import dataclasses
from collections.abc import Mapping
from typing import Literal, Protocol

from vitscale.scaling.progress import Progress
from vitscale.scaling.recipe import Trial
from vitscale.sweeps.importers.foreign import MEASURED, TRACKED

EndState = Literal["finished", "diverged", "failed"]

TRAINING = "train/"
"""What stands before the names of what is told while a trial trains."""
STATE = "vitscale_state"
"""The key of how a trial ended."""


class Tracker(Protocol):
    """Records one run for each trial. Any method may raise anything, upon which it is not called again.

    - `place`: where it records, so that two places are told apart wherever the command is started.
    """

    place: str

    def start(self, trial: Trial, plan: str) -> None:
        """Begin the run of `trial`, or go on with the one that an earlier process began."""
        ...

    def progress(self, trial_id: str, step: int, values: Mapping[str, float]) -> None:
        """What is known of training at `step`, of the optimizer steps that the trial costs."""
        ...

    def measured(self, trial_id: str, examples: int, values: Mapping[str, float]) -> None:
        """What was measured of the model cooled down at `examples`, by the names that it is recorded
        under; recorded for good on return, as far as the tool can tell."""
        ...

    def end(self, trial_id: str, state: EndState) -> None:
        """End the run of a trial."""
        ...

    def close(self) -> None:
        """Let go of everything; runs that did not end may be gone on with later."""
        ...


def config_of(trial: Trial) -> dict[str, str | int | float | bool]:
    """What a trial is, flat, by the names that `vitscale import` knows; fields of its recipe come after
    `recipe.`, lists as text."""
    recipe = trial.recipe
    config: dict[str, str | int | float | bool] = {
        TRACKED: trial.id,
        **dataclasses.asdict(trial.shape),
        "image_size": recipe.image_size,
        "channels": recipe.channels,
        "readout": recipe.readout,
        "seed": recipe.seed,
        "batch_size": recipe.batch_size,
        "learning_rate": recipe.peak_learning_rate(trial.shape),
        "data": recipe.data,
        "recipe_id": recipe.id,
        "durations": " ".join(map(str, trial.durations)),
    }
    for name, value in dataclasses.asdict(recipe).items():
        known = isinstance(value, (str, int, float))
        config[f"recipe.{name}"] = value if known else " ".join(map(str, value))
    return config


def point_of(trial: Trial, progress: Progress) -> tuple[int, dict[str, float]]:
    """The step of the trial that `progress` is at, and what it tells, by the names of `TRAINING`.

    Steps count all that the trial costs, so that one that goes on from a checkpoint goes on here too.
    """
    step = max(0, trial.spent_steps() - (progress.total_steps - progress.step))
    told = {
        "loss": progress.loss,
        "examples_per_second": progress.examples_per_second,
        "input_wait": progress.input_wait,
    }
    return step, {f"{TRAINING}{k}": float(v) for k, v in told.items() if v is not None}


def named(values: Mapping[str, float | None]) -> dict[str, float]:
    """Measured values by the names that `vitscale import` takes them back from. A duration that diverged has
    no value and no metric, which is told by what is no number."""
    return {
        f"{MEASURED}{metric or 'diverged'}": float("nan") if value is None else value
        for metric, value in values.items()
    }
