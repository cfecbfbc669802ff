"""W&B: folders of runs (`wandb/`), and runs written as JSON from its API; nothing of W&B is needed.

Its table of runs as CSV is a table, for `csv`. A run's folder has a binary log, `run-ID.wandb`, which alone is
there when the run was offline; runs that were only downloaded have `config.yaml` and `wandb-summary.json`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vitscale.sweeps.importers.csv import table_source
from vitscale.sweeps.importers.foreign import (
    ForeignRun,
    Point,
    Source,
    State,
    by_step,
    flat,
    state_of,
)
from vitscale.sweeps.importers.wandb_log import Log, read_log

_FOLDER = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-(.+?)(?:-\d+)?$")
_CONFIG, _SUMMARY = "config.yaml", "wandb-summary.json"


def matches(path: Path) -> bool:
    """Whether `path` is a folder of runs or of one run, or a file of JSON."""
    if path.is_file():
        return path.suffix.lower() in (".json", ".jsonl", ".wandb")
    return any(True for _ in _folders(path))


def read(path: Path, key: str | None = None) -> Source:
    """All runs; parts of one that was resumed are one run.

    Raises `ValueError` that names the file that is not W&B's.
    """
    if path.is_file() and path.suffix.lower() != ".wandb":
        return _json(path, key)
    if key is not None:
        raise ValueError(f"--map run={key}: W&B's runs have ids")
    if path.is_file():
        parts = [_of_log(path)]
    else:
        parts = [_of_folder(folder) for folder in _folders(path)]
    by_id: dict[str, list[ForeignRun]] = {}
    for part in parts:
        by_id.setdefault(part.key, []).append(part)
    # W&B's ids are unique within a project, which a folder holds runs of, wherever it is moved.
    return Source(tool="wandb", name="runs", runs=tuple(map(_joined, by_id.values())))


def _folders(path: Path) -> Iterator[Path]:
    """Folders of runs, the oldest first; the link `latest-run` is one of them again."""
    if _holds_run(path):
        yield path
        return
    for pattern in ("*", "wandb/*"):
        for folder in sorted(path.glob(pattern), key=lambda folder: folder.name.split("run-")[-1]):
            if folder.is_dir() and not folder.is_symlink() and _holds_run(folder):
                yield folder


def _holds_run(folder: Path) -> bool:
    files = (folder, folder / "files")
    both = any((f / _CONFIG).is_file() and (f / _SUMMARY).is_file() for f in files)
    return both or next(folder.glob("run-*.wandb"), None) is not None


def _of_folder(folder: Path) -> ForeignRun:
    log = next(folder.glob("run-*.wandb"), None)
    if log is not None:
        return _of_log(log)
    files = next(f for f in (folder / "files", folder) if (f / _CONFIG).is_file())
    match = _FOLDER.fullmatch(folder.name)
    name = match[1] if match else folder.name
    return _run(name, name, _yaml(files / _CONFIG), _object(files / _SUMMARY), {}, "finished")


def _of_log(path: Path) -> ForeignRun:
    log: Log = read_log(path)
    points: dict[str, list[Point]] = {}
    for entry in log.history:
        _add_points(points, entry)
    state: State = "finished" if log.exit_code == 0 else "unfinished"
    run_id = log.run_id or path.stem.removeprefix("run-")
    return _run(run_id, log.name or run_id, log.config, log.summary, points, state)


def _json(path: Path, key: str | None) -> Source:
    """Runs as `[{"id": ..., "config": {...}, "summary": {...}}, ...]`, or one object a line; objects of other
    kinds are the rows of a table."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".jsonl":
            objects = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            objects = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); export it again") from error
    if isinstance(objects, dict):
        objects = objects.get("runs", [objects])
    if not isinstance(objects, list) or not all(isinstance(each, dict) for each in objects):
        raise ValueError(f"{path} is no list of runs; expected objects with id, config and summary")
    if not any("config" in each for each in objects):
        rows = [(number, flat(each)) for number, each in enumerate(objects, 1)]
        return table_source("json", path, rows, key)
    if key is not None:
        raise ValueError(f"--map run={key}: W&B's runs have ids")
    runs = tuple(_of_object(path, number, each) for number, each in enumerate(objects, 1))
    return Source(tool="wandb", name=path.name, runs=runs)


def _of_object(path: Path, number: int, run: Mapping[str, Any]) -> ForeignRun:
    run_id = str(run.get("id") or run.get("run_id") or "")
    config, summary = run.get("config"), {}
    for name in ("summary", "summary_metrics", "summaryMetrics", "_summary"):
        summary = summary or run.get(name) or {}
    config = json.loads(config) if isinstance(config, str) else config
    summary = json.loads(summary) if isinstance(summary, str) else summary
    if not isinstance(config, dict) or not isinstance(summary, dict):
        raise ValueError(f"{path}: run {number} has no config and summary of keys and values")
    points: dict[str, list[Point]] = {}
    for entry in run.get("history") or ():
        _add_points(points, entry)
    name = str(run.get("name") or run.get("display_name") or run_id)
    state = state_of(run.get("state", "")) or "finished"
    return _run(run_id, f"{number} ({name})", config, summary, points, state)


def _run(
    run_id: str,
    name: str,
    config: Mapping[str, Any],
    summary: Mapping[str, Any],
    points: Mapping[str, Sequence[Point]],
    state: State,
) -> ForeignRun:
    plain = {
        key: value["value"] if isinstance(value, Mapping) and "value" in value else value
        for key, value in config.items()
        if key not in ("_wandb", "wandb_version")
    }
    # Only one of a name both configured and measured can be meant by it: the configured one.
    values = {f"{k}": v for k, v in flat(summary).items() if not isinstance(v, (list, dict))}
    return ForeignRun(
        key=run_id,
        where=f"run {name}",
        values=values | flat(plain),
        curves={key: by_step(found) for key, found in points.items()},
        state=state,
    )


def _add_points(points: dict[str, list[Point]], entry: Mapping[str, Any]) -> None:
    """The numbers of one line of history. W&B counts calls of `log`, so that a step that was logged beside
    them, by the names that trainers use, is the better one."""
    step = next((entry[name] for name in _STEPS if isinstance(entry.get(name), (int, float))), 0)
    for name, value in entry.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool) and name[:1] != "_":
            points.setdefault(name, []).append(Point(int(step), float(value)))


_STEPS = ("examples", "train/global_step", "trainer/global_step", "global_step", "step", "_step")


def _joined(parts: list[ForeignRun]) -> ForeignRun:
    """The parts of one run, each resumed from the one before."""
    last = parts[-1]
    if len(parts) == 1:
        return last
    values: dict[str, object] = {}
    points: dict[str, list[Point]] = {}
    for part in parts:
        values |= part.values
        for name, curve in part.curves.items():
            points.setdefault(name, []).extend(curve)
    return ForeignRun(
        key=last.key,
        where=last.where,
        values=values,
        curves={name: by_step(found) for name, found in points.items()},
        state=last.state,
    )


def _object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); download it again") from error
    return content if isinstance(content, dict) else {}


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is damaged ({error}); download it again") from error
    return content if isinstance(content, dict) else {}
