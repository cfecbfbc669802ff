"""The store's columns: one frozen, versioned schema, and the rows of it."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, get_args

import pyarrow as pa

from vitscale.scaling.measurement import SCHEMA_VERSION, Measurement, Status


def _column(name: str, kind: pa.DataType, *, optional: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=optional)


_VERSION_1 = pa.schema(
    [
        _column("schema_version", pa.int32()),
        _column("trial_id", pa.string()),
        _column("recipe_id", pa.string()),
        _column("data", pa.string()),
        _column("width", pa.int64()),
        _column("depth", pa.int64()),
        _column("mlp_dim", pa.int64()),
        _column("heads", pa.int64()),
        _column("patch", pa.int64()),
        _column("image_size", pa.int64()),
        _column("channels", pa.int64()),
        _column("readout", pa.string()),
        _column("seed", pa.int64()),
        _column("batch_size", pa.int64()),
        _column("params", pa.int64()),
        _column("forward_flops_per_example", pa.int64()),
        _column("steps", pa.int64()),
        _column("examples", pa.int64()),
        _column("train_flops", pa.float64()),
        _column("spent_flops", pa.float64()),
        _column("status", pa.string()),
        _column("reason", pa.string()),
        _column("metric", pa.string()),
        _column("metric_version", pa.int64()),
        _column("value", pa.float64(), optional=True),
        _column("value_sd", pa.float64(), optional=True),
        _column("draws", pa.int64()),
        _column("train_seconds", pa.float64()),
        _column("eval_seconds", pa.float64()),
        _column("device", pa.string()),
        _column("vitscale_version", pa.string()),
        _column("measured_at", pa.string()),
    ]
)

_VERSION_2 = pa.schema(
    [
        *_VERSION_1,
        _column("learning_rate", pa.float64(), optional=True),
        _column("origin", pa.string()),
    ]
)

SCHEMAS = {1: _VERSION_1, 2: _VERSION_2}
"""The columns of each version, for ever: files of all of them are on people's disks."""

SCHEMA = SCHEMAS[SCHEMA_VERSION]
"""The fields of `Measurement`, behind the version."""

_ADDED: dict[str, Any] = {"learning_rate": None, "origin": ""}
"""What rows from before a column was added have in it."""


class SchemaError(ValueError):
    """A file has other columns than any version that this vitscale knows; the message ends a sentence that
    begins with the file's name."""


def upgraded(table: pa.Table) -> pa.Table:
    """The rows of a file of any known version with the columns of the newest, in their order.

    Raises `SchemaError` for a file of a newer version or of another tool.
    """
    found = table.schema.remove_metadata()
    newest = (
        max(table["schema_version"].to_pylist(), default=0)
        if "schema_version" in found.names
        else 0
    )
    if newest > SCHEMA_VERSION:
        raise SchemaError(
            f"has schema version {newest}, and this vitscale knows up to {SCHEMA_VERSION}; update vitscale"
        )
    if found not in SCHEMAS.values():
        raise SchemaError(
            f"has other columns than schema version 1 to {SCHEMA_VERSION}, so another version of "
            f"vitscale, or another tool, wrote it"
        )
    if found == SCHEMA:
        return table.replace_schema_metadata(None)
    for field in SCHEMA:
        if field.name not in found.names:
            filled = pa.repeat(pa.scalar(_ADDED[field.name], field.type), len(table))
            table = table.append_column(field, filled)
    return table.select(SCHEMA.names).cast(SCHEMA)


def to_table(rows: Sequence[Measurement], *, trial_id: str, examples: int) -> pa.Table:
    """`rows` of one trial and duration as a table of `SCHEMA`.

    Raises `ValueError` where there are none, where one belongs to another trial or duration, where
    two have the same metric, or where a value that should be there is missing or not finite.
    """
    if not rows:
        raise ValueError(f"trial {trial_id} gave no measurement at {examples} examples")
    metrics = [row.metric for row in rows]
    if len(set(metrics)) < len(metrics):
        raise ValueError(f"trial {trial_id} gave a metric twice at {examples} examples: {metrics}")
    for row in rows:
        _check_row(row, trial_id, examples)
    return rows_table(rows)


def rows_table(rows: Sequence[Measurement]) -> pa.Table:
    """`rows` of any trials, which are taken as they are, as a table of `SCHEMA`."""
    columns: dict[str, list[Any]] = {
        field.name: [getattr(row, field.name) for row in rows]
        for field in dataclasses.fields(Measurement)
    }
    return pa.table({"schema_version": [SCHEMA_VERSION] * len(rows)} | columns, schema=SCHEMA)


def _check_row(row: Measurement, trial_id: str, examples: int) -> None:
    if (row.trial_id, row.examples) != (trial_id, examples):
        raise ValueError(
            f"a measurement of trial {row.trial_id} at {row.examples} examples was appended to "
            f"trial {trial_id} at {examples} examples"
        )
    if row.status not in get_args(Status):
        raise ValueError(f"status={row.status!r} is unknown; use {' or '.join(get_args(Status))}")
    if row.status == "ok" and (row.value is None or not math.isfinite(row.value)):
        raise ValueError(
            f"{row.metric}={row.value} of trial {trial_id} is not finite; record it as diverged"
        )
    if row.status == "diverged" and row.value is not None:
        raise ValueError(f"trial {trial_id} is recorded as diverged, so {row.metric} has no value")
