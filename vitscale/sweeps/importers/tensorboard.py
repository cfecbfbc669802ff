"""TensorBoard logs: folders of event files, with hyper-parameters of the HParams plugin or in a file beside.

Event files are read by TensorBoard's own reader (the extra `tensorboard`), without TensorFlow.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from vitscale.sweeps.importers.foreign import ForeignRun, Point, Source, by_step, flat

_EVENTS = "*tfevents*"
_CONFIGS = ("hparams.yaml", "config.yaml", "args.yaml", "config.json")
"""Where Lightning, timm and others write a run's configuration beside its event files."""

_HPARAMS = "hparams"
_START = "_hparams_/session_start_info"


def matches(path: Path) -> bool:
    """Whether `path` is a folder with event files in it or below."""
    return path.is_dir() and next(path.rglob(_EVENTS), None) is not None


def read(path: Path, key: str | None = None) -> Source:
    """One run for each folder with event files, named by its path below `path`.

    Raises `ValueError` where TensorBoard is not installed, or a configuration cannot be read.
    """
    if key is not None:
        raise ValueError(f"--map run={key}: runs of {path} are told apart by their folders")
    folders = sorted({file.parent for file in path.rglob(_EVENTS)})
    runs = {folder: _read_run(folder, path) for folder in folders}
    return Source(tool="tensorboard", name=path.resolve().name, runs=_joined(runs))


def _read_run(folder: Path, root: Path) -> ForeignRun:
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.util.tensor_util import make_ndarray
    except ImportError as error:
        raise ValueError(
            f"reading {root} needs TensorBoard ({error}); install it with: "
            f"pip install 'vitscale[tensorboard]'"
        ) from None
    log = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    log.Reload()
    tags = log.Tags()
    curves = {
        tag: by_step([Point(event.step, event.value) for event in log.Scalars(tag)])
        for tag in tags["scalars"]
    }
    values = _config(folder)
    for tag in tags["tensors"]:
        if log.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
            points = [Point(e.step, float(make_ndarray(e.tensor_proto))) for e in log.Tensors(tag)]
            curves[tag] = by_step(points)
    if _START in tags["tensors"]:
        values |= _hparams(log.PluginTagToContent(_HPARAMS))
    name = str(folder.relative_to(root)) if folder != root else folder.resolve().name
    return ForeignRun(key=name, where=f"run {name}", values=values, curves=curves)


def _hparams(contents: Mapping[str, bytes]) -> dict[str, object]:
    """What the HParams plugin was told at the start of the run."""
    from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data

    if _START not in contents:
        return {}
    told = parse_session_start_info_plugin_data(contents[_START]).hparams
    values: dict[str, object] = {}
    for name, value in told.items():
        kind = value.WhichOneof("kind")
        values[name] = getattr(value, kind) if kind else None
    return values


def _config(folder: Path) -> dict[str, object]:
    """The configuration that a framework wrote beside the event files; empty where none did."""
    path = next((folder / name for name in _CONFIGS if (folder / name).is_file()), None)
    if path is None:
        return {}
    import yaml

    text = path.read_text(encoding="utf-8")
    try:
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
            )
        found.append((folder, run))
    return tuple(run for folder, run in found if folder not in inside)
