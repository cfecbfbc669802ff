"""What a plan costs, before anything is spent."""

import dataclasses
import heapq
from collections.abc import Iterable, Mapping

from vitscale.scaling.progress import Speed
from vitscale.scaling.recipe import Trial
from vitscale.sweeps.data_warnings import data_warnings
from vitscale.sweeps.identifiability import Optimum, design_warnings
from vitscale.sweeps.plan import Plan

_STATES_KEPT = 5
"""Most states on disk of one running trial: two of the trunk, two of a cooldown, and one being written."""
_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialCost:
    """What one trial costs, and what of it is still to be paid.

    `spent_flops` shares one trunk between the durations; `separate_flops` is what as many separate
    runs would take. `remaining_*` leave out what the store holds. All are training FLOPs, 3 x
    forward.
    """

    trial: Trial
    params: int
    forward_flops_per_example: int
    spent_flops: float
    separate_flops: float
    remaining_durations: tuple[int, ...]
    remaining_steps: int
    remaining_flops: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preview:
    """The bill of a plan: one `TrialCost` for each trial, the totals, and what looks unwise.

    - `seconds`: estimated wall time of what remains on `workers` workers, `None` where no speed is known.
    - `training_alone`: whether that leaves compiling out, as speeds do that are read from a store.
    - `checkpoint_bytes`: the most that checkpoints of what remains take while it runs.
    """

    plan: Plan
    costs: tuple[TrialCost, ...]
    warnings: tuple[str, ...]
    workers: int
    seconds: float | None
    checkpoint_bytes: float
    training_alone: bool = False

    @property
    def trials(self) -> int:
        """Trials of the plan, done or not."""
        return len(self.costs)

    @property
    def measurements(self) -> int:
        """Cooled-down models of the plan (trials x durations), done or not."""
        return sum(len(cost.trial.durations) for cost in self.costs)

    @property
    def remaining_measurements(self) -> int:
        """Cooled-down models that the store does not hold yet."""
        return sum(len(cost.remaining_durations) for cost in self.costs)

    @property
    def spent_flops(self) -> float:
        """Training FLOPs of the whole plan with shared trunks."""
        return sum(cost.spent_flops for cost in self.costs)

    @property
    def separate_flops(self) -> float:
        """Training FLOPs of the whole plan if every duration were a run by itself."""
        return sum(cost.separate_flops for cost in self.costs)

    @property
    def saved_flops(self) -> float:
        """What shared trunks save."""
        return self.separate_flops - self.spent_flops

    @property
    def saved_fraction(self) -> float:
        """`saved_flops` as a fraction of `separate_flops`."""
        return self.saved_flops / self.separate_flops

    @property
    def remaining_flops(self) -> float:
        """Training FLOPs still to be spent."""
        return sum(cost.remaining_flops for cost in self.costs)

    def as_dict(self) -> dict:
        """All of it as JSON values, with stable keys."""
        totals = (
            "trials measurements remaining_measurements spent_flops separate_flops saved_flops "
            "saved_fraction remaining_flops workers seconds training_alone checkpoint_bytes"
        )
        return {
            "plan": self.plan.name,
            "kind": self.plan.kind,
            **{name: getattr(self, name) for name in totals.split()},
            "warnings": list(self.warnings),
            "costs": [_cost_as_dict(cost) for cost in self.costs],
        }


def preview(
    plan: Plan,
    *,
    measured: Mapping[str, Iterable[int]] | None = None,
    resumable: Iterable[str] = (),
    speed: Speed | None = None,
    workers: int = 1,
    optima: Mapping[str, Optimum] | None = None,
) -> Preview:
    """The bill of `plan`.

    - `measured`: durations done, by trial id, as `Store.measured_durations` gives them.
    - `resumable`: ids of trials with checkpoints, whose paid part of the trunk is not paid again.
    - `speed`: of one of the `workers`, for the estimated time (`estimates.stored_speed`, or measured).
    - `optima`: a pilot fit's x*(t) by dimension, with t in training FLOPs, for the warnings.
    """
    if workers < 1:
        raise ValueError(f"workers={workers} cannot train anything; use 1 or more")
    resumable = set(resumable)
    costs = tuple(
        trial_cost(trial, (measured or {}).get(trial.id, ()), resumes=trial.id in resumable)
        for trial in plan.trials
    )
    seconds = None
    if speed is not None:
        jobs = [
            speed.seconds(steps=cost.remaining_steps, flops=cost.remaining_flops)
            for cost in costs
            if cost.remaining_durations
        ]
        seconds = makespan(jobs, workers)
    return Preview(
        plan=plan,
        costs=costs,
        warnings=(*design_warnings(plan.sweep, optima), *data_warnings(plan.trials)),
        workers=workers,
        seconds=seconds,
        training_alone=speed is not None and not speed.compile_seconds,
        checkpoint_bytes=checkpoint_bytes(
            (cost.trial for cost in costs if cost.remaining_durations), workers
        ),
    )


def trial_cost(trial: Trial, measured: Iterable[int] = (), *, resumes: bool = False) -> TrialCost:
    """What `trial` costs when the durations `measured` are done.

    With `resumes` its trunk goes on from a checkpoint; without, the trunk starts anew. The steps
    since the last measurement that a checkpoint may also hold are not counted as paid.
    """
    done = set(measured) & set(trial.durations)
    left = tuple(duration for duration in trial.durations if duration not in done)
    steps = 0
    if left:
        steps = (
            trial.spent_steps() - trial.spent_steps(done) if resumes else trial.spent_steps(left)
        )
    per_step = 3.0 * trial.forward_flops_per_example() * trial.recipe.batch_size
    return TrialCost(
        trial=trial,
        params=trial.params(),
        forward_flops_per_example=trial.forward_flops_per_example(),
        spent_flops=trial.spent_flops(),
        separate_flops=trial.separate_flops(),
        remaining_durations=left,
        remaining_steps=steps,
        remaining_flops=steps * per_step,
    )


def makespan(seconds: Iterable[float], workers: int) -> float:
    """Wall time of jobs of `seconds` each, longest first, each on the first of `workers` free."""
    free_at = [0.0] * workers
    for job in sorted(seconds, reverse=True):
        heapq.heapreplace(free_at, free_at[0] + job)
    return max(free_at)


def state_bytes(trial: Trial) -> float:
    """What one checkpoint of a trial takes: parameters in float32, and the optimizer's moments. Small arrays,
    of which Adafactor factors no second moment, are left out."""
    recipe = trial.recipe
    second = 4 if recipe.optimizer == "adamw" else 0
    return trial.params() * (4.0 + _DTYPE_BYTES[recipe.momentum_dtype] + second)


def checkpoint_bytes(trials: Iterable[Trial], workers: int) -> float:
    """The most that checkpoints take while `workers` of the trials run at once; what is measured keeps none."""
    largest = sorted(map(state_bytes, trials), reverse=True)[:workers]
    return _STATES_KEPT * sum(largest)


def _cost_as_dict(cost: TrialCost) -> dict:
    values = {field.name: getattr(cost, field.name) for field in dataclasses.fields(cost)}
    trial: Trial = values.pop("trial")
    return {
        "trial_id": trial.id,
        "shape": dataclasses.asdict(trial.shape),
        "seed": trial.recipe.seed,
        "durations_examples": list(trial.durations),
        "checkpoint_bytes": state_bytes(trial),
        **values,
        "remaining_durations": list(cost.remaining_durations),
    }
