"""What was measured of a trial, as rows of the store; pure Python, for its stand-in has rows too."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import vitscale
from vitscale.scaling.measurement import METRIC_VERSION, Measurement
from vitscale.scaling.recipe import Trial

if TYPE_CHECKING:
    from vitscale.scaling.evaluate.frozen import Metric


def measured_rows(
    trial: Trial,
    duration: int,
    metrics: "Sequence[Metric]",
    *,
    spent_steps: int,
    train_seconds: float,
    eval_seconds: float,
    device: str,
    learning_rate: float,
    reason: str = "",
) -> list[Measurement]:
    """One row for each metric of the model cooled down at `duration` examples.

    - `learning_rate`: the peak that it was trained at; `reason`: why, if not that of its recipe.
    """
    return [
        row(
            trial,
            duration,
            spent_flops=_flops_of(trial, spent_steps),
            device=device,
            status="ok",
            reason=reason,
            learning_rate=learning_rate,
            metric=metric.name,
            value=metric.value,
            value_sd=metric.sd,
            draws=metric.draws,
            train_seconds=train_seconds,
            eval_seconds=eval_seconds,
        )
        for metric in metrics
    ]


def diverged_row(
    trial: Trial,
    duration: int,
    reason: str,
    *,
    spent_steps: int,
    train_seconds: float,
    device: str,
    learning_rate: float,
) -> Measurement:
    """The row of a duration that the trial cannot reach, with the reason and the last peak learning rate
    that was tried."""
    return row(
        trial,
        duration,
        spent_flops=_flops_of(trial, spent_steps),
        device=device,
        status="diverged",
        reason=reason,
        learning_rate=learning_rate,
        metric="",
        value=None,
        value_sd=None,
        draws=0,
        train_seconds=train_seconds,
        eval_seconds=0.0,
    )


def row(
    trial: Trial, duration: int, *, learning_rate: float | None = None, **measured
) -> Measurement:
    """A row with all that follows from the trial and the moment; `measured` are its other fields.

    - `learning_rate`: the peak in training, where it was not that of the recipe.
    """
    recipe = trial.recipe
    if learning_rate is None:
        learning_rate = recipe.peak_learning_rate(trial.shape)
    return Measurement(
        trial_id=trial.id,
        recipe_id=recipe.id,
        data=recipe.data,
        **dataclasses.asdict(trial.shape),
        image_size=recipe.image_size,
        channels=recipe.channels,
        readout=recipe.readout,
        seed=recipe.seed,
        batch_size=recipe.batch_size,
        params=trial.params(),
        forward_flops_per_example=trial.forward_flops_per_example(),
        steps=trial.steps(duration),
        examples=duration,
        train_flops=trial.train_flops(duration),
        metric_version=METRIC_VERSION,
        vitscale_version=vitscale.__version__,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        learning_rate=learning_rate,
        **measured,
    )


def _flops_of(trial: Trial, steps: int) -> float:
    return 3.0 * trial.forward_flops_per_example() * trial.recipe.batch_size * steps
