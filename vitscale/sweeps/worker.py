"""A worker process: trials in as JSON lines, events out as JSON lines.

`python -m vitscale.sweeps.worker --runner train` reads requests from its standard input until that
ends, and then goes away at once, whatever it is doing: whoever started it is gone, and everything
worth keeping is in the store. On SIGTERM (preemption) it saves what it is training, reports the
attempt as preempted, and ends with `PREEMPTED_EXIT`. Events go to what was standard output when it started; whatever else
is printed goes to the running trial's log.

Requests: `{"trials": [{...}, ...], "store": "PATH"}`, several only where they can be trained together,
or `{"calibrate": [{...}, ...]}`.
Events: `ready`, `progress`, `attempt`, `speed`, `error`.
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import TextIO, get_args

from vitscale.scaling.execution import Execution
from vitscale.scaling.host_memory import keep_freed_memory
from vitscale.scaling.progress import CHECKPOINT_SECONDS, MeasurementSink, Progress, Speed
from vitscale.scaling.recipe import Trial
from vitscale.sweeps.engines.devices import accelerators
from vitscale.sweeps.engines.engine import Attempt, Runner
from vitscale.sweeps.files import StoreError
from vitscale.sweeps.preemption import PREEMPTED_EXIT, Preemption
from vitscale.sweeps.reasons import named
from vitscale.sweeps.store import Store
from vitscale.sweeps.wire import trial_from_dict

OnProgress = Callable[[Progress], None]
Hold = Callable[[Store, Trial], contextlib.AbstractContextManager[bool]]
RunTrials = Callable[[list[Trial], MeasurementSink, OnProgress], None]

_PROGRESS_EVERY_S = 0.25
_SIMULATED_STEP_S = 0.01


def main() -> None:
    """Serve requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which stops us
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runner", choices=get_args(Runner), required=True)
    parser.add_argument("--parent", type=int, required=True, help="process id to die with")
    parser.add_argument("--execution", type=json.loads, default={}, help="how to compute, as JSON")
    parser.add_argument("--checkpoint-seconds", type=float, default=CHECKPOINT_SECONDS)
    parser.add_argument("--gang", type=json.loads, default=None, help="other hosts, as JSON")
    arguments = parser.parse_args()
    _die_with(arguments.parent)
    # Whatever libraries print must not end up among the events.
    events = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    preemption = Preemption()
    requests = _requests()
    run_trials, calibrate = _load(
        arguments.runner,
        preemption,
        Execution(**arguments.execution),
        arguments.checkpoint_seconds,
        arguments.gang,
    )
    hold = _holding(arguments.runner, arguments.gang)
    _send(events, "ready")
    while True:
        with preemption.immediate():
            request = requests.get()
        if "calibrate" in request:
            _calibrate(request["calibrate"], calibrate, events)
        else:
            _attempt(request, run_trials, hold, events)
        if preemption.asked:
            os._exit(PREEMPTED_EXIT)


def _load(
    runner: Runner,
    preemption: Preemption,
    execution: Execution,
    checkpoint_seconds: float,
    gang: dict | None,
) -> tuple[RunTrials, Callable[[list[Trial]], Speed]]:
    """The functions of a runner; jax is imported here and nowhere before."""
    if runner == "train":
        if not accelerators():
            keep_freed_memory()
        if gang is not None:
            from vitscale.scaling import hosts

            hosts.start(**gang)
        from vitscale.scaling.speed import calibrate
        from vitscale.scaling.trial import PreemptedError, run_trials

        def train(trials: list[Trial], store: MeasurementSink, report: OnProgress) -> None:
            try:
                run_trials(
                    trials,
                    store,
                    on_progress=report,
                    checkpoint_seconds=checkpoint_seconds,
                    execution=execution,
                    should_stop=preemption,
                )
            except PreemptedError as error:
                raise _Preempted(str(error)) from None

        return train, functools.partial(calibrate, execution=execution)
    from vitscale.sweeps.engines.simulated import simulate

    def stand_in(trials: list[Trial], store: MeasurementSink, report: OnProgress) -> None:
        with preemption.immediate():
            for trial in trials:
                simulate(trial, store, step_seconds=_SIMULATED_STEP_S, on_progress=report)

    speed = Speed(
        compile_seconds=0.0, step_overhead_seconds=_SIMULATED_STEP_S, flops_per_second=float("inf")
    )
    return stand_in, lambda _: speed


class _Preempted(Exception):
    """Training stopped because it was asked to, and saved what it had."""


