"""What training says while it runs, where it puts what it measures, and how fast it goes.

Pure Python: the parts of the sweep that never import jax talk to training through these types.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from vitscale.scaling.measurement import Measurement
from vitscale.scaling.recipe import Trial

CHECKPOINT_SECONDS = 20.0
"""A kill loses at most this much training, and the steps under way."""

Phase = Literal["compile", "trunk", "cooldown", "evaluate"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a running trial is.

    `step` of `total_steps` counts the steps still to be spent when the trial was started or
    resumed, trunk and cooldowns together. `loss`, `examples_per_second` and `input_wait`, the part of
    the time that training waits for data, are `None` until known. `together` counts the trials whose
    steps these are: of several, `trial_id` is the first.
    """

    trial_id: str
    phase: Phase
    step: int
    total_steps: int
    loss: float | None = None
    examples_per_second: float | None = None
    input_wait: float | None = None
    together: int = 1


class MeasurementSink(Protocol):
    """Where a trial's results and checkpoints live; a store is one."""

    def measured(self, trial: Trial) -> set[int]:
        """Durations (in examples) that need no work: measured, or recorded as diverged."""
        ...

    def append(self, trial: Trial, duration: int, rows: Sequence[Measurement]) -> bool:
        """Record all rows of one duration, durably, unless it has been recorded before.

        Returns whether these rows are the ones kept. A trial that diverges appends one `diverged`
        row for every duration that it can no longer reach.
        """
        ...

    def checkpoint_dir(self, trial: Trial) -> Path:
        """An existing folder, the trial's own."""
        ...

    def forget_checkpoints(self, trial: Trial) -> None:
        """Delete the trial's checkpoints; nothing happens where there are none."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast one worker trains, measured briefly, to estimate the time of a plan.

    `flops_per_second` counts training FLOPs as `Trial.spent_flops` does; `compile_seconds` is paid
    once for each trial, `step_overhead_seconds` at every optimizer step.
    """

    compile_seconds: float
    step_overhead_seconds: float
    flops_per_second: float

    def seconds(self, *, steps: int, flops: float) -> float:
        """Time of one trial that spends `steps` optimizer steps and `flops` training FLOPs."""
        return (
            self.compile_seconds
            + steps * self.step_overhead_seconds
            + flops / self.flops_per_second
        )
