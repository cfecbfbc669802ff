"""A cluster that exists in numbers alone: trials take time by a speed, workers are taken away, nothing is
trained.

`SimulatedCluster` is an engine with a clock of its own, which `poll` moves to the next event, so that the
driver's scheduling of thousands of trials on a thousand workers is played through in seconds. All chances
are drawn from a seed: the machine that a worker is lasts as long, whatever runs on it.
"""

import collections
import dataclasses
import heapq
import itertools
import math
from collections.abc import Collection
from typing import Literal

from vitscale.scaling.progress import Progress, Speed
from vitscale.scaling.recipe import Trial
from vitscale.sweeps.engines.engine import Attempt, Outcome
from vitscale.sweeps.engines.laws import Law, Noise, exponential, small_law
from vitscale.sweeps.engines.simulated import simulated_row
from vitscale.sweeps.engines.timeline import Absence, Span, Timeline
from vitscale.sweeps.files import StoreError
from vitscale.sweeps.store import Store

_HOUR_S = 3600.0

_Event = Literal["finishes", "fails", "is taken", "comes back"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """Workers of one kind, and what befalls them.

    - `workers`: machines, each with one trial at a time.
    - `speed`: of a worker; every attempt compiles anew.
    - `preemptions_per_hour`: probability that a machine is taken away within an hour, busy or not.
    - `notice`: whether it is told in time to save its steps, as vitscale does on SIGTERM.
    - `failures_per_hour`: probability that a trial's own code raises an error within an hour; the machine
      stays.
    - `replacement_seconds`: from a machine's loss to the start of another in its place.
    - `checkpoint_seconds`: training time between checkpoints; what came after the last one is lost.
    - `seed`: of all chances.

    Raises `ValueError` that names the field and what is accepted.
    """

    workers: int
    speed: Speed
    preemptions_per_hour: float = 0.0
    notice: bool = False
    failures_per_hour: float = 0.0
    replacement_seconds: float = 300.0
    checkpoint_seconds: float = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers={self.workers} cannot train anything; use 1 or more")
        for name in ("preemptions_per_hour", "failures_per_hour"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name}={getattr(self, name):g} is not the probability of something within an "
                    f"hour; use 0 or more, and less than 1"
                )
        if not 0 <= self.replacement_seconds < math.inf:
            raise ValueError(
                f"replacement_seconds={self.replacement_seconds:g} is no waiting time; use 0 or more"
            )
        if not self.checkpoint_seconds > 0:
            raise ValueError(
                f"checkpoint_seconds={self.checkpoint_seconds:g} is no interval; use more than 0"
            )
        if not 0 < self.speed.flops_per_second < math.inf:
            raise ValueError(
                f"flops_per_second={self.speed.flops_per_second:g} is no speed; use more than 0"
            )
        for name in ("compile_seconds", "step_overhead_seconds"):
            if not 0 <= getattr(self.speed, name) < math.inf:
                raise ValueError(
                    f"{name}={getattr(self.speed, name):g} is no time; use 0 or more seconds"
                )


@dataclasses.dataclass
class _Work:
    """What one trial needs, and how far it has come, in steps since the rehearsal began."""

    milestones: collections.deque[tuple[int, int]]
    """Durations that are not measured yet, with the step at which each is."""
    measured: list[int]
    total: int
    step_seconds: float
    step_flops: float
    saved: int = 0
    attempts: int = 0


@dataclasses.dataclass(frozen=True)
class _Running:
    """An attempt under way."""

    trial: Trial
    store: Store
    work: _Work
    worker: int
    number: int
    began: float
    trains_from: float


