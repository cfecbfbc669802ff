"""The store: immutable Parquet files, one for each finished trial and duration, in a folder or an
object store.

    STORE/
      store.json        what this is, and the newest schema version that was written into it
      measurements/     {trial_id}-{examples}.parquet: the facts, readable as one table by any tool;
                        base-{number}-{random}.parquet: those that were compacted
      manifests/        {number}.json: which base counts (the highest)
      checkpoints/      {trial_id}/: what an unfinished trial goes on from
      leases/           {trial_id}/{epoch}.json: who works on what
      attempts/         {trial_id}-{time}-{random}.json: attempts that did not end in measurements
      cancelled/        {trial_id}.json: trials that are not to be trained
      plans/  logs/     the plans that were run, as TOML; one log for each trial
      tmp/              files being written; what a dead process leaves here means nothing

A measurement is put if absent: in a folder written aside, synced, then linked to its name, which fails
where the name exists. So a file under `measurements/` is always whole, the first result of a trial
stays, and any number of processes may write at once. A trial is done when its last measurement is there.
"""

import contextlib
import dataclasses
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vitscale import __version__
from vitscale.scaling.measurement import SCHEMA_VERSION, Measurement
from vitscale.scaling.recipe import Trial
from vitscale.sweeps import bases, files
from vitscale.sweeps.bases import BASE, MEASUREMENT
from vitscale.sweeps.files import StoreError
from vitscale.sweeps.leases import leased
from vitscale.sweeps.places import mirror
from vitscale.sweeps.places.folder import FolderPlace
from vitscale.sweeps.places.place import Place, open_place

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from vitscale.sweeps.parquet import Facts

_Read = TypeVar("_Read")

