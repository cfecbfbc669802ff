"""What a store holds, for a person or a program to look at."""

import dataclasses
from typing import Any

from vitscale.sweeps.config import plan_from_toml
from vitscale.sweeps.display import clock
from vitscale.sweeps.plan import Plan
from vitscale.sweeps.store import Problem, Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialStatus:
    """One measured trial: its shape, its durations in examples, and whether it diverged."""

    trial_id: str
    width: int
    depth: int
    mlp_dim: int
    seed: int
    durations: tuple[int, ...]
    diverged: bool
    train_seconds: float
    spent_flops: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreStatus:
    """Trials of a store, what its plans still lack, and the files that cannot be trusted.

    `plans` gives, for each plan that was run here, the durations done and the durations in all.
    """

    path: str
    trials: tuple[TrialStatus, ...]
    metrics: tuple[str, ...]
    plans: dict[str, tuple[int, int]]
    problems: tuple[Problem, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "path": self.path,
            "trials": [dataclasses.asdict(trial) for trial in self.trials],
            "metrics": list(self.metrics),
            "plans": {
                name: {"done": done, "planned": planned}
                for name, (done, planned) in self.plans.items()
            },
            "problems": [{"path": str(p.path), "reason": p.reason} for p in self.problems],
        }

    def lines(self) -> list[str]:
        """The same for a person to read."""
        durations = sum(len(trial.durations) for trial in self.trials)
        flops = sum(trial.spent_flops for trial in self.trials)
        seconds = sum(trial.train_seconds for trial in self.trials)
        lines = [
            f"{self.path}: {len(self.trials)} trials measured at {durations} durations, "
            f"{flops:.3g} training FLOPs, {clock(seconds)} of training",
            *(
                f"  plan {name}: {done} of {planned} durations done"
                for name, (done, planned) in self.plans.items()
            ),
        ]
        if self.trials:
            lines.append(f"  {'width':>6}{'depth':>6}{'mlp_dim':>8}{'seed':>5}  examples")
        for trial in self.trials:
            ends = ", ".join(f"{duration:,}" for duration in trial.durations)
            lines.append(
                f"  {trial.width:6}{trial.depth:6}{trial.mlp_dim:8}{trial.seed:5}  {ends}"
                + ("  diverged" if trial.diverged else "")
            )
        lines += [f"  metrics: {', '.join(self.metrics)}"] if self.metrics else []
        return [*lines, *(f"  damaged: {p.path} {p.reason}" for p in self.problems)]


def store_status(store: Store) -> StoreStatus:
    """Read the whole store, leaving out the files that cannot be read."""
    problems = tuple(store.check())
    frame = store.read(skip=[problem.path for problem in problems])
    by_trial: dict[str, list[dict[str, Any]]] = {}
    for row in frame.drop_duplicates(["trial_id", "examples"]).to_dict("records"):
        by_trial.setdefault(row["trial_id"], []).append({str(k): v for k, v in row.items()})
    trials = [_trial_status(trial_id, rows) for trial_id, rows in by_trial.items()]
    trials.sort(key=lambda t: (t.width, t.depth, t.mlp_dim, t.seed))
    measured = store.measured_durations()
    return StoreStatus(
        path=store.name,
        trials=tuple(trials),
        metrics=tuple(sorted(set(frame.loc[frame["status"] == "ok", "metric"]))),
        plans={
            plan.name: _done(plan, measured) for plan in map(plan_from_toml, store.recorded_plans())
        },
        problems=problems,
    )


def _trial_status(trial_id: str, rows: list[dict[str, Any]]) -> TrialStatus:
    """Of one trial, from one row for each of its durations."""
    return TrialStatus(
        trial_id=trial_id,
        **{name: int(rows[0][name]) for name in ("width", "depth", "mlp_dim", "seed")},
        durations=tuple(sorted(int(row["examples"]) for row in rows)),
        diverged=any(row["status"] == "diverged" for row in rows),
        train_seconds=max(float(row["train_seconds"]) for row in rows),
        spent_flops=sum(float(row["spent_flops"]) for row in rows),
    )


def _done(plan: Plan, measured: dict[str, set[int]]) -> tuple[int, int]:
    durations = [(trial.id, duration) for trial in plan.trials for duration in trial.durations]
    return sum(d in measured.get(i, ()) for i, d in durations), len(durations)
