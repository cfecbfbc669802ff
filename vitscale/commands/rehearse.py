"""`vitscale rehearse`."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from tyro.conf import Positional

from vitscale.commands.looks import Looks
from vitscale.commands.options import Groups
from vitscale.commands.output import output
from vitscale.commands.price import check_price
from vitscale.commands.saying import working

if TYPE_CHECKING:
    from collections.abc import Callable

    from vitscale.scaling.progress import Speed
    from vitscale.sweeps.plan import Plan
    from vitscale.sweeps.rehearsal.rehearsal import Rehearsal
    from vitscale.sweeps.store import Store

_SLOWEST = 1e6
"""FLOP/s below which no machine is that trains anything."""
_IDLE = 0.25
"""Part of the worker-hours from which on fewer workers are tried."""
_AS_LONG = 1.05
"""Times as long that count as no longer."""
_TIMES = 600
_MOST_ROWS = 200
"""Workers that the figure shows; of more, every so-many-th."""


@dataclasses.dataclass(frozen=True)
class Rehearse(Looks):
    """Play a sweep through on a cluster that exists in numbers alone, before it costs anything: hours, cost,
    what preemptions and idle workers waste.

    The driver is the one that would run it; trials only take their time. Ten thousand trials on a thousand
    workers take less than a minute. Nothing is written but the --figure.

    Examples:  vitscale rehearse star sovit --workers 10 --flops-per-second 4e14 --preemptions-per-hour 0.05
               vitscale rehearse grid my.toml --store runs/mine --workers 8 --price 2.5 --figure rehearsal.png
    """

    groups: ClassVar[Groups] = {
        "The machines": (
            "workers",
            "flops_per_second",
            "step_overhead_seconds",
            "compile_seconds",
            "price",
        ),
        "What goes wrong": (
            "preemptions_per_hour",
            "notice",
            "failures_per_hour",
            "replacement_seconds",
            "checkpoint_seconds",
            "seed",
        ),
        "A picture of it": ("figure", "theme", "size"),
    }

    kind: Positional[Literal["star", "grid"]]
    """Which of the two."""
    sweep: Positional[str]
    """A preset's name or a TOML file."""
    workers: int = 8
    """Machines, each with one trial at a time."""
    flops_per_second: float | None = None
    """Training FLOP/s of one machine (an H100 at 40% of its dense bf16 peak: 4e14); without it, as fast as
    what the --store holds was trained."""
    step_overhead_seconds: float = 0.0
    """Time of a step beside its FLOPs."""
    compile_seconds: float = 60.0
    """Time from the start of an attempt to its first step."""
    preemptions_per_hour: float = 0.0
    """Probability that a machine is taken away within an hour."""
    notice: bool = False
    """Machines are told before they are taken, in time to save."""
    failures_per_hour: float = 0.0
    """Probability that a trial's own code fails within an hour."""
    replacement_seconds: float = 300.0
    """Time until another machine stands in for one that was taken."""
    checkpoint_seconds: float = 20.0
    """Training time between checkpoints: what a kill may cost."""
    price: float | None = None
    """Of one machine for an hour, in any currency."""
    seed: int = 0
    """Of all chances."""
    store: str | None = None
    """A store whose measurements are not to be made again."""
    figure: Path | None = None
    """Draw what every worker does, progress and cost into this .png, .svg or .pdf."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(command: Rehearse) -> int:
    from vitscale.commands.plans import named_plan
    from vitscale.sweeps.engines.cluster import Cluster
    from vitscale.sweeps.rehearsal.rehearsal import rehearse
    from vitscale.sweeps.store import Store

    plan = named_plan(command.kind, command.sweep)
    check_price(command.price)
    if command.figure is not None:
        from vitscale.fits.plots.style import check_suffix

        check_suffix(command.figure)
    store = None if command.store is None else Store.open(command.store)
    cluster = Cluster(
        workers=command.workers,
        speed=_speed(command, store, plan),
        preemptions_per_hour=command.preemptions_per_hour,
        notice=command.notice,
        failures_per_hour=command.failures_per_hour,
        replacement_seconds=command.replacement_seconds,
        checkpoint_seconds=command.checkpoint_seconds,
        seed=command.seed,
    )

    def on(workers: int) -> "Rehearsal":
        return rehearse(
            plan,
            dataclasses.replace(cluster, workers=workers),
            measured=store.measured_durations() if store else None,
            resumable=store.resumable() if store else (),
        )

    with working(f"rehearsing {plan.name} on {command.workers} machines"):
        found = on(command.workers)
        fewer = _fewer(found, on)
    if command.figure is not None:
        draw(found, command.figure, command.price)
    values = {"plan": plan.name, **found.as_dict()}
    values["cost"] = None if command.price is None else found.cost(command.price)
    values["figure"] = command.figure and str(command.figure)
    values["fewer_workers"] = fewer and {
        "workers": fewer.cluster.workers,
        "hours": fewer.hours,
        "worker_hours": fewer.worker_hours,
        "cost": None if command.price is None else fewer.cost(command.price),
    }
    output(command.json, values, lambda: _lines(command, found, fewer))
    return 0


def _fewer(found: "Rehearsal", on: "Callable[[int], Rehearsal]") -> "Rehearsal | None":
    """The rehearsal with fewer workers that takes as long, where many of them idle: as many as could share
    the work evenly while the longest trial runs, else as many as there are trials."""
    trials = len(found.plan.trials) - len(found.report.skipped)
    if not trials or found.hours_by_doing["idle"] < _IDLE * found.worker_hours:
        return None
    for workers in (math.ceil(found.work_hours / found.longest_hours), trials):
        if workers < found.cluster.workers:
            tried = on(workers)
            if tried.hours <= _AS_LONG * found.hours:
                return tried
    return None


def draw(found: "Rehearsal", path: Path, price: float | None = None) -> None:
    """The figure of a rehearsal."""
    import numpy as np

    from vitscale.fits.plots.rehearsal import rehearsal_figure
    from vitscale.fits.plots.style import save
    from vitscale.sweeps.engines.timeline import DOINGS

    timeline = found.timeline
    at = np.linspace(0.0, timeline.seconds, _TIMES)
    figure = rehearsal_figure(
        timeline.raster(min(found.cluster.workers, _MOST_ROWS), _TIMES),
        DOINGS,
        workers=found.cluster.workers,
        hours=at / 3600,
        trials_done=timeline.trials_done(at) / max(1, len(found.report.measured)),
        flops_done=timeline.kept_flops(at) / max(1.0, found.spent_flops - found.repeated_flops),
        machine_hours=timeline.held_seconds(at) / 3600,
        price=price,
        bound_hours=found.bound_hours,
    )
    save(figure, path)


def _speed(command: Rehearse, store: "Store | None", plan: "Plan") -> "Speed":
    from vitscale.scaling.progress import Speed

    if command.flops_per_second is not None:
        if not _SLOWEST <= command.flops_per_second < math.inf:
            raise ValueError(
                f"flops_per_second={command.flops_per_second:g} is no machine's speed; give single FLOPs a "
                f"second, {_SLOWEST:g} or more: 400 TFLOP/s is 4e14"
            )
        return Speed(
            compile_seconds=command.compile_seconds,
            step_overhead_seconds=command.step_overhead_seconds,
            flops_per_second=command.flops_per_second,
        )
    if store is not None:
        from vitscale.sweeps.stored_speed import stored_speed

        speed = stored_speed(store, plan.trials)
        if speed is not None:
            return dataclasses.replace(speed, compile_seconds=command.compile_seconds)
    raise ValueError(
        "how fast a machine trains is not known: say --flops-per-second (an H100 at 40% of its dense bf16 "
        "peak: 4e14), or name a --store that holds measurements of such machines"
    )


def _lines(command: Rehearse, found: "Rehearsal", fewer: "Rehearsal | None") -> list[str]:
    from vitscale.sweeps.words import amount, clock, counted

    report = found.report
    lines = [
        f"{report.plan} on {found.cluster.workers:,} simulated workers: {len(report.measured):,} trials measured "
        f"in {clock(found.hours * 3600)}"
        + (f", {len(report.skipped):,} were done before" if report.skipped else ""),
        f"no schedule takes less than {clock(found.bound_hours * 3600)}, even undisturbed"
        + (
            " (the longest trial alone)"
            if found.longest_hours >= found.bound_hours
            else " (all work shared evenly)"
        ),
        f"{amount(found.worker_hours)} worker-hours, {found.utilisation:.1%} of them steps that count: "
        + ", ".join(
            f"{amount(hours)} {_WORDS[doing]}"
            for doing, hours in found.hours_by_doing.items()
            if doing != "away"
        ),
        f"{found.spent_flops:.4g} training FLOPs, {found.repeated_flops / found.spent_flops:.2%} of them twice"
        if found.spent_flops
        else "nothing is left to train",
        f"{report.attempts:,} attempts: {found.preemptions:,} machines taken away, {found.interrupted:,} of "
        f"them at work; {found.failures:,} failures of trials, {len(report.failed):,} given up",
    ]
    if command.price is not None:
        lines.append(f"{_money(found.cost(command.price))} at {command.price:g} a worker-hour")
    if fewer is not None:
        trials = len(found.plan.trials) - len(report.skipped)
        for_what = (
            f"{amount(fewer.worker_hours)} worker-hours"
            if command.price is None
            else _money(fewer.cost(command.price))
        )
        most = fewer.cluster.workers == trials
        lines.append(
            f"hint: {counted(trials, 'trial')} {'uses' if trials == 1 else 'use'} at most {counted(trials, 'worker')}"
            f"{'' if most else ', and most of the time fewer'}: --workers {fewer.cluster.workers} takes "
            f"{clock(fewer.hours * 3600)} for {for_what}"
        )
    if command.figure is not None:
        lines.append(f"figure: {command.figure}")
    return lines


def _money(value: float) -> str:
    return f"{value:,.2f}" if 0.1 <= value < 1e9 else f"{value:.3g}"


_WORDS = {"compile": "compiling", "train": "training", "lost": "lost", "idle": "idle"}
