"""Star and grid tables from a store: the structure of a sweep found from the shapes it measured."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from vitscale.fits.columns import STAR_COLUMNS, noted, positive, refuse_bad, series, where
from vitscale.fits.option_error import Keyword, OptionError
from vitscale.scaling.shape import DIMENSIONS

_STORE_COLUMNS = (
    *("trial_id", "recipe_id", *DIMENSIONS, "heads", "patch", "params", "train_flops"),
    *("status", "metric", "metric_version", "value"),
)

Center = tuple[int, int, int]
"""Width, depth and mlp_dim of a star's centre."""


def is_store(frame: pd.DataFrame) -> bool:
    """Whether `frame` has the columns of vitscale's own measurements."""
    return set(_STORE_COLUMNS) <= {str(c) for c in frame.columns}


def star_table_from_store(
    frame: pd.DataFrame,
    metric: str | None = None,
    recipe: str | None = None,
    center: Center | None = None,
) -> pd.DataFrame:
    """The star of a store's measurements as a canonical table; compute is `train_flops`.

    The centre is found from the shapes (see `find_center`); an arm is every shape that differs from
    it in one of width, depth and mlp_dim (heads may follow the width). Rows of the centre stand
    under every dimension. Trials that did not end well are left out and counted in a note.

    Raises `ValueError` where the metric or recipe is unknown or ambiguous, or there is no star.
    """
    rows, notes = measured(frame, metric, recipe)
    sizes = rows[list(DIMENSIONS)].to_numpy()
    middle = find_center(rows) if center is None else center
    if middle is None:
        raise ValueError(
            "the store holds no star: no shape has neighbours that differ from it in one dimension "
            "only; run a star sweep, or name the centre"
        )
    differs = sizes != np.array(middle)
    is_center = ~differs.any(axis=1)
    if not is_center.any():
        raise ValueError(f"center={tuple(middle)} was not measured; name a shape of the store")
    parts = []
    for k, name in enumerate(DIMENSIONS):
        on_arm = differs[:, k] & (differs.sum(axis=1) == 1)
        if on_arm.any():
            part = where(rows, on_arm | is_center)
            parts.append(
                _canonical(part).assign(
                    dimension=name,
                    x=part[name].to_numpy(float),
                    is_center=is_center[on_arm | is_center],
                )
            )
    if not parts:
        raise ValueError(f"center={tuple(middle)} has no arms; name the centre of the star")
    table = pd.concat(parts, ignore_index=True).reindex(columns=list(STAR_COLUMNS))
    return noted(table, str(rows["metric"].iloc[0]), "train_flops", 1.0, notes)


def grid_table_from_store(
    frame: pd.DataFrame,
    metric: str | None = None,
    recipe: str | None = None,
    center: Center | None = None,
) -> pd.DataFrame:
    """The shapes of a store that are not part of its star, as a grid table.

    Raises `ValueError` as `star_table_from_store`, and where nothing but the star was measured.
    """
    rows, notes = measured(frame, metric, recipe)
    middle = find_center(rows) if center is None else center
    if middle is not None:
        differs = (rows[list(DIMENSIONS)].to_numpy() != np.array(middle)).sum(axis=1)
        rows = where(rows, differs > 1)
    if rows.empty:
        raise ValueError("the store holds no grid, only a star; run a grid sweep to choose x0")
    return _grid_table(rows, notes)


def whole_grid_table(frame: pd.DataFrame, metric: str | None = None) -> pd.DataFrame:
    """The grid table of measurements that are known to be of one grid, every shape of them.

    Raises `ValueError` where the metric is unknown or ambiguous, or no trial ended well.
    """
    return _grid_table(*measured(frame, metric, None))


