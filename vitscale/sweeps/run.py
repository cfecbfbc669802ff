"""Run a plan: what the store lacks, longest first, until the store has it all."""

import dataclasses
import time
from typing import Protocol

from vitscale.scaling.progress import Progress
from vitscale.scaling.recipe import Trial
from vitscale.sweeps.config import plan_to_toml
from vitscale.sweeps.engines.engine import Attempt, Engine
from vitscale.sweeps.engines.local import log_tail
from vitscale.sweeps.files import StoreError
from vitscale.sweeps.plan import Plan
from vitscale.sweeps.preview import TrialCost, trial_cost
from vitscale.sweeps.store import Store

_POLL_S = 0.2
_BUSY_RETRY_S = 2.0
_SAVING_S = 20.0
"""What workers get to save their work in when a run is interrupted; preempted machines have 30 s."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failure:
    """A trial that was given up, with the reason and the end of its log."""

    trial: Trial
    attempts: int
    reason: str
    log_tail: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a run did. Trials are named by id.

    `skipped` were in the store before, `measured` were measured by this run, `elsewhere` by another
    run on the same store meanwhile. `diverged` are those of all three with a diverged duration.
    `spent_flops` and `core_seconds` are this run's, repeated steps included.
    """

    plan: str
    skipped: tuple[str, ...]
    measured: tuple[str, ...]
    elsewhere: tuple[str, ...]
    diverged: tuple[str, ...]
    failed: tuple[Failure, ...]
    unfinished: tuple[str, ...]
    interrupted: bool
    attempts: int
    wall_seconds: float
    core_seconds: float
    spent_flops: float

    @property
    def complete(self) -> bool:
        """Whether the store now holds the whole plan."""
        return not self.failed and not self.unfinished


class Display(Protocol):
    """Shows a run: `update` many times a second, `say` for what must not scroll by unseen."""

    def update(self, state: "RunState") -> None: ...

    def say(self, message: str) -> None: ...

    def close(self) -> None: ...


@dataclasses.dataclass
class _Job:
    """One trial of the plan and what became of it."""

    trial: Trial
    cost: TrialCost
    attempts: int = 0
    failures: int = 0
    losses: int = 0
    not_before: float = 0.0
    progress: Progress | None = None
    resumes: bool = False
    """Whether the next attempt goes on from a checkpoint."""
    first_step: int | None = 0
    """Where the running attempt began; `None` until a resumed one says so."""
    paid_flops: float = 0.0
    """Of attempts that have ended, as far as was heard."""

    @property
    def spent_flops(self) -> float:
        """FLOPs this run has spent on the trial so far."""
        heard = self.progress.step if self.progress else 0
        return self.paid_flops + self._of_steps(heard - (self.first_step or 0))

    @property
    def left_flops(self) -> float:
        """FLOPs still to be spent on the trial."""
        if self.progress is None:
            return max(0.0, self.cost.remaining_flops - self.paid_flops)
        return self._of_steps(self.progress.total_steps - self.progress.step)

    def begin_attempt(self) -> None:
        self.progress = None
        self.first_step = None if self.resumes else 0

    def hear(self, progress: Progress) -> None:
        """Take news of the running attempt."""
        self.progress = progress
        if self.first_step is None and progress.phase != "compile":
            self.first_step = progress.step

    def end_attempt(self, *, finished: bool) -> None:
        """Book what the attempt cost; one that `finished` took all of its steps."""
        if finished and self.progress is None:
            self.paid_flops += self._of_steps(self.cost.remaining_steps)
        elif finished and self.progress is not None:
            self.progress = dataclasses.replace(self.progress, step=self.progress.total_steps)
        self.paid_flops = self.spent_flops
        self.progress, self.first_step, self.resumes = None, 0, True

    def _of_steps(self, steps: int) -> float:
        return self.cost.remaining_flops * steps / self.cost.remaining_steps


@dataclasses.dataclass
class RunState:
    """Where a run is: the truth about results is in the store, this is for scheduling and show."""

    plan: Plan
    store: Store
    began: float
    skipped: list[str] = dataclasses.field(default_factory=list)
    waiting: dict[str, _Job] = dataclasses.field(default_factory=dict)
    running: dict[str, _Job] = dataclasses.field(default_factory=dict)
    measured: dict[str, _Job] = dataclasses.field(default_factory=dict)
    elsewhere: list[str] = dataclasses.field(default_factory=list)
    failed: dict[str, tuple[_Job, Failure]] = dataclasses.field(default_factory=dict)
    attempts: int = 0
    core_seconds: float = 0.0

    @property
    def done(self) -> int:
        """Trials that the store holds in full."""
        return len(self.skipped) + len(self.measured) + len(self.elsewhere)

    @property
    def busy(self) -> int:
        """Trials that another run was working on when last tried."""
        return sum(job.not_before > 0 for job in self.waiting.values())

    @property
    def spent_flops(self) -> float:
        """FLOPs this run has spent so far."""
        gone = [*self.measured.values(), *(job for job, _ in self.failed.values())]
        jobs = [*gone, *self.waiting.values(), *self.running.values()]
        return sum((job.spent_flops for job in jobs), 0.0)

    @property
    def wall_seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self.began

    @property
    def eta_seconds(self) -> float | None:
        """Estimated time left, by FLOPs; `None` until some were spent."""
        spent = self.spent_flops
        left = sum(job.left_flops for job in [*self.waiting.values(), *self.running.values()])
        return left / spent * self.wall_seconds if spent else None


