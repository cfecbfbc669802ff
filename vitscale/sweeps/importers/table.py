"""Every importer, and which of them reads a file or folder."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from vitscale.sweeps.importers import csv, mlflow, tensorboard, wandb
from vitscale.sweeps.importers.foreign import Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Importer:
    """A format: what it is in words, whether a path holds it, and its reader.

    `read` takes the path and the name of the column that tells runs apart, where the user gave one.
    """

    what: str
    matches: Callable[[Path], bool]
    read: Callable[[Path, str | None], Source]


IMPORTERS = {
    "csv": Importer(what="a table (.csv, .tsv)", matches=csv.matches, read=csv.read),
    "wandb": Importer(
        what="W&B: a wandb folder, a run's folder, runs as .json or .jsonl",
        matches=wandb.matches,
        read=wandb.read,
    ),
    "mlflow": Importer(
        what="MLflow: a folder mlruns, a database mlflow.db",
        matches=mlflow.matches,
        read=mlflow.read,
    ),
    "tensorboard": Importer(
        what="TensorBoard: a folder with event files",
        matches=tensorboard.matches,
        read=tensorboard.read,
    ),
}
"""The formats by name, in the order in which a path is tried."""


def read_source(path: Path, *, kind: str | None = None, key: str | None = None) -> Source:
    """All runs at `path`, whose format is `kind` or else found out; `key` names the column that tells runs
    apart.

    Raises `ValueError` or `OSError` in one sentence where there is nothing that can be read.
    """
    if not path.exists():
        raise ValueError(f"there is nothing at {path}; name a file or folder to import")
    kinds = [kind] if kind else [k for k, importer in IMPORTERS.items() if importer.matches(path)]
    if not kinds:
        known = "; ".join(importer.what for importer in IMPORTERS.values())
        raise ValueError(f"{path} is of an unknown kind; known are: {known}")
    source = IMPORTERS[kinds[0]].read(path, key)
    if not source.runs:
        raise ValueError(f"{path} holds no runs; name {IMPORTERS[kinds[0]].what}")
    return source
