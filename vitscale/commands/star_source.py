"""A star in a store or in a table of one's own, as commands take it: which columns it is in, and its fit."""

import dataclasses
from typing import TYPE_CHECKING, Any

from vitscale.commands.options import Groups
from vitscale.fits.option_error import OptionError

if TYPE_CHECKING:
    import pandas as pd

    from vitscale.fits.fit_file import FitFile


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """Where a table holds what, and which rows of a store are meant: fields of every command that fits a star."""

    x: str | None = None
    """Column of sizes (default: x)."""
    dimension: str | None = None
    """Column that names the dimension of each row (default: dimension)."""
    compute: str | None = None
    """Column of compute: train_flops, forward_flops, forward_gflops, or any other unit."""
    error: str | None = None
    """Column of errors or losses (default: error; with --law, loss too)."""
    is_center: str | None = None
    """Column of 0 and 1 that marks the centre of the star (default: is_center)."""
    model: str | None = None
    """Column that tells trained networks apart (default: same size and seed is one network)."""
    flops_per_unit: float | None = None
    """Training FLOPs in one unit of the compute column, where its name does not say."""
    metric: str | None = None
    """In a store: which metric to fit."""
    recipe: str | None = None
    """In a store: which recipe_id to fit, where there are several."""


_OF_A_STORE = ("metric", "recipe")
TABLE_COLUMNS = tuple(f.name for f in dataclasses.fields(Columns) if f.name not in _OF_A_STORE)

COLUMN_GROUPS: Groups = {"Rows of a store": _OF_A_STORE, "Columns of a table": TABLE_COLUMNS}
"""Their headings in helps."""


def fit_source(
    frame: "pd.DataFrame", name: str, columns: Columns, **options: Any
) -> "tuple[FitFile, pd.DataFrame]":
    """Fit the star in `frame`, which was read from `name`: the fit (with the starting point of its grid, where
    it is a store that has one), and the star's table. `options` go to `fit_star`.

    Raises `ValueError` where the columns do not fit what was read, or the star cannot be fitted.
    """
    from vitscale.fits.frame_fit import fit_frame
    from vitscale.fits.store_tables import is_store

    mapped = {key: getattr(columns, key) for key in TABLE_COLUMNS}
    from vitscale.sources import left_to_do

    # Before what to measure more of: what was planned, and is not measured yet.
    unfinished = left_to_do(name) if is_store(frame) else ""
    try:
        found, table = fit_frame(
            frame, metric=columns.metric, recipe=columns.recipe, columns=mapped, **options
        )
    except ValueError as error:
        if unfinished and not isinstance(error, OptionError):
            raise ValueError(f"{unfinished} (so far: {error})") from None
        raise
    if unfinished:
        notes = (unfinished, *found.fit.notes)
        found = dataclasses.replace(found, fit=dataclasses.replace(found.fit, notes=notes))
    return found, table