def run(
    plan: Plan,
    engine: Engine,
    store: Store,
    *,
    retries: int = 1,
    lost_retries: int = 5,
    display: Display | None = None,
) -> RunReport:
    """Measure every trial of `plan` that `store` does not hold, on `engine`.

    The trials that cost most start first. A trial whose code fails is tried `retries` times more,
    one whose process is lost `lost_retries` times more, each time from its last checkpoint. Ctrl-C
    ends the run in order: the report says `interrupted`, and the same call goes on; a trial whose
    process was preempted is taken up again as often as that happens. What the engine
    keeps at the end of a run (idle workers) is left for the next; `engine.cancel()` lets go of it.

    Raises `StoreError` where a file of the plan in the store is damaged, or the store cannot be
    written to, after stopping the engine.
    """
    store.prepare()
    store.record_plan(plan.name, plan_to_toml(plan))
    state = _begin(plan, store, together=engine.pack > 1)
    completed = interrupted = False
    try:
        while state.waiting or state.running:
            _submit(state, engine)
            for event in engine.poll(_POLL_S):
                _take(state, event, retries, lost_retries, display)
            if display is not None:
                display.update(state)
        completed = True
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if not completed:
            engine.cancel(grace_seconds=_SAVING_S if interrupted else 0.0)
        if display is not None:
            display.close()
    return _report(state, interrupted)


def _begin(plan: Plan, store: Store, *, together: bool) -> RunState:
    state = RunState(plan=plan, store=store, began=time.monotonic())
    measured, resumable = store.measured_durations(), store.resumable()
    jobs = []
    for trial in plan.trials:
        if trial.id in measured:
            store.statuses(trial)  # a damaged file is named before anything is spent
        cost = trial_cost(trial, measured.get(trial.id, ()), resumes=trial.id in resumable)
        if cost.remaining_durations:
            jobs.append(_Job(trial=trial, cost=cost, resumes=trial.id in resumable))
        else:
            state.skipped.append(trial.id)
    # Dearest first, so that no long trial is left for the end; but first one seed of everything, so
    # that the other seeds of a shape find its code compiled, unless they can be trained together.
    jobs.sort(
        key=lambda job: (
            0 if together else job.trial.recipe.seed,
            -job.cost.remaining_flops,
            job.trial.packing_key,
        )
    )
    state.waiting = {job.trial.id: job for job in jobs}
    return state


def _submit(state: RunState, engine: Engine) -> None:
    """Fill the engine with waiting trials, those that another run holds last."""
    now = time.monotonic()
    ready = [job for job in state.waiting.values() if job.not_before <= now]
    ready.sort(key=lambda job: job.not_before > 0)  # stable: the dearest stays first
    for job in ready:
        trial = job.trial
        if not engine.capacity():
            return
        del state.waiting[trial.id]
        if state.store.measured(trial) >= set(trial.durations):
            state.elsewhere.append(trial.id)
            continue
        job.begin_attempt()
        engine.submit(trial, state.store)
        state.running[trial.id] = job


def _take(
    state: RunState,
    event: Progress | Attempt,
    retries: int,
    lost_retries: int,
    display: Display | None,
) -> None:
    """Enter one event of the engine into the state."""
    job = state.running.get(event.trial_id)
    if job is None:
        return  # of an attempt that was cancelled
    if isinstance(event, Progress):
        job.hear(event)
        return
    del state.running[event.trial_id]
    state.core_seconds += event.core_seconds
    if event.outcome == "busy":
        job.not_before = time.monotonic() + _BUSY_RETRY_S
        state.waiting[event.trial_id] = job
        return
    job.attempts += 1
    job.not_before = 0.0
    state.attempts += 1
    if state.store.measured(job.trial) >= set(job.trial.durations):
        # Whatever the engine says: a process may die after its last word to the store.
        job.end_attempt(finished=True)
        state.measured[event.trial_id] = job
        return
    job.end_attempt(finished=False)
    _retry(state, job, event, retries, lost_retries, display)


def _retry(
    state: RunState,
    job: _Job,
    attempt: Attempt,
    retries: int,
    lost_retries: int,
    display: Display | None,
) -> None:
    """Try again or give up, by what went wrong."""
    trial = job.trial
    match attempt.outcome:
        case "unstorable":
            raise StoreError(attempt.reason)
        case "lost":
            job.losses += 1
            reason = attempt.reason
        case "preempted":
            reason = attempt.reason
        case "done":
            job.failures += 1
            missing = set(trial.durations) - state.store.measured(trial)
            reason = f"it ended without a measurement at {min(missing)} examples"
        case _:
            job.failures += 1
            reason = attempt.reason
    again = job.failures <= retries and job.losses <= lost_retries
    if again:
        state.waiting = {trial.id: job} | state.waiting
    else:
        log = state.store.log_path(trial.id)
        failure = Failure(trial=trial, attempts=job.attempts, reason=reason, log_tail=log_tail(log))
        state.failed[trial.id] = (job, failure)
    if display is not None:
        what = "trying again" if again else f"given up after {job.attempts} attempts"
        display.say(f"trial {trial.id} ({trial.shape}): {reason}; {what}")


def _report(state: RunState, interrupted: bool) -> RunReport:
    diverged = [
        trial.id
        for trial in state.plan.trials
        if "diverged" in state.store.statuses(trial).values()
    ]
    return RunReport(
        plan=state.plan.name,
        skipped=tuple(state.skipped),
        measured=tuple(state.measured),
        elsewhere=tuple(state.elsewhere),
        diverged=tuple(diverged),
        failed=tuple(failure for _, failure in state.failed.values()),
        unfinished=tuple([*state.running, *state.waiting]),
        interrupted=interrupted,
        attempts=state.attempts,
        wall_seconds=state.wall_seconds,
        core_seconds=state.core_seconds,
        spent_flops=state.spent_flops,
    )
