"""What a report says of runs of any model with parameters and data: how a budget is best divided, and what
speaks for it and against."""

import dataclasses
import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vitscale.fits import plots
from vitscale.fits.allocation import FLOPS_PER_PARAMETER_AND_TOKEN, Allocation, Share, allocate
from vitscale.fits.allocation_checks import refuse_budgets, refuse_one_line
from vitscale.fits.answer import show_interval
from vitscale.fits.confidence import Confidence, Standing, standing_of
from vitscale.fits.intervals.interval import Interval
from vitscale.fits.law_table import LawTable
from vitscale.fits.laws import LAWS
from vitscale.fits.prediction.backtest_result import Backtest
from vitscale.report.numbers import power, short
from vitscale.report.page import Check, Page, Table
from vitscale.report.pictures import picture
from vitscale.report.provenance import software
from vitscale.report.source import file_sha256

_LINE_BUDGETS = 13


def allocation_page(
    name: str,
    table: LawTable,
    *,
    flops: float | None = None,
    flops_per_pair: float = FLOPS_PER_PARAMETER_AND_TOKEN,
    backtest: Backtest | None = None,
    asked: Sequence[str] = (),
    clusters: Sequence[str] = (),
    page_flags: Sequence[str] = ("--out", "report.html"),
    cautions: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Page:
    """The report of the runs in `table`, which were read from `name`: a file or folder, whose hash is told, or
    whatever else they are called.

    - `flops`: the budget asked about, in training FLOPs, `flops_per_pair` of them for each parameter and token;
      by default ten times that of the largest run.
    - `asked`, `clusters`, `page_flags`: the flags that name the columns, the column of what belongs together, and
      those of the page, as they were given, for the commands that make it again.
    - `cautions`: of the table itself, a sentence each. `backtest`: of Chinchilla's law on the same runs, where one was made. `say`: told what is being done.

    Raises `ValueError` where the runs cannot decide the law.
    """
    refuse_one_line(table.inputs["N"], table.inputs["D"])
    compute = flops_per_pair * table.inputs["N"] * table.inputs["D"]
    most = float(compute.max())
    budget = flops if flops is not None else 10 * most
    refuse_budgets(np.array([budget]), compute)
    budgets = (budget, most, 10 * most, 100 * most)
    ends = (float(compute.min()), max(*budgets))
    line = tuple(float(c) for c in np.geomspace(*ends, _LINE_BUDGETS))
    say("dividing budgets, and doing it again for resampled runs")
    found = allocate(
        table.inputs,
        table.target,
        (*budgets, *line),
        cluster=table.cluster,
        flops=flops_per_pair,
    )
    found = dataclasses.replace(found, cautions=(*cautions, *found.cautions))
    share, others = found.shares[0], found.shares[1:4]
    sure = _confidence(found, share, most)
    say("drawing the figures")
    return Page(
        title=f"vitscale report: {name}",
        asked=f"How many parameters and how much data are {power(budget)} training FLOPs best spent on? By the runs in {name}:",
        headline=f"{short(share.parameters.estimate)} parameters on {short(share.tokens.estimate)} tokens",
        answer=(
            f"The budget is {share.times_largest:,.3g} times the largest run. "
            f"That is {share.tokens.estimate / share.parameters.estimate:.3g} tokens a parameter, and a predicted "
            f"{table.target_column} of {show_interval(share.loss)}, the interval of the law, without the scatter of "
            f"runs about it ({flops_per_pair:g} FLOPs for each parameter and token).",
        ),
        sizes=_sizes(share, found),
        confidence=sure.standing,
        reasons=sure.reasons,
        more=_budgets(others),
        configs=(),
        pictures=(
            picture(
                "The best model for every budget",
                lambda: plots.allocation_figure(
                    found,
                    table.inputs,
                    table.target,
                    target=table.target_column,
                    mark=budget,
                    flops=flops_per_pair,
                ),
                alt=f"Best parameters, tokens and {table.target_column} against training compute beside the runs. "
                f"Parameters grow as compute to the {show_interval(found.exponent)}.",
                how="Points are runs; the line is the best model for each compute by the fitted law, dashed beyond the largest run, the band its interval. The mark is the answer above.",
            ),
            *_backtest_picture(backtest, table),
        ),
        checks=tuple(_checks(found, share, backtest)),
        cost=(
            ("runs", f"{len(table.target)}"),
            ("training compute", f"{power(float(compute.sum()))} FLOPs"),
            ("parameters", f"{short(table.inputs['N'].min())} to {short(table.inputs['N'].max())}"),
            ("tokens", f"{short(table.inputs['D'].min())} to {short(table.inputs['D'].max())}"),
        ),
        tables=(_law(found),),
        provenance=(
            ("measurements", name),
            *([("their SHA-256", file_sha256(Path(name)))] if Path(name).exists() else []),
            ("law", f"{LAWS[found.fit.law].equation}, from {LAWS[found.fit.law].source}"),
            (
                "fitted by",
                f"{found.fit.loss.rho} loss on {found.fit.loss.residual} residuals, delta {found.fit.loss.delta:g}",
            ),
            ("intervals", f"{100 * found.exponent.level:g}%, {found.exponent.method}"),
            *software(),
        ),
        commands=_commands(name, budget, flops_per_pair, asked, clusters, page_flags),
    )


def _confidence(found: Allocation, share: Share, most: float) -> Confidence:
    """By the rule of `vitscale.fits.confidence`, for parameters and tokens."""
    undecided = "" if found.fit.identified else "The runs do not decide all exponents of the law."
    return standing_of(
        {"parameters": share.parameters, "tokens": share.tokens},
        share.compute / most,
        most="that of the largest run",
        undecided=undecided,
        cautions=[said[0].upper() + said[1:] + "." for said in found.cautions],
        what="Each of parameters and tokens",
    )


def _sizes(share: Share, found: Allocation) -> Table:
    growth = show_interval(found.exponent)
    rows = (
        ("parameters N", *_row(share.parameters), f"C to the {growth}"),
        ("tokens D", *_row(share.tokens), "C to one less that"),
        (
            "loss",
            f"{share.loss.estimate:.4g}",
            _between(share.loss, "{:.4g}".format),
            "",
        ),
    )
    level = f"{100 * found.exponent.level:g}% interval"
    return Table(("", "best", level, "grows as"), rows, "The best model for this budget")


def _row(size: Interval) -> tuple[str, str]:
    return short(size.estimate), _between(size, short)


def _between(interval: Interval, show: Callable[[float], str]) -> str:
    """The ends of an interval, with a word for one that nothing bounds, as `show_interval` has it."""
    low = show(interval.low) if interval.low > 0 else "unbounded"
    high = show(interval.high) if math.isfinite(interval.high) else "unbounded"
    return "unknown" if low == high == "unbounded" else f"{low} to {high}"


def _budgets(shares: Sequence[Share]) -> Table:
    rows = tuple(
        (
            power(share.compute),
            f"{times:g}×",
            short(share.parameters.estimate),
            short(share.tokens.estimate),
            f"{share.loss.estimate:.4g}",
        )
        for times, share in zip((1, 10, 100), shares, strict=True)
    )
    header = ("training FLOPs", "of the largest run", "parameters", "tokens", "loss")
    return Table(header, rows, "The best models for other budgets, by the same law")


def _law(found: Allocation) -> Table:
    rows = tuple(
        (name, f"{value:.4g}", _ends(found.fit.intervals.get(name)))
        for name, value in found.fit.parameters.items()
    )
    return Table(("parameter", "estimate", "interval"), rows, "The fitted law")


def _ends(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    if math.isfinite(interval.high):
        # Zero is an end here: a floor may be none at all.
        return f"{interval.low:.4g} to {interval.high:.4g}"
    return _between(interval, "{:.4g}".format)


def _checks(found: Allocation, share: Share, test: Backtest | None) -> list[Check]:
    fit = found.fit
    checks = []
    if fit.identified:
        checks.append(Check("good", f"The {fit.n} runs decide every exponent of the law."))
    checks += [
        Check("care", flag.sentence[0].upper() + flag.sentence[1:] + ".") for flag in fit.flags
    ]
    checks += [Check("care", said[0].upper() + said[1:] + ".") for said in found.cautions]
    if found.beyond(share):
        said = (
            "Parameters or tokens of the answer lie beyond all runs: the law is extrapolated there."
        )
        checks.append(Check("care", said))
    if test is not None:
        standing: Standing = "good" if test.coverage_range[1] >= test.level else "care"
        checks.append(Check(standing, f"Back-test: {test.conclusion}"))
    agreed = f"{fit.starts_agreed} of {fit.starts} starts of the fit ended in the same law; points are off by {100 * fit.rms:.2g}% (rms)."
    return [*checks, Check("note", agreed)]


def _backtest_picture(test: Backtest | None, table: LawTable) -> list:
    if test is None:
        return []
    return [
        picture(
            "What earlier predictions were worth",
            lambda: plots.backtest_figure(test, metric=table.target_column),
            alt=f"Predicted against measured {table.target_column} of runs that were left out. {test.conclusion}",
            how="The largest runs were left out of the fit and predicted from the rest. On the diagonal a prediction is right; bars are its interval.",
        )
    ]


def _commands(
    source: str,
    budget: float,
    flops_per_pair: float,
    asked: Sequence[str],
    clusters: Sequence[str],
    page: Sequence[str],
) -> tuple[tuple[str, str], ...]:
    """With the flags as they were given: `asked` of the columns, `clusters` of what belongs together, `page` of
    this page."""
    where, flops = shlex.quote(source), f"{budget!r}".replace("e+", "e")
    if flops_per_pair != FLOPS_PER_PARAMETER_AND_TOKEN:
        flops += f" --flops-per-pair {flops_per_pair!r}".removesuffix(".0").replace("e+", "e")
    columns, grouped, shown = (
        "".join(f" {shlex.quote(word)}" for word in words) for words in (asked, clusters, page)
    )
    return (
        (
            f"vitscale allocate {where} --flops {flops}{columns}{grouped}",
            "The answer, in the terminal.",
        ),
        (
            f"vitscale fit {where} --law chinchilla --loss log-huber --delta 1e-3{columns}{grouped} --backtest",
            "The law, and what its predictions are worth.",
        ),
        (
            f"vitscale report {where} --law chinchilla --flops {flops}{columns}{grouped}{shown}",
            "This report.",
        ),
    )
