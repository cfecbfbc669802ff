"""A measurement: one metric of one cooled-down model, as one tidy row.

The field names are the columns of the store, with units in the name where a number has one.
"""

import dataclasses
from typing import Literal

SCHEMA_VERSION = 2
"""Of the store's columns: raised whenever one is added, removed or changes its type or meaning."""

METRIC_VERSION = 1
"""Raised whenever the computation of any metric changes, so that old and new rows can be told apart."""

Status = Literal["ok", "diverged"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """One metric of one trial at one duration. Immutable: facts are appended once, never edited.

    A trial that diverged leaves one row with `status="diverged"`, no value, and the reason.
    """

    trial_id: str
    recipe_id: str
    data: str
    width: int
    depth: int
    mlp_dim: int
    heads: int
    patch: int
    image_size: int
    channels: int
    readout: str
    seed: int
    batch_size: int
    params: int
    forward_flops_per_example: int
    steps: int
    examples: int
    train_flops: float
    """3 x forward FLOPs x examples: the compute of a run of this duration alone."""
    spent_flops: float
    """What this duration really cost: its cooldown, and the trunk's steps since the last duration. A
    duration added to a finished trial pays for the trunk anew."""
    status: Status
    reason: str
    metric: str
    metric_version: int
    value: float | None
    value_sd: float | None
    """Standard deviation over the metric's own random draws (few-shot supports), not over seeds."""
    draws: int
    train_seconds: float
    eval_seconds: float
    device: str
    vitscale_version: str
    measured_at: str
    """UTC, ISO 8601."""
    learning_rate: float | None = None
    """Peak learning rate of the shape in this run; None in rows of schema version 1."""
    origin: str = ""
    """Where the row was imported from; empty for what vitscale trained itself."""
