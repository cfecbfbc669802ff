"""Run a trial: one trunk, a cooldown branch for each duration, and what each branch measures."""

import contextlib
import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import jax
import numpy as np
from jaxtyping import Array, PyTree
from scipy import special

import vitscale
from vitscale.scaling.checkpoint import CheckpointLine, Saved
from vitscale.scaling.evaluate import fewshot
from vitscale.scaling.measurement import METRIC_VERSION, Measurement
from vitscale.scaling.models.vit import BlockLayout
from vitscale.scaling.progress import MeasurementSink, Phase, Progress, Speed
from vitscale.scaling.recipe import TRUNK_SCHEDULES, Trial
from vitscale.scaling.schedule import NEVER
from vitscale.scaling.train import Run, Training, chance_loss, training_for

CHECKPOINT_SECONDS = 20.0
"""A kill loses at most this much training, and the step window under way."""

WINDOW_STEPS = 50
"""Steps between looks at the loss: where progress is told and divergence noticed."""

_DIVERGED = 2.0  # times the loss of a model that knows nothing
_FORWARD_BATCH = 512


class DivergedError(Exception):
    """The loss of a trial is NaN, infinite, or far above that of a model that knows nothing."""


def run_trial(
    trial: Trial,
    store: MeasurementSink,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    layout: BlockLayout | None = None,
) -> None:
    """Train `trial` and append what it measures to `store`, each duration as it ends.

    Durations that the store holds are skipped. A trial killed at any moment and run again goes on from
    its last checkpoint and ends in the same numbers as one left alone. Where the loss diverges, every
    duration still to come is recorded as `diverged`, with the reason.

    Raises `ValueError` where the recipe names data or an optimizer that cannot be trained here.
    """
    done = store.measured(trial)
    remaining = [duration for duration in trial.durations if duration not in done]
    if remaining:
        with contextlib.ExitStack() as stack:
            runner = _Runner(
                trial, store, remaining, on_progress, checkpoint_seconds, layout, stack
            )
            try:
                for duration in remaining:
                    runner.measure(duration)
            except DivergedError as error:
                runner.record_divergence(str(error))
    store.forget_checkpoints(trial)


