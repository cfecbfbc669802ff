"""What a report is of: a fitted star, the table behind it, and what is known of how it was measured."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from vitscale.fits.fit_file import FitFile
from vitscale.fits.store_tables import is_store, like_the_star
from vitscale.scaling.shape import Shape
from vitscale.sweeps.places.place import is_remote
from vitscale.sweeps.plan import Plan
from vitscale.sweeps.recorded import read_recorded
from vitscale.sweeps.store import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class StarSource:
    """A star's measurements and their fit.

    - `name`: what the user called it. `table`: the star, as it was fitted.
    - `rows`: of its store, those of the recipe that was fitted; None where it is a table of one's own.
    - `plans`: of the recipe that was fitted, which the store was filled by, by name.
    - `sha256`: of the measurements. `columns`: flags that say where the table holds what. `model`: flags that
      say what its models are.
    - `commands`: to make the report again, with what each does, where it is not by name.
    - `compare`: shapes to show beside the answer, by name, each with its training FLOPs.
    """

    name: str
    fit_file: FitFile
    table: pd.DataFrame
    sha256: str
    rows: pd.DataFrame | None = None
    plans: Mapping[str, Plan] = dataclasses.field(default_factory=dict)
    columns: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    compare: Mapping[str, tuple[Shape, float]] = dataclasses.field(default_factory=dict)


def read_star_source(
    name: str,
    frame: pd.DataFrame,
    fit_file: FitFile,
    table: pd.DataFrame,
    columns: Sequence[str] = (),
    model: Sequence[str] = (),
) -> StarSource:
    """What `name` holds beside the rows in `frame`, with their fit; `columns`, `model` as in `StarSource`."""
    if not is_store(frame):
        return StarSource(
            name=name,
            fit_file=fit_file,
            table=table,
            sha256=file_sha256(Path(name)),
            columns=tuple(columns),
            model=tuple(model),
        )
    rows = like_the_star(frame, table)
    known = is_remote(name) or (Path(name) / "store.json").exists()
    return StarSource(
        name=name,
        fit_file=fit_file,
        table=table,
        sha256=rows_sha256(rows),
        rows=rows,
        plans=_plans(Store.open(name), rows) if known else {},
        columns=tuple(columns),
        model=tuple(model),
    )


def _plans(store: Store, rows: pd.DataFrame) -> dict[str, Plan]:
    """The plans of `store` that are of the recipe of `rows`."""
    recipes = set(rows["recipe_id"].astype(str))
    found = read_recorded(store).plans
    return {name: plan for name, plan in found.items() if plan.sweep.recipe.id in recipes}


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
