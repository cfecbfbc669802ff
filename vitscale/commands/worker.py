"""`vitscale worker`, `vitscale resume` and `vitscale cancel`."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from tyro.conf import Positional

from vitscale.commands.engines import CLUSTER_GROUP, PROCESS_GROUP, Engines, Processes
from vitscale.commands.options import Groups
from vitscale.commands.output import output
from vitscale.commands.saying import note, quiet
from vitscale.commands.track import close_tracking, open_trackers, start_tracking

if TYPE_CHECKING:
    from vitscale.scaling.recipe import Trial
    from vitscale.sweeps.engines.local import LocalEngine
    from vitscale.sweeps.engines.ray import RayEngine
    from vitscale.sweeps.run import RunReport
    from vitscale.sweeps.store import Store


@dataclasses.dataclass(frozen=True)
class Worker(Processes):
    """Train what the plans of a store lack, beside any number of other workers on any machines.

    Start as many as you like, with the same command everywhere (SLURM arrays, Kubernetes Jobs, ssh): each
    takes trials that nobody holds, and takes over those of workers that die. Submit plans with
    `vitscale sweep ... --store STORE --submit`.

    Exit codes: 0 all is done but for what is cancelled, 1 something failed or is left (trials whose data this
    machine has not, for one), 75 asked to go (SIGTERM): start it again, it goes on from what was saved.

    Examples:  vitscale worker /shared/runs/star
               vitscale worker s3://bucket/runs/star --follow --max-hours 24
    """

    groups: ClassVar[Groups] = {
        "Until when": ("follow", "max_hours"),
        **PROCESS_GROUP,
    }

    store: Positional[str]
    """Folder that all machines see, or s3://bucket/prefix, gs://..."""
    plan: tuple[str, ...] = ()
    """Names of the plans to work on (default: all that the store has)."""
    follow: bool = False
    """Wait for new plans when all is done."""
    max_hours: float | None = None
    """Save and stop after so many hours."""
    track: tuple[str, ...] = ()
    """Where to follow what this worker trains: tensorboard=FOLDER, mlflow or mlflow=URI, wandb or
    wandb=PROJECT (offline unless WANDB_API_KEY is set)."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclasses.dataclass(frozen=True)
class Resume(Engines):
    """Train what failed, was cancelled or is missing of the plans of a store, and nothing else.

    Examples:  vitscale resume runs/laptop
               vitscale resume runs/laptop --plan laptop-star --trial 0cca30473a0f
    """

    groups: ClassVar[Groups] = {
        **PROCESS_GROUP,
        **CLUSTER_GROUP,
    }

    store: Positional[str]
    """Folder or address of the measurements."""
    plan: tuple[str, ...] = ()
    """Names of the plans to resume (default: all that the store has)."""
    trial: tuple[str, ...] = ()
    """Ids of failed or cancelled trials, or how they begin, to take up again (default: all of the plans)."""
    track: tuple[str, ...] = ()
    """Where to follow what is trained here: tensorboard=FOLDER, mlflow or mlflow=URI, wandb or
    wandb=PROJECT (offline unless WANDB_API_KEY is set)."""
    mark_only: bool = False
    """Train nothing here: leave it to the workers of the store."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclasses.dataclass(frozen=True)
class Cancel:
    """Have nobody train these trials of a store until they are resumed. Workers that train them save what
    they have and stop within seconds.

    Examples:  vitscale cancel runs/laptop --trial 0cca30473a0f
               vitscale cancel runs/laptop --plan laptop-star
    """

    store: Positional[str]
    """Folder or address of the measurements."""
    plan: tuple[str, ...] = ()
    """Names of plans of which to cancel all trials; of two of one name, as vitscale status shows it."""
    trial: tuple[str, ...] = ()
    """Ids of trials to cancel, or how they begin (vitscale status --trials lists them)."""
    json: bool = False
    """Print one JSON object instead of text."""


def run_worker(command: Worker) -> int:
    from vitscale.sweeps.store import Store

    store = Store.open(command.store)
    return _work(store, command, follow=command.follow, max_hours=command.max_hours)


def run_resume(command: Resume) -> int:
    from vitscale.sweeps.attempts import resume
    from vitscale.sweeps.store import Store
    from vitscale.sweeps.words import counted

    store = Store.open(command.store)
    store.prepare()
    resumed = resume(store, _named_trials(store, command.plan, command.trial))
    if command.mark_only:
        marked = f"{counted(len(resumed), 'trial')} marked; the workers of the store take them up"
        lines = [
            marked if resumed else "nothing to resume: no such trial has failed or is cancelled"
        ]
        output(command.json, {"store": store.name, "resumed": resumed}, lambda: lines)
        return 0
    return _work(store, command)


