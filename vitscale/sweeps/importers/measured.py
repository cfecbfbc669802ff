"""What was measured of one foreign run, as errors and losses."""

import math
from collections.abc import Sequence

from vitscale.sweeps.importers.fields import BadValue, metric, missing
from vitscale.sweeps.importers.foreign import TRACKED, ForeignRun, Point
from vitscale.sweeps.importers.reading import MetricColumn, Reading, Wish


def measured(
    run: ForeignRun, reading: Reading, wish: Wish, percents: set[str]
) -> dict[Point | None, dict[str, float]]:
    """Metrics by the point of a curve that they are from; by None where only the end is known."""
    if reading.tidy:
        return _measured_tidy(run, reading)
    every = wish.every_point or TRACKED in run.values
    found: dict[Point | None, dict[str, float]] = {}
    last: dict[str, float] = {}
    steps: list[int] = []
    for column in reading.metrics:
        curve = run.curves.get(column.column, ())
        if every:
            for point in curve:
                at = found.setdefault(Point(point.step, 0.0), {})
                at[column.name] = _error(column, point.value, percents)
        if curve and not every:
            last[column.name] = _error(column, curve[-1].value, percents)
            steps.append(curve[-1].step)
        elif not curve and not _is_empty(value := run.values.get(column.column)):
            last[column.name] = _error(column, _number(column.column, value), percents)
    if last and not found:
        found[Point(max(steps), 0.0) if steps else None] = last
    return found


def _measured_tidy(run: ForeignRun, reading: Reading) -> dict[Point | None, dict[str, float]]:
    """The one metric of a row that names it."""
    names = {metric.column: metric for metric in reading.metrics}
    name = str(run.values.get("metric", "")).strip()
    if run.state == "diverged":
        return {None: {"": math.nan}}
    if missing(name) or (names and name not in names):
        return {}
    column = names.get(name, MetricColumn(name, name))
    value = _number("value", run.values.get("value"))
    return {None: {column.name: _error(column, value, set())}}


def _is_empty(value: object) -> bool:
    """Whether a cell says that nothing was measured; that a model diverged is said by NaN."""
    return missing(value) and str(value).strip().lower() != "nan"


def _number(column: str, value: object) -> float:
    try:
        return metric(value)
    except BadValue as error:
        raise BadValue(f"{column} {error}") from None


def _error(column: MetricColumn, value: float, percents: set[str]) -> float:
    """What is stored of a value: errors and losses as they are, accuracies as errors."""
    if not column.accuracy or not math.isfinite(value):
        return value
    share = value / 100 if column.column in percents else value
    if not 0 <= share <= 1:
        raise BadValue(f"{column.column} is {value:g}, but an accuracy is from 0 to 1, or to 100")
    return 1.0 - share


def percent_columns(runs: Sequence[ForeignRun], reading: Reading) -> set[str]:
    """Columns of accuracies that are percentages, as some value exceeds 1."""
    found = set()
    for column in reading.metrics:
        for run in runs if column.accuracy else ():
            values = [point.value for point in run.curves.get(column.column, ())]
            if not values and not _is_empty(value := run.values.get(column.column)):
                values = [_number(column.column, value)]
            if any(value > 1 for value in values):
                found.add(column.column)
    return found
