"""`vitscale sweep star|grid|auto`."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from tyro.conf import Positional

from vitscale.commands.engines import CLUSTER_GROUP, PROCESS_GROUP, Engines
from vitscale.commands.looks import Looks
from vitscale.commands.options import Groups
from vitscale.commands.output import output, print_json
from vitscale.commands.saying import log, note, quiet
from vitscale.commands.track import close_tracking, open_trackers, start_tracking

if TYPE_CHECKING:
    from vitscale.auto import Goal
    from vitscale.extend import Extended, RunPlan
    from vitscale.scaling.progress import Speed
    from vitscale.sweeps.engines.local import LocalEngine
    from vitscale.sweeps.engines.ray import RayEngine
    from vitscale.sweeps.plan import Plan
    from vitscale.sweeps.run import Limits, RunReport
    from vitscale.sweeps.store import Store


@dataclasses.dataclass(frozen=True)
class Sweep(Engines, Looks):
    """Plan or run a sweep: a star through a large centre, a grid of small shapes, or a star that buys its
    own further trials.

    Shows trials, parameters, FLOPs, what sharing trunks saves, and warns where the values cannot
    identify the law. With --store it then trains what the store does not hold yet; stopped at any
    moment, the same command goes on. auto runs the star, fits it, trains what advise names, and so on,
    until the best sizes are known to --target, or --budget is spent.

    Presets: sovit (the paper's own, to plan and price), quickstart, laptop, gpu-hour. Your own
    sweeps are TOML files; --toml prints any plan as one to start from.

    Examples:  vitscale sweep star sovit
               vitscale sweep grid laptop --store runs/laptop
               vitscale sweep star my-sweep.toml --store runs/mine --plan
               vitscale sweep auto laptop --budget 1e15 --store runs/auto --target 1.3 --compute 1e18
    """

    groups: ClassVar[Groups] = {
        "To look before spending": ("plan", "calibrate", "toml"),
        "Where to stop": ("max_flops", "max_hours"),
        "With auto": ("budget", "target", "compute", "rounds"),
        "Sizes beyond the edge": ("extend", "extend_rounds", "metric"),
        **PROCESS_GROUP,
        "The training step": ("layout", "remat", "micro_batches"),
        **CLUSTER_GROUP,
        "A picture of the plan": ("figure", "theme", "size"),
    }

    kind: Positional[Literal["star", "grid", "auto"]]
    """Which of the three."""
    sweep: Positional[str]
    """A preset's name or a TOML file."""
    store: str | None = None
    """Folder of the measurements, or s3://bucket/prefix, gs://...; made where it is missing."""
    plan: bool = False
    """Show the plan and stop, even with --store; what the store holds is not counted again."""
    budget: float | None = None
    """With auto: training FLOPs of all rounds together, what the store holds of them included."""
    target: float = 1.3
    """With auto: upper over lower end of the interval of every best size that is good enough."""
    compute: float | None = None
    """With auto: training FLOPs of the run whose shape is wanted (default: the star's dearest run)."""
    rounds: int = 20
    """With auto: how often at most something is bought."""
    extend: bool = False
    """Where the optimum lies on an edge (the best shape of a grid, the x* of a star's arm), add sizes
    beyond it, as a new plan, and run that too."""
    extend_rounds: int = 3
    """With --extend: how often at most."""
    metric: str | None = None
    """With --extend and auto: which metric decides, where several were measured."""
    calibrate: bool = False
    """Train a few seconds to estimate how long the plan takes on this machine."""
    toml: bool = False
    """Print the plan as a TOML file and stop."""
    layout: Literal["auto", "unrolled", "scanned"] = "auto"
    """Blocks unrolled, or scanned so that compile time does not grow with depth."""
    remat: Literal["none", "dots", "full"] = "none"
    """What the backward pass computes again to save memory: nothing, all but matrix products, all."""
    micro_batches: int = 1
    """Parts in which each batch is worked off, to fit the memory."""
    max_flops: float | None = None
    """Start no trial beyond so many training FLOPs of this run; the same command goes on later."""
    max_hours: float | None = None
    """Save and stop after so many hours; the same command goes on later."""
    track: tuple[str, ...] = ()
    """Where to follow it besides: tensorboard=FOLDER, mlflow or mlflow=URI, wandb or wandb=PROJECT (offline
    unless WANDB_API_KEY is set)."""
    submit: bool = False
    """Leave the plan in the store for `vitscale worker`, and train nothing here."""
    figure: Path | None = None
    """Draw what each trial costs, and what of it is done, into this .png, .svg or .pdf, before anything is
    trained."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(command: Sweep) -> int:
    from vitscale.commands.plans import named_plan

    _refuse_flags(command)
    if command.figure is not None:
        from vitscale.fits.plots.style import check_suffix

        check_suffix(command.figure)
    plan = named_plan("grid" if command.kind == "grid" else "star", command.sweep)
    if command.toml:
        from vitscale.sweeps.config import plan_to_toml

        sys.stdout.write(plan_to_toml(plan))
        return 0
    if command.submit:
        return _submit(command, plan)
    show_only = command.plan or command.store is None
    from vitscale.commands.engines import engine_for
    from vitscale.scaling.execution import Execution
    from vitscale.sweeps.display import preview_tables, run_display
    from vitscale.sweeps.preemption import PREEMPTED_EXIT, Preemption
    from vitscale.sweeps.preview import preview
    from vitscale.sweeps.run import Limits, RunReport
    from vitscale.sweeps.run import run as run_plan
    from vitscale.sweeps.store import Store
    from vitscale.sweeps.words import counted, preview_lines, report_lines

    trackers = open_trackers(command.track)
    tracking = None
    limits = Limits(max_flops=command.max_flops, max_hours=command.max_hours)
    if command.extend:
        from vitscale.extend import refuse_unextendable

        refuse_unextendable(plan, command.extend_rounds)
    goal = _goal(command, plan) if command.kind == "auto" else None
    star, coming = plan, ()
    execution = Execution(
        layout=command.layout, remat=command.remat, micro_batches=command.micro_batches
    )
    engine = engine_for(command, execution)
    preemption = Preemption(raising=KeyboardInterrupt)
    try:
        store = None
        if command.calibrate or not show_only:
            engine.check(plan.trials[0])  # before anything is made
        if command.store is not None:
            engine.check_store(command.store)
        if command.store is not None and (not show_only or Store.exists(command.store)):
            store = Store.open(command.store, create=not show_only)
        if goal is not None:
            plan, coming = _next_round(star, store, goal)
        speed = _speed(command, engine, store, plan)
        bill = preview(
            plan,
            measured=store.measured_durations() if store else None,
            resumable=store.resumable() if store else (),
            speed=speed,
            workers=engine.workers,
        )
        if command.figure is not None:
            from vitscale.drawing import draw_plan

            print(f"wrote {draw_plan(bill, command.figure, speed)}", file=sys.stderr)
        if show_only or store is None:
            if command.json:
                print_json(bill.as_dict() | ({"coming": coming} if coming else {}))
            else:
                from rich.console import Console

                Console().print(preview_tables(bill, plain=not sys.stdout.isatty()))
                if bill.seconds is None:
                    print(
                        "how long it takes is not known; --calibrate measures it, in some seconds"
                    )
                for line in coming:
                    print(line)
                if command.store is None:
                    print("nothing was trained; name a --store to run this plan")
            return 0
        found = store
        tracking = start_tracking(trackers, store)
        log.info(
            "%s: %s at once, measurements go to %s",
            plan.name,
            counted(engine.workers, "trial"),
            store.name,
        )
        if not command.json:
            for line in preview_lines(bill):
                note(line)

        def run_one(plan: "Plan", limits: Limits) -> "RunReport":
            display = None if command.json or quiet() else run_display()
            return run_plan(
                plan,
                engine,
                found,
                limits=limits,
                display=display,
                tracking=tracking,
                grace_seconds=command.grace_seconds,
            )

        if goal is not None:
            from vitscale.auto import run_auto

            report = run_auto(star, run_one, found, goal, max_hours=command.max_hours, say=note)
        elif command.extend:
            report = _extended(command, plan, run_one, found, limits)
        else:
            report = run_one(plan, limits)
    except KeyboardInterrupt:
        if not preemption.asked:
            raise
        return PREEMPTED_EXIT
    finally:
        engine.cancel()
        close_tracking(tracking, hurry=preemption.asked)
        preemption.restore()
    if isinstance(report, RunReport):
        told = report
        output(command.json, dataclasses.asdict(told), lambda: report_lines(told))
    else:
        output(command.json, report.to_dict(), report.lines)
    if preemption.asked:
        return PREEMPTED_EXIT
    return 0 if report.complete else 1


def _speed(
    command: Sweep, engine: "LocalEngine | RayEngine", store: "Store | None", plan: "Plan"
) -> "Speed | None":
    """Of one worker: measured now where that was asked for, else that of what the store holds."""
    if command.calibrate:
        return engine.calibrate(plan.trials)
    if store is None or not store.recorded_plans():
        return None
    from vitscale.sweeps.stored_speed import stored_speed

    return stored_speed(store, plan.trials)


def _submit(command: Sweep, plan: "Plan") -> int:
    """Record the plan for workers."""
    from vitscale.scaling.data.catalog import check_trainable
    from vitscale.sweeps.config import plan_to_toml
    from vitscale.sweeps.store import Store
    from vitscale.sweeps.words import counted

    if command.store is None or command.plan:
        raise ValueError(
            "--submit leaves the plan in a store: name it with --store, without --plan"
        )
    store = Store.open(command.store, create=True)
    store.prepare()
    store.record_plan(plan.name, plan_to_toml(plan))
    try:
        check_trainable(plan.trials[0].recipe)
    except ValueError as error:
        note(f"warning: workers on this machine will leave the plan to others: {error}")
    output(
        command.json,
        {"store": store.name, "plan": plan.name, "trials": len(plan.trials)},
        lambda: [
            f"{plan.name} is in {store.name}: {counted(len(plan.trials), 'trial')}; train them, on as many machines "
            f"as you like, with: vitscale worker {store.name}"
        ],
    )
    return 0


def _extended(
    command: Sweep, plan: "Plan", run_one: "RunPlan", store: "Store", limits: "Limits"
) -> "Extended":
    """Run the plan and what its optimum asks for beyond its edges."""
    from vitscale.extend import run_extending

    return run_extending(
        plan,
        run_one,
        store,
        rounds=command.extend_rounds,
        metric=command.metric,
        limits=limits,
        say=note,
    )


def _refuse_flags(command: Sweep) -> None:
    """Raise `ValueError` for flags that this kind of sweep would ignore."""
    if command.kind != "auto":
        defaults = {"budget": None, "target": 1.3, "compute": None, "rounds": 20}
        given = [f"--{name}" for name, usual in defaults.items() if getattr(command, name) != usual]
        if given:
            raise ValueError(f"{', '.join(given)}: only vitscale sweep auto takes that")
        return
    reasons = {
        "extend": "auto itself adds sizes beyond an optimum on the edge",
        "submit": "each round follows from the one before; run auto beside vitscale worker --follow",
        "max_flops": "--budget says what auto may spend",
    }
    for name, reason in reasons.items():
        if getattr(command, name):
            raise ValueError(f"--{name.replace('_', '-')} is not for auto: {reason}")


def _goal(command: Sweep, plan: "Plan") -> "Goal":
    from vitscale.auto import goal_of

    return goal_of(
        plan,
        budget=command.budget,
        compute=command.compute,
        target=command.target,
        rounds=command.rounds,
        metric=command.metric,
    )


def _next_round(star: "Plan", store: "Store | None", goal: "Goal") -> "tuple[Plan, list[str]]":
    """The round that comes next, or the last one where none does, and what is to be known of it."""
    from vitscale.auto import next_look

    plan, found = next_look(star, store, goal)
    lines = [] if found is None else [found.line(goal.budget, goal.compute)]
    lines.append(
        f"after {plan.name}: fit, and train what shrinks the intervals most per FLOP, until every best "
        f"size for a run of {goal.compute:.3g} training FLOPs is known within a factor of "
        f"{goal.target:g}, or {goal.budget:.3g} are spent, in {goal.rounds} rounds at most"
    )
    return plan, lines
