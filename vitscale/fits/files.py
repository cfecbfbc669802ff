"""Reading measurements from CSV, from Parquet, or from a folder of Parquet files (a store)."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from vitscale.fits.separated import read_separated

if TYPE_CHECKING:
    import pyarrow as pa

_MEASURED_ONCE = ("trial_id", "examples", "metric")


def read_table(source: str | Path) -> pd.DataFrame:
    """All rows of a CSV file, a Parquet file, or a folder of Parquet files; of CSV on standard input, where
    `source` is "-".

    Raises `FileNotFoundError` where nothing is there and `ValueError`, naming the file, where it is
    empty, damaged or of another kind.
    """
    path = Path(source)
    if str(source) == "-":
        return _refuse_no_rows(read_separated(path), "standard input")
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; give a CSV file, a Parquet file or a store's folder"
        )
    if path.is_dir():
        return _read_folder(path)
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty; write it again or give another file")
    kind = path.suffix.lower()
    if kind in (".parquet", ".pq"):
        frame = _frame(_read_parquet(path))
    elif kind in (".csv", ".tsv", ".txt"):
        frame = read_separated(path, tabs=kind == ".tsv")
    else:
        raise ValueError(
            f"{path} is of an unknown kind; give a .csv or .parquet file, or a store's folder"
        )
    return _refuse_no_rows(frame, str(path))


def _refuse_no_rows(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    if frame.empty:
        raise ValueError(f"{where} has columns but no rows; write it again or give another file")
    return frame


def _read_folder(path: Path) -> pd.DataFrame:
    """One table from the measurements of a store, or from all Parquet files of another folder."""
    import pyarrow as pa

    folder = path / "measurements" if (path / "measurements").is_dir() else path
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise ValueError(
            f"{path} holds no measurements (.parquet files); run a sweep into it, or give the folder "
            f"that one stored its measurements in"
        )
    tables = [_read_parquet(file) for file in files]
    of_store = folder != path
    for table, file in zip(tables, files, strict=True):
        differing = sorted(set(table.column_names) ^ set(tables[0].column_names))
        if (
            differing and not of_store
        ):  # versions of a store differ, and lack only what they did not know
            raise ValueError(
                f"{file} and {files[0]} differ in their columns ({', '.join(differing)}); keep "
                f"measurements of one kind in a folder"
            )
    frame = _frame(pa.concat_tables(tables, promote_options="permissive"))
    if frame.empty:
        raise ValueError(f"{path} holds no measurements yet; run the sweep first")
    if of_store and set(_MEASURED_ONCE) <= set(frame.columns):
        # While a store is compacted, rows are in two files for a moment.
        frame = frame.drop_duplicates(list(_MEASURED_ONCE), ignore_index=True)
    return frame


def _read_parquet(path: Path) -> "pa.Table":
    # Imported where used: reading a CSV should not pay for it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # From an open file, since a path would also turn names of folders into columns.
        with path.open("rb") as file:
            return pq.read_table(file)
    except PermissionError:
        raise
    except (pa.ArrowException, OSError, EOFError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(
            f"{path} is not a readable Parquet file ({reason}); it may be cut off or damaged: restore "
            f"it from a copy, or delete it and measure again"
        ) from error


def _frame(table: "pa.Table") -> pd.DataFrame:
    frame = table.to_pandas()
    # An index that pandas saved is a column where it has a name, and row numbers where it has none.
    return frame.reset_index(drop=frame.index.names == [None])
