"""Run trials: one trunk, a cooldown branch for each duration, and what each branch measures."""

import contextlib
import time
from collections.abc import Callable, Sequence

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
    cooled-down model with its duration, before it is measured. Where the loss diverges, every
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
    under the id that sorts first. Raises `ValueError` where they differ in more.
    """
    if len({trial.packing_key for trial in trials}) != 1:
        raise ValueError("trials trained together may differ in seed and learning_rate alone")
    # In one order, whatever the caller's: checkpoints hold the lanes by place.
    trials = sorted(trials, key=lambda trial: trial.id)
    store = SharedSink(store)
    measured = [store.measured(trial) for trial in trials]
    remaining = [d for d in trials[0].durations if any(d not in done for done in measured)]
    if remaining:
        with contextlib.ExitStack() as stack:
            execution = execution or Execution()
            runner = _Runner(trials, store, remaining, on_progress, on_model, execution, stack)
            runner.start(checkpoint_seconds, should_stop or (lambda: False))
            for duration in remaining:
                runner.measure(duration)
    for trial in trials:
        store.forget_checkpoints(trial)


class _Runner:
    """The state of one call of `run_trials`: where the trunk is, what has been spent, whom to tell."""

    def __init__(
        self,
        trials: Sequence[Trial],
        store: MeasurementSink,
        remaining: Sequence[int],
        on_progress: OnProgress | None,
        on_model: OnModel | None,
        execution: Execution,
        stack: contextlib.ExitStack,
    ):
        self._trials, self._trial, self._store = trials, trials[0], store
        self._remaining = list(remaining)
        self._tell = on_progress or (lambda progress: None)
        self._hand_on = on_model or (lambda duration, model: None)
        self._stack = stack
        self._steps_told = self._unpaid_steps = 0
        self._total_steps = self._trial.spent_steps(remaining)
        self._loop: Loop | None = None
        self._report("compile", 0)
        recipe = self._trial.recipe
        self._training = training_for(self._trial.shape, recipe, execution, lanes=len(trials))
        stack.enter_context(within_memory(self._trial, self._training, execution))
        self._sources: list[Source] = [source_for(trial.recipe) for trial in trials]
        limit = _DIVERGED * untrained_loss(recipe.loss, self._training.classes)
        self._lanes = [Lane(worst_loss=limit) for _ in trials]

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
        done = [trial.trunk_steps(d) for d in trial.durations if d < self._remaining[0]]
        self._unpaid_steps = reached - min(max(done, default=0), reached)

    def measure(self, duration: int) -> None:
        """Bring the trunk to where the cooldown of `duration` starts, cool down, evaluate, append."""
        try:
            if all(lane.diverged for lane in self._lanes):
                raise DivergedError
            cooled, line = self._cooled_down(duration)
        except DivergedError:
            self._append_diverged(duration)
        else:
            self._evaluate_and_append(duration, cooled, line)
            if line:
                line.delete()
        self._remaining.remove(duration)

    def _cooled_down(self, duration: int) -> tuple[Saved, CheckpointLine | None]:
        """The state at `duration`, and the line of its cooldown if it has one."""
        assert self._loop is not None
        trial, loop = self._trial, self._loop
        steps, leaves = trial.steps(duration), trial.trunk_steps(duration)
        branches = trial.recipe.schedule in TRUNK_SCHEDULES
        run = self._run(NEVER if branches else steps, 0)
        self._trunk = loop.advance(self._trunk, run, leaves, "trunk", self._trunk_line.save)
        if not branches:
            return self._trunk, None
        line = self._line(f"cooldown-{duration}")
        branch = self._branch(line, steps)
        done = step_of(branch.state) - leaves
        self._total_steps -= done
        self._unpaid_steps += done

        def save(saved: Saved) -> None:
            self._trunk_line.save(self._trunk)  # or the way to this branch would be lost
            line.save(saved)

        run = self._run(steps, steps - leaves)
        return loop.advance(branch, run, steps, "cooldown", save), line

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
        """A line of checkpoints; the first of several trials keeps those of all."""
        folder = self._store.checkpoint_dir(self._trial)
        if len(self._trials) > 1:
            folder = folder / "together-{}".format("-".join(trial.id for trial in self._trials))
        line = CheckpointLine(folder / name)
        self._stack.callback(line.close)
        return line

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
                lambda t: t.recipe.peak_learning_rate(t.shape), np.float32
            ),
            total_steps=self._each(lambda _: total_steps, np.float32),
            cooldown_steps=self._each(lambda _: cooldown_steps, np.float32),
        )

    def _each(self, value: Callable[[Trial], float], dtype: type) -> np.ndarray:
        """A number of each trial, along the axis of lanes if there is one."""
        values = np.array([value(trial) for trial in self._trials], dtype)
        return values if len(self._trials) > 1 else values.reshape(())

    def _report(self, phase: Phase, steps: int) -> None:
        self._steps_told += steps
        self._unpaid_steps += steps
        losses = [lane.loss for lane in self._lanes if lane.loss is not None] if self._loop else []
        self._tell(
            Progress(
                trial_id=self._trial.id,
                phase=phase,
                step=self._steps_told,
                total_steps=self._total_steps,
                loss=sum(losses) / len(losses) if losses else None,
                examples_per_second=self._loop.examples_per_second if self._loop else None,
                input_wait=self._loop.input_wait if self._loop else None,
            )
        )

    def _evaluate_and_append(
        self, duration: int, cooled: Saved, line: CheckpointLine | None
    ) -> None:
        self._report("evaluate", 0)
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
                self._append_one_diverged(trial, lane, duration)
                continue
            rows = measured_rows(
                trial,
                duration,
                metrics,
                spent_steps=self._unpaid_steps,
                train_seconds=cooled.seconds / len(self._trials),
                eval_seconds=time.monotonic() - began,
                device=jax.devices()[0].device_kind,
            )
            self._store.append(trial, duration, rows)
        self._unpaid_steps = 0

    def _stop_if_asked(self, cooled: Saved, line: CheckpointLine | None) -> None:
        """Stop between two metrics: an evaluator may take longer than there is left."""
        if not any_says(self._should_stop()):
            return
        self._trunk_line.save(self._trunk)
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

    def _append_diverged(self, duration: int) -> None:
        """Record a duration that no trial can reach any more; the first such bears the cost."""
        for trial, lane in zip(self._trials, self._lanes, strict=True):
            self._append_one_diverged(trial, lane, duration)
        self._unpaid_steps = 0

    def _append_one_diverged(self, trial: Trial, lane: Lane, duration: int) -> None:
        untrained = lane.worst_loss / _DIVERGED
        rate = trial.recipe.peak_learning_rate(trial.shape)
        reason = (
            f"{lane.diverged}, where an untrained model has {untrained:.4g}; try a smaller "
            f"learning rate than {rate:.3g}"
        )
        row = diverged_row(
            trial,
            duration,
            reason,
            spent_steps=self._unpaid_steps,
            train_seconds=self._trunk.seconds / len(self._trials),
            device=jax.devices()[0].device_kind,
        )
        self._store.append(trial, duration, [row])
