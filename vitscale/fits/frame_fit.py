"""From any rows to a fit: those of a store, or a table of the user's own."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from vitscale.fits.answer import Setting
from vitscale.fits.fit_file import FitFile
from vitscale.fits.option_error import Keyword, OptionError
from vitscale.fits.shape_law import fit_star
from vitscale.fits.store_fit import fit_store
from vitscale.fits.store_tables import is_store, rows_of_a_store
from vitscale.fits.tables import in_train_flops, star_table


def fit_frame(
    frame: pd.DataFrame,
    *,
    metric: str | None = None,
    recipe: str | None = None,
    columns: Mapping[str, Any] | None = None,
    train_flops: bool = False,
    **options: Any,
) -> tuple[FitFile, pd.DataFrame]:
    """Fit the star in `frame`; also the canonical table that was fitted.

    - `metric`, `recipe`: which rows of a store (see `vitscale.fits.store_fit.fit_store`).
    - `columns`: of a table of the user's own, as keywords of `vitscale.fits.tables.star_table`; None
      counts as not given. Such a fit has no starting point of its own, and is assumed to be of the paper's setting.
    - `train_flops`: count compute in training FLOPs, where the unit of its column is known in them.
    - `options`: go to `vitscale.fits.shape_law.fit_star`.

    Raises `ValueError` as those, and where `columns` are given for a store or `metric` or `recipe` for
    another table.
    """
    given = {name: value for name, value in (columns or {}).items() if value is not None}
    if is_store(frame):
        if given:
            raise rows_of_a_store(given)
        return fit_store(frame, metric=metric, recipe=recipe, **options)
    for name, value in (("metric", metric), ("recipe", recipe)):
        if value is not None:
            raise OptionError(
                Keyword(name, value),
                " chooses among the rows of a store, but this is another table; name its columns with ",
                *(Keyword("x"), ", ", Keyword("compute"), " and ", Keyword("error"), " instead"),
            )
    table = star_table(frame, **given)
    if train_flops:
        table = in_train_flops(table)
    return FitFile(
        fit=fit_star(table, **options), start=None, setting=Setting(), assumed=True
    ), table
