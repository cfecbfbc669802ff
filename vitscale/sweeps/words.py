"""Plans and runs in words: lines of text, without a terminal."""

from vitscale.sweeps.jobs import Failure, RunState
from vitscale.sweeps.preview import Preview
from vitscale.sweeps.run import RunReport

_WORTH_SAYING_BYTES = 1e7
_YEAR_S = 365.25 * 24 * 3600.0
_LONG_S = 2 * _YEAR_S
_MANY = 1e9


def summary_line(state: RunState) -> str:
    """One line: trials, time left, cost so far."""
    parts = [f"{state.done}/{len(state.plan.trials)} trials", f"{len(state.running)} running"]
    if state.busy:
        parts.append(f"{state.busy} in another run")
    if state.failed:
        parts.append(f"{len(state.failed)} failed")
    eta = state.eta_seconds
    if eta is not None:
        parts.append(f"ETA {clock(eta)}")
    parts.append(f"{clock(state.wall_seconds)} so far")
    parts.append(f"{state.spent_flops:.3g} FLOPs")
    if state.core_seconds:
        parts.append(f"{state.core_seconds:.0f} core-s")
    return ", ".join(parts)


_AGAIN = "the same command tries the failed trials again, and only those"


def report_lines(report: RunReport, *, again: str = _AGAIN) -> list[str]:
    """What a finished or interrupted run has to say; `again`: how its failed trials are tried again."""
    if report.unusable:
        return [
            f"{report.plan}: {counted(len(report.unfinished), 'trial')} left to others, since it cannot be trained "
            f"here: {report.unusable}"
        ]
    lines = [
        f"{report.plan}: {counted(len(report.measured), 'trial')} measured in {clock(report.wall_seconds)}, "
        f"{len(report.skipped)} done before"
        + (f", {len(report.elsewhere)} by another run" if report.elsewhere else "")
    ]
    if report.cancelled:
        lines.append(f"cancelled: {', '.join(report.cancelled)}")
    if report.diverged:
        lines.append(f"diverged: {', '.join(report.diverged)}")
    for failure in report.failed:
        lines.append(
            f"failed: trial {failure.trial.id} ({failure.trial.shape}) after "
            f"{counted(failure.attempts, 'attempt')}: {failure.reason}"
        )
        lines += _log_lines(failure)
    if report.interrupted:
        lines.append(
            f"interrupted with {counted(len(report.unfinished), 'trial')} to go; the same command goes on "
            f"from their checkpoints"
        )
    elif report.stopped:
        lines.append(
            f"stopped with {counted(len(report.unfinished), 'trial')} to go, since {report.stopped}; the same command "
            f"goes on"
        )
    elif report.failed:
        lines.append(again)
    return lines


def _log_lines(failure: Failure) -> list[str]:
    """The last line of a failed trial's log, where it adds something, and where the rest is."""
    last = next((line for line in reversed(failure.log_tail.splitlines()) if line.strip()), "")
    lines = [] if last.strip().rstrip(".") in failure.reason else [f"    {last.strip()}"]
    return lines + ([f"    log: {failure.log}"] if failure.log else [])


def preview_lines(preview: Preview) -> list[str]:
    """Totals, estimated time and warnings of a plan, one line each."""
    durations = ", ".join(f"{d:,}" for d in preview.plan.sweep.durations)
    lines = [
        f"{counted(preview.trials, 'trial')}, {counted(preview.measurements, 'measurement')} "
        f"({preview.remaining_measurements} to do), durations {durations} examples",
        f"{preview.spent_flops:.4g} training FLOPs with shared trunks, against "
        f"{preview.separate_flops:.4g} as separate runs: {preview.saved_fraction:.1%} saved",
    ]
    if preview.remaining_flops < preview.spent_flops:
        lines.append(f"{preview.remaining_flops:.4g} training FLOPs to do")
    if preview.seconds is not None:
        on = f"on {counted(preview.workers, 'worker')}"
        lines.append(
            f"about {clock(preview.seconds)} of training alone {on}; starting, compiling and measuring come on top"
            if preview.training_alone
            else f"about {clock(preview.seconds)} of compiling and training {on}; starting and measuring come on top"
        )
    if preview.checkpoint_bytes >= _WORTH_SAYING_BYTES:
        lines.append(f"up to {_bytes(preview.checkpoint_bytes)} of checkpoints while it runs")
    return lines + [f"warning: {warning}" for warning in preview.warnings]


def _bytes(count: float) -> str:
    """Bytes for the eyes."""
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


def counted(count: int, what: str) -> str:
    """A number of things, in the singular where it is one."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def amount(value: float) -> str:
    """An amount for the eyes: 0.0213, 8.51, 58,226.2, 9.55e+15."""
    return f"{value:.3g}" if value < 10 or value >= _MANY else f"{value:,.1f}"


def clock(seconds: float) -> str:
    """A time for the eyes: 42s, 3m 05s, 2h 10m, 3d 4h, 4.2 years."""
    if seconds >= _LONG_S:
        return f"{seconds / _YEAR_S:.3g} years"
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days}d {h}h"
    if hours:
        return f"{hours}h {m:02d}m"
    return f"{minutes}m {s:02d}s" if minutes else f"{s}s"
