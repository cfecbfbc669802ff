"""What was measured, and what it cost, as facts and a table."""

import math

import pandas as pd

from vitscale.fits.columns import series, where
from vitscale.report.numbers import power
from vitscale.report.page import Table
from vitscale.report.source import StarSource


def cost(source: StarSource, *, price: float | None = None) -> tuple[tuple[str, str], ...]:
    """Facts by name. `price`: of an hour of one device, in any currency."""
    table, rows = source.table, source.rows
    if rows is None:
        arms = table.groupby("dimension", sort=False)["x"].nunique()
        sizes = ", ".join(f"{count} of {name}" for name, count in arms.items())
        return (
            ("points", f"{len(table)}"),
            ("sizes", sizes),
            ("cost", "not told by a table; a store of vitscale's own keeps it"),
        )
    runs = runs_of(rows)
    training, evaluation = training_hours(runs), total(runs, "eval_seconds") / 3600
    diverged = series(where(rows, series(rows, "status") == "diverged"), "trial_id").nunique()
    alone, spent = total(runs, "train_flops"), total(runs, "spent_flops")
    facts = [
        ("trials", f"{rows['trial_id'].nunique()} networks, {len(runs)} durations"),
        ("measurements", f"{len(rows)}, of {rows['metric'].nunique()} metrics"),
        ("training compute", f"{power(spent)} FLOPs"),
        (
            "time of one device",
            f"{training + evaluation:.3g} hours: {training:.3g} hours of training and {evaluation:.3g} hours of "
            f"evaluation, without compiling and starting"
            if training > 0
            else "not recorded for these runs",
        ),
    ]
    if price is not None and training > 0:
        paid = price * (training + evaluation)
        facts.append(
            (
                "price",
                f"{paid:,.2f} at {price:g} an hour: {price * training:,.2f} for training and "
                f"{price * evaluation:,.2f} for evaluation, without compiling and starting",
            )
        )
    if alone > spent:
        facts.append(
            (
                "saved by shared trunks",
                f"{100 * (1 - spent / alone):.0f}% of the compute of separate runs",
            )
        )
    facts.append(("diverged", f"{diverged} of them" if diverged else "none"))
    return tuple(facts)


def runs_of(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each trial and duration, whatever metrics were measured there."""
    return rows.drop_duplicates(["trial_id", "examples"])


def training_hours(runs: pd.DataFrame) -> float:
    """Hours in which `runs`, as of `runs_of`, were trained.

    The time of a duration is that of a run of its own, so of trials that share a trunk it counts by the part of
    its FLOPs that was spent anew; of a trial that diverged, by the longest.
    """
    diverged = series(runs, "status") == "diverged"
    trained = where(runs, ~diverged)
    seconds, spent, alone = (
        series(trained, name).to_numpy(float)
        for name in ("train_seconds", "spent_flops", "train_flops")
    )
    lost = where(runs, diverged).sort_values(by="train_seconds")
    longest = lost.drop_duplicates("trial_id", keep="last")
    return (float((seconds * spent / alone).sum()) + total(longest, "train_seconds")) / 3600


def total(rows: pd.DataFrame, column: str) -> float:
    """Sum of a column."""
    return float(series(rows, column).to_numpy(float).sum())


def trial_table(source: StarSource) -> tuple[Table, ...]:
    """The networks of a store, one a row; nothing for a table of one's own."""
    if source.rows is None:
        return ()
    metric = source.fit_file.fit.metric
    rows = tuple(_row(group, metric) for _, group in source.rows.groupby("trial_id", sort=False))
    header = (
        "trial",
        "width × depth × MLP",
        "seed",
        "parameters",
        "longest, examples",
        f"{metric} there",
        "FLOPs spent",
        "state",
    )
    return (Table(header, rows, f"All {len(rows)} networks"),)


def _row(group: pd.DataFrame, metric: str) -> tuple[str, ...]:
    first = group.iloc[0]
    ok = where(group, (series(group, "metric") == metric) & (series(group, "status") == "ok"))
    own = ok.sort_values(by="examples")
    value = "-"
    if len(own):
        last = own.iloc[-1]
        value = f"{last['value']:.4g}"
        if math.isfinite(float(last["value_sd"])):
            value += f" ± {last['value_sd']:.2g}"
    bad = where(group, series(group, "status") == "diverged")
    return (
        str(first["trial_id"])[:12],
        f"{first['width']} × {first['depth']} × {first['mlp_dim']}",
        f"{first['seed']}",
        f"{first['params']:,}",
        f"{group['examples'].max():,}",
        value,
        f"{total(runs_of(group), 'spent_flops'):.3g}",
        f"diverged: {bad.iloc[0]['reason']}" if len(bad) else "measured",
    )
