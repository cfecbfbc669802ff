"""What was measured of a trial, as rows of the store."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime

import jax

import vitscale
from vitscale.scaling.evaluate.frozen import Metric
from vitscale.scaling.measurement import METRIC_VERSION, Measurement
from vitscale.scaling.recipe import Trial


def measured_rows(
    trial: Trial,
    duration: int,
    metrics: Sequence[Metric],
    *,
    spent_steps: int,
    train_seconds: float,
    eval_seconds: float,
) -> list[Measurement]:
    """One row for each metric of the model cooled down at `duration` examples."""
    return [
        _row(
            trial,
            duration,
            spent_steps,
            status="ok",
            reason="",
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
    trial: Trial, duration: int, reason: str, *, spent_steps: int, train_seconds: float
) -> Measurement:
    """The row of a duration that the trial cannot reach, with the reason."""
    return _row(
        trial,
        duration,
        spent_steps,
        status="diverged",
        reason=reason,
        metric="",
        value=None,
        value_sd=None,
        draws=0,
        train_seconds=train_seconds,
        eval_seconds=0.0,
    )


def _row(trial: Trial, duration: int, spent_steps: int, **values) -> Measurement:
    recipe = trial.recipe
    flops_a_step = 3.0 * trial.forward_flops_per_example() * recipe.batch_size
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
        spent_flops=flops_a_step * spent_steps,
        metric_version=METRIC_VERSION,
        device=jax.devices()[0].device_kind,
        vitscale_version=vitscale.__version__,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        **values,
    )
