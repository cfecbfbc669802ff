"""The columns of any table that a law takes."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from vitscale.fits.columns import column_of, positive, refuse_bad, series
from vitscale.fits.laws import LAWS, Law
from vitscale.fits.option_error import Keyword, OptionError
from vitscale.scaling.names import suggest

ONLY_INPUT = ("x", "C")
"""Names that the input of a law of one may be given by, whichever its equation has."""

_TARGETS = ["error", "loss", "Loss", "Error"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LawTable:
    """What a law is fitted to, from a user's columns; `columns` maps each input to its column."""

    inputs: dict[str, Float[np.ndarray, " points"]]
    target: Float[np.ndarray, " points"]
    cluster: np.ndarray | None
    columns: dict[str, str]
    target_column: str


def law_table(
    frame: pd.DataFrame,
    law: str,
    *,
    inputs: Sequence[str] = (),
    target: str | None = None,
    cluster: str | None = None,
) -> LawTable:
    """The columns for `law`.

    - `inputs`: "INPUT=COLUMN" for inputs whose column has another name, such as "N=params".
    - `target`: column of what the law predicts; by default error or loss.
    - `cluster`: column of what belongs together, such as the durations of one network.

    Raises `ValueError` for an unknown law or input, a missing column, or values no law can take.
    """
    if law not in LAWS:
        raise ValueError(f"law={law!r} is unknown; {suggest(law, [*LAWS, 'auto'])}")
    mapped = _mapping(LAWS[law], inputs)
    columns = {name: _input_column(frame, LAWS[law], name, mapped) for name in LAWS[law].inputs}
    found = column_of(frame, "error", target, _TARGETS)
    if found is None:
        present = ", ".join(str(column) for column in frame.columns)
        raise OptionError(
            f"the table lacks a column named error or loss; it has {present}; say which it is with ",
            Keyword("error"),
        )
    _refuse_twice([*columns.items(), ("error", found)])
    numbers = {column: positive(frame, column) for column in (*columns.values(), found)}
    refuse_bad(frame, numbers)
    grouped = None
    if cluster is not None:
        grouped = pd.factorize(series(frame, str(column_of(frame, "model", cluster))))[0]
    return LawTable(
        inputs={name: numbers[column].to_numpy(float) for name, column in columns.items()},
        target=numbers[found].to_numpy(float),
        cluster=grouped,
        columns=columns,
        target_column=found,
    )


def _refuse_twice(named: Sequence[tuple[str, str]]) -> None:
    taken: dict[str, str] = {}
    for name, column in named:
        if column in taken:
            raise ValueError(
                f"{taken[column]} and {name} are both the column {column}; name a column of its own for each"
            )
        taken[column] = name


def _mapping(law: Law, inputs: Sequence[str]) -> dict[str, str]:
    mapped = {}
    for pair in inputs:
        name, equals, column = pair.partition("=")
        if len(law.inputs) == 1 and name in ONLY_INPUT:
            name = law.inputs[0]
        if not equals or name not in law.inputs:
            raise OptionError(
                Keyword("inputs", pair),
                f": expected INPUT=COLUMN with an input of the {law.name} law, "
                f"{', '.join(law.inputs)}",
            )
        mapped[name] = column
    return mapped


def _input_column(frame: pd.DataFrame, law: Law, name: str, mapped: dict[str, str]) -> str:
    same = [str(column) for column in frame.columns if str(column).lower() == name.lower()]
    given = mapped.get(name)
    found = column_of(frame, Keyword("inputs", f"{name}={given}"), given, [name, *same])
    if found is None:
        present = ", ".join(str(column) for column in frame.columns)
        raise OptionError(
            f"the {law.name} law takes {', '.join(law.inputs)}, but the table has no column {name}; "
            f"it has {present}; say which it is with ",
            Keyword("inputs", f"{name}=COLUMN"),
        )
    return found