def run_cancel(command: Cancel) -> int:
    from vitscale.sweeps.attempts import cancel
    from vitscale.sweeps.store import Store
    from vitscale.sweeps.words import counted

    if not command.plan and not command.trial:
        raise ValueError("say what to cancel: --trial ID ... or --plan NAME ...")
    store = Store.open(command.store)
    measured = store.measured_durations()
    trials = _trials(store, command.plan) if command.plan else _trials(store, ())
    chosen = _named_trials(store, command.plan, command.trial)
    left = [i for i in chosen if not trials[i] <= measured.get(i, set())]
    store.prepare()
    cancel(store, left)
    lines = [f"{counted(len(left), 'trial')} cancelled; undo it with: vitscale resume {store.name}"]
    if len(left) < len(chosen):
        lines.append(f"{len(chosen) - len(left)} more are measured already, and stay")
    output(command.json, {"store": store.name, "cancelled": left}, lambda: lines)
    return 0


def _work(
    store: "Store",
    command: Worker | Resume,
    *,
    follow: bool = False,
    max_hours: float | None = None,
) -> int:
    from vitscale.commands.engines import engine_for, local_engine
    from vitscale.sweeps.display import run_display
    from vitscale.sweeps.preemption import PREEMPTED_EXIT, Preemption
    from vitscale.sweeps.recorded import read_recorded
    from vitscale.sweeps.words import report_lines
    from vitscale.sweeps.work import work

    there = read_recorded(store, list(command.plan))
    if not (there.plans or there.unreadable or follow):
        raise ValueError(
            f"the store {store.name} has no plans; submit one with: vitscale sweep star NAME --store "
            f"{store.name} --submit"
        )
    trackers = open_trackers(command.track)
    engine = engine_for(command) if isinstance(command, Resume) else local_engine(command)
    preemption = Preemption(raising=KeyboardInterrupt)
    reports: list[RunReport] = []
    tracking = start_tracking(trackers, store)
    try:
        engine.check_store(store.name)
        reports = work(
            store,
            engine,
            plans=list(command.plan),
            follow=follow,
            max_hours=max_hours,
            display=None if command.json or quiet() else run_display,
            tracking=tracking,
            grace_seconds=command.grace_seconds,
            say=lambda line: None if command.json else note(line),
            unusable=lambda trial: _unusable(engine, trial),
        )
    except KeyboardInterrupt:
        if not preemption.asked:
            raise
    finally:
        engine.cancel()
        close_tracking(tracking, hurry=preemption.asked)
        preemption.restore()
    again = f"try them again with: vitscale resume {store.name}"
    if isinstance(command, Resume):
        again = "the same command tries the failed trials again, and only those"
    output(
        command.json,
        {"runs": [dataclasses.asdict(report) for report in reports]},
        lambda: [line for report in reports for line in report_lines(report, again=again)],
    )
    if preemption.asked:
        return PREEMPTED_EXIT
    return 0 if all(report.complete for report in reports) and not there.unreadable else 1


def _unusable(engine: "LocalEngine | RayEngine", trial: "Trial") -> str:
    """Why a trial cannot be trained here, or nothing."""
    try:
        engine.check(trial)
    except ValueError as error:
        return str(error)
    return ""


def _trials(store: "Store", plans: tuple[str, ...]) -> dict[str, set[int]]:
    """Durations of all trials of the plans, by trial id."""
    from vitscale.sweeps.recorded import recorded

    found: dict[str, set[int]] = {}
    for plan in recorded(store, list(plans)):
        for trial in plan.trials:
            found.setdefault(trial.id, set()).update(trial.durations)
    return found


def _named_trials(store: "Store", plans: tuple[str, ...], trials: tuple[str, ...]) -> list[str]:
    """Ids of the trials that are named by them or how they begin, or of all those of the plans.

    Raises `ValueError` for what is no id, of no plan of the store, or the beginning of several.
    """
    from vitscale.sweeps.attempts import full_id

    known = _trials(store, plans)
    chosen = []
    for given in trials:
        trial_id = full_id(given, known)
        if trial_id not in known:
            raise ValueError(
                f"trial {given} is in no plan of the store {store.name}; see vitscale status --trials"
            )
        chosen.append(trial_id)
    return chosen or list(known)
