"""A worker of a store: runs whatever its plans lack, beside any number of others on any machines."""

import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from vitscale.scaling.recipe import Trial
from vitscale.sweeps.attempts import attempts, cancelled, given_up
from vitscale.sweeps.engines.engine import Engine
from vitscale.sweeps.plan import Plan
from vitscale.sweeps.recorded import read_recorded
from vitscale.sweeps.run import GRACE_SECONDS, Display, Limits, RunReport, run, untrained
from vitscale.sweeps.store import Problem, Store

if TYPE_CHECKING:
    from vitscale.sweeps.trackers.tracking import Tracking

_NEW_PLANS_S = 10.0


def work(
    store: Store,
    engine: Engine,
    *,
    plans: list[str] | None = None,
    follow: bool = False,
    max_hours: float | None = None,
    display: Callable[[], Display] | None = None,
    tracking: "Tracking | None" = None,
    grace_seconds: float = GRACE_SECONDS,
    say: Callable[[str], None] = lambda line: None,
    unusable: Callable[[Trial], str] = lambda trial: "",
) -> list[RunReport]:
    """Run the plans that `store` recorded, or those named `plans`, until nothing is left to do; gives the
    last report of each.

    - `follow`: wait for new plans then, until interrupted or `max_hours` are over.
    - `display`: makes the display of a run. `tracking`: is told what it does; the caller closes it.
    - `grace_seconds`: what trials get to save in when they are ended.
    - `unusable`: why a trial cannot be trained here, or nothing; the other plans are run then.

    Raises `ValueError` where there is no such plan, and as `run`.
    """
    began = time.monotonic()
    reports: dict[str, RunReport] = {}
    said: set[Problem] = set()
    lost: set[str] = set()
    """Trials that failed here in ways that the store does not count against them: they are not begun again."""
    while True:
        busy, there = False, read_recorded(store, plans)
        for problem in there.unreadable:
            if problem not in said:
                say(f"{problem.path} {problem.reason}; its trials are left to others")
                said.add(problem)
        for label, plan in there.plans.items():
            left = None if max_hours is None else max_hours - (time.monotonic() - began) / 3600
            if left is not None and left <= 0:
                return list(reports.values())
            known = reports.get(label)
            if known is not None and not trainable(store, plan) - lost:
                continue
            if known is None and follow and is_done(store, plan):
                continue
            why = "" if is_done(store, plan) else unusable(plan.trials[0])
            if why:
                if known is None or not known.unusable:
                    say(f"{label}: cannot be trained here, and is left to others: {why}")
                report = untrained(plan, store, unusable=why)
            else:
                if known is None or known.unusable:
                    models = sum(len(trial.durations) for trial in plan.trials)
                    say(f"{label}: {models} models of {len(plan.trials)} trials")
                report = run(
                    plan,
                    engine,
                    store,
                    limits=Limits(max_hours=left),
                    display=display() if display else None,
                    shared=True,
                    tracking=tracking,
                    grace_seconds=grace_seconds,
                )
                lost |= trainable(store, plan) & {f.trial.id for f in report.failed}
                busy = True
            reports[label] = dataclasses.replace(report, plan=label)
            if report.interrupted or report.stopped:
                return list(reports.values())
        # What was resumed or submitted while the last plans ran is taken up before the end.
        if follow and not busy:
            time.sleep(_NEW_PLANS_S)
        elif not busy:
            return list(reports.values())


def trainable(store: Store, plan: Plan) -> set[str]:
    """Ids of the trials of `plan` that `store` lacks, and that are neither cancelled nor given up."""
    measured, unwanted = store.measured_durations(), cancelled(store)
    lacking = {t.id for t in plan.trials if not set(t.durations) <= measured.get(t.id, set())}
    ended = attempts(store, lacking)
    return {i for i in lacking - unwanted if not given_up(ended.get(i, ()))}


def is_done(store: Store, plan: Plan) -> bool:
    """Whether `store` holds all of `plan`."""
    measured = store.measured_durations()
    return all(set(trial.durations) <= measured.get(trial.id, set()) for trial in plan.trials)
