"""Run a plan: what the store lacks, longest first, until the store has it all."""

import dataclasses
import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from vitscale.scaling.progress import Progress
from vitscale.scaling.recipe import Trial
from vitscale.sweeps.attempts import (
    RESUMED,
    RETRIES,
    EndedAttempt,
    attempts,
    cancelled,
    failures_since_resumed,
    given_up,
    record_attempt,
)
from vitscale.sweeps.config import plan_to_toml
from vitscale.sweeps.engines.engine import Attempt, Engine
from vitscale.sweeps.engines.local import log_tail
from vitscale.sweeps.files import StoreError
from vitscale.sweeps.jobs import Failure, Job, Queue, RunState
from vitscale.sweeps.leases import holders
from vitscale.sweeps.plan import Plan
from vitscale.sweeps.preview import trial_cost
from vitscale.sweeps.store import Store

if TYPE_CHECKING:
    from vitscale.sweeps.trackers.tracking import Tracking

LOST_RETRIES = 100
"""Times that a trial is tried again after its process or machine went away."""
GRACE_SECONDS = 20.0
"""What workers get to save their work in when a run is interrupted; preempted machines have 30 s."""

_POLL_S = 0.2
_CANCELLED_EVERY_S = 5.0
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Where a run ends though the store does not hold all yet: training FLOPs that it may spend, and hours
    of wall time. None: no limit.

    Raises `ValueError` where one is not positive.
    """

    max_flops: float | None = None
    max_hours: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_flops", "max_hours"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value:g} leaves nothing to run; use a positive number")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a run did. Trials are named by id; `unusable` says why none of the plan can be trained here.

    `skipped` were in the store before, `measured` were measured by this run, `elsewhere` by another
    run on the same store meanwhile. `diverged` are those of all three with a diverged duration.
    `cancelled` are not to be trained. `unsaved` are those of the unfinished that could not save in time when the run
    was ended, and go on from their last checkpoint. `stopped` says which limit ended the run, if one did.
    `spent_flops` and `core_seconds` are this run's, repeated steps included.
    """

    plan: str
    skipped: tuple[str, ...]
    measured: tuple[str, ...]
    elsewhere: tuple[str, ...]
    diverged: tuple[str, ...]
    cancelled: tuple[str, ...]
    failed: tuple[Failure, ...]
    unfinished: tuple[str, ...]
    interrupted: bool
    stopped: str
    attempts: int
    wall_seconds: float
    core_seconds: float
    spent_flops: float
    unusable: str = ""
    unsaved: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the store now holds the whole plan, but for what was cancelled."""
        return not self.failed and not self.unfinished


class Display(Protocol):
    """Shows a run: `update` many times a second, `say` for what must not scroll by unseen."""

    def update(self, state: RunState) -> None: ...

    def say(self, message: str) -> None: ...

    def close(self) -> None: ...


def run(
    plan: Plan,
    engine: Engine,
    store: Store,
    *,
    retries: int = RETRIES,
    lost_retries: int = LOST_RETRIES,
    limits: Limits | None = None,
    display: Display | None = None,
    shared: bool = False,
    tracking: "Tracking | None" = None,
    grace_seconds: float = GRACE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> RunReport:
    """Measure every trial of `plan` that `store` does not hold, on `engine`.

    The trials that cost most start first. A trial whose code fails is tried `retries` times more, one
    whose process is lost or preempted `lost_retries` times more, each time from its last checkpoint.
    Ctrl-C, and `limits`, end the run in order: the report says so, and the same call goes on. What the
    engine keeps at the end of a run (idle workers) is left for the next; `engine.cancel()` lets go of it.

    - `shared`: others work on the same plans: trials are taken in an order that differs a little from
      theirs, and what has failed too often anywhere is not tried again until it is resumed. Otherwise what
      has failed before is resumed by this.
    - `tracking`: is told what the trials of this run do; the caller closes it.
    - `grace_seconds`: what trials get to save in when they are ended; of those that could not, the number is logged
      as a warning.
    - `clock`: seconds from any moment on; of an engine that simulates time, its own.

    Raises `ValueError` where there is no time to save, and `StoreError` where a file of the plan in the store is damaged, or the store cannot be
    written to, after stopping the engine.
    """
    if not grace_seconds > 0:
        raise ValueError(f"grace_seconds={grace_seconds:g} is no time to save in; use 1 or more")
    store.prepare()
    store.record_plan(plan.name, plan_to_toml(plan))
    driver = _Driver(
        engine,
        store,
        retries,
        lost_retries,
        limits or Limits(),
        display,
        shared,
        grace_seconds,
        tracking,
    )
    state = _begin(plan, store, clock, together=engine.pack > 1, shared=shared, retries=retries)
    if not shared:
        _resume_failed(state)
    if tracking is not None:
        skipped = set(state.skipped)
        done = [trial for trial in plan.trials if trial.id in skipped]
        tracking.begin(plan.name, done, begun_alone=shared)
    completed = interrupted = False
    stopped, unsaved = "", set()
    try:
        while not stopped and (
            len(state.queue) or state.running or driver.take_up_resumed(state, at_once=True)
        ):
            driver.take_up_resumed(state)
            driver.submit(state)
            for event in engine.poll(_POLL_S):
                driver.take(state, event)
            driver.stop_cancelled(state)
            driver.pass_on_messages()
            if display is not None:
                display.update(state)
            stopped = driver.time_is_over(state)
        completed = not stopped
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if not completed:
            in_order = interrupted or stopped
            unsaved = engine.cancel(grace_seconds=grace_seconds if in_order else 0.0)
        if display is not None:
            display.close()
    if unsaved:
        _LOG.warning(
            "%d of the trials under way could not save within %g s: from their last checkpoint on they repeat at "
            "most --checkpoint-seconds of training",
            len(unsaved),
            grace_seconds,
        )
    report = _report(state, interrupted, stopped or driver.money_is_over(state))
    return dataclasses.replace(report, unsaved=tuple(sorted(unsaved)))


def _begin(
    plan: Plan,
    store: Store,
    clock: Callable[[], float],
    *,
    together: bool,
    shared: bool,
    retries: int,
) -> RunState:
    # Dearest first, so that no long trial is left for the end; but first one seed of everything, so
    # that the other seeds of a shape find its code compiled, unless they can be trained together.
    spread = random.Random()
    first_seed = min(trial.recipe.seed for trial in plan.trials)

    def urgency(job: Job) -> tuple:
        dear = job.cost.remaining_flops * (spread.uniform(0.8, 1.0) if shared else 1.0)
        later = not (together or shared) and job.trial.recipe.seed != first_seed
        return later, -dear, job.trial.packing_key if together else ""

    state = RunState(plan=plan, store=store, queue=Queue(urgency), clock=clock, began=clock())
    measured, resumable = store.measured_durations(), store.resumable()
    unwanted = cancelled(store)
    before = attempts(store) if shared else {}
    held = holders(store.place) if shared else {}
    if any(trial.id in measured for trial in plan.trials):
        store.facts(
            [trial.id for trial in plan.trials]
        )  # names a damaged file, before any is added
    for trial in plan.trials:
        cost = trial_cost(trial, measured.get(trial.id, ()), resumes=trial.id in resumable)
        ended = before.get(trial.id, [])
        if not cost.remaining_durations:
            state.skipped.append(trial.id)
        elif trial.id in unwanted:
            state.cancelled[trial.id] = Job(trial=trial, cost=cost, resumes=trial.id in resumable)
        elif (last := given_up(ended, retries)) is not None:
            state.failed[trial.id] = _failure(trial, ended, last)
        else:
            job = Job(trial=trial, cost=cost, resumes=trial.id in resumable)
            state.wait(job, held=trial.id in held)
    return state


def _resume_failed(state: RunState) -> None:
    """Tell the store that what failed before is tried again here, so that `status` and others count from now on."""
    waiting = [job.trial.id for job in state.queue.jobs()]
    for trial_id, ended in attempts(state.store, waiting).items():
        if failures_since_resumed(ended):
            record_attempt(state.store, trial_id, RESUMED)


def _failure(trial: Trial, ended: list[EndedAttempt], last: EndedAttempt) -> Failure:
    """Of a trial that was given up elsewhere, or by an earlier run."""
    count = len(failures_since_resumed(ended))
    return Failure(trial=trial, attempts=count, reason=last.reason, log_tail=last.log_tail)


def untrained(plan: Plan, store: Store, *, unusable: str) -> RunReport:
    """The report of a run that cannot be: what `store` holds of the plan, and why the rest is not for here."""
    state = _begin(plan, store, time.monotonic, together=False, shared=True, retries=RETRIES)
    return dataclasses.replace(_report(state, interrupted=False, stopped=""), unusable=unusable)


@dataclasses.dataclass
class _Driver:
    """The decisions of one run: what starts, what is tried again, when it ends."""

    engine: Engine
    store: Store
    retries: int
    lost_retries: int
    limits: Limits
    display: Display | None
    shared: bool
    grace_seconds: float
    tracking: "Tracking | None" = None
    _looked_at: float | None = None
    _unwanted: frozenset[str] = frozenset()

    def submit(self, state: RunState) -> None:
        """Fill the engine with waiting trials."""
        while self.engine.capacity() and (job := state.take()) is not None:
            trial = job.trial
            if self.store.measured(trial) >= set(trial.durations):
                state.elsewhere.append(trial.id)
            elif trial.id in self._unwanted:
                state.leave(job)
                state.cancelled[trial.id] = job
            elif self.shared and (last := given_up(self._ended(trial), self.retries)) is not None:
                state.leave(job)  # others tried it while it waited here
                state.failed[trial.id] = _failure(trial, self._ended(trial), last)
            elif not self._affordable(state, job):
                state.leave(job)
                state.too_dear[trial.id] = job
            else:
                job.begin_attempt()
                self.engine.submit(trial, state.store)
                state.running[trial.id] = job

    def take(self, state: RunState, event: Progress | Attempt) -> None:
        """Enter one event of the engine into the state."""
        job = state.running.get(event.trial_id)
        if job is None:
            return  # of an attempt that was cancelled
        if isinstance(event, Progress):
            job.hear(event)
            if self.tracking is not None:
                self.tracking.hear(job.trial, event)
            return
        del state.running[event.trial_id]
        state.core_seconds += event.core_seconds
        if event.outcome == "busy":
            job.progress = None
            state.wait(job, held=True)
            return
        job.attempts += 1
        job.busy = 0
        state.attempts += 1
        if self.store.measured(job.trial) >= set(job.trial.durations):
            # Whatever the engine says: a process may die after its last word to the store.
            job.end_attempt(finished=True)
            job.diverged = event.diverged
            state.measured[event.trial_id] = job
            state.leave(job)
            if self.tracking is not None:
                self.tracking.end(job.trial, "finished")
            return
        job.end_attempt(finished=False)
        self._retry(state, job, event)

    def take_up_resumed(self, state: RunState, *, at_once: bool = False) -> bool:
        """Queue trials that somebody has resumed meanwhile, cancelled or failed as they were; gives whether
        there were any. Looked for every few seconds, or `at_once`."""
        now = state.clock()
        recent = self._looked_at is not None and now - self._looked_at < _CANCELLED_EVERY_S
        if recent and not at_once:
            return False
        self._looked_at, self._unwanted = now, frozenset(cancelled(self.store))
        wanted = [i for i in state.cancelled if i not in self._unwanted]
        jobs = [state.cancelled.pop(trial_id) for trial_id in wanted]
        known = attempts(self.store, state.failed.keys()) if state.failed else {}
        for trial_id in [i for i, ended in known.items() if ended[-1].outcome == RESUMED]:
            trial = state.failed.pop(trial_id).trial
            done, resumes = self.store.measured(trial), trial_id in self.store.resumable()
            cost = trial_cost(trial, done, resumes=resumes)
            if cost.remaining_durations:
                jobs.append(Job(trial=trial, cost=cost, resumes=resumes))
            else:
                state.elsewhere.append(trial_id)
        for job in jobs:
            self._say(f"trial {job.trial.id} ({job.trial.shape}): resumed")
            state.take_up_again(job)
        return bool(jobs)

    def stop_cancelled(self, state: RunState) -> None:
        """Stop trials that somebody has cancelled meanwhile."""
        for trial_id in self._unwanted & state.running.keys():
            self.engine.cancel(trial_id, grace_seconds=self.grace_seconds)
            job = state.running.pop(trial_id)
            job.end_attempt(finished=False)
            state.leave(job)
            state.cancelled[trial_id] = job
            self._say(f"trial {trial_id} ({job.trial.shape}): cancelled; vitscale resume undoes it")

    def pass_on_messages(self) -> None:
        """Say what trackers have to say; without a display it waits for who closes them."""
        if self.tracking is not None and self.display is not None:
            for message in self.tracking.messages():
                self._say(message)

    def time_is_over(self, state: RunState) -> str:
        """A sentence where the run has lasted as long as it may, else nothing."""
        hours = self.limits.max_hours
        if hours is None or state.wall_seconds < hours * 3600:
            return ""
        return f"it has run for the {hours:g} hours that it may"

    def money_is_over(self, state: RunState) -> str:
        """A sentence where trials were left out for their price, else nothing."""
        if not state.too_dear:
            return ""
        least = min(job.left_flops for job in state.too_dear.values())
        return (
            f"it has spent {state.spent_flops:.3g} of the {self.limits.max_flops:.3g} training FLOPs that "
            f"it may, and the cheapest of the trials left costs {least:.3g}"
        )

    def _affordable(self, state: RunState, job: Job) -> bool:
        if self.limits.max_flops is None:
            return True
        committed = state.spent_flops + state.running_flops
        return committed + job.left_flops <= self.limits.max_flops

    def _retry(self, state: RunState, job: Job, attempt: Attempt) -> None:
        """Try again or give up, by what went wrong."""
        trial = job.trial
        reason = attempt.reason
        match attempt.outcome:
            case "unstorable":
                raise StoreError(attempt.reason)
            case "lost" | "preempted":
                job.losses += 1
            case "done":
                job.failures += 1
                missing = set(trial.durations) - self.store.measured(trial)
                reason = f"it ended without a measurement at {min(missing)} examples"
            case _:
                job.failures += 1
        tail = log_tail(self.store.log_path(trial.id))
        record_attempt(
            self.store,
            trial.id,
            "failed" if attempt.outcome == "done" else attempt.outcome,
            reason=reason,
            core_seconds=attempt.core_seconds,
            log_tail=tail,
        )
        again = not self._is_given_up(job) and job.losses <= self.lost_retries
        if again:
            state.wait(job, again=True)
        else:
            state.leave(job)
            state.failed[trial.id] = Failure(
                trial=trial,
                attempts=job.attempts,
                reason=reason,
                log_tail=tail,
                log=str(self.store.log_path(trial.id)),
            )
            if self.tracking is not None:
                self.tracking.end(trial, "failed")
        what = (
            "trying again"
            if again
            else f"given up after {job.attempts} attempt{'s' * (job.attempts != 1)}"
        )
        self._say(f"trial {trial.id} ({trial.shape}): {reason}; {what}")

    def _is_given_up(self, job: Job) -> bool:
        """Whether its own code has failed too often: of what others try too, anywhere."""
        if self.shared:
            return given_up(self._ended(job.trial), self.retries) is not None
        return job.failures > self.retries

    def _ended(self, trial: Trial) -> list[EndedAttempt]:
        return attempts(self.store, [trial.id]).get(trial.id, [])

    def _say(self, message: str) -> None:
        if self.display is not None:
            self.display.say(message)


def _report(state: RunState, interrupted: bool, stopped: str) -> RunReport:
    plan, store = state.plan, state.store
    # Only what is not known is read: a driver that reads nothing loads no library for it.
    known = {i: job.diverged for i, job in state.measured.items() if job.diverged is not None}
    asked = {*state.skipped, *state.elsewhere, *state.measured} - known.keys()
    facts = store.facts(asked) if asked else {}
    found = {i for i, each in facts.items() if any(f.status == "diverged" for f in each.values())}
    diverged = [t.id for t in plan.trials if known.get(t.id) or t.id in found]
    waiting = [job.trial.id for job in state.queue.jobs()]
    return RunReport(
        plan=plan.name,
        skipped=tuple(state.skipped),
        measured=tuple(state.measured),
        elsewhere=tuple(state.elsewhere),
        diverged=tuple(diverged),
        cancelled=tuple(state.cancelled),
        failed=tuple(state.failed.values()),
        unfinished=tuple([*state.running, *waiting, *state.too_dear]),
        interrupted=interrupted,
        stopped=stopped,
        attempts=state.attempts,
        wall_seconds=state.wall_seconds,
        core_seconds=state.core_seconds,
        spent_flops=state.spent_flops,
    )
