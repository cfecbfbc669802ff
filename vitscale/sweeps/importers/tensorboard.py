"""TensorBoard logs: folders of event files, with hyper-parameters of the HParams plugin or in a file beside.

Event files are read record by record (the extra `tensorboard`, without TensorFlow): TensorBoard's own loader
stops without a word at a record that is damaged, and what was measured before it would pass for the end.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vitscale.sweeps.importers.foreign import ForeignRun, Point, Source, State, by_step, flat

_EVENTS = "*tfevents*"
_CONFIGS = ("hparams.yaml", "config.yaml", "args.yaml", "config.json")
"""Where Lightning, timm and others write a run's configuration beside its event files."""

_SCALARS, _HPARAMS = "scalars", "hparams"
_START, _END = "_hparams_/session_start_info", "_hparams_/session_end_info"


def matches(path: Path) -> bool:
    """Whether `path` is a folder with event files in it or below."""
    return path.is_dir() and next(path.rglob(_EVENTS), None) is not None


def read(path: Path, key: str | None = None) -> Source:
    """One run for each folder with event files, named by its path below `path`. A run whose last event file
    ends within a record was killed, and is unfinished.

    Raises `ValueError` where TensorBoard is not installed, or a file is damaged.
    """
    if key is not None:
        raise ValueError(f"--map run={key}: runs of {path} are told apart by their folders")
    folders = sorted({file.parent for file in path.rglob(_EVENTS)})
    try:
        runs = {folder: _read_run(folder, path) for folder in folders}
    except ImportError as error:
        raise ValueError(
            f"reading {path} needs TensorBoard ({error}); install it with: "
            f"pip install 'vitscale[tensorboard]'"
        ) from None
    return Source(tool="tensorboard", name=path.resolve().name, runs=_joined(runs))


@dataclasses.dataclass
class _Log:
    """What the event files of a folder say, in the order in which they were written."""

    points: dict[str, list[Point]] = dataclasses.field(default_factory=dict)
    hparams: dict[str, object] = dataclasses.field(default_factory=dict)
    state: State = "finished"
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)
    """`SummaryMetadata` of each tag: it is written with the first point alone."""


def _read_run(folder: Path, root: Path) -> ForeignRun:
    log = _Log()
    for file in sorted(folder.glob(_EVENTS)):
        log.state = "finished"
        _take_file(log, file)
    name = str(folder.relative_to(root)) if folder != root else folder.resolve().name
    return ForeignRun(
        key=name,
        where=f"run {name}",
        values=_config(folder) | log.hparams,
        curves={tag: by_step(points) for tag, points in log.points.items()},
        state=log.state,
    )


def _take_file(log: _Log, file: Path) -> None:
    """Enter one event file into the log. Raises `ValueError` where it is damaged."""
    from google.protobuf.message import DecodeError
    from tensorboard import data_compat, dataclass_compat
    from tensorboard.compat.proto import event_pb2

    parse = event_pb2.Event.FromString  # pyright: ignore
    try:
        for record in _records(log, file):
            # Scalars of every age and writer become tensors, as TensorBoard itself reads them.
            old = data_compat.migrate_event(parse(record))
            for event in dataclass_compat.migrate_event(old, log.metadata):
                for value in event.summary.value:
                    _take(log, event.step, value)
    except DecodeError as error:
        raise _damaged(file) from error


def _records(log: _Log, file: Path) -> Iterator[bytes]:
    """The records of an event file; one that the end of the file cuts short is left out."""
    from tensorboard.compat.tensorflow_stub.errors import DataLossError, OutOfRangeError
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

    reader = PyRecordReader_New(str(file))
    while True:
        try:
            reader.GetNext()
        except OutOfRangeError:
            return
        except DataLossError as error:
            if "truncated" not in str(error):
                raise _damaged(file) from error
            log.state = "unfinished"
            return
        yield reader.record() or b""


def _damaged(file: Path) -> ValueError:
    return ValueError(f"{file} is damaged; copy it again, or move its folder away")


def _take(log: _Log, step: int, value: Any) -> None:
    """Enter one `Summary.Value` that was logged."""
    from tensorboard.util.tensor_util import make_ndarray

    plugin = log.metadata[value.tag].plugin_data if value.tag in log.metadata else None
    if plugin is None:
        return
    content = value.metadata.plugin_data.content or plugin.content
    if plugin.plugin_name == _SCALARS:
        number = float(make_ndarray(value.tensor).item())
        log.points.setdefault(value.tag, []).append(Point(step, number))
    elif plugin.plugin_name == _HPARAMS and value.tag == _START:
        log.hparams = _hparams(content)
    elif plugin.plugin_name == _HPARAMS and value.tag == _END:
        log.state = _end_state(content)


def _hparams(content: bytes) -> dict[str, object]:
    """What the HParams plugin was told at the start of the run."""
    from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data

    values: dict[str, object] = {}
    for name, value in parse_session_start_info_plugin_data(content).hparams.items():
        kind = value.WhichOneof("kind")
        values[name] = getattr(value, kind) if kind else None
    return values


def _end_state(content: bytes) -> State:
    """How the run ended, by what the HParams plugin was told then."""
    from tensorboard.plugins.hparams import api_pb2, metadata

    status = api_pb2.Status.Name(  # pyright: ignore
        metadata.parse_session_end_info_plugin_data(content).status
    )
    return "unfinished" if status == "STATUS_FAILURE" else "finished"


def _config(folder: Path) -> dict[str, object]:
    """The configuration that a framework wrote beside the event files; empty where none did."""
    path = next((folder / name for name in _CONFIGS if (folder / name).is_file()), None)
    if path is None:
        return {}
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        config = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path} is no plain configuration ({reason}); remove or mend it"
        ) from error
    return flat(config) if isinstance(config, dict) else {}


def _joined(runs: Mapping[Path, ForeignRun]) -> tuple[ForeignRun, ...]:
    """`runs`, where PyTorch's `add_hparams` wrote hyper-parameters into a folder of their own below the run's
    joined with it."""
    found = []
    inside = set()
    for folder, run in runs.items():
        below = [f for f in runs if folder in f.parents and runs[f].values]
        if not run.values and len(below) == 1:
            inside.add(below[0])
            told = runs[below[0]]
            run = ForeignRun(
                key=run.key,
                where=run.where,
                values=told.values,
                curves={**told.curves, **run.curves},
                state=run.state,
            )
        found.append((folder, run))
    return tuple(run for folder, run in found if folder not in inside)
