"""How often a trial has diverged: kept beside its checkpoints, so that a killed retry goes on as one.

A record is a folder `diverged/{number}` that appears whole, like a checkpoint, so that whatever takes a
trial's checkpoints to another machine takes its records along.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from vitscale.scaling.failpoints import failpoint
from vitscale.scaling.hosts import first_says, is_first
from vitscale.scaling.progress import MeasurementSink
from vitscale.scaling.recipe import Trial

_FOLDER, _FILE = "diverged", "divergence.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Divergence:
    """The end of an attempt at a trial.

    - `learning_rate`: its peak. `reason`: what was seen, and at which step.
    - `measured`: durations that needed no work any more when it ended.
    - `lost_steps`, `lost_seconds`: trained for none of them.
    """

    learning_rate: float
    reason: str
    measured: tuple[int, ...]
    lost_steps: int
    lost_seconds: float


def learning_rate_after(trial: Trial, divergences: int) -> float:
    """Peak learning rate of `trial` once it has diverged so many times: half of the last, each time."""
    return trial.recipe.peak_learning_rate(trial.shape) * 0.5**divergences


def divergences(store: MeasurementSink, trial: Trial) -> list[Divergence]:
    """The records of `trial`, oldest first; the same number on every host."""
    folder = store.checkpoint_dir(trial) / _FOLDER
    found: list[Divergence] = []
    while first_says((path := folder / str(len(found) + 1) / _FILE).is_file()):
        found.append(_read(path))
    return found


def record_divergence(store: MeasurementSink, trial: Trial, number: int, what: Divergence) -> None:
    """Make the record `number`, from 1 on, durable; does nothing where it is there."""
    folder = store.checkpoint_dir(trial) / _FOLDER
    if not is_first() or (folder / str(number)).is_dir():
        return
    aside = folder / f".{number}-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    with open(aside / _FILE, "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(what), file)
        file.flush()
        os.fsync(file.fileno())
    failpoint("divergence.record")
    os.rename(aside, folder / str(number))


def steps_to_pay(past: Sequence[Divergence], measured: set[int]) -> int:
    """Steps of the attempts in `past` that no duration in `measured` has paid for."""
    return sum(each.lost_steps for each in past if set(each.measured) == measured)


def retried_because(past: Sequence[Divergence], learning_rate: float) -> str:
    """What a measurement after `past` says of itself; nothing where it was the first attempt."""
    if not past:
        return ""
    return f"diverged at {_listed(past)}; measured at learning rate {learning_rate:.4g}"


def given_up_because(past: Sequence[Divergence], untrained_loss: float) -> str:
    """Why a trial is not tried again."""
    what = f"where an untrained model has {untrained_loss:.4g}; try a smaller learning rate"
    if len(past) == 1:
        return f"{past[0].reason}, {what} than {past[0].learning_rate:.3g}"
    return f"diverged at {_listed(past)}, {what}"


def _listed(past: Sequence[Divergence]) -> str:
    return ", then ".join(
        f"learning rate {each.learning_rate:.4g} ({each.reason})" for each in past
    )


def _read(path: Path) -> Divergence:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:  # the first host has it; what it says matters there alone
        found = {"learning_rate": 0.0, "reason": "", "lost_steps": 0, "lost_seconds": 0.0}
    return Divergence(**{**found, "measured": tuple(found.get("measured", ()))})