class _Runner:
    """The state of one call of `run_trial`: where the trunk is, what has been spent, whom to tell."""

    def __init__(
        self,
        trial: Trial,
        store: MeasurementSink,
        remaining: Sequence[int],
        on_progress: Callable[[Progress], None] | None,
        checkpoint_seconds: float,
        layout: BlockLayout | None,
        stack: contextlib.ExitStack,
    ):
        self._trial, self._store = trial, store
        self._remaining = list(remaining)
        self._tell = on_progress or (lambda progress: None)
        self._checkpoint_seconds = checkpoint_seconds
        self._stack = stack
        self._steps_told = 0
        self._total_steps = trial.spent_steps(remaining)
        self._rate: float | None = None
        self._loss: float | None = None
        self._report("compile", 0)
        self._training = training_for(trial.shape, trial.recipe, layout)
        start = self._training.init(trial.recipe.seed)
        self._trunk_line = self._line("trunk")
        # What the trunk has passed cannot be cooled down from it any more, so resume no later than
        # the first duration that is still missing.
        first = trial.trunk_steps(self._remaining[0])
        saved = self._trunk_line.newest(start, up_to_step=first)
        self._trunk = saved or Saved(start, 0.0)
        self._total_steps -= int(self._trunk.state.step)
        # What the trunk has been charged for; a trunk that starts anew is paid for anew.
        done = [trial.trunk_steps(d) for d in trial.durations if d < self._remaining[0]]
        self._charged_step = min(max(done, default=0), int(self._trunk.state.step))
        self._saved_at = time.monotonic()
        self._compiled = False

    def measure(self, duration: int) -> None:
        """Bring the trunk to where the cooldown of `duration` starts, cool down, evaluate, append."""
        trial = self._trial
        run = self._run(NEVER if self._branches else trial.steps(duration), 0)
        self._trunk = self._train(
            self._trunk, run, trial.trunk_steps(duration), "trunk", self._trunk_line
        )
        cooled = self._trunk
        line = None
        if self._branches:
            line = self._line(f"cooldown-{duration}")
            steps = trial.steps(duration)
            # The branch takes over its buffers step by step; the trunk must keep its own.
            branch = line.newest(cooled.state, up_to_step=steps) or Saved(
                jax.tree.map(lambda x: x.copy(), cooled.state), cooled.seconds
            )
            self._total_steps -= int(branch.state.step) - trial.trunk_steps(duration)
            run = self._run(steps, steps - trial.trunk_steps(duration))
            cooled = self._train(branch, run, steps, "cooldown", line)
        self._evaluate_and_append(duration, cooled)
        self._remaining.remove(duration)
        if line:
            line.delete()

    @property
    def _branches(self) -> bool:
        return self._trial.recipe.schedule in TRUNK_SCHEDULES

    def _line(self, name: str) -> CheckpointLine:
        line = CheckpointLine(self._store.checkpoint_dir(self._trial) / name)
        self._stack.callback(line.close)
        return line

    def _run(self, total_steps: float, cooldown_steps: int) -> Run:
        # Fixed types, so that trunk and cooldown share one compiled step.
        return Run(
            seed=np.uint32(self._trial.recipe.seed),
            peak_learning_rate=np.float32(self._trial.recipe.peak_learning_rate(self._trial.shape)),
            total_steps=np.float32(total_steps),
            cooldown_steps=np.float32(cooldown_steps),
        )

    def _train(
        self, start: Saved, run: Run, until: int, phase: Phase, line: CheckpointLine
    ) -> Saved:
        """Train from `start` to step `until`, saving to `line` every `checkpoint_seconds`.

        The first step of a process compiles; it is left out of the seconds.
        """
        state, seconds = start
        step = int(state.step)
        began = time.monotonic()
        while step < until:
            window_began = time.monotonic()
            window = min(WINDOW_STEPS - step % WINDOW_STEPS, until - step)
            losses = []
            for _ in range(window):
                state, loss = self._training.step(state, run)
                losses.append(loss)
                if not self._compiled:
                    loss.block_until_ready()
                    self._compiled = True
                    began = window_began = time.monotonic()
            step += window
            self._check_loss(np.asarray(jax.device_get(losses)), step)
            now = time.monotonic()
            self._rate = window * self._trial.recipe.batch_size / (now - window_began)
            self._report(phase, window)
            if now - self._saved_at >= self._checkpoint_seconds:
                if line is not self._trunk_line:
                    self._trunk_line.save(self._trunk)  # or the way to this branch would be lost
                line.save(Saved(state, seconds + now - began))
                self._saved_at = time.monotonic()
        return Saved(state, seconds + time.monotonic() - began)

    def _check_loss(self, losses: np.ndarray, step: int) -> None:
        self._loss = float(losses.mean())
        limit = _DIVERGED * chance_loss(self._trial.recipe.loss, self._training.classes)
        if not math.isfinite(self._loss) or self._loss > limit:
            raise DivergedError(
                f"loss {self._loss:.4g} at step {step}, where knowing nothing gives "
                f"{limit / _DIVERGED:.4g}; try a smaller learning rate than "
                f"{self._trial.recipe.peak_learning_rate(self._trial.shape):.3g}"
            )

    def _report(self, phase: Phase, steps: int) -> None:
        self._steps_told += steps
        self._tell(
            Progress(
                trial_id=self._trial.id,
                phase=phase,
                step=self._steps_told,
                total_steps=self._total_steps,
                loss=self._loss,
                examples_per_second=self._rate,
            )
        )

    def _evaluate_and_append(self, duration: int, cooled: Saved) -> None:
        self._report("evaluate", 0)
        began = time.monotonic()
        metrics = list(evaluate(self._training, cooled.state.params))
        seconds = time.monotonic() - began
        spent_steps = self._trial.steps(duration) - self._charged_step
        rows = [
            self._row(
                duration,
                spent_steps=spent_steps,
                metric=metric,
                value=value,
                value_sd=value_sd,
                draws=draws,
                train_seconds=cooled.seconds,
                eval_seconds=seconds,
            )
            for metric, value, value_sd, draws in metrics
        ]
        self._store.append(self._trial, duration, rows)
        self._charged_step = self._trial.trunk_steps(duration)

    def record_divergence(self, reason: str) -> None:
        """One `diverged` row for every duration that the trial can no longer reach; the first of
        them bears the cost."""
        spent_steps = self._steps_told
        for duration in self._remaining:
            row = self._row(
                duration,
                spent_steps=spent_steps,
                status="diverged",
                reason=reason,
                metric="",
                value=None,
                value_sd=None,
                draws=0,
                train_seconds=self._trunk.seconds,
                eval_seconds=0.0,
            )
            self._store.append(self._trial, duration, [row])
            spent_steps = 0

    def _row(self, duration: int, *, spent_steps: int, **values) -> Measurement:
        trial, recipe, shape = self._trial, self._trial.recipe, self._trial.shape
        fields = {
            "trial_id": trial.id,
            "recipe_id": recipe.id,
            "data": recipe.data,
            **dataclasses.asdict(shape),
            "image_size": recipe.image_size,
            "channels": recipe.channels,
            "readout": recipe.readout,
            "seed": recipe.seed,
            "batch_size": recipe.batch_size,
            "params": trial.params(),
            "forward_flops_per_example": trial.forward_flops_per_example(),
            "steps": trial.steps(duration),
            "examples": duration,
            "train_flops": trial.train_flops(duration),
            "spent_flops": 3.0
            * trial.forward_flops_per_example()
            * recipe.batch_size
            * spent_steps,
            "status": "ok",
            "reason": "",
            "metric_version": METRIC_VERSION,
            "device": jax.devices()[0].device_kind,
            "vitscale_version": vitscale.__version__,
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        return Measurement(**(fields | values))


def evaluate(
    training: Training, params: PyTree[Array]
) -> Iterator[tuple[str, float, float | None, int]]:
    """Every metric of a cooled-down model: name, value, sd over random draws, number of draws.

    `upstream_loss` (softmax cross-entropy, nats) and `upstream_error` on fresh images of the training
    classes, and for each few-shot task of the source `<task>_<k>shot_error`.

    Raises `DivergedError` where the model's outputs are not finite.
    """
    images, labels = training.source.evaluation_examples()
    _, logits = forward_all(training, params, images)
    if not np.isfinite(logits).all():
        raise DivergedError("the cooled-down model gives NaN or infinity")
    log_probabilities = special.log_softmax(logits, axis=-1)
    yield "upstream_loss", -float(log_probabilities[np.arange(len(labels)), labels].mean()), None, 1
    yield "upstream_error", float(np.mean(logits.argmax(-1) != labels)), None, 1
    for name, build in training.source.fewshot_tasks.items():
        task = build()
        pool, _ = forward_all(training, params, task.pool_images)
        test, _ = forward_all(training, params, task.test_images)
        for result in fewshot.fewshot_errors(pool, task.pool_labels, test, task.test_labels):
            yield f"{name}_{result.shots}shot_error", result.error, result.sd, result.draws


def forward_all(
    training: Training, params: PyTree[Array], images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Features and logits of any number of images, in float32, one batch after the other."""
    parts = []
    for start in range(0, len(images), _FORWARD_BATCH):
        batch = images[start : start + _FORWARD_BATCH]
        # The last batch is filled up, so that one size, and one compilation, serves all.
        full = np.resize(batch, (_FORWARD_BATCH, *images.shape[1:]))
        outputs = training.forward(params, full)
        parts.append([np.asarray(x, np.float32)[: len(batch)] for x in outputs])
    features, logits = zip(*parts, strict=True)
    return np.concatenate(features), np.concatenate(logits)


def calibrate(trials: Sequence[Trial], *, steps: int = 60) -> Speed:
    """Measure, in some seconds, how fast this process trains: what estimates of time stand on.

    Times the cheapest and the dearest shape of `trials` for `steps` steps each; a step is taken to
    cost a fixed overhead plus its FLOPs at a fixed rate.
    """
    by_cost = sorted(trials, key=Trial.forward_flops_per_example)
    timed = [_time_steps(trial, steps) for trial in (by_cost[0], by_cost[-1])]
    (_, small_seconds, small_flops), (_, large_seconds, large_flops) = timed
    rate = large_flops / large_seconds
    if large_flops > small_flops and large_seconds > small_seconds:
        rate = (large_flops - small_flops) / (large_seconds - small_seconds)
    return Speed(
        compile_seconds=max(compile_seconds for compile_seconds, _, _ in timed),
        step_overhead_seconds=max(0.0, large_seconds - large_flops / rate),
        flops_per_second=rate,
    )


def _time_steps(trial: Trial, steps: int) -> tuple[float, float, float]:
    """Seconds to compile, seconds a step (the best of a few rounds), training FLOPs a step."""
    began = time.monotonic()
    recipe = trial.recipe
    training = training_for(trial.shape, recipe)
    run = Run(np.uint32(recipe.seed), np.float32(0), np.float32(NEVER), np.float32(0))
    state, loss = training.step(training.init(recipe.seed), run)
    loss.block_until_ready()
    compile_seconds = time.monotonic() - began
    rounds = []
    for size in itertools.repeat(max(1, steps // 3), 3):
        began = time.monotonic()
        for _ in range(size):
            state, loss = training.step(state, run)
        loss.block_until_ready()
        rounds.append((time.monotonic() - began) / size)
    flops = 3.0 * trial.forward_flops_per_example() * recipe.batch_size
    return compile_seconds, min(rounds), flops
