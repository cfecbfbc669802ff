"""Columns of a table: finding the one that is meant, and refusing values that no law can take."""

import math
import numbers
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool

from vitscale.fits.option_error import Keyword, OptionError
from vitscale.fits.separated import cell_in_words
from vitscale.scaling.names import nearest, suggest

STAR_COLUMNS = ("dimension", "x", "compute", "error", "is_center", "model")

LEAST, MOST = 1e-30, 1e30
"""Values outside would overflow where they are raised to the powers of a law."""

_PARAMETERS = {"n", "params", "parameters", "n_params", "num_params", "non_embedding_params"}
_TOKENS = {"d", "tokens", "n_tokens", "num_tokens", "train_tokens", "tokens_seen"}
_OF_A_STAR = {"x", "dimension", "is_center"}

_SHOWN = 5  # bad rows listed in a message


def series(frame: pd.DataFrame, name: str) -> pd.Series:
    """The column `name`."""
    return pd.Series(frame[name])


def where(frame: pd.DataFrame, mask: Bool[np.ndarray, " rows"] | pd.Series) -> pd.DataFrame:
    """The rows at which `mask` holds."""
    return frame.iloc[np.flatnonzero(np.asarray(mask, bool))]


def column_of(
    frame: pd.DataFrame,
    option: str | Keyword,
    given: str | None,
    defaults: Sequence[str] = (),
) -> str | None:
    """The column to use: the one given by `option`, which must exist, or the first default that exists."""
    present = [str(c) for c in frame.columns]
    if given is not None:
        if given in present:
            return given
        near = suggest(given, present, listed=False)
        has = f"the table has {', '.join(present)}"
        asked = option if isinstance(option, Keyword) else Keyword(option, given)
        raise OptionError(asked, f": there is no such column; {near}{has}")
    found = [name for name in defaults if name in present]
    return found[0] if found else None


def require(
    frame: pd.DataFrame, columns: Mapping[str, str | None], needed: tuple[str, ...]
) -> dict[str, str]:
    """The columns of all `needed`, or one sentence that names those that are missing."""
    found = {name: column for name in needed if (column := columns[name]) is not None}
    missing = [name for name in needed if name not in found]
    if not missing:
        return found
    present = [str(c) for c in frame.columns]
    hints: list[str | Keyword] = []
    for name in missing:
        close = nearest(name, present, most=1)
        hints += [" ", Keyword(name, close[0] if close else "COLUMN")]
    noun = "a column" if len(missing) == 1 else "columns"
    if "x" in missing and looks_like_language_models(present):
        raise ValueError(
            f"the table lacks {noun} named {', '.join(missing)}; it has {', '.join(present)}, which looks like runs "
            f"of parameters and tokens: vitscale allocate, fit, report and plot --law chinchilla are for such"
        )
    raise OptionError(
        f"the table lacks {noun} named {', '.join(missing)}; it has {', '.join(present)}; say which "
        f"to use, such as",
        *hints,
    )


def looks_like_language_models(columns: Sequence[str]) -> bool:
    """Whether a table has columns of parameters and of tokens by their names, and none of a star."""
    named = {column.lower() for column in columns}
    return bool(named & _PARAMETERS) and bool(named & _TOKENS) and not named & _OF_A_STAR


def positive(frame: pd.DataFrame, column: str) -> pd.Series:
    """The column as numbers, with NaN for what is not from `LEAST` to `MOST`."""
    values = np.asarray(pd.to_numeric(series(frame, column), errors="coerce"), float)
    good = (values >= LEAST) & (values <= MOST)
    return pd.Series(np.where(good, values, np.nan), index=frame.index)


def refuse_bad(frame: pd.DataFrame, numbers: Mapping[str, pd.Series]) -> None:
    """Raise one sentence for all values that `positive` found bad."""
    found = []
    for column, values in numbers.items():
        bad = np.flatnonzero(values.isna())
        if len(bad):
            shown = [
                f"row {row + 1} ({cell_in_words(frame[column].iloc[row], column)})"
                for row in bad[:_SHOWN]
            ]
            more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
            found.append(f"{column} in {', '.join(shown)}{more}")
    if found:
        raise ValueError(
            f"not a positive number (from {LEAST:g} to {MOST:g}): {'; '.join(found)} (rows count from 1 "
            f"after the header); correct or remove these rows"
        )


def flags(frame: pd.DataFrame, column: str) -> Bool[np.ndarray, " rows"]:
    """A column of 0 and 1, or true and false, as booleans."""
    values = series(frame, column)
    known: dict[Hashable, bool] = {"1": True, "0": False, "true": True, "false": False}
    known |= {"1.0": True, "0.0": False, "yes": True, "no": False}
    read = [known.get(str(value).strip().lower()) for value in values]
    bad = np.flatnonzero([value is None for value in read])
    if len(bad):
        raise ValueError(
            f"{column} is {values.iloc[bad[0]]} in {row_list(bad)}; expected 1 for the star's centre "
            f"and 0 for all else"
        )
    return np.array(read, bool)


def refuse_unit(flops_per_unit: float) -> None:
    """Raise one sentence where training FLOPs in one unit of compute are not a positive number."""
    number = isinstance(flops_per_unit, numbers.Real) and not isinstance(flops_per_unit, bool)
    if not (number and 0 < flops_per_unit < math.inf):
        raise ValueError(
            f"flops_per_unit={flops_per_unit!r} is not a number of training FLOPs; give a positive "
            f"number, such as 3e9 for forward GFLOPs"
        )


def refuse_centres(table: pd.DataFrame) -> None:
    """Raise one sentence where the rows of a star table that are its centre make no sense."""
    for name, points in table.groupby("dimension", sort=False):
        if str(name).strip().lower() in {"center", "centre"}:
            raise ValueError(
                f"{name} is not a dimension; list the centre under every dimension, each with its "
                f"size in that dimension and is_center=1"
            )
        sizes = np.unique(where(points, series(points, "is_center"))["x"].to_numpy(float))
        if len(sizes) > 1:
            listed = ", ".join(f"{size:g}" for size in sizes[:_SHOWN])
            raise ValueError(
                f"{name} has is_center=1 at {len(sizes)} sizes ({listed}); a star has one centre, so "
                f"mark the rows of one size only"
            )


def row_list(index: np.ndarray) -> str:
    """Row numbers for a message, counted from 1."""
    shown = ", ".join(str(row + 1) for row in index[:_SHOWN])
    more = f" and {len(index) - _SHOWN} more" if len(index) > _SHOWN else ""
    return f"row{'s' if len(index) > 1 else ''} {shown}{more}"


def noted(
    table: pd.DataFrame, metric: str, unit: str, flops: float | None, notes: Sequence[str]
) -> pd.DataFrame:
    """`table` with what is known about it in its `attrs`."""
    table.attrs = {
        "metric": metric,
        "compute_unit": unit,
        "flops_per_unit": flops,
        "notes": list(notes),
    }
    return table
