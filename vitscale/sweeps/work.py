"""A worker of a store: runs whatever its plans lack, beside any number of others on any machines."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from vitscale.sweeps.config import plan_from_toml
from vitscale.sweeps.engines.engine import Engine
from vitscale.sweeps.plan import Plan
from vitscale.sweeps.run import Display, Limits, RunReport, run
from vitscale.sweeps.store import Store

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
    say: Callable[[str], None] = lambda line: None,
) -> list[RunReport]:
    """Run the plans that `store` recorded, or those named `plans`, until nothing is left to do.

    - `follow`: wait for new plans then, until interrupted or `max_hours` are over.
    - `display`: makes the display of a run. `tracking`: is told what it does; the caller closes it.

    Raises `ValueError` where there is no such plan, and as `run`.
    """
    began, reports = time.monotonic(), []
    seen: set[str] = set()
    while True:
        for plan in recorded(store, plans):
            text = f"{plan.name}: {sum(len(t.durations) for t in plan.trials)} models of {len(plan.trials)} trials"
            left = None if max_hours is None else max_hours - (time.monotonic() - began) / 3600
            if left is not None and left <= 0:
                return reports
            if follow and is_done(store, plan):
                continue
            if plan.name not in seen:
                seen.add(plan.name)
                say(text)
            report = run(
                plan,
                engine,
                store,
                limits=Limits(max_hours=left),
                display=display() if display else None,
                shared=True,
                tracking=tracking,
            )
            reports.append(report)
            if report.interrupted or report.stopped:
                return reports
        if not follow:
            return reports
        time.sleep(_NEW_PLANS_S)


def recorded(store: Store, names: list[str] | None = None) -> list[Plan]:
    """The plans that were run or submitted here; those called `names` where some are named.

    Raises `ValueError` where one is not there.
    """
    plans = [plan_from_toml(text) for text in store.recorded_plans()]
    for name in names or ():
        if name not in {plan.name for plan in plans}:
            there = ", ".join(sorted({plan.name for plan in plans})) or "none"
            raise ValueError(f"the store {store.name} has no plan {name!r}; it has {there}")
    return [plan for plan in plans if not names or plan.name in names]


def is_done(store: Store, plan: Plan) -> bool:
    """Whether `store` holds all of `plan`."""
    measured = store.measured_durations()
    return all(set(trial.durations) <= measured.get(trial.id, set()) for trial in plan.trials)
