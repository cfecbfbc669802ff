"""Plans and runs for the eyes: a live table on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Iterable

from rich.box import HEAVY_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vitscale.scaling.shape import Shape
from vitscale.sweeps.jobs import RunState
from vitscale.sweeps.preview import Preview, TrialCost
from vitscale.sweeps.run import Display
from vitscale.sweeps.words import preview_lines, summary_line

_LINE_EVERY_S = 10.0
_MAX_ROWS = 12


def run_display(console: Console | None = None) -> Display:
    """The display that suits `console`, by default standard error: live on a terminal, else lines."""
    if console is not None:
        return _Live(console) if console.is_terminal else _Lines(console)
    console = Console(stderr=True)
    # FORCE_COLOR makes rich take a log for a terminal; colour is wanted there, but no redrawing.
    return _Live(console) if sys.stderr.isatty() else _Lines(console)


class _Live:
    """One table that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=4, transient=False)
        self._started = False

    def update(self, state: RunState) -> None:
        if not self._started:
            self._live.start()
            self._started = True
        self._live.update(Group(_running_table(state), Text(summary_line(state))))

    def say(self, message: str) -> None:
        self._live.console.print(message, style="yellow", markup=False, highlight=False)

    def close(self) -> None:
        if self._started:
            self._live.stop()


class _Lines:
    """A line whenever a trial ends, and every ten seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said_at = float("-inf")
        self._done = -1

    def update(self, state: RunState) -> None:
        now = time.monotonic()
        if state.done == self._done and now - self._said_at < _LINE_EVERY_S:
            return
        self._said_at, self._done = now, state.done
        self.say(summary_line(state) + _dearest_running(state))

    def say(self, message: str) -> None:
        stamp = time.strftime("%H:%M:%S")
        self._console.print(f"{stamp} {message}", markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        pass


def preview_tables(preview: Preview, *, plain: bool = False) -> Group:
    """The bill of a plan as a table with a row for each shape, its totals and its warnings; `plain`, without
    lines drawn around."""
    table = Table(
        title=f"{preview.plan.name} ({preview.plan.kind})",
        title_justify="left",
        box=None if plain else HEAVY_HEAD,
    )
    columns = (
        "width",
        "depth",
        "mlp_dim",
        "heads",
        "params",
        "FLOPs/image",
        "train FLOPs",
        "to do",
    )
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    by_shape: dict[Shape, list[TrialCost]] = {}
    for cost in preview.costs:
        by_shape.setdefault(cost.trial.shape, []).append(cost)
    for shape, costs in by_shape.items():
        todo = sum(len(cost.remaining_durations) for cost in costs)
        table.add_row(
            *map(str, (shape.width, shape.depth, shape.mlp_dim, shape.heads)),
            _short(costs[0].params),
            f"{costs[0].forward_flops_per_example:.2e}",
            f"{sum(cost.spent_flops for cost in costs):.2e}",
            f"{todo}/{sum(len(cost.trial.durations) for cost in costs)}",
        )
    return Group(table, *map(Text, preview_lines(preview)))


def _short(count: float) -> str:
    """Three digits and a letter."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:g}"


def _running_table(state: RunState) -> Table:
    table = Table(title=state.plan.name, title_justify="left")
    for name in ("trial", "width", "depth", "mlp_dim", "phase", "step", "loss", "examples/s"):
        table.add_column(name, justify="left" if name in ("trial", "phase") else "right")
    for trial_id, job in list(state.running.items())[:_MAX_ROWS]:
        shape, progress = job.trial.shape, job.progress
        cells: Iterable[str] = ("starting", "", "", "")
        if progress is not None:
            cells = (
                progress.phase,
                f"{progress.step}/{progress.total_steps}",
                "" if progress.loss is None else f"{progress.loss:.4f}",
                ""
                if progress.examples_per_second is None
                else f"{progress.examples_per_second:.0f}",
            )
        table.add_row(trial_id, str(shape.width), str(shape.depth), str(shape.mlp_dim), *cells)
    return table


def _dearest_running(state: RunState) -> str:
    """Where the longest of the running trials is."""
    for job in state.running.values():
        if job.progress is not None:
            shape, progress = job.trial.shape, job.progress
            loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
            return (
                f"; width {shape.width} depth {shape.depth} mlp_dim {shape.mlp_dim}: "
                f"{progress.phase} {progress.step}/{progress.total_steps}{loss}"
            )
    return ""
