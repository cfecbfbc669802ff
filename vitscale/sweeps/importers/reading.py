"""Which columns of a source mean what: named by the user, or guessed and told."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from vitscale.scaling.names import suggest
from vitscale.sweeps.decode import refuse_unknown
from vitscale.sweeps.importers.fields import (
    FIELDS,
    RECIPE_COLUMNS,
    RECIPE_FIELDS,
    BadValue,
    guess,
    last_part,
    metric,
    missing,
)
from vitscale.sweeps.importers.foreign import MEASURED, TRACKED, Source

StepUnit = Literal["steps", "examples"]

_ENOUGH = {
    "width": (("width",), ("model",)),
    "depth": (("depth",), ("model",)),
    "mlp_dim": (("mlp_dim",), ("mlp_ratio",), ("model",)),
    "heads": (("heads",), ("head_dim",), ("model",)),
    "patch": (("patch",), ("model",)),
    "image_size": (("image_size",), ("model",)),
}
"""What has to be known, and the fields that it can follow from."""

_LENGTHS = (("examples",), ("steps", "batch_size"), ("epochs", "train_examples"))


@dataclasses.dataclass(frozen=True)
class MetricColumn:
    """A column that holds what was measured, and the metric's name in the store. An `accuracy` is stored as
    the error 1 - accuracy."""

    name: str
    column: str
    accuracy: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user says of a source; all else is guessed.

    - `columns`: the column of a field of `FIELDS`, by its name. `constants`: its value in all runs.
    - `metrics`, `accuracies`: NAME=COLUMN, or the column's name alone.
    - `recipe`: columns that tell recipes apart. None: those that are known to.
    - `only`: the value that a run must have in a column to be imported.
    - `every_point`: each point of a metric's curve is a measurement, not the last alone.
    - `step_unit`: what the steps of curves count.
    """

    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    constants: Mapping[str, str] = dataclasses.field(default_factory=dict)
    metrics: Sequence[str] = ()
    accuracies: Sequence[str] = ()
    recipe: Sequence[str] | None = None
    only: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unfinished: bool = False
    every_point: bool = False
    step_unit: StepUnit = "steps"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """What the columns of a source mean. `guessed` are the fields whose column nobody named.

    `tidy`: metrics are named in a column `metric`, with their values in a column `value`.
    """

    columns: Mapping[str, str]
    constants: Mapping[str, Any]
    guessed: tuple[str, ...]
    metrics: tuple[MetricColumn, ...]
    metrics_guessed: bool
    tidy: bool
    recipe: tuple[str, ...]

    def knows(self, *fields: str) -> bool:
        """Whether all of `fields` have a column or a value."""
        return all(name in self.columns or name in self.constants for name in fields)


def read_columns(source: Source, wish: Wish) -> Reading:
    """Decide what each column means.

    Raises `ValueError` in one sentence for columns that are not there, for what could be several columns,
    and for what nothing is known of.
    """
    present = source.columns
    refuse_unknown(wish.columns, [*FIELDS, "run"], "--map")
    refuse_unknown(wish.constants, FIELDS, "--set")
    _refuse_both(wish)
    for name, column in wish.columns.items():
        if name != "run":
            _refuse_absent(source, present, column, f"--map {name}={column}")
    tidy = {"metric", "value"} <= set(present)
    metrics, metrics_guessed = _metrics(source, wish, present, tidy)
    measured = {metric.column for metric in metrics} | {"metric", "value"}
    columns = {name: column for name, column in wish.columns.items() if name != "run"}
    guessed = []
    for name in FIELDS:
        if name not in columns and name not in wish.constants:
            found = _guess(source, name, [column for column in present if column not in measured])
            if found:
                columns[name] = found
                guessed.append(name)
    reading = Reading(
        columns=columns,
        constants={name: _constant(name, value) for name, value in wish.constants.items()},
        guessed=tuple(guessed),
        metrics=metrics,
        metrics_guessed=metrics_guessed,
        tidy=tidy,
        recipe=_recipe(source, wish, present, columns),
    )
    _refuse_unknowable(source, wish, reading)
    return reading


def _refuse_both(wish: Wish) -> None:
    for name in wish.columns:
        if name in wish.constants:
            raise ValueError(f"{name} is named in --map and in --set; say it in one of them")


def _refuse_absent(source: Source, present: list[str], column: str, flag: str) -> None:
    if column not in present:
        hint = suggest(column, present, listed=False).strip() or f"it has {_listed(present)}"
        raise ValueError(f"{flag}: {source.name} has no column {column!r}; {hint}")


def _constant(name: str, value: str) -> Any:
    try:
        return FIELDS[name].read(value)
    except BadValue as error:
        raise ValueError(f"--set {name}: {name} {error}") from None


