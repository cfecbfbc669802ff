"""The store: a folder of immutable Parquet files, one for each finished trial and duration.

    STORE/
      store.json        what this folder is, and the schema version it was made with
      measurements/     {trial_id}-{examples}.parquet: the facts, readable as one table by any tool
      checkpoints/      {trial_id}/: what an unfinished trial goes on from
      plans/  logs/     the plans that were run, as TOML; one log for each trial
      locks/            one file for each trial, locked while a process works on it
      tmp/              files being written; what a dead process leaves here means nothing

A file is put if absent: written aside, synced, then linked to its name, which fails where the name
exists. So a file under `measurements/` is always whole, the first result of a trial stays, and any
number of processes may write at once.
"""

import contextlib
import dataclasses
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vitscale import __version__
from vitscale.scaling.measurement import Measurement
from vitscale.scaling.recipe import Trial
from vitscale.sweeps import files
from vitscale.sweeps.files import StoreError

if TYPE_CHECKING:
    import pandas as pd

_FORMAT = "vitscale-store"
_MARKER = "store.json"
_FOLDERS = ("measurements", "checkpoints", "plans", "logs", "locks", "tmp")
_TRIAL_ID = re.compile(r"[0-9a-f]{12}")
_MEASUREMENT = re.compile(r"([0-9a-f]{12})-([1-9][0-9]{0,18})\.parquet")
_DAY_S = 86_400


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """A file of a store that cannot be trusted, and why."""

    path: Path
    reason: str


