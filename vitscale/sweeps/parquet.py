"""The store's files as bytes and tables."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from vitscale.scaling.measurement import Measurement
from vitscale.sweeps.files import StoreError
from vitscale.sweeps.schema import SCHEMA, SCHEMA_VERSION, to_table

if TYPE_CHECKING:
    from vitscale.sweeps.store import Problem


def to_parquet(rows: Sequence[Measurement], *, trial_id: str, examples: int) -> bytes:
    """One immutable file: the rows of one trial and duration, with checksums on every page."""
    table = to_table(rows, trial_id=trial_id, examples=examples)
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue().to_pybytes()


def read_files(files: Sequence[Path], check: Callable[[], list["Problem"]]) -> pa.Table:
    """The files as one table of `SCHEMA`, in the order given.

    Raises `StoreError` that names the first file that `check` finds at fault.
    """
    if not files:
        return SCHEMA.empty_table()
    try:
        return pa.concat_tables(_read(path) for path in files)
    except (pa.ArrowException, ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        problems = check()
        if not problems:
            raise
        more = f" ({len(problems)} files in all)" if len(problems) > 1 else ""
        raise StoreError(
            f"{problems[0].path} {problems[0].reason}{more}; move it out of the store and run the "
            f"same sweep again to measure it anew: nothing else is lost"
        ) from error


def problem_of(path: Path, *, trial_id: str, examples: int) -> str | None:
    """Why the file at `path` cannot be trusted as that trial and duration, or `None`."""
    if path.stat().st_size == 0:
        return "is empty"
    try:
        table = _read(path)
    except _SchemaError as error:
        return str(error)
    except (pa.ArrowException, ValueError, OSError):
        return "is damaged or cut short"
    owners = set(zip(table["trial_id"].to_pylist(), table["examples"].to_pylist(), strict=True))
    if owners != {(trial_id, examples)}:
        return "holds the measurements of another trial or duration than its name says"
    return None


class _SchemaError(ValueError):
    """A file has other columns than this version writes."""


def _read(path: Path) -> pa.Table:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        found = file.schema_arrow.remove_metadata()
        if found != SCHEMA:
            raise _SchemaError(
                f"has other columns than schema version {SCHEMA_VERSION}, so another version of "
                f"vitscale, or another tool, wrote it"
            )
        table = file.read()
    newest = max(table["schema_version"].to_pylist(), default=SCHEMA_VERSION)
    if newest > SCHEMA_VERSION:
        raise _SchemaError(
            f"has schema version {newest}, and this vitscale knows up to {SCHEMA_VERSION}"
        )
    return table
