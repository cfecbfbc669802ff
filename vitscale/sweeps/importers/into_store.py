"""Imported measurements into a store, each once."""

import dataclasses
from pathlib import Path

from vitscale.sweeps.importers.mapping import Imported, measurements
from vitscale.sweeps.importers.reading import Reading, Wish, read_columns
from vitscale.sweeps.importers.table import read_source
from vitscale.sweeps.store import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class Brought:
    """Models that were written, that were there with the same values, and that were there with others (by
    what the source calls them), which stay as they are."""

    written: int
    same: int
    differing: tuple[str, ...]


def import_runs(
    path: str | Path, where: str | Path, wish: Wish | None = None
) -> tuple[Reading, Brought]:
    """Bring the runs at `path` (a table, or what W&B, MLflow or TensorBoard wrote) into the store at `where`,
    which is made where it is missing; also how their columns were understood.

    - `wish`: what their columns mean, where it is not to be guessed.

    Raises `ValueError` or `OSError` in one sentence, and writes nothing then, where a run cannot be understood;
    `StoreError` where the store cannot be written to.
    """
    chosen = wish or Wish()
    source = read_source(Path(path), key=chosen.columns.get("run"))
    reading = read_columns(source, chosen)
    imported = measurements(source, reading, chosen)
    return reading, bring(imported, Store.open(where, create=True))


def bring(imported: Imported, store: Store) -> Brought:
    """Write what `store` lacks. Killed at any moment, the same call goes on.

    Raises `StoreError` where the store cannot be written to.
    """
    store.prepare()
    there = store.measured_durations()
    known = _values(store) if any(trial in there for trial, _ in imported.rows) else {}
    written, same, differing = 0, 0, []
    for (trial_id, examples), rows in imported.rows.items():
        if examples not in there.get(trial_id, ()):
            written += store.append_rows(trial_id, examples, rows)
        elif known.get((trial_id, examples)) == {row.metric: row.value for row in rows}:
            same += 1
        else:
            differing.append(f"{imported.where[trial_id]} at {examples:,} examples")
    return Brought(written=written, same=same, differing=tuple(differing))


def _values(store: Store) -> dict[tuple[str, int], dict[str, float | None]]:
    table = store.table()
    names = ("trial_id", "examples", "metric", "value")
    found: dict[tuple[str, int], dict[str, float | None]] = {}
    for trial_id, examples, metric, value in zip(
        *(table[n].to_pylist() for n in names), strict=True
    ):
        found.setdefault((trial_id, examples), {})[metric] = value
    return found
