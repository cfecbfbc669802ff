"""What a report is of: a fitted star, the table behind it, and what is known of how it was measured."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from vitscale.fits.fit_file import FitFile
from vitscale.fits.store_tables import is_store
from vitscale.scaling.shape import Shape
from vitscale.sweeps.places.place import is_remote
from vitscale.sweeps.store import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class StarSource:
    """A star's measurements and their fit.

    - `name`: what the user called it. `table`: the star, as it was fitted.
    - `rows`: all rows of its store; None where it is a table of one's own.
    - `plans`: texts of the plans that the store was filled by.
    - `sha256`: of the measurements. `columns`: flags that say where the table holds what.
    - `commands`: to make the report again, with what each does, where it is not by name.
    - `compare`: shapes to show beside the answer, by name, each with its training FLOPs.
    """

    name: str
    fit_file: FitFile
    table: pd.DataFrame
    sha256: str
    rows: pd.DataFrame | None = None
    plans: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    compare: Mapping[str, tuple[Shape, float]] = dataclasses.field(default_factory=dict)


def read_star_source(
    name: str,
    frame: pd.DataFrame,
    fit_file: FitFile,
    table: pd.DataFrame,
    columns: Sequence[str] = (),
) -> StarSource:
    """What `name` holds beside the rows in `frame`, with their fit; `columns` as in `StarSource`."""
    if not is_store(frame):
        return StarSource(
            name=name,
            fit_file=fit_file,
            table=table,
            sha256=file_sha256(Path(name)),
            columns=tuple(columns),
        )
    known = is_remote(name) or (Path(name) / "store.json").exists()
    return StarSource(
        name=name,
        fit_file=fit_file,
        table=table,
        sha256=rows_sha256(frame),
        rows=frame,
        plans=tuple(Store.open(name).recorded_plans().values()) if known else (),
        columns=tuple(columns),
    )


def rows_sha256(rows: pd.DataFrame) -> str:
    """Hash of what a store's rows say, whatever files and order they lie in."""
    columns = ["trial_id", "examples", "metric", "status", "value"]
    facts = pd.DataFrame(rows[columns]).sort_values(by=columns[:3], kind="stable")
    return hashlib.sha256(facts.to_csv(index=False).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Hash of a file, or of the files of a folder in the order of their names.

    Raises `FileNotFoundError` where there is neither.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist, so it has no SHA-256; give a file or a folder"
        )
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()
