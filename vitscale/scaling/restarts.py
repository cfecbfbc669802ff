"""That a trunk was begun anew though durations are measured: kept beside its checkpoints, so that whoever goes on
from them knows that those durations have not paid for it.

A record is a folder `anew/{number}` that appears whole, like a checkpoint, and travels with them.
"""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from vitscale.scaling.hosts import is_first

_FILE = "restart.json"


def record_restart(folder: Path, measured: Iterable[int]) -> None:
    """Make durable in `folder` that the trunk begins anew with these durations measured."""
    if not is_first():
        return
    number = max(_numbers(folder), default=0) + 1
    aside = folder / f".{number}-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    with open(aside / _FILE, "w", encoding="utf-8") as file:
        json.dump({"measured": sorted(measured)}, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(aside, folder / str(number))


def paid_for_others(folder: Path) -> set[int]:
    """Durations that were measured when the trunk last began anew; none where it never did."""
    numbers = _numbers(folder)
    if not numbers:
        return set()
    path = folder / str(max(numbers)) / _FILE
    return set(json.loads(path.read_text(encoding="utf-8"))["measured"])


def _numbers(folder: Path) -> list[int]:
    names = os.listdir(folder) if folder.is_dir() else []
    return [int(name) for name in names if name.isdecimal()]
