"""Bringing what one store holds into another."""

import dataclasses

from vitscale.sweeps.store import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class Merged:
    """What was brought from one store: durations copied, those that were there with equal values, and those
    that were there with other values, which stay as they are."""

    source: str
    copied: int
    same: int
    differing: tuple[str, ...]
    plans: int


def merge(into: Store, source: Store) -> Merged:
    """Copy the measurements and plans of `source` that `into` lacks; nothing in either is changed.

    Killed at any moment, the same call goes on. Raises `StoreError` where a file of `source` is damaged,
    before anything is copied.
    """
    from vitscale.sweeps.parquet import to_bytes

    rows = source.table()
    there = into.measured_durations()
    values = _values(into) if there else {}
    copied, same, differing = 0, 0, []
    pairs = rows.group_by(["trial_id", "examples"], use_threads=False).aggregate([])
    starts = _runs(rows)
    for trial_id, examples in zip(
        pairs["trial_id"].to_pylist(), pairs["examples"].to_pylist(), strict=True
    ):
        start, length = starts[trial_id, examples]
        part = rows.slice(start, length)
        if examples not in there.get(trial_id, ()):
            copied += into.append_file(trial_id, examples, to_bytes(part))
        elif values[trial_id, examples] == _values_of(part):
            same += 1
        else:
            differing.append(f"{trial_id}-{examples}")
    plans = source.place.names("plans")
    new = [into.place.put(f"plans/{name}", source.place.read(f"plans/{name}")) for name in plans]
    return Merged(
        source=source.name, copied=copied, same=same, differing=tuple(differing), plans=sum(new)
    )


def _runs(rows) -> dict[tuple[str, int], tuple[int, int]]:
    """Where the rows of each trial and duration are in a sorted table: first row and number."""
    found: dict[tuple[str, int], tuple[int, int]] = {}
    keys = zip(rows["trial_id"].to_pylist(), rows["examples"].to_pylist(), strict=True)
    for place, key in enumerate(keys):
        start, length = found.get(key, (place, 0))
        found[key] = (start, length + 1)
    return found


def _values(store: Store) -> dict[tuple[str, int], dict[str, float | None]]:
    table = store.table()
    return {key: _values_of(table.slice(*where)) for key, where in _runs(table).items()}


def _values_of(rows) -> dict[str, float | None]:
    return dict(zip(rows["metric"].to_pylist(), rows["value"].to_pylist(), strict=True))
