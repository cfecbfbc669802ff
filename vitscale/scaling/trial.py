"""Run trials: one trunk, a cooldown branch for each duration, and what each branch measures."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array, PyTree

from vitscale.scaling.checkpoint import CheckpointLine, Saved, step_of
from vitscale.scaling.data.batch import Source
from vitscale.scaling.data.sources import source_for
from vitscale.scaling.evaluate.finite import NotFiniteError
from vitscale.scaling.evaluate.frozen import FrozenModel
from vitscale.scaling.evaluate.table import evaluate
from vitscale.scaling.execution import Execution
from vitscale.scaling.hosts import SharedSink, any_says
from vitscale.scaling.loop import DivergedError, Lane, Loop, PreemptedError
from vitscale.scaling.memory import within_memory
from vitscale.scaling.objective import untrained_loss
from vitscale.scaling.progress import CHECKPOINT_SECONDS, MeasurementSink, Phase, Progress
from vitscale.scaling.recipe import TRUNK_SCHEDULES, Trial
from vitscale.scaling.restarts import paid_for_others, record_restart
from vitscale.scaling.retries import (
    Divergence,
    divergences,
    given_up_because,
    learning_rate_after,
    record_divergence,
    retried_because,
    steps_to_pay,
)
from vitscale.scaling.rows import diverged_row, measured_rows
from vitscale.scaling.schedule import NEVER
from vitscale.scaling.train import Run, training_for

_DIVERGED = 2.0  # times the loss of a model that knows nothing

OnProgress = Callable[[Progress], None]
OnModel = Callable[[int, FrozenModel], None]


def run_trial(
    trial: Trial,
    store: MeasurementSink,
    *,
    on_progress: OnProgress | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    execution: Execution | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_model: OnModel | None = None,
) -> None:
    """Train `trial` and append what it measures to `store`, each duration as it ends.

    Durations that the store holds are skipped. A trial killed at any moment and run again goes on from
    its last checkpoint and ends in the same numbers as one left alone. `on_model` is handed every
    cooled-down model with its duration, before it is measured. Where the loss diverges, the trial is
    trained anew at half the learning rate, as often as its recipe's `lr_retries` allows; then every
    duration still to come is recorded as `diverged`, with the reason.

    Raises `PreemptedError` soon after `should_stop()` turns true, with everything saved, and
    `ValueError` where the recipe names data that cannot be had or devices do not divide its batch.
    """
    run_trials(
        [trial],
        store,
        on_progress=on_progress,
        checkpoint_seconds=checkpoint_seconds,
        execution=execution,
        should_stop=should_stop,
        on_model=on_model,
    )


def run_trials(
    trials: Sequence[Trial],
    store: MeasurementSink,
    *,
    on_progress: OnProgress | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    execution: Execution | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_model: OnModel | None = None,
) -> None:
    """`run_trial` for several trials at once that differ in seed and learning rate alone: one vectorised
    step trains all, so that small nets fill a large device.

    Their numbers are those of trials run alone, up to rounding. Progress is told of all together,
    under the id that sorts first. One that diverges is left until the others are done, and then tried
    again alone, if at all. Raises `ValueError` where they differ in more.
    """
    if len({trial.packing_key for trial in trials}) != 1:
        raise ValueError("trials trained together may differ in seed and learning_rate alone")
    # In one order, whatever the caller's: checkpoints hold the lanes by place.
    trials = sorted(trials, key=lambda trial: trial.id)
    store = SharedSink(store)
    steps_told = 0

    def attempt(trials: Sequence[Trial], past: Sequence[list[Divergence]]) -> None:
        nonlocal steps_told
        going = [
            trial for trial, before in zip(trials, past, strict=True) if _goes_on(trials, before)
        ]
        missing = [_missing(store, trial) for trial in going]
        remaining = [d for d in trials[0].durations if any(d in each for each in missing)]
        if not remaining:
            return
        with contextlib.ExitStack() as stack:
            runner = _Runner(
                trials,
                past,
                store,
                remaining,
                on_progress,
                on_model,
                execution or Execution(),
                stack,
                steps_told,
            )
            runner.start(checkpoint_seconds, should_stop or (lambda: False))
            for duration in remaining:
                if not runner.measure(duration):
                    break
            steps_told = runner.steps_told

    if len(trials) > 1:
        attempt(trials, [divergences(store, trial) for trial in trials])
    for trial in trials:
        while _missing(store, trial):
            past = divergences(store, trial)
            if len(past) > trial.recipe.lr_retries:
                _give_up(trial, past, store)
            else:
                attempt([trial], [past])
    for trial in trials:
        store.forget_checkpoints(trial)


def _missing(store: MeasurementSink, trial: Trial) -> set[int]:
    return set(trial.durations) - store.measured(trial)


def _goes_on(trials: Sequence[Trial], past: Sequence[Divergence]) -> bool:
    """Whether one of `trials` that has diverged so often trains on with them."""
    return len(trials) == 1 or not past


def _give_up(trial: Trial, past: Sequence[Divergence], store: MeasurementSink) -> None:
    """Record the durations that a trial has not reached; the first of them bears what it cost."""
    untrained = untrained_loss(trial.recipe.loss, source_for(trial.recipe).classes)
    for duration in sorted(_missing(store, trial)):
        row = diverged_row(
            trial,
            duration,
            given_up_because(past, untrained),
            spent_steps=steps_to_pay(past, store.measured(trial)),
            train_seconds=past[-1].lost_seconds,
            device=jax.devices()[0].device_kind,
            learning_rate=past[-1].learning_rate,
        )
        store.append(trial, duration, [row])


class _Runner:
    """One attempt of a call of `run_trials`: where the trunk is, what has been spent, whom to tell.

    - `past`: how often each trial has diverged. Of several, those that have are not watched any more.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        past: Sequence[list[Divergence]],
        store: MeasurementSink,
        remaining: Sequence[int],
        on_progress: OnProgress | None,
        on_model: OnModel | None,
        execution: Execution,
        stack: contextlib.ExitStack,
        steps_told: int,
    ):
        self._trials, self._trial, self._store = trials, trials[0], store
        self._past = past
        # Together they are at their first attempt, or not watched.
        self._retry = len(past[0]) if len(trials) == 1 else 0
        self._remaining = list(remaining)
        self._tell = on_progress or (lambda progress: None)
        self._hand_on = on_model or (lambda duration, model: None)
        self._stack = stack
        self.steps_told, self._unpaid_steps = steps_told, 0
        self._total_steps = steps_told + self._trial.spent_steps(remaining)
        self._loop: Loop | None = None
        self._report("compile", 0)
        recipe = self._trial.recipe
        self._training = training_for(self._trial.shape, recipe, execution, lanes=len(trials))
        stack.enter_context(within_memory(self._trial, self._training, execution))
        self._sources: list[Source] = [source_for(trial.recipe) for trial in trials]
        limit = _DIVERGED * untrained_loss(recipe.loss, self._training.classes)
        self._lanes = [
            Lane(worst_loss=limit, diverged="" if _goes_on(trials, each) else each[0].reason)
            for each in past
        ]
        self._noted = [bool(lane.diverged) for lane in self._lanes]

    def start(self, checkpoint_seconds: float, should_stop: Callable[[], bool]) -> None:
        """Take up the trunk where its checkpoints have it, or at its first step."""
        trial = self._trial
        self._should_stop = should_stop
        self._loop = Loop(
            training=self._training,
            sources=self._sources,
            lanes=self._lanes,
            report=self._report,
            should_stop=should_stop,
            checkpoint_seconds=checkpoint_seconds,
            examples_a_step=trial.recipe.batch_size,
        )
        self._trunk_line = self._line("trunk")
        # What the trunk has passed cannot be cooled down from it any more, so resume no later than
        # the first duration that is still missing.
        first = trial.trunk_steps(self._remaining[0])
        self._trunk = self._newest(self._trunk_line, first) or self._first_state()
        reached = step_of(self._trunk.state)
        self._total_steps -= reached
        # Durations before have paid for the trunk; one that starts anew is paid for anew.
        past = self._past[0] if self._retry else []
        of_others = set(past[-1].measured if past else ())
        before = {d for d in trial.durations if d < self._remaining[0]}
        restarts = self._folder("anew")
        if reached:
            of_others |= paid_for_others(restarts)
        elif before:
            record_restart(restarts, before)
        done = [trial.trunk_steps(d) for d in before - of_others]
        self._unpaid_steps = reached - min(max(done, default=0), reached)
        self._unpaid_steps += steps_to_pay(past, self._store.measured(trial))

    def measure(self, duration: int) -> bool:
        """Bring the trunk to where the cooldown of `duration` starts, cool down, evaluate, append.

        Returns whether a trial is left that has not diverged.
        """
        try:
            cooled, line = self._cooled_down(duration)
        except DivergedError:
            self._note_diverged(self._trunk)
            return False
        self._evaluate_and_append(duration, cooled, line)
        if line:
            line.delete()
        self._remaining.remove(duration)
        return not all(lane.diverged for lane in self._lanes)

    def _cooled_down(self, duration: int) -> tuple[Saved, CheckpointLine | None]:
        """The state at `duration`, and the line of its cooldown if it has one."""
        assert self._loop is not None
        trial, loop = self._trial, self._loop
        steps, leaves = trial.steps(duration), trial.trunk_steps(duration)
        branches = trial.recipe.schedule in TRUNK_SCHEDULES
        run = self._run(NEVER if branches else steps, 0)
        self._trunk = loop.advance(self._trunk, run, leaves, "trunk", self._save_trunk)
        if not branches:
            return self._trunk, None
        line = self._line(f"cooldown-{duration}")
        branch = self._branch(line, steps)
        done = step_of(branch.state) - leaves
        self._total_steps -= done
        self._unpaid_steps += done

        def save(saved: Saved) -> None:
            self._save_trunk(self._trunk)  # or the way to this branch would be lost
            line.save(saved)

        run = self._run(steps, steps - leaves)
        return loop.advance(branch, run, steps, "cooldown", save), line

    def _save_trunk(self, saved: Saved) -> None:
        self._note_diverged(saved)  # the state that is saved says nothing of it
        self._trunk_line.save(saved)

    def _note_diverged(self, at: Saved) -> None:
        """Record those that have diverged since the last look, before anything says more of them."""
        for index, (trial, lane) in enumerate(zip(self._trials, self._lanes, strict=True)):
            if not lane.diverged or self._noted[index]:
                continue
            self._noted[index] = True
            what = Divergence(
                learning_rate=learning_rate_after(trial, self._retry),
                reason=lane.diverged,
                measured=tuple(sorted(self._store.measured(trial))),
                lost_steps=self._unpaid_steps
                - steps_to_pay(self._past[index], self._store.measured(trial)),
                lost_seconds=at.seconds / len(self._trials),
            )
            record_divergence(self._store, trial, self._retry + 1, what)

    def _branch(self, line: CheckpointLine, up_to_step: int) -> Saved:
        """Where a cooldown goes on, or starts: it takes over its buffers step by step, so the trunk keeps
        its own, and not in an accelerator's memory, which holds a single state then as always."""
        state, seconds = self._trunk
        aside = jax.default_backend() != "cpu" and jax.process_count() == 1
        if aside:
            self._trunk = Saved(jax.device_get(state), seconds)
            del state
        found = self._newest(line, up_to_step)
        if found is not None:
            return found
        if aside:
            return Saved(jax.device_put(self._trunk.state, self._training.shardings), seconds)
        return Saved(jax.tree.map(lambda x: x.copy(), self._trunk.state), seconds)

    def _line(self, name: str) -> CheckpointLine:
        """A line of checkpoints."""
        line = CheckpointLine(self._folder(name))
        self._stack.callback(line.close)
        return line

    def _folder(self, name: str) -> Path:
        """Of what is kept of an attempt under a name; the first of several trials keeps that of all."""
        if self._retry:
            name = f"{name}-retry-{self._retry}"
        if len(self._trials) > 1:
            # A hash, as names have an end, and no folder above it: an object store takes LINE/STEP.
            ids = "-".join(trial.id for trial in self._trials)
            name = f"together-{hashlib.sha256(ids.encode()).hexdigest()[:12]}-{name}"
        return self._store.checkpoint_dir(self._trial) / name

    def _newest(self, line: CheckpointLine, up_to_step: int) -> Saved | None:
        training = self._training
        return line.newest(training.template, training.shardings, up_to_step=up_to_step)

    def _first_state(self) -> Saved:
        return Saved(self._training.init(self._each(lambda t: t.recipe.seed, np.uint32)), 0.0)

    def _run(self, total_steps: float, cooldown_steps: int) -> Run:
        # Fixed types, so that trunk and cooldown share one compiled step.
        return Run(
            seed=self._each(lambda t: t.recipe.seed, np.uint32),
            peak_learning_rate=self._each(
                lambda t: learning_rate_after(t, self._retry), np.float32
            ),
            total_steps=self._each(lambda _: total_steps, np.float32),
            cooldown_steps=self._each(lambda _: cooldown_steps, np.float32),
        )

    def _each(self, value: Callable[[Trial], float], dtype: type) -> np.ndarray:
        """A number of each trial, along the axis of lanes if there is one."""
        values = np.array([value(trial) for trial in self._trials], dtype)
        return values if len(self._trials) > 1 else values.reshape(())

    def _report(self, phase: Phase, steps: int) -> None:
        self.steps_told += steps
        self._unpaid_steps += steps
        losses = [lane.loss for lane in self._lanes if lane.loss is not None] if self._loop else []
        self._tell(
            Progress(
                trial_id=self._trial.id,
                phase=phase,
                step=self.steps_told,
                total_steps=self._total_steps,
                loss=sum(losses) / len(losses) if losses else None,
                examples_per_second=self._loop.examples_per_second if self._loop else None,
                input_wait=self._loop.input_wait if self._loop else None,
                together=len(self._trials),
            )
        )

    def _evaluate_and_append(
        self, duration: int, cooled: Saved, line: CheckpointLine | None
    ) -> None:
        self._report("evaluate", 0)
        self._note_diverged(cooled)
        for index, (trial, lane) in enumerate(zip(self._trials, self._lanes, strict=True)):
            began = time.monotonic()
            model = FrozenModel(
                shape=trial.shape,
                recipe=trial.recipe,
                classes=self._training.classes,
                params=self._params(cooled, index),
                forward=self._training.forward,
            )
            metrics = []
            try:
                if not lane.diverged:
                    self._stop_if_asked(cooled, line)
                    self._hand_on(duration, model)
                    for metric in evaluate(model, self._sources[index]):
                        metrics.append(metric)
                        self._stop_if_asked(cooled, line)
            except NotFiniteError as error:
                # The loss of a batch is taken before its update: the last one shows only here.
                lane.diverged = str(error)
            if lane.diverged:
                self._note_diverged(cooled)
                continue
            learning_rate = learning_rate_after(trial, self._retry)
            rows = measured_rows(
                trial,
                duration,
                metrics,
                spent_steps=self._unpaid_steps,
                train_seconds=cooled.seconds / len(self._trials),
                eval_seconds=time.monotonic() - began,
                device=jax.devices()[0].device_kind,
                learning_rate=learning_rate,
                reason=retried_because(self._past[index], learning_rate),
            )
            self._store.append(trial, duration, rows)
        self._unpaid_steps = 0

    def _stop_if_asked(self, cooled: Saved, line: CheckpointLine | None) -> None:
        """Stop between two metrics: an evaluator may take longer than there is left."""
        if not any_says(self._should_stop()):
            return
        self._save_trunk(self._trunk)
        if line:
            line.save(cooled)
        step = step_of(cooled.state)
        raise PreemptedError(
            f"asked to stop at step {step}, while measuring; it goes on from there"
        )

    def _params(self, saved: Saved, index: int) -> PyTree[Array]:
        if len(self._trials) == 1:
            return saved.state.params
        return jax.tree.map(lambda x: x[index], saved.state.params)