def _guess(source: Source, name: str, present: list[str]) -> str:
    """The column that `name` means; empty where none does. Columns that agree in all runs are one."""
    found = guess(present, name)
    if len(found) > 1:
        first = [str(run.values.get(found[0])) for run in source.runs]
        for other in found[1:]:
            if [str(run.values.get(other)) for run in source.runs] != first:
                raise ValueError(
                    f"{source.name}: {name} could be {' or '.join(found)}; say which with "
                    f"--map {name}={found[0]}"
                )
    return found[0] if found else ""


def _metrics(
    source: Source, wish: Wish, present: list[str], tidy: bool
) -> tuple[tuple[MetricColumn, ...], bool]:
    """What was measured, and whether that was guessed."""
    if wish.metrics or wish.accuracies:
        chosen = [_metric(text, accuracy=False) for text in wish.metrics]
        chosen += [_metric(text, accuracy=True) for text in wish.accuracies]
        names = [metric.name for metric in chosen]
        if len(set(names)) < len(names):
            raise ValueError(f"two metrics have one name: {', '.join(names)}; name them apart")
        for each in chosen:
            if not tidy:
                flag = "--accuracy" if each.accuracy else "--metric"
                _refuse_absent(source, present, each.column, f"{flag} {each.column}")
        return tuple(chosen), False
    if tidy:
        return (), True
    tracked = [name for name in present if name.startswith(MEASURED)]
    if tracked:
        return tuple(MetricColumn(name.removeprefix(MEASURED), name) for name in tracked), True
    numeric = [name for name in present if _is_numeric(source, name)]
    for words in (r"err(or)?(?![a-z])", r"(val|valid|validation|eval|test)\w*[^a-z]*loss"):
        found = [name for name in numeric if re.search(words, name.lower()) and "train" not in name]
        if found:
            return tuple(MetricColumn(name, name) for name in found), True
    raise ValueError(
        f"{source.name} does not say what was measured; name an error or loss with --metric "
        f"NAME=COLUMN, or an accuracy with --accuracy NAME=COLUMN; numbers are in {_listed(numeric)}"
    )


def _metric(text: str, *, accuracy: bool) -> MetricColumn:
    name, _, column = text.partition("=")
    if not name:
        raise ValueError(f"{text!r} names no metric; write it as NAME=COLUMN")
    return MetricColumn(name, column or name, accuracy)


def _is_numeric(source: Source, column: str) -> bool:
    """Whether every run that has `column` has a number there."""
    seen = False
    for run in source.runs:
        if run.curves.get(column):
            seen = True
        elif not missing(value := run.values.get(column)):
            try:
                metric(value)
            except BadValue:
                return False
            seen = True
    return seen


def _recipe(
    source: Source, wish: Wish, present: list[str], columns: Mapping[str, str]
) -> tuple[str, ...]:
    """The columns whose values tell recipes apart."""
    if wish.recipe is not None:
        for column in wish.recipe:
            _refuse_absent(source, present, column, f"--recipe {column}")
        return tuple(wish.recipe)
    if "recipe" in columns:
        return (columns["recipe"],)
    known = [columns[name] for name in RECIPE_FIELDS if name in columns]
    logged = {name for run in source.runs for name in run.curves}
    others = [
        name
        for name in present
        if last_part(name) in RECIPE_COLUMNS
        and name not in logged
        # A loss that is a number is what came out; one that is a word is what was minimised.
        and not (last_part(name) == "loss" and _is_numeric(source, name))
    ]
    return tuple(dict.fromkeys([*known, *others]))


def _refuse_unknowable(source: Source, wish: Wish, reading: Reading) -> None:
    """One sentence for all that has to be known and cannot be."""
    lacking = [
        name for name, ways in _ENOUGH.items() if not any(reading.knows(*fields) for fields in ways)
    ]
    if lacking:
        few = " and ".join(lacking) if len(lacking) < 3 else ", ".join(lacking)
        raise ValueError(
            f"{source.name} does not say {few}; name the column (--map {lacking[0]}=COLUMN) or one value "
            f"for all runs (--set {lacking[0]}=NUMBER); its columns are {_listed(source.columns)}; a store holds "
            f"ViTs, and a table of any other model needs no import: vitscale fit --law, allocate and frontier take it"
        )
    if any(reading.knows(*fields) for fields in _LENGTHS):
        return
    curves = any(run.curves for run in source.runs)
    if curves and (
        wish.step_unit == "examples"
        or reading.knows("batch_size")
        or all(TRACKED in run.values for run in source.runs)
    ):
        return
    hint = "--step-unit examples or --set batch_size=NUMBER, or " if curves else ""
    raise ValueError(
        f"{source.name} does not say how long runs were; {hint}name a column of examples seen, or of steps "
        f"and batch_size, or of epochs and train_examples, such as --map steps=COLUMN "
        f"--set batch_size=256; its columns are {_listed(source.columns)}"
    )


def _listed(names: Sequence[str], most: int = 30) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "none") + more