@dataclasses.dataclass(frozen=True)
class Store:
    """A store at `path`; get one from `Store.open`. Holds no state: the folder is the truth."""

    path: Path

    @classmethod
    def open(cls, path: str | Path, *, create: bool = False) -> "Store":
        """The store in the folder `path`; with `create` it is made where there is nothing yet.

        Raises `StoreError` (an `OSError`) where `path` is something else, is missing, was made by a
        newer vitscale, or cannot be written to.
        """
        path = Path(path)
        store = cls(path)
        if not path.exists():
            if not create:
                raise StoreError(f"there is no store at {path}; run a sweep into it first")
            store._make()
        elif not path.is_dir():
            raise StoreError(f"{path} is a file, not a store; name a folder")
        elif not (path / _MARKER).exists():
            # Names of a store and nothing else: its making was cut short, or goes on right now.
            unknown = {entry.name for entry in path.iterdir()} - set(_FOLDERS)
            if unknown or not create:
                raise StoreError(
                    f"{path} is not a store (it has no {_MARKER}); name a store, or a new or empty "
                    f"folder for a new one"
                )
            store._make()
        store._check_version()
        return store

    def measured(self, trial: Trial) -> set[int]:
        """Durations of `trial`, in examples, that are recorded, as measured or as diverged."""
        return {d for d in trial.durations if self._file(trial.id, d).exists()}

    def measured_durations(self) -> dict[str, set[int]]:
        """All recorded durations, by trial id, from the file names alone."""
        found: dict[str, set[int]] = {}
        for name in os.listdir(self.path / "measurements"):
            if match := _MEASUREMENT.fullmatch(name):
                found.setdefault(match[1], set()).add(int(match[2]))
        return found

    def append(self, trial: Trial, duration: int, rows: Sequence[Measurement]) -> bool:
        """Record `rows` for good unless the duration has been recorded; durable on return.

        Returns whether these rows are the ones kept. Raises `ValueError` for rows that are not of
        this trial and duration, `StoreError` where the disk is full or read-only.
        """
        from vitscale.sweeps.parquet import to_parquet

        if duration not in trial.durations:
            raise ValueError(
                f"{duration} examples is no duration of trial {trial.id}, which has "
                f"{list(trial.durations)}"
            )
        contents = to_parquet(rows, trial_id=trial.id, examples=duration)
        return self._put(self._file(trial.id, duration), contents)

    def read(self, *, skip: Sequence[Path] = ()) -> "pd.DataFrame":
        """All measurements as one table, sorted by file; empty with all columns where none is.

        Leaves out the files `skip`, such as those that `check` finds at fault.

        Raises `StoreError` that names the file where one is damaged or written by a newer version.
        """
        from vitscale.sweeps.parquet import read_files

        left_out = set(skip)
        table = read_files([path for path in self._files() if path not in left_out], self.check)
        return table.to_pandas()

    def statuses(self, trial: Trial) -> dict[int, str]:
        """ "ok" or "diverged" for each recorded duration of `trial`."""
        from vitscale.sweeps.parquet import read_files

        files = [self._file(trial.id, duration) for duration in sorted(self.measured(trial))]
        table = read_files(files, self.check).select(["examples", "status"])
        return {row["examples"]: row["status"] for row in table.to_pylist()}

    def check(self) -> list[Problem]:
        """Every file under `measurements/` that is damaged, misnamed or of another version."""
        from vitscale.sweeps.parquet import problem_of

        problems = []
        for path in sorted((self.path / "measurements").iterdir()):
            match = _MEASUREMENT.fullmatch(path.name)
            if match is None:
                reason = "is not named {trial id}-{examples}.parquet"
            else:
                reason = problem_of(path, trial_id=match[1], examples=int(match[2]))
            if reason:
                problems.append(Problem(path=path, reason=reason))
        return problems

    def checkpoint_dir(self, trial: Trial) -> Path:
        """The folder of `trial`'s checkpoints, made where it is missing."""
        path = self.path / "checkpoints" / trial.id
        with files.plain_errors(self.path):
            path.mkdir(exist_ok=True)
        return path

    def forget_checkpoints(self, trial: Trial) -> None:
        """Delete `trial`'s checkpoints, all at once even if the process dies half-way."""
        path = self.path / "checkpoints" / trial.id
        aside = self.path / "tmp" / f"{trial.id}-{secrets.token_hex(8)}"
        with files.plain_errors(self.path), contextlib.suppress(FileNotFoundError):
            os.rename(path, aside)
            shutil.rmtree(aside)

    def resumable(self) -> set[str]:
        """Ids of the trials that have checkpoints."""
        with os.scandir(self.path / "checkpoints") as entries:
            return {e.name for e in entries if _TRIAL_ID.fullmatch(e.name) and any(os.scandir(e))}

    def log_path(self, trial_id: str) -> Path:
        """The file that takes what `trial_id`'s process prints."""
        return self.path / "logs" / f"{_checked(trial_id)}.log"

    def record_plan(self, name: str, toml: str) -> Path:
        """Keep the text of a plan that is run, beside those before it; the same text once only."""
        import hashlib

        digest = hashlib.sha256(toml.encode()).hexdigest()[:12]
        path = self.path / "plans" / f"{name}-{digest}.toml"
        self._put(path, toml.encode())
        return path

    def recorded_plans(self) -> list[str]:
        """Texts of the plans that were run here, as TOML, by file name."""
        return [p.read_text(encoding="utf-8") for p in sorted((self.path / "plans").glob("*.toml"))]

    @contextlib.contextmanager
    def lock(self, trial: Trial) -> Iterator[bool]:
        """Hold `trial` against other processes of this machine; gives whether it was free.

        The lock ends with the process, however it ends. It only saves work: without it two
        processes would measure the same trial, and the first result would be kept.
        """
        with files.exclusive(self.path / "locks" / f"{trial.id}.lock", self.path) as free:
            yield free

    def prepare(self) -> None:
        """Make ready for writing: folders that a copy left out (git keeps no empty ones) are made,
        and what processes that died more than a day ago left under `tmp/` is deleted.

        Raises `StoreError` in one sentence where nothing could be stored now.
        """
        self._make_folders()
        self._tidy()
        path = self._aside()
        try:
            files.write_synced(path, b"vitscale\n" * 512, self.path)
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _tidy(self) -> None:
        with files.plain_errors(self.path):
            for path in (self.path / "tmp").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > _DAY_S:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _file(self, trial_id: str, examples: int) -> Path:
        return self.path / "measurements" / f"{_checked(trial_id)}-{examples}.parquet"

    def _files(self) -> list[Path]:
        folder = self.path / "measurements"
        return [folder / n for n in sorted(os.listdir(folder)) if _MEASUREMENT.fullmatch(n)]

    def _aside(self) -> Path:
        return self.path / "tmp" / f"{os.getpid()}-{secrets.token_hex(8)}"

    def _put(self, path: Path, contents: bytes) -> bool:
        return files.put_if_absent(path, contents, aside=self._aside(), store=self.path)

    def _make_folders(self) -> None:
        with files.plain_errors(self.path):
            for name in _FOLDERS:
                (self.path / name).mkdir(parents=True, exist_ok=True)

    def _make(self) -> None:
        self._make_folders()
        files.sync_folder(self.path.absolute().parent)
        from vitscale.sweeps.schema import SCHEMA_VERSION

        marker = {"format": _FORMAT, "schema_version": SCHEMA_VERSION, "made_by": __version__}
        self._put(self.path / _MARKER, (json.dumps(marker, indent=1) + "\n").encode())

    def _check_version(self) -> None:
        from vitscale.sweeps.schema import SCHEMA_VERSION

        try:
            marker = json.loads((self.path / _MARKER).read_text(encoding="utf-8"))
            found, version, made_by = (marker[k] for k in ("format", "schema_version", "made_by"))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self.path / _MARKER} is damaged; write into it "
                f'{{"format": "{_FORMAT}", "schema_version": {SCHEMA_VERSION}, '
                f'"made_by": "{__version__}"}}'
            ) from error
        if found != _FORMAT or not isinstance(version, int):
            raise StoreError(f"{self.path} is not a store: its {_MARKER} says format={found!r}")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} was made by vitscale {made_by} with schema version {version}, and "
                f"this is vitscale {__version__}, which knows up to {SCHEMA_VERSION}; "
                f"update vitscale"
            )
        if not (self.path / "measurements").is_dir():
            raise StoreError(f"{self.path} lacks its folder measurements; restore it")


def _checked(trial_id: str) -> str:
    """`trial_id`, which names files, or `ValueError` where it is not a hash."""
    if not isinstance(trial_id, str) or not _TRIAL_ID.fullmatch(trial_id):
        raise ValueError(f"trial id {trial_id!r} is not one; it has 12 digits of 0-9 and a-f")
    return trial_id
