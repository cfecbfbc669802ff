"""What a user names to fit: a store, in a folder or an object store, or a table of their own."""

from pathlib import Path
from typing import TYPE_CHECKING

from vitscale.fits.files import read_table
from vitscale.sweeps.places.place import is_remote
from vitscale.sweeps.recorded import recorded
from vitscale.sweeps.store import Store, store_inside

if TYPE_CHECKING:
    import pandas as pd


def read_source(where: str | Path) -> "pd.DataFrame":
    """All rows of a store, a CSV or Parquet file, or a folder of Parquet files.

    Raises `ValueError` or `OSError` that names what is empty, damaged, missing or of another kind.
    """
    store = store_of(where)
    if store is None:
        inside = None if is_remote(where) else store_inside(where)
        if inside is not None:
            raise ValueError(f"{where} is not a store; did you mean {inside}?")
        return read_table(where)
    frame = store.read()
    if frame.empty:
        raise ValueError(f"{where} holds no measurements yet; run the sweep first")
    return frame


def store_of(where: str | Path) -> Store | None:
    """The store that `where` names, or None where it is something else.

    Raises `ValueError` or `OSError` for a store that cannot be opened.
    """
    if not is_remote(where) and not (Path(where) / "store.json").exists():
        return None
    return Store.open(where)


def left_to_do(where: str | Path) -> str:
    """What the plans of a store still lack and how it goes on, as a sentence; "" where nothing, or no store."""
    store = store_of(where)
    if store is None:
        return ""
    measured = store.measured_durations()
    lacking = []
    for plan in recorded(store):
        wanted = sum(len(trial.durations) for trial in plan.trials)
        done = sum(
            len(set(trial.durations) & set(measured.get(trial.id, ()))) for trial in plan.trials
        )
        if done < wanted:
            lacking.append(f"{wanted - done} of {wanted} measurements of {plan.name}")
    if not lacking:
        return ""
    return (
        f"{' and '.join(lacking)} are still to do; the same sweep goes on with: "
        f"vitscale resume {store.name}"
    )
