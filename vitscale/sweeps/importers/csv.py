"""Tables in text: any CSV, and those that W&B, MLflow and vitscale itself export."""

import csv
from collections.abc import Iterator
from pathlib import Path

from vitscale.scaling.names import suggest
from vitscale.sweeps.importers.foreign import ForeignRun, Source, State, state_of

KEYS = ("run_id", "id", "ID", "run", "trial_id", "run_name", "Name", "name")
"""Columns that tell runs apart, the surest first."""

_STATE_COLUMNS = ("state", "status")


def matches(path: Path) -> bool:
    """Whether `path` is a table by its name."""
    return path.is_file() and path.suffix.lower() in (".csv", ".tsv", ".txt")


def read(path: Path, key: str | None = None) -> Source:
    """One run for each row of the table at `path`; `key` names the column that tells runs apart.

    Raises `ValueError` that names the row where the table is not one.
    """
    return table_source("csv", path, list(_rows(path)), key)


def table_source(
    tool: str, path: Path, rows: list[tuple[int, dict[str, object]]], key: str | None
) -> Source:
    """Numbered rows of flat values as runs. Raises `ValueError` where there are none."""
    if not rows:
        raise ValueError(f"{path} has no rows; export the runs again, or give another file")
    columns = {name for _, values in rows for name in values}
    named = key if key is not None else next((name for name in KEYS if name in columns), "")
    if key and key not in columns:
        raise ValueError(f"--map run={key}: {path} has no column {key!r}; {suggest(key, columns)}")
    state = _state_column(columns, rows)
    runs = []
    for number, values in rows:
        name = str(values.get(named) or "").strip()
        runs.append(
            ForeignRun(
                key=name,
                where=f"row {number}" + (f" ({name})" if name else ""),
                values={k: v for k, v in values.items() if k not in (named, state)},
                state=_state(values, state),
            )
        )
    return Source(tool=tool, name=path.name, runs=tuple(runs))


def _state_column(columns: set[str], rows: list[tuple[int, dict[str, object]]]) -> str:
    """The column of the runs' states: named so, and all of its words are states."""
    for name in sorted(columns):
        if name.lower() in _STATE_COLUMNS:
            words = [values.get(name) for _, values in rows]
            if all(state_of(word) for word in words if word not in (None, "")):
                return name
    return ""


def _state(values: dict[str, object], column: str) -> State:
    return (state_of(values.get(column)) if column else None) or "finished"


def _rows(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Rows with their numbers, from 1 after the header; empty lines are passed over."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 ({error.reason}); save it as CSV") from error
    lines = text.splitlines(keepends=True)
    reader = csv.reader(lines, delimiter=_delimiter(path, lines), skipinitialspace=True)
    header: list[str] = []
    number = 0
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = [cell.strip() for cell in cells]
                _refuse_twice(path, header)
                continue
            number += 1
            if len(cells) > len(header):
                raise ValueError(
                    f"{path}: row {number} has {len(cells)} cells, the header {len(header)}; put "
                    f"values that hold a comma in quotes"
                )
            padded = cells + [""] * (len(header) - len(cells))
            named = zip(header, padded, strict=True)
            # pandas writes row numbers under an empty name.
            yield number, {name: cell.strip() for name, cell in named if name}
    except csv.Error as error:
        raise ValueError(f"{path} is damaged after row {number} ({error})") from error


def _delimiter(path: Path, lines: list[str]) -> str:
    """What separates cells: the one of comma, semicolon and tab that the header has most of."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    header = next((line for line in lines if line.strip()), "")
    return max(",;\t", key=header.count)


def _refuse_twice(path: Path, header: list[str]) -> None:
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise ValueError(f"{path} has several columns named {twice[0]!r}; rename all but one")
