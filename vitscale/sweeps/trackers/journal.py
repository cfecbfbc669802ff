"""What a tracker was told already, so that a driver that is started again tells it the rest, and that once."""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from vitscale.sweeps.store import Store


class Journal:
    """Lines of JSON in the store's folder of logs, a file for each tracker and place."""

    def __init__(self, store: Store, name: str, place: str) -> None:
        digest = hashlib.sha256(place.encode()).hexdigest()[:8]
        self._path: Path = store.place.scratch / "logs" / f"tracked-{name}-{digest}.jsonl"
        self._measured: dict[str, set[int]] = {}
        self._open: set[str] = set()
        self._ended: set[str] = set()
        with contextlib.suppress(FileNotFoundError):
            for line in self._path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):  # cut short by a kill
                    self._take(json.loads(line))

    def measured(self, trial_id: str) -> set[int]:
        """Durations of a trial that were told."""
        return self._measured.get(trial_id, set())

    @property
    def open(self) -> set[str]:
        """Trials whose run was begun and not ended."""
        return self._open

    @property
    def ended(self) -> set[str]:
        """Trials whose run was ended."""
        return self._ended

    def note_start(self, trial_id: str) -> None:
        self._write({"trial": trial_id, "began": True})

    def note_measured(self, trial_id: str, examples: int) -> None:
        self._write({"trial": trial_id, "examples": examples})

    def note_end(self, trial_id: str) -> None:
        self._write({"trial": trial_id, "ended": True})

    def _write(self, entry: dict[str, Any]) -> None:
        self._take(entry)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def _take(self, entry: dict[str, Any]) -> None:
        trial_id = entry["trial"]
        if entry.get("began"):
            self._open.add(trial_id)
            self._ended.discard(trial_id)
        elif entry.get("ended"):
            self._open.discard(trial_id)
            self._ended.add(trial_id)
        else:
            self._measured.setdefault(trial_id, set()).add(entry["examples"])
