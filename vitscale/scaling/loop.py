"""The training loop: a state from one step to another, watched, saved, and stopped when asked.

The loop never waits for a step that it has just dispatched: losses are looked at one window late,
while the device works on the next, and checkpoints are written beside training.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from vitscale.scaling.checkpoint import Saved, step_of
from vitscale.scaling.data.batch import Batch, Source
from vitscale.scaling.feed import device_batches
from vitscale.scaling.hosts import agree
from vitscale.scaling.progress import Phase
from vitscale.scaling.train import Run, Training, TrainState

JUDGED_STEPS = 50
"""Divergence is judged on the mean loss of this many steps in a row, and of no fewer: where training was
resumed in between, the rest of them says nothing."""

_WINDOW_SECONDS, _WINDOW_STEPS = 1.0, 50


class DivergedError(Exception):
    """The loss of a trial is NaN, infinite, or far above that of a model that knows nothing."""


class PreemptedError(Exception):
    """Training was asked to stop, and has saved what it had: the same call goes on from there."""


@dataclasses.dataclass
class Lane:
    """One trial of those that are trained together: its loss so far, and why it diverged."""

    worst_loss: float
    """Mean loss above which training counts as diverged."""
    loss: float | None = None
    diverged: str = ""
    unjudged: list[float] = dataclasses.field(default_factory=list)
    last_step: int = 0

    def look(self, losses: Float[np.ndarray, " steps"], last_step: int) -> None:
        """Take in the losses of the steps up to `last_step`."""
        self.loss = float(losses.mean())
        steps = range(last_step - len(losses) + 1, last_step + 1)
        if steps[0] != self.last_step + 1:
            self.unjudged.clear()  # they were of another branch
        self.last_step = last_step
        for loss, step in zip(losses, steps, strict=True):
            self.unjudged.append(float(loss))
            whole = len(self.unjudged) == JUDGED_STEPS
            ends = step % JUDGED_STEPS == 0
            if (ends and whole) or not math.isfinite(loss):
                mean = math.fsum(self.unjudged) / len(self.unjudged)
                if not (mean <= self.worst_loss) and not self.diverged:
                    what = f"loss {mean:.4g}"
                    if not math.isfinite(loss):
                        what = "loss or gradient not finite"
                    self.diverged = f"{what} at step {step}"
            if ends:
                self.unjudged.clear()


class _Window(NamedTuple):
    """Steps that were dispatched and not looked at yet."""

    losses: list[Array]
    last_step: int
    seconds_waited: float


@dataclasses.dataclass(kw_only=True)
class Loop:
    """What the stretches of training of one call of `run_trials` have in common.

    - `sources`, `lanes`: of each trial.
    - `report(phase, steps)`: called after every `steps` further steps.
    - `should_stop()`: asked about once a second.
    """

    training: Training
    sources: Sequence[Source]
    lanes: Sequence[Lane]
    report: Callable[[Phase, int], None]
    should_stop: Callable[[], bool]
    checkpoint_seconds: float
    examples_a_step: int
    examples_per_second: float | None = None
    input_wait: float | None = None
    """Part of its time that the last window spent waiting for data."""
    _steps_a_window: int = 1
    _compiled: bool = False
    _unseen: _Window | None = None
    _looked_at: float = 0.0
    _saved_at: float = dataclasses.field(default_factory=time.monotonic)

    def advance(
        self, start: Saved, run: Run, until: int, phase: Phase, save: Callable[[Saved], None]
    ) -> Saved:
        """Train from `start` to step `until`, handing states to `save` every `checkpoint_seconds`.

        The first step of a process compiles; it is left out of the seconds. Raises `PreemptedError`
        when asked to stop, after a last `save`.
        """
        state, seconds = start
        step = step_of(state)
        began = self._looked_at = time.monotonic()
        with contextlib.closing(self._batches(step)) as batches:
            while step < until:
                steps, save_now, stop = self._agree()
                if save_now or stop:
                    # Saving waits for these steps anyway; divergence must be known by then, as no step
                    # after it tells.
                    self._look()
                    save(Saved(state, seconds + time.monotonic() - began))
                    self._saved_at = time.monotonic()
                if stop:
                    raise PreemptedError(f"asked to stop at step {step}; it goes on from there")
                state, window = self._dispatch(state, run, batches, step, min(steps, until - step))
                self._look()
                if self._compiled:
                    self._unseen = window
                else:
                    self._judge(window)
                    self._compiled = True
                    began = self._looked_at = time.monotonic()
                steps, step = window.last_step - step, window.last_step
                self.report(phase, steps)
        self._look()
        return Saved(state, seconds + time.monotonic() - began)

    def _agree(self) -> tuple[int, bool, bool]:
        """Steps to dispatch next, whether to save before, and whether to stop, on all hosts alike."""
        due = time.monotonic() - self._saved_at >= self.checkpoint_seconds
        return agree(steps=self._steps_a_window, save=due, stop=self.should_stop())

    def _batches(self, first_step: int) -> Generator[Batch | None, None, None]:
        return device_batches(self.sources, self.training.mesh, first_step)

    def _dispatch(
        self, state: TrainState, run: Run, batches: Iterator[Batch | None], step: int, steps: int
    ) -> tuple[TrainState, _Window]:
        losses, waited = [], 0.0
        for _ in range(steps):
            asked = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - asked
            state, loss = self.training.step(state, run, batch)
            losses.append(loss)
        return state, _Window(losses, step + steps, waited)

    def _look(self) -> None:
        """Wait for the window before the one just dispatched, judge its losses, and time it."""
        if self._unseen is None:
            return
        window, self._unseen = self._unseen, None
        self._judge(window)
        now = time.monotonic()
        elapsed, self._looked_at = max(now - self._looked_at, 1e-9), now
        steps = len(window.losses)
        self.examples_per_second = steps * self.examples_a_step * len(self.lanes) / elapsed
        self.input_wait = min(1.0, window.seconds_waited / elapsed)
        wanted = int(steps / elapsed * _WINDOW_SECONDS)
        self._steps_a_window = max(1, min(wanted, 2 * steps, _WINDOW_STEPS))

    def _judge(self, window: _Window) -> None:
        """Wait for a window and judge its losses.

        Raises `DivergedError` when no lane is left that has not diverged.
        """
        losses = np.asarray(jax.device_get(window.losses)).reshape(len(window.losses), -1)
        for lane, column in zip(self.lanes, losses.T, strict=True):
            lane.look(column, window.last_step)
        if all(lane.diverged for lane in self.lanes):
            raise DivergedError(self.lanes[0].diverged)