def _holding(runner: Runner, gang: dict | None) -> Hold:
    """How a worker takes the lease on a trial: a gang takes one for all of its hosts."""
    if gang is None or (runner == "simulated" and gang["host"] == 0):
        return lambda store, trial: store.lock(trial)
    if runner == "simulated":
        return lambda store, trial: contextlib.nullcontext(False)
    return _hold_for_all


@contextlib.contextmanager
def _hold_for_all(store: Store, trial: Trial) -> Iterator[bool]:
    """One lease for all hosts, which the first one takes: the others would find it taken."""
    from vitscale.scaling import hosts

    with store.lock(trial) if hosts.is_first() else contextlib.nullcontext(True) as free:
        yield hosts.first_says(free)


def _attempt(
    request: dict,
    run_trials: RunTrials,
    hold: Hold,
    events: TextIO,
) -> None:
    """Try trials, together where there are several, and say of each how it ended."""
    trials = [trial_from_dict(trial) for trial in request["trials"]]
    began = time.process_time()
    outcome, reason = "done", ""
    diverged: set[str] = set()
    held: list[Trial] = []
    try:
        with contextlib.ExitStack() as locks:
            store = Store.open(request["store"])
            held = [trial for trial in trials if locks.enter_context(hold(store, trial))]
            if held:
                _log_to(store.log_path(held[0].id))
                run_trials(held, store, _reporter(held, events, began))
                diverged = _diverged(store, held)
    except _Preempted as error:
        outcome, reason = "preempted", str(error)
    except StoreError as error:
        outcome, reason = "unstorable", str(error)
    except Exception as error:
        with contextlib.suppress(OSError):  # the log's disk may be full
            traceback.print_exc()
        outcome, reason = "failed", named(error)
        if "No space left on device" in str(error):
            # Checkpoints are written by libraries with errors of their own.
            outcome = "unstorable"
            reason = (
                f"cannot write to the store {request['store']}: the disk is full; free some space "
                f"and run the same command again; nothing measured so far is lost"
            )
    spent = (time.process_time() - began) / len(trials)
    for trial in trials:
        free = trial in held or outcome == "unstorable"
        attempt = Attempt(
            trial_id=trial.id,
            outcome=outcome if free else "busy",
            reason=reason if free else "",
            core_seconds=spent,
            diverged=trial.id in diverged if outcome == "done" and free else None,
        )
        _send(events, "attempt", **dataclasses.asdict(attempt))


def _diverged(store: Store, trials: list[Trial]) -> set[str]:
    """Ids of the trials with a diverged duration; workers know it cheaply, who have the tools loaded."""
    facts = store.facts([trial.id for trial in trials]) if trials else {}
    return {i for i, each in facts.items() if any(f.status == "diverged" for f in each.values())}


def _calibrate(
    trials: list[dict], calibrate: Callable[[list[Trial]], Speed], events: TextIO
) -> None:
    try:
        speed = calibrate([trial_from_dict(trial) for trial in trials])
    except Exception as error:
        traceback.print_exc()
        _send(events, "error", reason=named(error))
    else:
        _send(events, "speed", **dataclasses.asdict(speed))


def _reporter(trials: list[Trial], events: TextIO, began: float) -> OnProgress:
    """A callback that passes progress on, a few times a second and at every change of phase; that of
    trials trained together is the progress of each, that of one tried again alone its own."""
    sent_at, sent_phase = 0.0, ""

    def report(progress: Progress) -> None:
        nonlocal sent_at, sent_phase
        now = time.monotonic()
        if progress.phase != sent_phase or now - sent_at >= _PROGRESS_EVERY_S:
            sent_at, sent_phase = now, progress.phase
            spent = time.process_time() - began
            those = [trial.id for trial in trials] if progress.together > 1 else [progress.trial_id]
            for trial_id in those:
                values = dataclasses.asdict(progress) | {"trial_id": trial_id}
                _send(events, "progress", core_seconds=spent, **values)

    return report


def _requests() -> "queue.SimpleQueue[dict]":
    """Requests as they come, from a thread that ends the process when there will be no more."""
    requests: queue.SimpleQueue[dict] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            requests.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return requests


def _send(events: TextIO, event: str, **values: object) -> None:
    try:
        events.write(json.dumps({"event": event, **values}) + "\n")
    except BrokenPipeError:
        os._exit(0)


def _log_to(path: os.PathLike) -> None:
    """Point standard output and error, also those of C libraries, to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies (Linux; elsewhere the end of standard
    input does it)."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os._exit(0)


if __name__ == "__main__":
    main()
