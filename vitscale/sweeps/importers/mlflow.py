"""MLflow's own records: a folder `mlruns` (its file store) or a SQLite database; nothing of MLflow is needed.

What `mlflow.search_runs` gives as CSV is a table, for `csv`.
"""

import contextlib
import math
import sqlite3
import sys
from pathlib import Path
from typing import Any

from vitscale.sweeps.importers.foreign import ForeignRun, Point, Source, State, by_step, state_of

_LARGEST = sys.float_info.max

_STATUS = {1: "running", 2: "scheduled", 3: "finished", 4: "failed", 5: "killed"}
"""Numbers of `RunStatus` in MLflow's `service.proto`."""


def matches(path: Path) -> bool:
    """Whether `path` is a file store, one of its experiments or runs, or a database."""
    if path.is_file():
        return path.suffix.lower() in (".db", ".sqlite", ".sqlite3")
    return any(True for _ in _run_folders(path))


def read(path: Path, key: str | None = None) -> Source:
    """All runs that were not deleted; `values` are parameters, and `experiment`, the experiment's name.

    Raises `ValueError` where `path` is not MLflow's.
    """
    if key is not None:
        raise ValueError(f"--map run={key}: MLflow's runs have ids")
    runs = _database(path) if path.is_file() else _folder(path)
    # The ids of MLflow's runs are unique everywhere, so a copy elsewhere holds the same runs.
    return Source(tool="mlflow", name="runs", runs=tuple(runs))


def _run_folders(path: Path):
    """Folders of runs in a file store, in an experiment's folder, or `path` itself."""
    for depth in ("", "*/", "*/*/"):
        yield from (file.parent for file in sorted(path.glob(f"{depth}meta.yaml")) if _is_run(file))


def _is_run(meta: Path) -> bool:
    return (meta.parent / "params").is_dir() or (meta.parent / "metrics").is_dir()


def _folder(path: Path) -> list[ForeignRun]:
    runs = []
    for folder in _run_folders(path):
        meta = _meta(folder / "meta.yaml")
        if meta.get("lifecycle_stage") == "deleted":
            continue
        values: dict[str, object] = dict(_texts(folder / "params"))
        parent = folder.parent / "meta.yaml"
        values["experiment"] = _meta(parent).get("name", "") if parent.is_file() else ""
        curves = {
            name: _curve(folder / "metrics" / name, text)
            for name, text in _texts(folder / "metrics").items()
        }
        status = meta.get("status")
        runs.append(
            ForeignRun(
                key=str(meta.get("run_id") or meta.get("run_uuid") or folder.name),
                where=f"run {meta.get('run_name') or folder.name}",
                values=values,
                curves=curves,
                state=_state(_STATUS.get(status, status) if isinstance(status, int) else status),
            )
        )
    return runs


def _meta(path: Path) -> dict[str, Any]:
    import yaml

    try:
        meta = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is damaged; restore it, or move its folder away") from error
    if not isinstance(meta, dict):
        raise ValueError(f"{path} is damaged; restore it, or move its folder away")
    return meta


def _texts(folder: Path) -> dict[str, str]:
    """Texts of the files below `folder`, by name; names with a slash are in folders of their own."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    found = {}
    for file in files:
        try:
            found[file.relative_to(folder).as_posix()] = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{file} is damaged; restore it, or move the run's folder away"
            ) from error
    return found


def _curve(path: Path, text: str) -> tuple[Point, ...]:
    """Points of a file of lines `milliseconds value step`, perhaps followed by more."""
    points = []
    for number, line in enumerate(text.splitlines(), 1):
        parts = line.split()
        try:
            points.append(Point(int(parts[2]) if len(parts) > 2 else 0, float(parts[1])))
        except (ValueError, IndexError):
            raise ValueError(
                f"{path}: line {number} is {line!r}, but milliseconds, value and step are expected; "
                f"mend it, or move the run's folder away"
            ) from None
    return by_step(points)


def _database(path: Path) -> list[ForeignRun]:
    """All runs of a database of MLflow, opened for reading alone."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        ) as db:
            return [_stored_run(db, *row) for row in db.execute(_RUNS)]
    except sqlite3.Error as error:
        raise ValueError(
            f"{path} is no database of MLflow ({error}); name its mlflow.db"
        ) from error


_RUNS = """
    select run_uuid, runs.name, status, experiments.name from runs
    left join experiments on experiments.experiment_id = runs.experiment_id
    where runs.lifecycle_stage != 'deleted' order by start_time, run_uuid
"""


def _stored_run(
    db: sqlite3.Connection, run_id: str, name: str | None, status: str, experiment: str | None
) -> ForeignRun:
    params = db.execute("select key, value from params where run_uuid = ?", (run_id,))
    values: dict[str, object] = dict(params.fetchall())
    points: dict[str, list[Point]] = {}
    logged = "select key, value, step, is_nan from metrics where run_uuid = ? order by timestamp"
    for key, value, step, is_nan in db.execute(logged, (run_id,)):
        points.setdefault(key, []).append(Point(step, _logged(value, bool(is_nan))))
    return ForeignRun(
        key=run_id,
        where=f"run {name or run_id}",
        values=values | {"experiment": experiment or ""},
        curves={key: by_step(found) for key, found in points.items()},
        state=_state(status),
    )


def _logged(value: float, is_nan: bool) -> float:
    """What was logged; a database gets the largest number for infinity, and nought for NaN."""
    if is_nan:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= _LARGEST else value


def _state(status: object) -> State:
    return state_of(status) or "finished"
