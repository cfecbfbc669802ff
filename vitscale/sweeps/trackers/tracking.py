"""Between the driver of a sweep, which must not wait, and trackers, which may be slow or gone.

Each tracker has a thread and a queue of its own. The driver puts what it hears there, and points of curves
only now and then; the thread looks the measurements up in the store. A tracker that fails is switched off,
and its reason is told once.
"""

import functools
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from vitscale.scaling.progress import Progress
from vitscale.scaling.recipe import Trial
from vitscale.sweeps.store import Store
from vitscale.sweeps.trackers.journal import Journal
from vitscale.sweeps.trackers.tracker import EndState, Tracker, named, point_of

_EVERY_S = 2.0
"""Between two points of a trial's curves."""
_MOST_WAITING = 1_000
"""Points of curves beyond these are dropped; what is measured never is."""
_CLOSE_S = 60.0


class Tracking:
    """All trackers of a command, by what `--track` called them."""

    def __init__(self, trackers: Mapping[str, Tracker], store: Store) -> None:
        self._messages: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._tellers = [
            _Teller(spec, tracker, store, self._messages.put) for spec, tracker in trackers.items()
        ]
        self._plan = ""
        self._heard: dict[str, tuple[float, str]] = {}
        """When a point of each running trial was last passed on, and its phase then."""

    def begin(self, plan: str, done: Sequence[Trial], *, begun_alone: bool) -> None:
        """A plan is run. What trackers lack of trials that are `done` they are told now: of all of them, or of
        those `begun_alone` that they were told of before."""
        self._plan = plan
        for teller in self._tellers:
            teller.put(functools.partial(teller.catch_up, done, plan, begun_alone))

    def hear(self, trial: Trial, progress: Progress) -> None:
        """News of a running trial."""
        if progress.phase == "compile":
            return
        now = time.monotonic()
        told_at, phase = self._heard.get(trial.id, (float("-inf"), ""))
        if progress.phase == phase and now - told_at < _EVERY_S:
            return
        self._heard[trial.id] = now, progress.phase
        plan, measured = self._plan, phase == "evaluate" != progress.phase
        step, values = point_of(trial, progress)
        for teller in self._tellers:
            if measured:
                teller.put(functools.partial(teller.measured, trial, plan))
            if values and teller.waiting < _MOST_WAITING:
                teller.put(functools.partial(teller.progress, trial, plan, step, values))

    def end(self, trial: Trial, state: EndState) -> None:
        """The run is through with a trial."""
        self._heard.pop(trial.id, None)
        plan = self._plan
        for teller in self._tellers:
            teller.put(functools.partial(teller.end, trial, plan, state))

    def messages(self) -> list[str]:
        """What is to be told to the user, each once."""
        found = []
        while not self._messages.empty():
            found.append(self._messages.get())
        return found

    def close(self, seconds: float = _CLOSE_S) -> list[str]:
        """Let trackers write what they were told, for so many seconds at most; gives the last messages."""
        for teller in self._tellers:
            teller.stop()
        until = time.monotonic() + seconds
        for teller in self._tellers:
            if not teller.join(until - time.monotonic()):
                self._messages.put(
                    f"{teller.name} did not take everything within {seconds:.0f} s; the same command "
                    f"tells it the rest"
                )
        return self.messages()


class _Teller:
    """One tracker, and the thread that alone calls it."""

    def __init__(
        self, spec: str, tracker: Tracker, store: Store, say: Callable[[str], None]
    ) -> None:
        self.name = f"--track {spec}"
        self._tracker = tracker
        self._store = store
        self._say = say
        self._journal = Journal(store, spec.partition("=")[0], tracker.place)
        self._running: set[str] = set()
        self._queue: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._failed = False
        self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How much it was told and has not passed on."""
        return self._queue.qsize()

    def put(self, task: Callable[[], object]) -> None:
        """Have the thread do `task`."""
        if not self._failed:
            self._queue.put(task)

    def stop(self) -> None:
        """Have the thread close the tracker after all else, and end."""
        self._queue.put(None)

    def join(self, seconds: float) -> bool:
        """Wait for the thread to end; gives whether it did."""
        self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()

    def catch_up(self, done: Sequence[Trial], plan: str, begun_alone: bool) -> None:
        """Tell the tracker of trials that ended while it was not told."""
        for trial in done:
            lacking = trial.id not in self._journal.ended and not begun_alone
            if lacking or trial.id in self._journal.open:
                self.end(trial, plan, "finished")

    def progress(self, trial: Trial, plan: str, step: int, values: dict[str, float]) -> None:
        self._start(trial, plan)
        self._tracker.progress(trial.id, step, values)

    def measured(self, trial: Trial, plan: str) -> bool:
        """Pass on what the store holds of `trial` and the tracker lacks; gives whether something diverged."""
        self._start(trial, plan)
        diverged = False
        for examples in sorted(self._store.measured(trial)):
            if examples in self._journal.measured(trial.id):
                continue
            values = self._store.values(trial.id, examples)
            diverged |= None in values.values()
            self._tracker.measured(trial.id, examples, named(values))
            self._journal.note_measured(trial.id, examples)
        return diverged

    def end(self, trial: Trial, plan: str, state: EndState) -> None:
        diverged = self.measured(trial, plan)
        self._tracker.end(trial.id, "diverged" if diverged and state == "finished" else state)
        self._running.discard(trial.id)
        self._journal.note_end(trial.id)

    def _start(self, trial: Trial, plan: str) -> None:
        if trial.id not in self._running:
            self._tracker.start(trial, plan)
            self._running.add(trial.id)
            self._journal.note_start(trial.id)

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            self._try(task)
        self._try(self._tracker.close)

    def _try(self, task: Callable[[], object]) -> None:
        """Do it, unless the tracker failed before; whatever it raises must not reach the sweep."""
        if self._failed:
            return
        try:
            task()
        except Exception as error:
            self._failed = True
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            reason = lines[0] if lines else type(error).__name__
            self._say(f"{self.name} failed and is switched off; the sweep goes on ({reason})")
