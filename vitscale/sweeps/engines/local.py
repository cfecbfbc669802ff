"""The default engine: worker processes on this machine, each training one trial at a time.

A worker is kept from trial to trial, so that its imports and compiled code are reused; one that
dies is replaced. There is no server, no port and no pickle: trials go to a worker's standard input
as JSON lines, events come back the same way, and a worker goes away with its parent.
"""

import dataclasses
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Self

from vitscale.scaling.execution import Execution
from vitscale.scaling.progress import CHECKPOINT_SECONDS, Progress, Speed
from vitscale.scaling.recipe import Recipe, Trial
from vitscale.sweeps.engines.devices import accelerators, usable_cores, worker_environment
from vitscale.sweeps.engines.engine import Attempt, Runner
from vitscale.sweeps.places.place import check_shared
from vitscale.sweeps.preemption import PREEMPTED_EXIT
from vitscale.sweeps.store import Store
from vitscale.sweeps.wire import trial_to_dict

_CALIBRATION_LIMIT_S = 600.0


@dataclasses.dataclass(frozen=True)
class Gang:
    """Hosts that train each trial together: where the first is found, how many, and which this one is."""

    coordinator: str
    hosts: int
    host: int


@dataclasses.dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    slot: int
    ready: bool = False
    trial_ids: list[str] = dataclasses.field(default_factory=list)
    """Of the trials under way: one, or several that it trains together."""
    core_seconds: float = 0.0
    """Of those trials, as last heard."""
    log: Path | None = None
    unread: bytes = b""


