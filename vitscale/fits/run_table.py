"""Runs of any kind as one table: what each cost, and how well it did, from a store or a user's columns.

A run table has the columns `compute`, `error`, `model` (the trained network that a run belongs to) and,
where it is known, `size` (parameters). It carries the same `attrs` as `vitscale.fits.tables`.
"""

import pandas as pd

from vitscale.fits.columns import (
    column_of,
    noted,
    positive,
    refuse_bad,
    require,
    series,
)
from vitscale.fits.store_fit import default_metric
from vitscale.fits.store_tables import is_store, measured, rows_of_a_store
from vitscale.fits.tables import FLOPS_PER_UNIT

_COMPUTES = ("compute", *FLOPS_PER_UNIT, "core_days", "C")
_ERRORS = ("error", "loss")
_SIZES = ("size", "params", "parameters", "N")


def run_table(
    frame: pd.DataFrame,
    *,
    compute: str | None = None,
    error: str | None = None,
    model: str | None = None,
    size: str | None = None,
    metric: str | None = None,
    recipe: str | None = None,
) -> pd.DataFrame:
    """Every run of `frame`, for its Pareto frontier (see `vitscale.fits.frontier`).

    - `compute`, `error`, `model`, `size`: columns of a table of the user's own; by default those that have
      such a name. Without a model, each run is a network of its own.
    - `metric`, `recipe`: which rows of a store, where there are several; its runs that ended well are
      taken, grid and star alike, and compute is `train_flops`.

    Raises `ValueError` for missing columns, for values that are not positive finite numbers, and for
    column names where `frame` is a store.
    """
    if is_store(frame):
        named = {"compute": compute, "error": error, "model": model, "size": size}
        given = [name for name, column in named.items() if column is not None]
        if given:
            raise rows_of_a_store(given)
        return _of_store(frame, metric, recipe)
    if frame.empty:
        raise ValueError("the table has no rows; measure first")
    columns = {
        "compute": column_of(frame, "compute", compute, list(_COMPUTES)),
        "error": column_of(frame, "error", error, list(_ERRORS)),
        "size": column_of(frame, "size", size, list(_SIZES)),
        "model": column_of(frame, "model", model, ["model"]),
    }
    needed = require(frame, columns, ("compute", "error"))
    if columns["size"] is not None:
        needed["size"] = columns["size"]
    numbers = {name: positive(frame, column) for name, column in needed.items()}
    refuse_bad(frame, {column: numbers[name] for name, column in needed.items()})
    table = pd.DataFrame({name: values.to_numpy(float) for name, values in numbers.items()})
    own = columns["model"]
    names = series(frame, own) if own else pd.Series(range(len(frame)))
    table["model"] = names.astype(str).to_numpy()
    unit = needed["compute"]
    return noted(table, needed["error"], unit, FLOPS_PER_UNIT.get(unit), [])


def _of_store(frame: pd.DataFrame, metric: str | None, recipe: str | None) -> pd.DataFrame:
    rows, notes = measured(frame, metric or default_metric(frame), recipe)
    table = pd.DataFrame(
        {
            "compute": rows["train_flops"].to_numpy(float),
            "error": rows["value"].to_numpy(float),
            "model": rows["trial_id"].astype(str).to_numpy(),
            "size": rows["params"].to_numpy(float),
        }
    )
    return noted(table, str(rows["metric"].iloc[0]), "train_flops", 1.0, notes)