_FORMAT = "vitscale-store"
_MARKER = "store.json"
_FOLDERS = ("measurements", "checkpoints", "plans", "logs", "tmp")
_LATER_FOLDERS = ("manifests", "leases", "attempts", "cancelled", "locks")
"""Made when first needed; "locks" is of older versions."""
_TRIAL_ID = re.compile(r"[0-9a-f]{12}")
_DAY_S = 86_400
_READ_AGAIN = 5
"""Times that a reader starts over because a compaction took files away under it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """A file of a store that cannot be trusted, and why. `path` is a path in a folder, a key elsewhere."""

    path: Path
    reason: str


def store_inside(folder: str | Path) -> Path | None:
    """The only store in a folder of this `folder`, such as that of the quickstart; None where there is not one."""
    found = [entry.parent for entry in sorted(Path(folder).glob(f"*/{_MARKER}"))]
    return found[0] if len(found) == 1 else None


@dataclasses.dataclass(frozen=True)
class Store:
    """A store at `place`; get one from `Store.open`. Holds no state: what is there is the truth."""

    place: Place

    @classmethod
    def open(cls, where: str | Path, *, create: bool = False) -> "Store":
        """The store in the folder or at the address `where` (s3://bucket/prefix, gs://..., memory://name);
        with `create` it is made where there is nothing yet.

        Raises `StoreError` (an `OSError`) where `where` is something else, is missing, was made by a
        newer vitscale, or cannot be written to.
        """
        store = cls(open_place(where))
        if isinstance(store.place, FolderPlace):
            store._open_folder(store.place.path, create)
        elif not store.place.exists(_MARKER):
            if not create:
                raise StoreError(f"there is no store at {store.name}; run a sweep into it first")
            store.make()
        store._check_version()
        return store

    @classmethod
    def exists(cls, where: str | Path) -> bool:
        """Whether there is something at `where`, be it a store or not."""
        place = open_place(where)
        return place.path.exists() if isinstance(place, FolderPlace) else place.exists(_MARKER)

    @property
    def name(self) -> str:
        """What messages and commands call it: its path or address."""
        return self.place.name

    @property
    def address(self) -> str:
        """What another process on this machine opens it by, wherever it was started."""
        if isinstance(self.place, FolderPlace):
            return str(self.place.path.absolute())
        return self.name

    @property
    def path(self) -> Path:
        """Its folder; raises `StoreError` where it has none."""
        if not isinstance(self.place, FolderPlace):
            raise StoreError(
                f"the store {self.name} is no folder; make one of it with: "
                f"vitscale store merge FOLDER {self.name}"
            )
        return self.place.path

    def measured(self, trial: Trial) -> set[int]:
        """Durations of `trial`, in examples, that are recorded, as measured or as diverged."""
        return self._recorded(trial.id, trial.durations)

    def measured_durations(self) -> dict[str, set[int]]:
        """All recorded durations, by trial id, from the names of files and the base."""
        singles = (
            self._singles()
        )  # first: what goes missing meanwhile is in the base looked at next
        found = {
            trial_id: set(durations) for trial_id, durations in bases.compacted(self.place).items()
        }
        for name in singles:
            trial_id, examples = bases.of_name(name)
            found.setdefault(trial_id, set()).add(examples)
        return found

    def append(self, trial: Trial, duration: int, rows: Sequence[Measurement]) -> bool:
        """Record `rows` for good unless the duration has been recorded; durable on return.

        Returns whether these rows are the ones kept. Raises `ValueError` for rows that are not of
        this trial and duration, `StoreError` where the disk is full or read-only.
        """
        if duration not in trial.durations:
            raise ValueError(
                f"{duration} examples is no duration of trial {trial.id}, which has "
                f"{list(trial.durations)}"
            )
        return self.append_rows(trial.id, duration, rows)

    def append_rows(self, trial_id: str, examples: int, rows: Sequence[Measurement]) -> bool:
        """`append` for rows whose trial is not known, such as imported ones."""
        from vitscale.sweeps.parquet import to_parquet

        contents = to_parquet(rows, trial_id=_checked(trial_id), examples=examples)
        return self.append_file(trial_id, examples, contents)

    def append_file(self, trial_id: str, examples: int, contents: bytes) -> bool:
        """`append` for a whole file of another store."""
        if self._recorded(trial_id, (examples,)):
            return False
        return self.place.put(self._key(trial_id, examples), contents)

    def read(self, *, skip: Sequence[Path] = ()) -> "pd.DataFrame":
        """All measurements as one table, sorted by trial and duration; empty with all columns where none is.

        Leaves out the files `skip`, such as those that `check` finds at fault.

        Raises `StoreError` that names the file where one is damaged or written by a newer version.
        """
        return self.table(skip=skip).to_pandas()

    def table(self, *, skip: Sequence[Path] = ()) -> "pa.Table":
        """`read` as an Arrow table."""
        left_out = {path.name for path in skip}
        for _ in range(_READ_AGAIN):
            with contextlib.suppress(FileNotFoundError):
                return self._table(left_out)
        raise StoreError(f"the store {self.name} is being compacted all the time; try again later")

    def values(self, trial_id: str, examples: int) -> dict[str, float | None]:
        """What was measured of one recorded duration, by metric; None where it diverged.

        Raises `StoreError` that names the file where it is damaged.
        """
        from vitscale.sweeps.parquet import from_bytes

        try:
            data = self.place.read(self._key(trial_id, examples))
            rows = self._trusted(from_bytes, data).to_pylist()
        except FileNotFoundError:  # compacted
            wanted = (trial_id, examples)
            rows = [r for r in self.table().to_pylist() if (r["trial_id"], r["examples"]) == wanted]
        return {row["metric"]: row["value"] for row in rows}

    def facts(
        self, trial_ids: Collection[str] | None = None, *, skip: Sequence[Path] = ()
    ) -> dict[str, dict[int, "Facts"]]:
        """Status and cost of each recorded duration, by trial id; of all trials, or of `trial_ids`.

        Leaves out the files `skip`.

        Raises `StoreError` that names the file where one is damaged.
        """
        for _ in range(_READ_AGAIN):
            with contextlib.suppress(FileNotFoundError):
                wanted = None if trial_ids is None else set(trial_ids)
                return self._facts(wanted, {path.name for path in skip})
        raise StoreError(f"the store {self.name} is being compacted all the time; try again later")

    def check(self) -> list[Problem]:
        """Every file under `measurements/` that is damaged, misnamed or of another version."""
        from vitscale.sweeps.parquet import problem_of, unreadable

        manifest, problems = self._manifest(), []
        for name in self.place.names("measurements"):
            reason = ""
            if match := MEASUREMENT.fullmatch(name):
                with contextlib.suppress(FileNotFoundError):  # compacted this moment
                    data = self.place.read(f"measurements/{name}")
                    reason = problem_of(data, trial_id=match[1], examples=int(match[2]))
            elif manifest is not None and name == manifest.base:
                data = self.place.read(f"measurements/{name}")
                reason = unreadable(data)
                if not reason and not bases.is_whole(self.place, manifest):
                    reason = "is not what was compacted; restore it from a copy"
            elif not BASE.fullmatch(name):
                reason = "is not named {trial id}-{examples}.parquet"
            if reason:
                problems.append(Problem(path=self.where(f"measurements/{name}"), reason=reason))
        if manifest is not None and not self.place.exists(f"measurements/{manifest.base}"):
            where = self.where(f"measurements/{manifest.base}")
            problems.append(Problem(path=where, reason="is missing; restore it from a copy"))
        return problems

    def single_files(self) -> int:
        """How many files of measurements have not been compacted."""
        return len(self._singles())

    def compact(self) -> bases.Compaction | None:
        """Put all single files of measurements into one base file; see `vitscale.sweeps.bases`."""
        return bases.compact(self.place)

    def checkpoint_dir(self, trial: Trial) -> Path:
        """The folder of `trial`'s checkpoints, on this machine; made where it is missing."""
        path = self._checkpoints(trial.id)
        with files.plain_errors(self.place.scratch):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def forget_checkpoints(self, trial: Trial) -> None:
        """Delete `trial`'s checkpoints, all at once even if the process dies half-way."""
        path, scratch = self._checkpoints(trial.id), self.place.scratch
        aside = scratch / "tmp" / f"{trial.id}-{secrets.token_hex(8)}"
        with files.plain_errors(scratch), contextlib.suppress(FileNotFoundError):
            aside.parent.mkdir(parents=True, exist_ok=True)
            os.rename(path, aside)
            shutil.rmtree(aside)
        if not isinstance(self.place, FolderPlace):
            mirror.forget_checkpoints(self.place, trial.id)

    def resumable(self) -> set[str]:
        """Ids of the trials that have checkpoints."""
        ids = filter(_TRIAL_ID.fullmatch, self.place.names("checkpoints"))
        return {trial_id for trial_id in ids if self.place.names(f"checkpoints/{trial_id}")}

    def log_path(self, trial_id: str) -> Path:
        """The file, on this machine, that takes what `trial_id`'s process prints."""
        path = self.place.scratch / "logs" / f"{_checked(trial_id)}.log"
        if not path.parent.is_dir():
            with files.plain_errors(self.place.scratch):
                path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def record_plan(self, name: str, toml: str) -> str:
        """Keep the text of a plan that is run, beside those before it, the same text once only; returns
        its key."""
        import hashlib

        digest = hashlib.sha256(toml.encode()).hexdigest()[:12]
        key = f"plans/{name}-{digest}.toml"
        if not self.place.exists(key):
            self.place.put(key, toml.encode())
        return key

    def recorded_plans(self) -> dict[str, str]:
        """Texts of the plans that were run here, as TOML, by their keys, in the order of these."""
        keys = [f"plans/{name}" for name in self.place.names("plans") if name.endswith(".toml")]
        return {key: self.place.read(key).decode("utf-8", errors="replace") for key in keys}

    @contextlib.contextmanager
    def lock(self, trial: Trial) -> Iterator[bool]:
        """Hold `trial` against all other processes, wherever they run; gives whether it was free.

        The lease ends with the process, however it ends; a process whose lease was taken over ends (see
        `vitscale.sweeps.leases`). Where the store is no folder, checkpoints are fetched before, kept in
        it now and then, and once more at the end (see `vitscale.sweeps.places.mirror`).
        """
        with contextlib.ExitStack() as stack:
            free = stack.enter_context(leased(self.place, trial.id))
            if free and not isinstance(self.place, FolderPlace):
                folder = self._checkpoints(trial.id)
                stack.enter_context(mirror.mirrored(self.place, trial.id, folder))
                stack.callback(self._keep_log, trial.id)
            yield free

    def prepare(self) -> None:
        """Make ready for writing: folders that a copy left out (git keeps no empty ones) are made,
        what processes that died more than a day ago left under `tmp/` is deleted, and a store of an
        older version is marked as one of this version, which older ones then refuse.

        Raises `StoreError` in one sentence where nothing could be stored now.
        """
        self._make_folders()
        self._tidy()
        probe = f"tmp/{os.getpid()}-{secrets.token_hex(8)}"
        self.place.put(probe, b"vitscale\n" * 512)
        self.place.delete(probe)
        if self._version() < SCHEMA_VERSION:
            self.place.write(_MARKER, _marker())

    def _open_folder(self, path: Path, create: bool) -> None:
        if not path.exists():
            if not create:
                raise StoreError(f"there is no store at {path}; run a sweep into it first")
            self.make()
        elif not path.is_dir():
            raise StoreError(f"{path} is a file, not a store; name a folder")
        elif not (path / _MARKER).exists():
            # Names of a store and nothing else: its making was cut short, or goes on right now.
            unknown = {entry.name for entry in path.iterdir()} - {*_FOLDERS, *_LATER_FOLDERS}
            if unknown or not create:
                inside = store_inside(path)
                raise StoreError(
                    f"{path} is not a store (it has no {_MARKER}); "
                    + (
                        f"did you mean {inside}?"
                        if inside is not None
                        else "name a store, or a new or empty folder for a new one"
                    )
                )
            self.make()

    def _recorded(self, trial_id: str, durations: Sequence[int]) -> set[int]:
        found = {d for d in durations if self.place.exists(self._key(trial_id, d))}
        if len(found) < len(durations):
            # Looked at after the files: a compaction puts its manifest before it deletes any.
            found |= bases.compacted(self.place).get(trial_id, frozenset()) & set(durations)
        return found

    def _facts(
        self, trial_ids: set[str] | None, left_out: set[str]
    ) -> dict[str, dict[int, "Facts"]]:
        from vitscale.sweeps.parquet import facts_of

        singles = [name for name in self._singles() if name not in left_out]
        manifest = self._manifest()
        if manifest is not None and manifest.base in left_out:
            manifest = None
        found: dict[str, dict[int, Facts]] = {}
        for name in singles:
            trial_id, examples = bases.of_name(name)
            if trial_ids is None or trial_id in trial_ids:
                data = self.place.read(f"measurements/{name}")
                found.setdefault(trial_id, {})[examples] = self._trusted(facts_of, data)
        for (trial_id, examples), facts in bases.base_facts(self.place, manifest).items():
            if trial_ids is None or trial_id in trial_ids:
                found.setdefault(trial_id, {})[examples] = facts
        return found

    def _table(self, left_out: set[str]) -> "pa.Table":
        import pyarrow as pa

        from vitscale.sweeps.parquet import from_bytes
        from vitscale.sweeps.schema import SCHEMA

        singles = [name for name in self._singles() if name not in left_out]
        manifest = self._manifest()
        known = bases.covered(self.place, manifest)
        tables = []
        if manifest is not None:
            tables.append(bases.base_table(self.place, manifest))
        for name in singles:
            trial_id, examples = bases.of_name(name)
            if examples not in known.get(trial_id, ()):
                data = self.place.read(f"measurements/{name}")
                tables.append(self._trusted(from_bytes, data))
        if not tables:
            return SCHEMA.empty_table()  # for which pyarrow loads pandas
        order = [(column, "ascending") for column in ("trial_id", "examples", "metric")]
        return pa.concat_tables(tables).sort_by(order)

    def _trusted(self, read: Callable[[bytes], _Read], data: bytes) -> _Read:
        """`read` of a file's bytes; raises `StoreError` that names the first file at fault."""
        from vitscale.sweeps.parquet import UNREADABLE

        try:
            return read(data)
        except UNREADABLE as error:
            problems = self.check()
            if not problems:
                raise
            more = f" ({len(problems)} files in all)" if len(problems) > 1 else ""
            raise StoreError(
                f"{problems[0].path} {problems[0].reason}{more}; move it out of the store and run the "
                f"same sweep again to measure it anew: nothing else is lost"
            ) from error

    def _manifest(self) -> bases.Manifest | None:
        return bases.newest(self.place)

    def _singles(self) -> list[str]:
        return [name for name in self.place.names("measurements") if MEASUREMENT.fullmatch(name)]

    def _key(self, trial_id: str, examples: int) -> str:
        return f"measurements/{_checked(trial_id)}-{examples}.parquet"

    def where(self, key: str) -> Path:
        """The path of a file of a folder; the key of one elsewhere."""
        return self.place.path / key if isinstance(self.place, FolderPlace) else Path(key)

    def _checkpoints(self, trial_id: str) -> Path:
        return self.place.scratch / "checkpoints" / _checked(trial_id)

    def _keep_log(self, trial_id: str) -> None:
        with contextlib.suppress(OSError):  # a log is no reason to lose what was measured
            self.place.write(f"logs/{trial_id}.log", self.log_path(trial_id).read_bytes())

    def _tidy(self) -> None:
        folder = self.place.scratch / "tmp"
        if not folder.is_dir():
            return
        with files.plain_errors(folder.parent):
            for path in folder.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > _DAY_S:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _make_folders(self) -> None:
        if isinstance(self.place, FolderPlace):
            with files.plain_errors(self.place.path):
                for name in _FOLDERS:
                    (self.place.path / name).mkdir(parents=True, exist_ok=True)

    def make(self) -> None:
        """Write what says that this is a store, where there is none yet."""
        self._make_folders()
        if isinstance(self.place, FolderPlace):
            files.sync_folder(self.place.path.absolute().parent)
        self.place.put(_MARKER, _marker())

    def _version(self) -> int:
        try:
            marker = json.loads(self.place.read(_MARKER))
            found, version, made_by = (marker[k] for k in ("format", "schema_version", "made_by"))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self.where(_MARKER)} is damaged; write into it {_marker().decode().strip()}"
            ) from error
        if found != _FORMAT or not isinstance(version, int):
            raise StoreError(f"{self.name} is not a store: its {_MARKER} says format={found!r}")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.name} was made by vitscale {made_by} with schema version {version}, and "
                f"this is vitscale {__version__}, which knows up to {SCHEMA_VERSION}; "
                f"update vitscale"
            )
        return version

    def _check_version(self) -> None:
        self._version()
        if isinstance(self.place, FolderPlace) and not (self.place.path / "measurements").is_dir():
            raise StoreError(f"{self.name} lacks its folder measurements; restore it")


def _marker() -> bytes:
    marker = {"format": _FORMAT, "schema_version": SCHEMA_VERSION, "made_by": __version__}
    return (json.dumps(marker) + "\n").encode()


def _checked(trial_id: str) -> str:
    """`trial_id`, which names files, or `ValueError` where it is not a hash."""
    if not isinstance(trial_id, str) or not _TRIAL_ID.fullmatch(trial_id):
        raise ValueError(f"trial id {trial_id!r} is not one; it has 12 digits of 0-9 and a-f")
    return trial_id
