"""Imported measurements into a store, each once."""

import dataclasses

from vitscale.sweeps.importers.mapping import Imported
from vitscale.sweeps.store import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class Brought:
    """Models that were written, that were there with the same values, and that were there with others (by
    what the source calls them), which stay as they are."""

    written: int
    same: int
    differing: tuple[str, ...]


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
