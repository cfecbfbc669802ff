"""`vitscale status`."""

import dataclasses
import sys
import time
from typing import TYPE_CHECKING

from tyro.conf import Positional

from vitscale.commands.output import output
from vitscale.commands.saying import working

if TYPE_CHECKING:
    from vitscale.sweeps.status import StoreStatus, TrialStatus
    from vitscale.sweeps.store import Store

_WATCH_EVERY_S = 2.0
_LINE_EVERY_S = 10.0
_MOST = 12
_MOST_FILES = 1_000
"""Single files of which curves are drawn without being asked for."""


@dataclasses.dataclass(frozen=True)
class Status:
    """What a store holds and what is under way: done, running, failed with reasons, cost so far and left,
    and error curves.

    Exit code 1 where files are damaged.

    Examples:  vitscale status runs/laptop
               vitscale status s3://bucket/runs/star --watch
    """

    store: Positional[str]
    """Folder or address of the measurements."""
    watch: bool = False
    """Keep showing it until nothing runs or is to come: one table on a terminal, a line every ten seconds elsewhere."""
    metric: str | None = None
    """Which metric to show curves of (default: the one that `vitscale fit` takes, else the error most
    often measured)."""
    trials: bool = False
    """List every trial that is not done, with its id: for vitscale cancel and vitscale resume --trial."""
    no_curves: bool = False
    """Leave the curves out. Of more than 1,000 files they are left out unless --metric asks for them: reading
    every row takes seconds, until the store is compacted."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(command: Status) -> int:
    from vitscale.sweeps.status import store_status
    from vitscale.sweeps.store import Store

    store = Store.open(command.store)
    if command.watch:
        return _watch(store, command)
    with working(f"reading {store.name}"):
        status = store_status(store)
        lines = [] if command.json else _lines(store, status, command)
    output(command.json, status.to_dict(), lambda: lines)
    return 1 if status.problems else 0


def _watch(store: "Store", command: Status) -> int:
    """Show the status again and again, until nothing runs or waits."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from vitscale.commands.output import print_json
    from vitscale.sweeps.status import store_status

    console = Console()
    if sys.stdout.isatty() and not command.json:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                status = store_status(store)
                live.update(Text("\n".join(_lines(store, status, command))), refresh=True)
                if _is_over(status):
                    return 1 if status.problems else 0
                time.sleep(_WATCH_EVERY_S)
    while True:
        status = store_status(store)
        if command.json:
            print_json(status.to_dict())
        else:
            print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {_summary(status)}")
        sys.stdout.flush()
        if _is_over(status):
            return 1 if status.problems else 0
        time.sleep(_LINE_EVERY_S)


def _is_over(status: "StoreStatus") -> bool:
    return not status.count("running") and not status.count("waiting")


def _summary(status: "StoreStatus") -> str:
    from vitscale.sweeps.words import clock, counted

    counts = [f"{status.count('done')}/{counted(len(status.trials), 'trial')} done"]
    for state in ("running", "failed", "diverged", "cancelled", "waiting"):
        if status.count(state):
            counts.append(f"{status.count(state)} {state}")
    if status.losses:
        counts.append(f"{counted(status.losses, 'attempt')} lost to machines")
    counts.append(f"{status.spent_flops:.3g} training FLOPs so far")
    if status.left_flops:
        part = status.spent_flops / (status.spent_flops + status.left_flops)
        counts.append(f"{status.left_flops:.3g} left ({100 * part:.2g}% of the work is done)")
    if status.eta_seconds is not None:
        counts.append(f"ETA {clock(status.eta_seconds)} of training alone")
    return ", ".join(counts)


def _lines(store: "Store", status: "StoreStatus", command: Status) -> list[str]:
    lines = [f"{status.path}: {_summary(status)}"]
    lines += [
        f"  plan {name}: {done} of {planned} durations done"
        for name, (done, planned) in status.plans.items()
    ]
    running = [trial for trial in status.trials if trial.holder is not None]
    most = len(status.trials) if command.trials else _MOST
    for trial in running[:most]:
        held = trial.holder
        assert held is not None
        lines.append(
            f"  running: {trial.trial_id} ({trial.shape}) on {held.host}, process {held.pid}, since "
            f"{held.since}; {len(trial.measured)} of "
            f"{len(trial.measured) + len(trial.missing)} durations done"
        )
    lines += _more(len(running) - most, "running")
    for state in ("failed", "diverged", "cancelled"):
        lines += _listed([t for t in status.trials if t.state == state], state, most)
    if status.count("failed") or status.count("cancelled"):
        lines.append(f"  try them again with: vitscale resume {status.path}")
    waiting = [trial for trial in status.trials if trial.state == "waiting"]
    failed_before = [trial for trial in waiting if trial.reason]
    lines += _listed(waiting if command.trials else failed_before, "waiting", most)
    if failed_before and not running:
        lines.append(f"  nobody is at work; go on with: vitscale worker {status.path}")
    if not command.no_curves and not status.problems:
        lines += _curves(store, command.metric)
    return [*lines, *(f"  damaged: {p.path} {p.reason}" for p in status.problems)]


def _curves(store: "Store", metric: str | None) -> list[str]:
    files = store.single_files()
    if files > _MOST_FILES and metric is None:
        return [
            f"  no curves of {files:,} files; make them one with: vitscale store compact {store.name}"
        ]
    from vitscale.fits.store_fit import DEFAULT_METRICS
    from vitscale.sweeps.curves import curve_lines, error_curves

    return curve_lines(*error_curves(store, metric, preferred=DEFAULT_METRICS))


def _listed(trials: "list[TrialStatus]", state: str, most: int) -> list[str]:
    """A line for each of these, the reason last; of those that wait it is why they have failed before."""
    why = "failed, to be tried again: " if state == "waiting" else ""
    lines = [
        f"  {state}: {trial.trial_id} ({trial.shape or 'of no plan here'})"
        + (f": {why}{trial.reason}" if trial.reason else "")
        for trial in trials[:most]
    ]
    return lines + _more(len(trials) - most, state)


def _more(left: int, state: str) -> list[str]:
    return [f"  and {left} more {state}; --trials lists them"] if left > 0 else []