class LocalEngine:
    """Worker processes on this machine; as a context manager it ends them on leaving.

    - `workers`: how many; by default one for each accelerator, or else one for each usable core.
    - `threads`: of each worker, where there is no accelerator.
    - `runner`: what runs a trial; "simulated" only sleeps.
    - `execution`: how workers compute.
    - `pack`: how many trials that differ in seed and learning rate alone a worker trains together, in
      one vectorised step: for nets too small to fill an accelerator.
    - `checkpoint_seconds`: what a kill may cost.
    - `all_devices`: every worker has all accelerators of this machine.
    - `gang`: the hosts with which its one worker trains each trial.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        threads: int = 1,
        runner: Runner = "train",
        execution: Execution | None = None,
        pack: int = 1,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
        all_devices: bool = False,
        gang: Gang | None = None,
    ) -> None:
        if not checkpoint_seconds > 0:
            raise ValueError(f"checkpoint_seconds={checkpoint_seconds:g} is no time; use 1 or more")
        if threads < 1 or pack < 1 or (workers is not None and workers < 1):
            raise ValueError(
                f"workers={workers}, threads={threads} and pack={pack} must be 1 or more"
            )
        self._devices = accelerators() if runner == "train" else []
        if all_devices and self._devices:
            self._devices = [",".join(self._devices)]
        self._gang = gang
        default = len(self._devices) or max(1, usable_cores() // threads)
        self.workers = workers or default
        self._threads = threads
        self._runner: Runner = runner
        self._execution = execution or Execution()
        self._checkpoint_seconds = checkpoint_seconds
        self.pack = pack
        self._checked: set[Recipe] = set()
        self._queue: list[tuple[Trial, Store]] = []
        self._pool: list[_Worker] = []
        self._unheard: list[tuple[_Worker, dict]] = []
        """What other workers said while one was being stopped."""
        self._put_back: list[Attempt] = []
        """Ends of trials that went with one that was cancelled, for the next poll."""
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def capacity(self) -> int:
        under_way = sum(len(worker.trial_ids) for worker in self._pool)
        return self.workers * self.pack - under_way - len(self._queue)

    def check(self, trial: Trial) -> None:
        """Raise `ValueError`, with the way out, where `trial` cannot be trained here."""
        recipe = dataclasses.replace(trial.recipe, seed=0)
        if self._runner == "train" and recipe not in self._checked:
            from vitscale.scaling.data.catalog import check_trainable

            check_trainable(recipe)  # which may read a folder of a million images
            self._checked.add(recipe)

    def check_store(self, where: str | Path) -> None:
        """Raise `ValueError`, with the way out, where trials cannot be trained into the store at `where`."""
        check_shared(where, 1 if self._gang is None else self._gang.hosts)

    def submit(self, trial: Trial, store: Store) -> None:
        """Start one attempt at `trial`.

        Raises `ValueError` where its data cannot be had or the store is not for the hosts of a gang,
        `RuntimeError` where there is no room.
        """
        self.check(trial)
        self.check_store(store.name)
        if self.capacity() < 1:
            raise RuntimeError(f"all {self.workers} workers are busy; poll until one is free")
        self._queue.append((trial, store))
        if self.pack == 1:
            self._start_waiting()

    def _start_waiting(self) -> None:
        """Hand waiting trials to workers that are free, together where that is possible."""
        while self._queue and sum(bool(w.trial_ids) for w in self._pool) < self.workers:
            together, store = packed_together(self._queue, self.pack)
            first = together[0]
            self._queue = [(t, s) for t, s in self._queue if t not in together or s is not store]
            worker = self._idle_worker(store.log_path(first.id))
            worker.trial_ids, worker.core_seconds = [trial.id for trial in together], 0.0
            worker.log = store.log_path(first.id)
            trials = [trial_to_dict(trial) for trial in together]
            self._request(worker, {"trials": trials, "store": store.address})

    def poll(self, timeout: float) -> list[Progress | Attempt]:
        """What the workers said, and which of them died.

        Raises `RuntimeError` with the end of its log where a worker cannot even start.
        """
        self._start_waiting()
        events: list[Progress | Attempt] = [*self._put_back]
        unheard, self._unheard, self._put_back = self._unheard, [], []
        for worker, values in unheard or self._events(0.0 if events else timeout):
            match values.pop("event"):
                case "progress":
                    worker.core_seconds = values.pop("core_seconds")
                    events.append(Progress(**values))
                case "attempt":
                    attempt = Attempt(**values)
                    worker.trial_ids.remove(attempt.trial_id)
                    events.append(attempt)
                case "died":
                    events += _losses(worker, values["code"])
        return events

    def cancel(self, trial_id: str | None = None, *, grace_seconds: float = 0.0) -> set[str]:
        """Ask the workers of one trial, or all, to save and go, wait that long at most, and end them; gives the ids of
        the trials under way that were not saved.

        What was trained together with that one trial goes with its worker: the next poll says that it was preempted.
        """
        self._queue = [(t, s) for t, s in self._queue if trial_id not in (None, t.id)]
        self._put_back = [a for a in self._put_back if trial_id not in (None, a.trial_id)]
        leaving = [w for w in self._pool if trial_id is None or trial_id in w.trial_ids]
        self._unheard = [event for event in self._unheard if event[0] not in leaving]
        if grace_seconds > 0:
            for worker in leaving:
                worker.process.terminate()
        deadline = time.monotonic() + grace_seconds
        last_words: list[tuple[_Worker, dict]] = []
        while any(w in self._pool for w in leaving) and time.monotonic() < deadline:
            for worker, values in self._events(0.1):
                (last_words if worker in leaving else self._unheard).append((worker, values))
        for worker in leaving:
            if worker in self._pool:
                self._end(worker)
            if trial_id is not None:
                cost = worker.core_seconds / len(worker.trial_ids)
                self._put_back += packmates(worker.trial_ids, trial_id, cost)
        return _unsaved(leaving, last_words)

    def calibrate(self, trials: Sequence[Trial]) -> Speed:
        """The speed of a worker while all of them work, measured on `trials` in some seconds.

        Raises `RuntimeError` with the reason where it cannot be measured.
        """
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "calibration.log"
            workers = [self._start(slot, log) for slot in range(len(self._pool), self.workers)]
            for worker in workers or self._pool:
                self._request(worker, {"calibrate": [trial_to_dict(trial) for trial in trials]})
            speeds: list[Speed] = []
            deadline = time.monotonic() + _CALIBRATION_LIMIT_S
            while len(speeds) < len(workers or self._pool):
                for _, values in self._events(1.0):
                    event = values.pop("event")
                    if event == "speed":
                        speeds.append(Speed(**values))
                    elif event in ("error", "died"):
                        self.cancel()
                        reason = values.get("reason") or log_tail(log)
                        raise RuntimeError(f"the speed could not be measured: {reason}")
                if time.monotonic() > deadline:
                    self.cancel()
                    raise RuntimeError(
                        f"the speed could not be measured within {_CALIBRATION_LIMIT_S:.0f} s"
                    )
        return Speed(
            compile_seconds=_mean([speed.compile_seconds for speed in speeds]),
            step_overhead_seconds=_mean([speed.step_overhead_seconds for speed in speeds]),
            flops_per_second=_mean([speed.flops_per_second for speed in speeds]),
        )

    def _idle_worker(self, log: Path) -> _Worker:
        for worker in self._pool:
            if not worker.trial_ids and worker.process.poll() is None:
                return worker
        used = {worker.slot for worker in self._pool}
        slot = next(i for i in range(self.workers + len(used)) if i not in used)
        return self._start(slot, log)

    def _start(self, slot: int, log: Path) -> _Worker:
        """A new worker, whose output goes to `log` until its first trial begins."""
        command = [sys.executable, "-m", "vitscale.sweeps.worker"]
        command += ["--runner", self._runner, "--parent", str(os.getpid())]
        command += ["--checkpoint-seconds", str(self._checkpoint_seconds)]
        command += ["--execution", json.dumps(dataclasses.asdict(self._execution))]
        if self._gang is not None:
            command += ["--gang", json.dumps(dataclasses.asdict(self._gang))]
        device = self._devices[slot % len(self._devices)] if self._devices else None
        shared = self.workers > len(self._devices)
        with open(log, "ab") as log_file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                env=worker_environment(self._threads, device, shared=shared),
            )
        worker = _Worker(process=process, slot=slot, log=log)
        self._pool.append(worker)
        self._selector.register(_pipe(process.stdout), selectors.EVENT_READ, worker)
        return worker

    def _request(self, worker: _Worker, request: dict) -> None:
        try:
            pipe = _pipe(worker.process.stdin)
            pipe.write(json.dumps(request).encode() + b"\n")
            pipe.flush()
        except BrokenPipeError:
            pass  # it died this moment, as the next poll will tell

    def _events(self, timeout: float) -> list[tuple[_Worker, dict]]:
        """What each worker wrote since the last call; one that ended gives a last event, "died"."""
        if not self._pool:
            time.sleep(timeout)
            return []
        found = []
        for key, _ in self._selector.select(timeout):
            worker: _Worker = key.data
            chunk = os.read(key.fd, 1 << 16)
            *lines, worker.unread = (worker.unread + chunk).split(b"\n")
            for line in lines:
                values = json.loads(line)
                if values["event"] == "ready":
                    worker.ready = True
                else:
                    found.append((worker, values))
            if not chunk:
                found.append((worker, {"event": "died", "code": self._end(worker)}))
                self._refuse_unstartable(worker)
        return found

    def _end(self, worker: _Worker) -> int:
        """Kill a worker, which costs it the steps since its last checkpoint; gives its exit code."""
        self._selector.unregister(_pipe(worker.process.stdout))
        self._pool.remove(worker)
        worker.process.kill()
        code = worker.process.wait()
        _pipe(worker.process.stdout).close()
        try:
            _pipe(worker.process.stdin).close()
        except BrokenPipeError:
            pass  # what was buffered for it is of no use any more
        return code

    def _refuse_unstartable(self, worker: _Worker) -> None:
        """Every trial would fail alike where a worker ends, by itself, before it is ready."""
        if worker.ready or worker.process.returncode < 0:
            return
        self.cancel()
        raise RuntimeError(
            f"a worker process could not start (exit code {worker.process.returncode}); the end of "
            f"its log says:\n{log_tail(worker.log)}"
        )


def packed_together(waiting: Sequence[tuple[Trial, Store]], most: int) -> tuple[list[Trial], Store]:
    """Of waiting trials the first, and others that can be trained with it."""
    first, store = waiting[0]
    alike = [
        trial for trial, into in waiting if trial.packing_key == first.packing_key and into is store
    ]
    return alike[:most], store


def packmates(together: Sequence[str], cancelled: str, core_seconds: float) -> list[Attempt]:
    """The ends of the other trials of a pack, of which one was cancelled; `core_seconds` are those of each."""
    return [
        Attempt(
            trial_id=trial_id,
            outcome="preempted",
            reason=f"it was trained together with {cancelled}, which was cancelled",
            core_seconds=core_seconds,
        )
        for trial_id in together
        if trial_id != cancelled
    ]


def log_tail(path: Path | None, lines: int = 20) -> str:
    """The last lines of a log, or an empty string where there is none."""
    try:
        with open(path or os.devnull, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 8_192))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _unsaved(leaving: list[_Worker], last_words: list[tuple[_Worker, dict]]) -> set[str]:
    """Trials of workers that were asked to go that were not saved, by what these said last."""
    # One that is not ready has not begun.
    unsaved = {trial_id for worker in leaving if worker.ready for trial_id in worker.trial_ids}
    failed: set[str] = set()
    for worker, values in last_words:
        if values["event"] == "attempt":
            ended = values["outcome"] in ("done", "busy", "preempted")
            (unsaved.discard if ended else failed.add)(values["trial_id"])
        elif values["event"] == "died" and values["code"] == PREEMPTED_EXIT:
            # Where there is nothing to save at that moment, a worker goes without a word.
            unsaved -= set(worker.trial_ids) - failed
    return unsaved


def _losses(worker: _Worker, code: int) -> list[Attempt]:
    """The attempts of a worker that died."""
    reason = f"its process ended with exit code {code}"
    if code == PREEMPTED_EXIT:
        reason = "its process was asked to go"
    if code < 0:
        reason = f"its process was killed by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            reason += ", perhaps for want of memory"
    return [
        Attempt(
            trial_id=trial_id,
            outcome="preempted" if code == PREEMPTED_EXIT else "lost",
            reason=reason,
            core_seconds=worker.core_seconds / len(worker.trial_ids),
        )
        for trial_id in worker.trial_ids
    ]


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
