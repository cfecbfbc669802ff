"""A store of a rehearsal: rows that stay rows, in this process alone.

Encoding and syncing ten thousand files would take longer than everything that is rehearsed.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vitscale.scaling.measurement import Measurement
from vitscale.sweeps.parquet import Facts
from vitscale.sweeps.places.place import Place
from vitscale.sweeps.store import Problem, Store

if TYPE_CHECKING:
    import pyarrow as pa

_NAME = "memory of a rehearsal"


class _MemoryPlace:
    """Named bytes in this process."""

    name = _NAME

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, bytes]] = {}

    @property
    def scratch(self) -> Path:
        """A folder that is never made: nothing is trained, so there are no checkpoints and no logs."""
        return Path(_NAME)

    def put(self, key: str, data: bytes) -> bool:
        if self.exists(key):
            return False
        self.write(key, data)
        return True

    def write(self, key: str, data: bytes) -> None:
        folder, _, name = key.rpartition("/")
        self._folders.setdefault(folder, {})[name] = data

    def read(self, key: str) -> bytes:
        folder, _, name = key.rpartition("/")
        try:
            return self._folders[folder][name]
        except KeyError:
            raise FileNotFoundError(key) from None

    def exists(self, key: str) -> bool:
        folder, _, name = key.rpartition("/")
        return name in self._folders.get(folder, ())

    def names(self, folder: str) -> list[str]:
        inside = f"{folder}/"
        below = {f[len(inside) :].partition("/")[0] for f in self._folders if f.startswith(inside)}
        return sorted({*self._folders.get(folder, ()), *below})

    def delete(self, key: str) -> None:
        folder, _, name = key.rpartition("/")
        self._folders.get(folder, {}).pop(name, None)


@dataclasses.dataclass(frozen=True, eq=False)
class MemoryStore(Store):
    """A store in this process, of the measurements `rows` by trial and duration.

    `before`: durations that count as measured though their rows are elsewhere; `checkpointed`: ids of
    trials that count as having checkpoints.
    """

    place: Place = dataclasses.field(default_factory=_MemoryPlace)
    before: Mapping[str, Collection[int]] = dataclasses.field(default_factory=dict)
    checkpointed: Collection[str] = ()
    rows: dict[str, dict[int, Sequence[Measurement]]] = dataclasses.field(default_factory=dict)

    def measured_durations(self) -> dict[str, set[int]]:
        found = {trial_id: set(durations) for trial_id, durations in self.before.items()}
        for trial_id, durations in self.rows.items():
            found.setdefault(trial_id, set()).update(durations)
        return found

    def append_rows(self, trial_id: str, examples: int, rows: Sequence[Measurement]) -> bool:
        if self._recorded(trial_id, (examples,)):
            return False
        self.rows.setdefault(trial_id, {})[examples] = tuple(rows)
        return True

    def table(self, *, skip: Sequence[Path] = ()) -> "pa.Table":
        """All rows, sorted by trial, duration and metric; without those of `before`."""
        from vitscale.sweeps.schema import rows_table

        return rows_table(
            [
                row
                for trial_id in sorted(self.rows)
                for examples in sorted(self.rows[trial_id])
                for row in sorted(self.rows[trial_id][examples], key=lambda row: row.metric)
            ]
        )

    def facts(
        self, trial_ids: Collection[str] | None = None, *, skip: Sequence[Path] = ()
    ) -> dict[str, dict[int, Facts]]:
        return {
            trial_id: {
                examples: Facts(rows[0].status, rows[0].spent_flops, rows[0].train_seconds)
                for examples, rows in self.rows[trial_id].items()
            }
            for trial_id in (self.rows if trial_ids is None else self.rows.keys() & set(trial_ids))
        }

    def check(self) -> list[Problem]:
        return []

    def resumable(self) -> set[str]:
        return set(self.checkpointed)

    def log_path(self, trial_id: str) -> Path:
        """A path at which there is nothing."""
        return self.place.scratch / f"{trial_id}.log"

    def _recorded(self, trial_id: str, durations: Sequence[int]) -> set[int]:
        known = {*self.rows.get(trial_id, ()), *self.before.get(trial_id, ())}
        return known.intersection(durations)