def _grid_table(rows: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    table = _canonical(rows)
    for name in (*DIMENSIONS, "heads"):
        table[name] = rows[name].to_numpy(int)
    return noted(table, str(rows["metric"].iloc[0]), "train_flops", 1.0, notes)


def find_center(rows: pd.DataFrame) -> Center | None:
    """The shape with the most neighbours that differ from it in one dimension only; None if none.

    Neighbours in two dimensions that also occur combined form a grid, not a star, and do not count.
    Ties go to the shape with the most parameters. Raises `ValueError` where that ties too.
    """
    shapes: dict[Center, int] = {}
    sizes = rows[[*DIMENSIONS, "params"]].to_numpy(int)
    for width, depth, mlp_dim, params in np.unique(sizes, axis=0).tolist():
        shapes[width, depth, mlp_dim] = params
    scores = {shape: (_spokes(shape, shapes), params) for shape, params in shapes.items()}
    best = max(scores.values())
    if not best[0]:
        return None
    winners = [shape for shape, score in scores.items() if score == best]
    if len(winners) > 1:
        listed = " or ".join(str(w) for w in winners)
        raise ValueError(f"the star's centre is ambiguous; name one of {listed} as center")
    return winners[0]


def _spokes(center: Center, shapes: dict[Center, int]) -> int:
    """Neighbours of `center` along one dimension that are not part of a grid through it."""
    arms: list[tuple[int, Center]] = []
    for shape in shapes:
        differing = [k for k in range(len(center)) if shape[k] != center[k]]
        if len(differing) == 1:
            arms.append((differing[0], shape))

    def in_grid(k: int, shape: Center) -> bool:
        for other, second in arms:
            combined = tuple(
                shape[i] if i == k else second[i] if i == other else center[i] for i in range(3)
            )
            if other != k and combined in shapes:
                return True
        return False

    return sum(not in_grid(k, shape) for k, shape in arms)


def _canonical(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "compute": rows["train_flops"].to_numpy(float),
            "error": rows["value"].to_numpy(float),
            "model": rows["trial_id"].astype(str).to_numpy(),
        }
    )


def like_the_star(frame: pd.DataFrame, star: pd.DataFrame) -> pd.DataFrame:
    """The rows of a store that have the recipe of the fitted table `star`: all metrics, grid and star alike."""
    fitted = series(frame, "trial_id").astype(str).isin(series(star, "model").astype(str))
    recipes = series(where(frame, fitted), "recipe_id").unique()
    return where(frame, series(frame, "recipe_id").isin(recipes))


def rows_of_a_store(columns: Iterable[str]) -> OptionError:
    """What to say where `columns` were named for the rows of a store."""
    named = [part for name in columns for part in (", ", Keyword(name))][1:]
    return OptionError(
        *named,
        ": these are the rows of a store, whose columns are known; choose among them with ",
        *(Keyword("metric"), " and ", Keyword("recipe")),
    )


def measured(
    frame: pd.DataFrame, metric: str | None, recipe: str | None
) -> tuple[pd.DataFrame, list[str]]:
    """Rows of one metric and one recipe that ended well, and notes on what was left out."""
    missing = [name for name in _STORE_COLUMNS if name not in frame.columns]
    if missing:
        raise OptionError(
            f"the table is not a store of measurements: it lacks {', '.join(missing)}; name its columns with ",
            *(Keyword("x"), ", ", Keyword("compute"), " and ", Keyword("error"), " instead"),
        )
    notes = []
    ended_well = series(frame, "status") == "ok"
    diverged = where(frame, ~ended_well)
    if len(diverged):
        trials = series(diverged, "trial_id").nunique()
        notes.append(f"left out {trials} trial{'s' if trials > 1 else ''} that diverged")
    rows = where(frame, ended_well)
    if rows.empty:
        raise ValueError("the store holds no trial that ended well; see the reasons it recorded")
    rows = where(rows, series(rows, "recipe_id") == _choose(rows, "recipe_id", "recipe", recipe))
    rows = where(rows, series(rows, "metric") == _choose(rows, "metric", "metric", metric))
    for column in ("metric_version", "patch"):
        kinds = sorted(series(rows, column).unique())
        if len(kinds) > 1:
            raise ValueError(
                f"the measurements have several values of {column} ({', '.join(map(str, kinds))}), "
                f"which do not compare; keep those of one in a store"
            )
    rows = rows.reset_index(drop=True)
    refuse_bad(rows, {name: positive(rows, name) for name in ("train_flops", "value")})
    return rows, notes


def _choose(rows: pd.DataFrame, column: str, option: str, given: str | None) -> str:
    present = sorted(series(rows, column).astype(str).unique())
    if given is None and len(present) == 1:
        return present[0]
    if given in present:
        return str(given)
    listed = ", ".join(present)
    if given is None:
        several = f"the store holds several values of {column}; choose one with "
        raise OptionError(several, Keyword(option), f": {listed}")
    raise OptionError(Keyword(option, given), f": not in the store, which holds {listed}")
