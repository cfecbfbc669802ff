"""The whole path, live: grid and star, fit, rule, shape, figures, in minutes on two cores."""

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from vitscale.emit import emit_answer
from vitscale.fits import plots
from vitscale.fits.answer import Answer, TooSmallError, answer
from vitscale.fits.fit_file import FitFile, write_json
from vitscale.fits.frontier import fit_frontier
from vitscale.fits.report import fit_lines
from vitscale.fits.rule import Rule
from vitscale.fits.store_fit import fit_store
from vitscale.report.page import write_page
from vitscale.report.source import read_star_source
from vitscale.report.star_report import star_page
from vitscale.sources import read_source
from vitscale.sweeps.display import run_display
from vitscale.sweeps.engines.local import LocalEngine
from vitscale.sweeps.presets import preset
from vitscale.sweeps.preview import preview
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store
from vitscale.sweeps.words import clock, preview_lines, report_lines

PLANS = ("quickstart-grid", "quickstart-star")
_COARSE = (
    "a coarse demonstration, made to last minutes: its sizes and lengths are too few to decide every "
    "exponent or to place x0 closely, and the fit says where"
)
BUDGETS = (10.0, 100.0)
"""Budgets to give shapes for, as multiples of the most compute that one trial measured."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuickstartResult:
    """What the quickstart found, and the files it wrote. `answers`: one for each of `BUDGETS`."""

    fit_file: FitFile
    answers: tuple[Answer, ...]
    written: tuple[Path, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "fit": self.fit_file.to_dict(),
            "shapes": [found.to_dict() for found in self.answers],
            "written": [str(path) for path in self.written],
            "seconds": self.seconds,
        }

    def lines(self) -> list[str]:
        """One screen for a person to read: the answer, how sure it is, where the files are."""
        lines = [*fit_lines(self.fit_file.fit)]
        if not self.answers:
            lines.append("no shape: the data give no optimum in some dimension (see above)")
        for found in self.answers:
            lines += ["", *found.lines()]
        return [
            *lines,
            "",
            *(f"wrote {path}" for path in self.written),
            f"took {clock(self.seconds)}. These are shapes for 16-pixel glyphs, to show the method: "
            f"to ask about your own budget, run",
            f"  vitscale shape --fit {self.written[0]} --flops 1e15",
            "and for published ImageNet-scale data",
            "  vitscale reproduce sovit",
        ]


def quickstart(
    folder: Path, *, workers: int | None = None, quiet: bool = False
) -> QuickstartResult | None:
    """Run the quickstart in `folder`, going on from what is there; None where it was interrupted.

    Progress goes to standard error, unless `quiet`. Raises `StoreError` where the folder cannot be used, and
    `ValueError` where what was measured cannot be fitted.
    """
    began = time.monotonic()
    say = _silent if quiet else _say
    store = Store.open(folder / "store", create=True)
    if not _measure(store, workers, quiet):
        return None
    say("fitting eq. (2) to each dimension of the star")
    frame = read_source(store.name)
    fit_file, table = fit_store(frame)
    written = [folder / "fit.json"]
    write_json(written[0], fit_file.to_dict())
    answers: list[Answer] = []
    measured = fit_file.measured_flops()
    try:
        rule = fit_file.rule()
    except ValueError as error:
        say(f"no rule: {error}")
    else:
        assert measured is not None  # a store counts in train_flops
        answers = _answers(fit_file, rule, measured, say)
        if answers:
            emitted = emit_answer(answers[0], ["all"], folder / "shape")
            written += emitted.paths
            for note in emitted.notes:
                say(note)
        figure = plots.optimal_shape_figure(rule, fit_file.fit)
        written.append(plots.save(figure, folder / "figures" / "optimal_shape.png"))
    written += _draw(fit_file, table, frame, folder / "figures")
    say("writing the report")
    write_page(
        star_page(read_star_source(store.name, frame, fit_file, table)), folder / "report.html"
    )
    written.append(folder / "report.html")
    return QuickstartResult(
        fit_file=fit_file,
        answers=tuple(answers),
        written=tuple(written),
        seconds=time.monotonic() - began,
    )


def _answers(
    fit_file: FitFile, rule: Rule, measured: float, say: Callable[[str], None]
) -> list[Answer]:
    """One for each of `BUDGETS` that is not too small for a model of any size; why not for the others is said."""
    found = []
    for times in BUDGETS:
        try:
            found.append(
                answer(
                    rule,
                    times * measured,
                    fit_file.setting,
                    measured_flops=measured,
                    fit=fit_file.fit,
                )
            )
        except TooSmallError as error:
            say(f"no shape for {times:g} times the compute measured: {error}")
    return found


def _measure(store: Store, workers: int | None, quiet: bool) -> bool:
    """Run both plans; whether the store now holds them."""
    say = _silent if quiet else _say
    engine = LocalEngine(workers=workers)
    told = False
    try:
        for number, name in enumerate(PLANS, 1):
            plan = preset(name)
            bill = preview(
                plan,
                measured=store.measured_durations(),
                resumable=store.resumable(),
                workers=engine.workers,
            )
            say(f"[{number}/{len(PLANS)}] {name} on {engine.workers} workers")
            for line in preview_lines(dataclasses.replace(bill, warnings=())):
                say(f"  {line}")
            if bill.warnings and bill.remaining_measurements and not told:
                told = True
                say(f"  {_COARSE}")
            report = run(plan, engine, store, display=None if quiet else run_display())
            for line in report_lines(report):
                say(line)
            if not report.complete:
                return False
    finally:
        engine.cancel()
    return True


def _draw(fit_file: FitFile, table: pd.DataFrame, frame: pd.DataFrame, folder: Path) -> list[Path]:
    ok = frame.query("status == 'ok' and metric == @fit_file.fit.metric")
    compute, error = ok["train_flops"].to_numpy(float), ok["value"].to_numpy(float)
    try:
        frontier = fit_frontier(compute, error, model=ok["trial_id"].to_numpy(), resamples=0)
    except ValueError:
        frontier = None  # too few points on the frontier for a law: draw the points alone
    drawn = {
        "star.png": plots.star_figure(table, fit_file.fit),
        "profiles.png": plots.profile_figure(fit_file.fit),
        "pareto_frontier.png": plots.frontier_figure(
            compute,
            error,
            fit=frontier,
            size=ok["params"].to_numpy(float),
            model=ok["trial_id"].to_numpy(),
            metric=fit_file.fit.metric,
        ),
    }
    return [plots.save(figure, folder / name) for name, figure in drawn.items()]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _silent(line: str) -> None:
    pass