class SimulatedCluster:
    """An engine with the workers of `cluster`, whose trials measure by `law`.

    Its times are right for a driver with its clock: `run(plan, engine, store, clock=engine.clock)`. No
    lease is taken, for nothing is trained, and what is measured is put if absent: when the attempt that
    reached it ends.

    - `resumable`: ids of trials that have checkpoints from before: they go on from what was measured.
    """

    pack = 1

    def __init__(
        self,
        cluster: Cluster,
        law: Law = small_law,
        *,
        noise: Noise | None = None,
        metric: str = "simulated_error",
        resumable: Collection[str] = (),
    ) -> None:
        self._cluster = cluster
        self._law = law
        self._noise = noise or Noise()
        self._metric = metric
        self._resumable = frozenset(resumable)
        self._now = 0.0
        self._numbers = itertools.count()
        self._free = list(range(cluster.workers))
        """A heap, so that the first workers have work the longest."""
        self._machines = [0] * cluster.workers
        """How many each worker has had before this one."""
        self._running: dict[int, _Running] = {}
        self._works: dict[str, _Work] = {}
        self._unsaid: list[Progress | Attempt] = []
        self._is_news = False
        self._spans: list[Span] = []
        self._absences: list[Absence] = []
        self._events: list[tuple[float, int, _Event, int, int]] = []
        """A heap of: when, in which order, what, to which worker, to which of its attempts."""
        for worker in range(cluster.workers):
            self._expect_preemption(worker)

    def clock(self) -> float:
        """Simulated seconds since the engine was made."""
        return self._now

    def timeline(self) -> Timeline:
        """What every worker did until the last attempt ended."""
        return Timeline.of(self._cluster.workers, self._spans, self._absences)

    def capacity(self) -> int:
        return len(self._free)

    def submit(self, trial: Trial, store: Store) -> None:
        """Start an attempt at `trial` on a free worker; raises `RuntimeError` where there is none."""
        if not self._free:
            raise RuntimeError(
                f"all {self._cluster.workers} workers are busy; poll until one is free"
            )
        work = self._works.get(trial.id)
        if work is None:
            work = self._works[trial.id] = self._work(trial, store)
        work.attempts += 1
        worker = heapq.heappop(self._free)
        running = _Running(
            trial=trial,
            store=store,
            work=work,
            worker=worker,
            number=next(self._numbers),
            began=self._now,
            trains_from=self._now + self._cluster.speed.compile_seconds,
        )
        self._running[worker] = running
        self._unsaid.append(_progress(running, 0))
        about = f"{self._cluster.seed}/failure/{trial.id}/{work.attempts}"
        fails = self._now + exponential(_mean_seconds(self._cluster.failures_per_hour), about)
        finishes = running.trains_from + (work.total - work.saved) * work.step_seconds
        what: _Event = "fails" if fails < finishes else "finishes"
        self._expect(min(fails, finishes), what, worker, running.number)

    def poll(self, timeout: float) -> list[Progress | Attempt]:
        """What happened next, the end of an attempt or the return of a worker: the clock moves there, or
        by `timeout` simulated seconds where no trial runs."""
        until = math.inf if self._running else self._now + timeout
        while not self._is_news and self._events and self._events[0][0] <= until:
            self._next()
        if not self._is_news:
            self._now = until  # of finite length: what runs ends in some event
        heard, self._unsaid, self._is_news = self._unsaid, [], False
        return heard

    def cancel(self, trial_id: str | None = None, *, grace_seconds: float = 0.0) -> set[str]:
        """Stop one trial, or all; with any grace they save their steps first."""
        unsaved: set[str] = set()
        self._unsaid = [e for e in self._unsaid if trial_id not in (None, e.trial_id)]
        for running in list(self._running.values()):
            if trial_id in (None, running.trial.id):
                self._end(running, "preempted" if grace_seconds > 0 else "lost")
                heapq.heappush(self._free, running.worker)
                unsaved |= set() if grace_seconds > 0 else {running.trial.id}
        return unsaved

    def _next(self) -> None:
        """Let the next event happen."""
        when, _, what, worker, number = heapq.heappop(self._events)
        running = self._running.get(worker)
        if what in ("finishes", "fails"):
            if running is None or running.number != number:
                return  # cut short before
            self._now = when
            if what == "finishes":
                self._report(running, "done")
            else:
                self._report(running, "failed", "RuntimeError: a failure that was drawn by lot")
            heapq.heappush(self._free, worker)
            return
        self._now = when
        if what == "comes back":
            self._machines[worker] += 1
            heapq.heappush(self._free, worker)
            self._expect_preemption(worker)
            self._is_news = True
            return
        if running is not None:
            outcome = "preempted" if self._cluster.notice else "lost"
            self._report(running, outcome, "its machine was taken away")
        else:
            self._free.remove(worker)
            heapq.heapify(self._free)
        back = when + self._cluster.replacement_seconds
        self._absences.append(Absence(worker=worker, begins=when, ends=back))
        self._expect(back, "comes back", worker)

    def _report(self, running: _Running, outcome: Outcome, reason: str = "") -> None:
        """End an attempt now, and tell of it at the next poll."""
        left = running.work.total - running.work.saved
        span, reason = self._end(running, outcome, reason)
        self._unsaid.append(_progress(running, span.steps, left))
        self._unsaid.append(
            Attempt(
                trial_id=running.trial.id,
                outcome=span.outcome,
                reason=reason,
                core_seconds=span.ends - span.begins,
            )
        )
        self._is_news = True

    def _end(self, running: _Running, outcome: Outcome, reason: str = "") -> tuple[Span, str]:
        """End an attempt now: record what it measured, keep the steps that were saved."""
        work, now = running.work, self._now
        del self._running[running.worker]
        left = work.total - work.saved
        trained = max(0.0, now - running.trains_from)
        done = left if outcome == "done" else min(left, _steps(trained, work.step_seconds))
        measured_until = 0
        try:
            measured_until = self._measure(running, work.saved + done)
        except StoreError as error:
            outcome, reason = "unstorable", str(error)
        kept = done
        if outcome not in ("done", "preempted"):
            interval = self._cluster.checkpoint_seconds
            checkpoint = _steps(trained // interval * interval, work.step_seconds)
            kept = min(done, max(checkpoint, measured_until - work.saved))
        work.saved += kept
        begins_to_lose = min(now, running.trains_from + kept * work.step_seconds)
        span = Span(
            worker=running.worker,
            trial_id=running.trial.id,
            begins=running.began,
            trains=min(running.trains_from, now),
            kept_until=now if outcome == "done" else begins_to_lose,
            ends=now,
            outcome=outcome,
            steps=done,
            flops=done * work.step_flops,
            lost_flops=(done - kept) * work.step_flops,
        )
        self._spans.append(span)
        return span, reason

    def _measure(self, running: _Running, step: int) -> int:
        """Record all durations of a trial up to `step`; returns the step of the last of them, 0 if none."""
        trial, work, reached = running.trial, running.work, 0
        while work.milestones and work.milestones[0][1] <= step:
            duration, reached = work.milestones[0]
            value = self._law(trial, duration) * self._noise.factor(trial, duration)
            row = simulated_row(trial, duration, work.measured, self._metric, value)
            running.store.append(trial, duration, [row])
            work.measured.append(duration)
            work.milestones.popleft()
        return reached

    def _work(self, trial: Trial, store: Store) -> _Work:
        done = sorted(store.measured(trial))
        left = [duration for duration in trial.durations if duration not in done]
        # A trunk goes on behind what was measured only if it was kept; else it starts anew.
        before = done if trial.id in self._resumable else []
        paid = trial.spent_steps(before)
        steps = [trial.spent_steps([*before, *left[: n + 1]]) - paid for n in range(len(left))]
        flops = 3.0 * trial.forward_flops_per_example() * trial.recipe.batch_size
        speed = self._cluster.speed
        return _Work(
            milestones=collections.deque(zip(left, steps, strict=True)),
            measured=done,
            total=steps[-1],
            step_seconds=speed.step_overhead_seconds + flops / speed.flops_per_second,
            step_flops=flops,
        )

    def _expect_preemption(self, worker: int) -> None:
        about = f"{self._cluster.seed}/machine/{worker}/{self._machines[worker]}"
        lasts = exponential(_mean_seconds(self._cluster.preemptions_per_hour), about)
        self._expect(self._now + lasts, "is taken", worker)

    def _expect(self, when: float, what: _Event, worker: int, number: int = 0) -> None:
        if when < math.inf:
            heapq.heappush(self._events, (when, next(self._numbers), what, worker, number))


def _progress(running: _Running, step: int, left: int | None = None) -> Progress:
    """News of an attempt that has done `step` of the steps that were left when it began."""
    if left is None:
        left = running.work.total - running.work.saved
    return Progress(trial_id=running.trial.id, phase="trunk", step=step, total_steps=left)


def _steps(seconds: float, step_seconds: float) -> int:
    """Whole steps in so much time, for which rounding may not take one away."""
    return math.floor(seconds / step_seconds + 1e-9)


def _mean_seconds(probability_per_hour: float) -> float:
    """Mean time until something that happens with this probability within an hour."""
    if probability_per_hour == 0:
        return math.inf
    return -_HOUR_S / math.log1p(-probability_per_hour)
