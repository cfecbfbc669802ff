"""The store's files as bytes and tables."""

import dataclasses
import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vitscale.scaling.measurement import Measurement
from vitscale.sweeps.schema import SchemaError, to_table, upgraded

UNREADABLE = (pa.ArrowException, ValueError, OSError)
"""What reading a damaged or foreign file raises."""


def to_parquet(rows: Sequence[Measurement], *, trial_id: str, examples: int) -> bytes:
    """One immutable file: the rows of one trial and duration, with checksums on every page."""
    return to_bytes(to_table(rows, trial_id=trial_id, examples=examples))


def to_bytes(table: pa.Table) -> bytes:
    """`table` as a Parquet file, with checksums on every page."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue().to_pybytes()


def from_bytes(data: bytes) -> pa.Table:
    """The rows of a Parquet file of any known version, as the newest has them.

    Raises one of `UNREADABLE`.
    """
    with pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True) as file:
        return upgraded(file.read(use_threads=False))  # too small to be worth waking threads for


@dataclasses.dataclass(frozen=True)
class Facts:
    """What all rows of one trial and duration have in common."""

    status: str
    spent_flops: float
    train_seconds: float


_FACTS = tuple(field.name for field in dataclasses.fields(Facts))


def facts_of(data: bytes) -> Facts:
    """The facts of a file, from the statistics at its end: a tenth of the time that its rows take.

    Raises one of `UNREADABLE`.
    """
    metadata = pq.read_metadata(io.BytesIO(data))
    group, names = metadata.row_group(0), metadata.schema.names
    return Facts(*(group.column(names.index(name)).statistics.max for name in _FACTS))


def facts_of_base(data: bytes) -> dict[tuple[str, int], Facts]:
    """The facts of every trial and duration of a base.

    Raises one of `UNREADABLE`.
    """
    columns = _distinct(data, ["trial_id", "examples", *_FACTS])
    return {
        (trial_id, examples): Facts(*values)
        for trial_id, examples, *values in zip(*columns, strict=True)
    }


def durations_of_base(data: bytes) -> dict[str, frozenset[int]]:
    """Recorded durations of every trial of a base.

    Raises one of `UNREADABLE`.
    """
    found: dict[str, set[int]] = {}
    for trial_id, examples in zip(*_distinct(data, ["trial_id", "examples"]), strict=True):
        found.setdefault(trial_id, set()).add(examples)
    return {trial_id: frozenset(durations) for trial_id, durations in found.items()}


def _distinct(data: bytes, names: list[str]) -> list[list]:
    """Columns of a base, one row for each trial and duration, in which all its rows are equal.

    Arrow's `read_table`, `group_by`, `to_numpy` and `array` all import pandas, which takes longer than to
    read a hundred thousand rows; what stands here does not.
    """
    with pq.ParquetFile(io.BytesIO(data)) as file:
        table = file.read(columns=names).combine_chunks()
    if not len(table):
        return [[] for _ in names]
    ids = np.from_dlpack(table["trial_id"].combine_chunks().dictionary_encode().indices)
    examples = np.from_dlpack(table["examples"].combine_chunks())
    # A base is sorted: each trial and duration begins where one of the two changes.
    changes = 1 + np.flatnonzero((ids[1:] != ids[:-1]) | (examples[1:] != examples[:-1]))
    first = np.concatenate([[0], changes]).astype(np.int64)
    table = table.take(pa.Array.from_buffers(pa.int64(), len(first), [None, pa.py_buffer(first)]))
    return [table[name].to_pylist() for name in names]


def problem_of(data: bytes, *, trial_id: str, examples: int) -> str:
    """Why a file cannot be trusted to hold that trial and duration; empty if it can."""
    problem = unreadable(data)
    if problem:
        return problem
    table = from_bytes(data)
    owners = set(zip(table["trial_id"].to_pylist(), table["examples"].to_pylist(), strict=True))
    if owners != {(trial_id, examples)}:
        return "holds the measurements of another trial or duration than its name says"
    return ""


def unreadable(data: bytes) -> str:
    """Why a file cannot be read; empty if it can."""
    if not data:
        return "is empty"
    try:
        from_bytes(data)
    except SchemaError as error:
        return str(error)
    except UNREADABLE:
        return "is damaged or cut short"
    return ""
