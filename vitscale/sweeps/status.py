"""What a store holds and what its plans still lack, for a person or a program to look at.

Reads names and the ends of files, so that it takes well under a second for thousands of measurements.
Whether every byte is as it was written is for `vitscale store check`.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal

from vitscale.scaling.recipe import Trial
from vitscale.scaling.shape import Shape
from vitscale.sweeps.attempts import (
    EndedAttempt,
    attempts,
    cancelled,
    failures_since_resumed,
    given_up,
)
from vitscale.sweeps.files import StoreError
from vitscale.sweeps.leases import Holder, holders
from vitscale.sweeps.parquet import Facts
from vitscale.sweeps.preview import trial_cost
from vitscale.sweeps.recorded import read_recorded
from vitscale.sweeps.store import Problem, Store

State = Literal["done", "diverged", "running", "failed", "cancelled", "waiting"]
"""Of a trial: all durations measured, one of them diverged, held by a process, given up until it is resumed
(`given_up`), not to be trained, or still to come, be it for the first time or again."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialStatus:
    """One trial: its shape (None where no plan of the store has it), durations in examples, and what it
    costs in training FLOPs.

    - `reason`: why it failed last, of one that has failed, or waits to be tried again after it has.
    - `timed_flops`, `timed_seconds`: of all its durations, each as a run of its own, since that is what is
      timed of them.
    """

    trial_id: str
    shape: Shape | None
    seed: int | None
    state: State
    measured: tuple[int, ...]
    missing: tuple[int, ...]
    spent_flops: float
    left_flops: float
    train_seconds: float
    timed_flops: float
    timed_seconds: float
    reason: str = ""
    holder: Holder | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = dataclasses.asdict(self) | {"holder": None}
        if self.holder is not None:
            held = {name: getattr(self.holder, name) for name in ("host", "pid", "since")}
            values["holder"] = held
        return values


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreStatus:
    """Trials of a store and of its plans, and the files that cannot be trusted.

    - `plans`: of each plan that was run or submitted here, by its label (`RecordedPlans`), the durations done and
      the durations in all.
    - `losses`: attempts that ended with their process or machine.
    """

    path: str
    trials: tuple[TrialStatus, ...]
    plans: dict[str, tuple[int, int]]
    losses: int
    problems: tuple[Problem, ...]

    def count(self, state: State) -> int:
        """How many trials are in a state."""
        return sum(trial.state == state for trial in self.trials)

    @property
    def spent_flops(self) -> float:
        """Training FLOPs that went into what is measured."""
        return sum(trial.spent_flops for trial in self.trials)

    @property
    def left_flops(self) -> float:
        """Training FLOPs that the plans still ask for; what failed or was cancelled is not counted."""
        return sum(t.left_flops for t in self.trials if t.state in ("running", "waiting"))

    @property
    def eta_seconds(self) -> float | None:
        """Time left at the speed of the measurements so far and with as many trials at once as run now; None
        where nothing runs or nothing was measured."""
        seconds, running = sum(trial.timed_seconds for trial in self.trials), self.count("running")
        flops = sum(trial.timed_flops for trial in self.trials)
        if not running or not seconds or not flops:
            return None
        return self.left_flops / (flops / seconds * running)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        states: tuple[State, ...] = (
            "done",
            "diverged",
            "running",
            "failed",
            "cancelled",
            "waiting",
        )
        return {
            "path": self.path,
            "counts": {state: self.count(state) for state in states},
            "spent_flops": self.spent_flops,
            "left_flops": self.left_flops,
            "eta_seconds": self.eta_seconds,
            "losses": self.losses,
            "trials": [trial.to_dict() for trial in self.trials],
            "plans": {
                name: {"done": done, "planned": planned}
                for name, (done, planned) in self.plans.items()
            },
            "problems": [{"path": str(p.path), "reason": p.reason} for p in self.problems],
        }


def store_status(store: Store) -> StoreStatus:
    """Look at a store; files that cannot be read are left out and named.

    Raises `StoreError` where the store itself cannot be read.
    """
    problems: tuple[Problem, ...] = ()
    try:
        facts = store.facts()
    except StoreError:
        problems = tuple(store.check())
        if not problems:
            raise
        facts = store.facts(skip=[problem.path for problem in problems])
    there = read_recorded(store)
    plans = there.plans
    ended, held, unwanted = attempts(store), holders(store.place), cancelled(store)
    resumable = store.resumable()
    trials: dict[str, Trial] = {}
    for plan in plans.values():
        for trial in plan.trials:
            known = trials.get(trial.id)
            durations = {*trial.durations, *(known.durations if known else ())}
            trials[trial.id] = dataclasses.replace(trial, durations=tuple(sorted(durations)))
    found = [
        _status(
            trial_id,
            trials.get(trial_id),
            facts.get(trial_id, {}),
            ended.get(trial_id, []),
            holder=held.get(trial_id),
            cancelled=trial_id in unwanted,
            resumes=trial_id in resumable,
        )
        for trial_id in {**trials, **facts}
    ]
    return StoreStatus(
        path=store.name,
        trials=tuple(found),
        plans={label: _done(plan.trials, facts) for label, plan in plans.items()},
        losses=sum(a.outcome in ("lost", "preempted") for each in ended.values() for a in each),
        problems=(*problems, *there.unreadable),
    )


def _status(
    trial_id: str,
    trial: Trial | None,
    facts: dict[int, Facts],
    ended: list[EndedAttempt],
    *,
    holder: Holder | None,
    cancelled: bool,
    resumes: bool,
) -> TrialStatus:
    missing, left, timed = (), 0.0, {}
    if trial is not None:
        cost = trial_cost(trial, facts, resumes=resumes)
        missing, left = cost.remaining_durations, cost.remaining_flops
        timed = {d: each for d, each in facts.items() if each.status == "ok"}
    failures = failures_since_resumed(ended)
    state: State = "waiting"
    reason = ""
    if not missing:
        diverged = any(each.status == "diverged" for each in facts.values())
        state = "diverged" if diverged else "done"
    elif holder is not None:
        state = "running"
    elif cancelled:
        state = "cancelled"
    else:
        state = "failed" if given_up(ended) else "waiting"
        reason = failures[-1].reason if failures else ""
    return TrialStatus(
        trial_id=trial_id,
        shape=trial and trial.shape,
        seed=trial and trial.recipe.seed,
        state=state,
        measured=tuple(sorted(facts)),
        missing=missing,
        spent_flops=sum(each.spent_flops for each in facts.values()),
        left_flops=left,
        train_seconds=max((each.train_seconds for each in facts.values()), default=0.0),
        timed_flops=sum(trial.train_flops(d) for d in timed) if trial is not None else 0.0,
        timed_seconds=sum(each.train_seconds for each in timed.values()),
        reason=reason,
        holder=holder if state == "running" else None,
    )


def _done(trials: Iterable[Trial], facts: dict[str, dict[int, Facts]]) -> tuple[int, int]:
    durations = [(trial.id, duration) for trial in trials for duration in trial.durations]
    return sum(d in facts.get(i, ()) for i, d in durations), len(durations)
