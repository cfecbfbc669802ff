"""Tables of measurements in canonical columns, from any user's columns or from a store.

A star table has the columns `dimension`, `x` (size of that dimension), `compute`, `error`,
`is_center` and `model` (the trained network a row comes from); a grid table has `width`, `depth`,
`mlp_dim`, `heads`, `compute`, `error`, `model`. Both carry in `attrs`: `metric` and `compute_unit`
(names of the columns they came from), `flops_per_unit` (training FLOPs in one unit of compute, None
where unknown) and `notes` (sentences for the user).
"""

import numpy as np
import pandas as pd

from vitscale.fits.columns import (
    STAR_COLUMNS as STAR_COLUMNS,
)
from vitscale.fits.columns import (
    column_of,
    flags,
    noted,
    positive,
    refuse_bad,
    refuse_centres,
    refuse_unit,
    require,
    row_list,
    series,
)
from vitscale.fits.files import read_table as read_table
from vitscale.fits.option_error import Keyword, OptionError
from vitscale.fits.store_tables import find_center as find_center
from vitscale.fits.store_tables import grid_table_from_store as grid_table_from_store
from vitscale.fits.store_tables import is_store as is_store
from vitscale.fits.store_tables import star_table_from_store as star_table_from_store

FLOPS_PER_UNIT = {
    # A training step costs three forward passes: one forward and a backward of two.
    "train_flops": 1.0,
    "training_flops": 1.0,
    "flops": 1.0,
    "train_gflops": 1e9,
    "forward_flops": 3.0,
    "forward_gflops": 3e9,
}
"""Training FLOPs in one unit of a compute column, by the column's name."""


def star_table(
    frame: pd.DataFrame,
    *,
    dimension: str | None = None,
    x: str | None = None,
    compute: str | None = None,
    error: str | None = None,
    is_center: str | None = None,
    model: str | None = None,
    flops_per_unit: float | None = None,
) -> pd.DataFrame:
    """The canonical star table of a frame with the user's own column names.

    - `dimension`, `x`, `compute`, `error`: names of columns; by default those names, and for
      compute also the names in `FLOPS_PER_UNIT`. Without a dimension column, all rows belong to one
      dimension, named like the column `x`.
    - `is_center`: optional column of 0 and 1. `model`: optional column that tells networks apart;
      by default rows of one size and seed are one network, measured at several durations.
    - `flops_per_unit`: training FLOPs in one unit of compute, where the column's name does not say.

    Raises `ValueError` for missing columns, for values that are not positive finite numbers, and for
    a centre of several sizes or listed as a dimension.
    """
    if frame.empty:
        raise ValueError("the table has no rows; measure first")
    if flops_per_unit is not None:
        refuse_unit(flops_per_unit)
    computes = ["compute", *FLOPS_PER_UNIT]
    columns = {
        "x": column_of(frame, "x", x, ["x"]),
        "compute": column_of(frame, "compute", compute, computes),
        "error": column_of(frame, "error", error, ["error"]),
        "dimension": column_of(frame, "dimension", dimension, ["dimension"]),
        "is_center": column_of(frame, "is_center", is_center, ["is_center"]),
        "model": column_of(frame, "model", model, ["model"]),
    }
    needed = require(frame, columns, ("x", "compute", "error"))
    numbers = {k: positive(frame, name) for k, name in needed.items()}
    refuse_bad(frame, {name: numbers[k] for k, name in needed.items()})
    name = columns["dimension"]
    names = series(frame, name).astype(str) if name else pd.Series(needed["x"], index=frame.index)
    if name and series(frame, name).isna().any():
        rows = row_list(np.flatnonzero(series(frame, name).isna()))
        raise ValueError(f"{name} is empty in {rows}; say which dimension each row varies")
    if name and pd.api.types.is_numeric_dtype(series(frame, name)):
        option = Keyword("dimension")
        raise OptionError(
            f"the column {name} holds numbers (such as {series(frame, name).iloc[0]:g}), but ",
            option,
            f" is the column of names that say what each row varies; to fit {name} alone, leave ",
            option,
            " out and give ",
            Keyword("x", name),
        )
    center = columns["is_center"]
    table = pd.DataFrame(
        {
            "dimension": names.to_numpy(),
            **{k: v.to_numpy() for k, v in numbers.items()},
            "is_center": flags(frame, center) if center else False,
        }
    )
    refuse_centres(table)
    seeds = frame["seed"].to_numpy() if "seed" in frame else np.zeros(len(frame), int)
    own = columns["model"]
    table["model"] = series(frame, own).astype(str).to_numpy() if own else _networks(table, seeds)
    unit, metric = needed["compute"], needed["error"]
    known = FLOPS_PER_UNIT.get(unit) if flops_per_unit is None else flops_per_unit
    return noted(table, metric, unit, known, _notes(table, metric))


def in_train_flops(table: pd.DataFrame) -> pd.DataFrame:
    """The same star table with compute in training FLOPs, where its unit is known in them; else as it is."""
    per_unit = table.attrs.get("flops_per_unit")
    if per_unit is None or table.attrs["compute_unit"] == "train_flops":
        return table
    converted = table.assign(compute=table["compute"] * per_unit)
    converted.attrs = {**table.attrs, "compute_unit": "train_flops", "flops_per_unit": 1.0}
    return converted


def _networks(table: pd.DataFrame, seeds: np.ndarray) -> list[str]:
    """Names of networks where the table has none: size and seed, and repeats told apart by order."""
    repeat = table.assign(seed=seeds).groupby(["dimension", "x", "seed", "compute"]).cumcount()
    parts = zip(table["dimension"], table["x"], seeds, repeat, strict=True)
    return [f"{d}={x:g} seed {s} run {r}" for d, x, s, r in parts]


def _notes(table: pd.DataFrame, metric: str) -> list[str]:
    notes = []
    lowered = metric.lower()
    if "error" in lowered and float(np.max(table["error"].to_numpy())) > 1:
        notes.append(f"{metric} exceeds 1, so it is read as a percentage or a loss")
    if "acc" in lowered:
        notes.append(
            f"{metric} looks like an accuracy, but the law is of an error: lower is better"
        )
    return notes
