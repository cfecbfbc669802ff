"""From the rows of a store to a fit with its starting point and setting: what `vitscale fit` does."""

import dataclasses

import pandas as pd

from vitscale.fits.answer import Setting
from vitscale.fits.columns import series, where
from vitscale.fits.fit_file import FitFile
from vitscale.fits.grid import choose_x0
from vitscale.fits.rule import StartingPoint
from vitscale.fits.shape_law import fit_star
from vitscale.fits.store_tables import (
    grid_table_from_store,
    like_the_star,
    star_table_from_store,
)

DEFAULT_METRICS = ("glyphs_10shot_error", "imagenet_10shot_error")
"""What is fitted where the user names no metric and the store has one of these."""


def fit_store(
    frame: pd.DataFrame,
    *,
    metric: str | None = None,
    recipe: str | None = None,
    **options,
) -> tuple[FitFile, pd.DataFrame]:
    """Fit the star in a store's rows, starting the rule from its grid; also the star's table.

    `options` go to `fit_star`. Where the store has no grid, or the grid's optimum lies on its edge,
    the fit has no starting point of its own and a note says why.

    Raises `ValueError` where there is no star, or the metric or recipe is ambiguous.
    """
    metric = metric or default_metric(frame)
    table = star_table_from_store(frame, metric, recipe)
    fit = fit_star(table, **options)
    start: StartingPoint | None = None
    note: tuple[str, ...] = ()
    try:
        start = choose_x0(grid_table_from_store(frame, metric, recipe))
    except ValueError as error:
        note = (f"no starting point from a grid: {error}",)
    fit = dataclasses.replace(fit, notes=(*fit.notes, *note))
    return FitFile(fit=fit, start=start, setting=setting_of(like_the_star(frame, table))), table


def default_metric(frame: pd.DataFrame) -> str | None:
    """The first of `DEFAULT_METRICS` that the store measured; None where it has none of them."""
    measured = set(frame["metric"])
    return next((metric for metric in DEFAULT_METRICS if metric in measured), None)


def setting_of(frame: pd.DataFrame) -> Setting:
    """Patch, image and head sizes of the networks that were measured, for shapes of their kind.

    `frame`: rows of one recipe; those that diverged count for nothing.
    """
    frame = where(frame, series(frame, "status") == "ok")
    row = frame.iloc[frame["params"].to_numpy().argmax()]
    head_dims = (frame["width"] // frame["heads"]).unique()
    heads = frame["heads"].unique()
    return Setting(
        patch=int(row["patch"]),
        image_size=int(row["image_size"]),
        channels=int(row["channels"]),
        readout=row["readout"],
        heads=int(heads[0]) if len(heads) == 1 else None,
        head_dim=int(head_dims[0]) if len(head_dims) == 1 and len(heads) > 1 else None,
        mlp_multiple=16 if row["mlp_dim"] >= 1024 else 4,
    )
