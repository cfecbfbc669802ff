"""`vitscale fit --law`: any registered law, fitted to any table."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vitscale.commands.output import output
from vitscale.commands.saying import log, note, working

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from vitscale.commands.fit import Fit
    from vitscale.fits.law_table import LawTable
    from vitscale.fits.loss import Loss

Told = tuple[list[str], dict[str, Any], dict[str, Callable[[], Any]]]
"""What to print, what to write, and the figures to draw by file name."""

_STAR_ONLY = ("x", "dimension", "compute", "is_center", "flops_per_unit")
_STAR_ONLY += ("t_ref", "no_center", "leave_out")
_STORE_ONLY = ("metric", "recipe")
_NOT_AUTO = ("loss", "delta", "level", "backtest", "figures", "model", "along", "resamples")
_AUTO = "auto"


def run_law(command: "Fit") -> int:
    """Fit the law that `command` names, or compare all of one input."""
    from vitscale.fits.fit_file import write_json
    from vitscale.sources import read_source

    given = given_flags(command, _STAR_ONLY)
    if given:
        raise ValueError(
            f"{', '.join(given)} is for a star, not for --law {command.law}; name the columns with "
            f"--inputs and --error"
        )
    frame = _rows(command, read_source(command.source))
    log.info("read %d rows of %d columns from %s", *frame.shape, command.source)
    run = _compare if command.law == _AUTO else _fit
    with working(f"fitting {command.source}"):
        lines, content, figures = run(command, frame)
    written = []
    if command.out is not None:
        write_json(command.out, content)
        written.append(str(command.out))
    if command.figures is not None and figures:
        from vitscale.fits import plots

        for name, draw in figures.items():
            written.append(str(plots.save(draw(), command.figures / name)))
    lines += [f"wrote {path}" for path in written]
    output(command.json, content, lambda: lines)
    return 0


def _rows(command: "Fit", frame: "pd.DataFrame") -> "pd.DataFrame":
    """The rows to fit: of a store those of one metric and one recipe, with the metric as the column error."""
    from vitscale.fits.store_fit import default_metric
    from vitscale.fits.store_tables import is_store, measured

    if is_store(frame):
        metric = command.metric or default_metric(frame)
        rows, notes = measured(frame, metric, command.recipe)
        for line in notes:
            note(line)
        return rows.assign(error=rows["value"])
    given = given_flags(command, _STORE_ONLY)
    if given:
        raise ValueError(
            f"{', '.join(given)} chooses among the rows of a store, and {command.source} is none; leave it out"
        )
    return frame


def given_flags(command: "Fit", names: Sequence[str]) -> list[str]:
    """Flags among `names` that differ from their defaults."""
    defaults = {field.name: field.default for field in dataclasses.fields(command)}
    given = [name for name in names if getattr(command, name) != defaults[name]]
    return [f"--{name.replace('_', '-')}" for name in given]


def _fit(command: "Fit", frame: "pd.DataFrame") -> Told:
    from vitscale.fits.allocation_checks import state_cautions
    from vitscale.fits.law_fit import fit_law
    from vitscale.fits.law_table import law_table
    from vitscale.fits.loss import loss_named
    from vitscale.fits.report import law_lines

    table = law_table(
        frame,
        str(command.law),
        inputs=command.inputs,
        target=command.error,
        cluster=command.model,
    )
    loss = loss_named(command.loss, command.delta)
    fit = fit_law(
        str(command.law),
        table.inputs,
        table.target,
        loss=loss,
        cluster=table.cluster,
        intervals="profile" if command.resamples else "none",
        level=command.level,
        resamples=command.resamples,
    )
    lines, content = law_lines(fit, target=table.target_column), fit.to_dict()
    states = state_cautions(frame)
    lines += [f"  caution: {sentence}" for sentence in states]
    content |= {"cautions": states}
    if command.at:
        told, rows = _predicted(command, table, loss)
        lines, content = lines + told, content | {"predictions": rows}
    if not command.backtest:
        unused = given_flags(command, ("figures", "along"))
        if unused:
            raise ValueError(f"{', '.join(unused)} is for the back-test of a law; add --backtest")
        return lines, content, {}
    from vitscale.fits.prediction.backtest import backtest

    along_name, along = _along(command, frame, table)
    test = backtest(
        str(command.law),
        table.inputs,
        table.target,
        cluster=table.cluster,
        loss=loss,
        level=command.level,
        along=along,
        along_name=along_name,
    )

    def draw() -> Any:
        from vitscale.fits import plots

        return plots.backtest_figure(test, metric=table.target_column)

    return (
        [*lines, "", *test.lines()],
        content | {"backtest": test.to_dict()},
        {"backtest.png": draw},
    )


def _places(texts: Sequence[str], names: Sequence[str]) -> "dict[str, list[float]]":
    """Where to predict, from --at: NAME=NUMBER for each input, or numbers of the only one."""
    from vitscale.fits.law_table import ONLY_INPUT

    found: dict[str, list[float]] = {name: [] for name in names}
    for text in texts:
        name, equals, number = text.partition("=")
        if not equals:
            name, number = "", text
        if len(names) == 1 and name in ("", *ONLY_INPUT):
            name = names[0]
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if name not in found or not 0 < value < math.inf:
            such = " ".join(f"{each}=1e9" for each in names)
            plain = " or 1e9" if len(names) == 1 else ""
            raise ValueError(
                f"--at {text}: expected a positive number for each input, such as --at {such}{plain}"
            )
        found[name].append(value)
    counts = {len(values) for values in found.values()}
    if len(counts) > 1:
        told = ", ".join(f"{len(values)} of {name}" for name, values in found.items())
        raise ValueError(f"--at gives {told}; give each input once for every run to predict")
    return found


def _predicted(
    command: "Fit", table: "LawTable", loss: "Loss"
) -> tuple[list[str], list[dict[str, Any]]]:
    """New runs at --at with prediction intervals, as lines and as rows."""
    import numpy as np

    from vitscale.fits.prediction.prediction import predictor

    places = _places(command.at, tuple(table.inputs))

    def product(inputs: "Mapping[str, Any]") -> "np.ndarray":
        return np.prod([np.asarray(values, float) for values in inputs.values()], axis=0)

    found = predictor(
        str(command.law),
        table.inputs,
        table.target,
        along=product(table.inputs),
        cluster=table.cluster,
        loss=loss,
    ).predict(places, along=product(places), level=command.level)
    lines, rows = [], []
    for k in range(len(found.predicted)):
        at = {name: values[k] for name, values in places.items()}
        row = {
            "at": at,
            "prediction": float(found.predicted[k]),
            "low": float(found.low[k]),
            "high": float(found.high[k]),
            "level": found.level,
            "times_beyond_the_runs": float(found.horizon[k]),
        }
        rows.append(row)
        where = ", ".join(f"{name} = {value:.4g}" for name, value in at.items())
        beyond = ""
        if row["times_beyond_the_runs"] > 1:
            beyond = f", {row['times_beyond_the_runs']:,.3g} times beyond the runs"
        lines.append(
            f"  a new run at {where}: {table.target_column} {row['prediction']:.4g} [{row['low']:.4g}, "
            f"{row['high']:.4g}] ({100 * found.level:g}% interval of a new run{beyond})"
        )
    return lines, rows


def _along(command: "Fit", frame: "pd.DataFrame", table: "LawTable") -> "tuple[str, np.ndarray]":
    """What tells the largest runs, by name and value: a column, or the product of the inputs."""
    import numpy as np

    from vitscale.fits.columns import column_of, positive, refuse_bad

    if command.along is None:
        return " x ".join(table.columns.values()), np.prod(list(table.inputs.values()), axis=0)
    column = str(column_of(frame, "along", command.along))
    if column == table.target_column:
        raise ValueError(
            f"--along {column} is what the law predicts: to leave runs out by it would choose them by "
            f"their outcome; name a column of size or compute"
        )
    numbers = positive(frame, column)
    refuse_bad(frame, {column: numbers})
    return column, numbers.to_numpy(float)


def _compare(command: "Fit", frame: "pd.DataFrame") -> Told:
    import numpy as np

    from vitscale.fits.curves.choose import CURVE_LAWS, compare_laws
    from vitscale.fits.law_table import law_table

    unused = given_flags(command, _NOT_AUTO)
    if unused:
        raise ValueError(
            f"{', '.join(unused)} does not apply to --law auto, which compares laws by log residuals "
            f"and back-tests"
        )
    named = [pair.partition("=")[0] for pair in command.inputs]
    if len(named) > 1:
        raise ValueError(
            f"--law auto compares laws of one input, but --inputs names {', '.join(named)}; name one, as "
            f"x=COLUMN, or choose a law of two, such as --law chinchilla"
        )
    table = law_table(frame, "m4", inputs=command.inputs, target=command.error)
    found = compare_laws(table.inputs["x"], table.target, laws=CURVE_LAWS)
    lines, content = found.lines(), found.to_dict()
    if command.at:
        forecast = found.predict(np.array(_places(command.at, ("x",))["x"]))
        told = zip(forecast.x, forecast.prediction, forecast.spread, strict=True)
        rows = [{"x": float(x), "prediction": float(y), "spread": float(s)} for x, y, s in told]
        content |= {"predictions": rows}
        lines += [
            f"  at {row['x']:.4g}: {row['prediction']:.4g}, spread {100 * row['spread']:.2g}% "
            f"(one standard deviation of the laws and their back-tests, no interval)"
            for row in rows
        ]
    return lines, content, {}
