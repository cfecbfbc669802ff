"""The store's files as bytes and tables."""

import io
from collections.abc import Sequence

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
        return upgraded(file.read())


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
