"""Where a run is: its trials as jobs that wait, run or are gone, and what they have cost so far.

The truth about results is in the store; this is for scheduling and show. Nothing here takes longer the
more trials wait, since a sweep may have tens of thousands.
"""

import dataclasses
import heapq
import itertools
from collections.abc import Callable

from vitscale.scaling.progress import Progress
from vitscale.scaling.recipe import Trial
from vitscale.sweeps.plan import Plan
from vitscale.sweeps.preview import TrialCost
from vitscale.sweeps.store import Store

_BUSY_RETRY_S, _BUSY_RETRY_AT_MOST_S = 2.0, 15.0
_BUSY_DOUBLINGS = 3
"""After which the wait is at its longest; a trial may be held for days."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failure:
    """A trial that was given up, with the reason, the end of its log, and the log's file where it is of this
    machine."""

    trial: Trial
    attempts: int
    reason: str
    log_tail: str
    log: str = ""


@dataclasses.dataclass
class Job:
    """One trial of the plan and what became of it."""

    trial: Trial
    cost: TrialCost
    attempts: int = 0
    diverged: bool | None = None
    """Whether a duration of it diverged, once measured; None where its engine could not tell."""
    failures: int = 0
    losses: int = 0
    busy: int = 0
    """Times in a row that another process was found to hold it."""
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


class Queue:
    """Jobs that wait, the most urgent first; those that another process holds come back after a while,
    behind all others.

    - `urgency`: of a job, smaller is sooner.
    """

    def __init__(self, urgency: Callable[[Job], tuple]):
        self._urgency = urgency
        self._number = itertools.count()
        self._ready: list[tuple] = []
        self._later: list[tuple] = []

    def __len__(self) -> int:
        return len(self._ready) + len(self._later)

    def jobs(self) -> list[Job]:
        """All of them, in no order."""
        return [entry[-1] for entry in itertools.chain(self._ready, self._later)]

    @property
    def held_elsewhere(self) -> int:
        """Jobs that another process was found to hold."""
        return len(self._later)

    def put(self, job: Job, *, again: bool = False) -> None:
        """Add a job; one that is tried `again` goes before all others."""
        self._push(job, 0 if again else 1)

    def put_aside(self, job: Job, now: float) -> None:
        """Add a job that another process holds: it is asked for again after a while, longer each time."""
        wait = min(_BUSY_RETRY_AT_MOST_S, _BUSY_RETRY_S * 2 ** min(job.busy, _BUSY_DOUBLINGS))
        job.busy += 1
        heapq.heappush(self._later, (now + wait, next(self._number), job))

    def pop(self, now: float) -> Job | None:
        """The job to try next, or None where there is none at this time."""
        while self._later and self._later[0][0] <= now:
            self._push(heapq.heappop(self._later)[-1], 2)
        return heapq.heappop(self._ready)[-1] if self._ready else None

    def _push(self, job: Job, rank: int) -> None:
        heapq.heappush(self._ready, (rank, *self._urgency(job), next(self._number), job))


@dataclasses.dataclass
class RunState:
    """Where a run is. Trials are named by id; `clock` gives seconds from any moment on."""

    plan: Plan
    store: Store
    queue: Queue
    clock: Callable[[], float]
    began: float
    skipped: list[str] = dataclasses.field(default_factory=list)
    cancelled: dict[str, Job] = dataclasses.field(default_factory=dict)
    running: dict[str, Job] = dataclasses.field(default_factory=dict)
    measured: dict[str, Job] = dataclasses.field(default_factory=dict)
    elsewhere: list[str] = dataclasses.field(default_factory=list)
    failed: dict[str, Failure] = dataclasses.field(default_factory=dict)
    too_dear: dict[str, Job] = dataclasses.field(default_factory=dict)
    """Trials that no longer fit what the run may spend."""
    attempts: int = 0
    core_seconds: float = 0.0
    _parked_spent: float = 0.0
    _parked_left: float = 0.0
    """FLOPs of all jobs that are not running: spent, and still to be spent by those that wait."""

    @property
    def done(self) -> int:
        """Trials that the store holds in full."""
        return len(self.skipped) + len(self.measured) + len(self.elsewhere)

    @property
    def busy(self) -> int:
        """Trials that another run was working on when last tried."""
        return self.queue.held_elsewhere

    @property
    def spent_flops(self) -> float:
        """FLOPs this run has spent so far."""
        return self._parked_spent + sum(job.spent_flops for job in self.running.values())

    @property
    def left_flops(self) -> float:
        """FLOPs that are still to be spent on trials that run or wait."""
        return max(0.0, self._parked_left) + self.running_flops

    @property
    def running_flops(self) -> float:
        """FLOPs that are still to be spent on trials that run."""
        return sum(job.left_flops for job in self.running.values())

    @property
    def wall_seconds(self) -> float:
        """Since the run began."""
        return self.clock() - self.began

    @property
    def eta_seconds(self) -> float | None:
        """Estimated time left, by FLOPs; `None` until some were spent."""
        spent = self.spent_flops
        return self.left_flops / spent * self.wall_seconds if spent else None

    def wait(self, job: Job, *, again: bool = False, held: bool = False) -> None:
        """Put a job into the queue: a new one, one to be tried `again`, or one `held` elsewhere."""
        self._parked_spent += job.spent_flops
        self._parked_left += job.left_flops
        if held:
            self.queue.put_aside(job, self.clock())
        else:
            self.queue.put(job, again=again)

    def take(self) -> Job | None:
        """The next job out of the queue."""
        job = self.queue.pop(self.clock())
        if job is not None:
            self._parked_spent -= job.spent_flops
            self._parked_left -= job.left_flops
        return job

    def leave(self, job: Job) -> None:
        """Book a job that this run is through with."""
        self._parked_spent += job.spent_flops

    def take_up_again(self, job: Job) -> None:
        """Queue a job that was left, or never begun."""
        self._parked_spent -= job.spent_flops
        self.wait(job)
