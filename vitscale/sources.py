"""What a user names to fit: a store, in a folder or an object store, or a table of their own."""

from pathlib import Path
from typing import TYPE_CHECKING

from vitscale.fits.files import read_table
from vitscale.sweeps.places.place import is_remote
from vitscale.sweeps.store import Store

if TYPE_CHECKING:
    import pandas as pd


def read_source(where: str | Path) -> "pd.DataFrame":
    """All rows of a store, a CSV or Parquet file, or a folder of Parquet files.

    Raises `ValueError` or `OSError` that names what is empty, damaged, missing or of another kind.
    """
    if not is_remote(where) and not (Path(where) / "store.json").exists():
        return read_table(where)
    frame = Store.open(where).read()
    if frame.empty:
        raise ValueError(f"{where} holds no measurements yet; run the sweep first")
    return frame
