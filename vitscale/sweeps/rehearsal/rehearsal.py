"""A plan played through on a simulated cluster by the driver that would run it: time, cost, losses."""

import dataclasses
from collections.abc import Collection, Mapping

from vitscale.sweeps.engines.cluster import Cluster, SimulatedCluster
from vitscale.sweeps.engines.laws import Law, Noise, small_law
from vitscale.sweeps.engines.timeline import DOINGS, Timeline
from vitscale.sweeps.plan import Plan
from vitscale.sweeps.preview import trial_cost
from vitscale.sweeps.rehearsal.memory import MemoryStore
from vitscale.sweeps.run import RunReport, run

METRIC = "simulated_error"

_HOUR_S = 3600.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What became of `plan` on `cluster`.

    - `report`: the driver's own; its times are simulated.
    - `store`: what was measured.
    - `longest_hours`, `work_hours`: of the longest trial and of all trials together, on one worker that
      nothing befalls.
    """

    plan: Plan
    cluster: Cluster
    report: RunReport
    timeline: Timeline
    store: MemoryStore
    longest_hours: float
    work_hours: float

    @property
    def hours(self) -> float:
        """Until the last attempt ended."""
        return self.timeline.seconds / _HOUR_S

    @property
    def bound_hours(self) -> float:
        """What no schedule beats, even undisturbed: the longest trial, or all work shared evenly."""
        return max(self.longest_hours, self.work_hours / self.cluster.workers)

    @property
    def hours_by_doing(self) -> dict[str, float]:
        """Worker-hours of each of `DOINGS`."""
        return {doing: self.timeline.worker_seconds[doing] / _HOUR_S for doing in DOINGS}

    @property
    def worker_hours(self) -> float:
        """What is paid for: all workers until the end, but while one awaits its replacement."""
        return self.cluster.workers * self.hours - self.hours_by_doing["away"]

    @property
    def utilisation(self) -> float:
        """Part of `worker_hours` that went into steps that count."""
        return self.hours_by_doing["train"] / self.worker_hours if self.worker_hours else 0.0

    @property
    def spent_flops(self) -> float:
        """Training FLOPs, those repeated included."""
        return sum(span.flops for span in self.timeline.spans)

    @property
    def repeated_flops(self) -> float:
        """Training FLOPs that were not saved when an attempt was cut short."""
        return sum(span.lost_flops for span in self.timeline.spans)

    @property
    def preemptions(self) -> int:
        """Machines that were taken away, busy or idle."""
        return len(self.timeline.absences)

    @property
    def interrupted(self) -> int:
        """Attempts that ended because their machine was taken away."""
        return sum(span.outcome in ("lost", "preempted") for span in self.timeline.spans)

    @property
    def failures(self) -> int:
        """Attempts that ended in an error of the trial's own code."""
        return sum(span.outcome == "failed" for span in self.timeline.spans)

    def cost(self, price_per_hour: float) -> float:
        """Of all worker-hours, in the currency of the price."""
        return self.worker_hours * price_per_hour

    def as_dict(self) -> dict[str, float]:
        """The numbers of it as JSON values, with stable keys."""
        names = (
            "hours bound_hours longest_hours work_hours worker_hours utilisation spent_flops "
            "repeated_flops preemptions interrupted failures"
        )
        return {
            "seed": self.cluster.seed,
            "trials": len(self.plan.trials),
            "skipped": len(self.report.skipped),
            "measured": len(self.report.measured),
            "given_up": len(self.report.failed),
            "attempts": self.report.attempts,
            **{name: getattr(self, name) for name in names.split()},
            **{f"{doing}_hours": hours for doing, hours in self.hours_by_doing.items()},
        }


def rehearse(
    plan: Plan,
    cluster: Cluster,
    law: Law = small_law,
    *,
    noise: Noise | None = None,
    measured: Mapping[str, Collection[int]] | None = None,
    resumable: Collection[str] = (),
) -> Rehearsal:
    """Run `plan` on `cluster`, measuring by `law`; nothing is written anywhere.

    - `measured`: durations that are done, by trial id, as `Store.measured_durations` gives them.
    - `resumable`: ids of trials with checkpoints, whose trunk goes on.
    """
    store = MemoryStore(before=measured or {}, checkpointed=resumable)
    store.make()
    engine = SimulatedCluster(cluster, law, noise=noise, metric=METRIC, resumable=resumable)
    report = run(plan, engine, store, clock=engine.clock)
    hours = []
    for trial in plan.trials:
        done = store.before.get(trial.id, ())
        cost = trial_cost(trial, done, resumes=trial.id in resumable)
        if cost.remaining_durations:
            seconds = cluster.speed.seconds(steps=cost.remaining_steps, flops=cost.remaining_flops)
            hours.append(seconds / _HOUR_S)
    return Rehearsal(
        plan=plan,
        cluster=cluster,
        report=report,
        timeline=engine.timeline(),
        store=store,
        longest_hours=max(hours, default=0.0),
        work_hours=sum(hours),
    )
