"""Measuring by a law instead of training: rehearse a sweep, study a design, test the machinery."""

import json
import os
import time
from collections.abc import Callable, Collection, Mapping

import numpy as np

from vitscale.scaling.failpoints import failpoint
from vitscale.scaling.measurement import Measurement
from vitscale.scaling.progress import MeasurementSink, Progress
from vitscale.scaling.recipe import Trial
from vitscale.scaling.rows import row
from vitscale.sweeps.engines.engine import Attempt
from vitscale.sweeps.engines.laws import Law as Law
from vitscale.sweeps.engines.laws import Noise as Noise
from vitscale.sweeps.engines.laws import published_arm_law as published_arm_law
from vitscale.sweeps.engines.laws import small_law as small_law
from vitscale.sweeps.files import StoreError
from vitscale.sweeps.store import Store


def simulate(
    trial: Trial,
    store: MeasurementSink,
    *,
    law: Law = small_law,
    noise: Noise | None = None,
    metric: str = "simulated_error",
    step_seconds: float = 0.0,
    on_progress: Callable[[Progress], None] | None = None,
) -> None:
    """Stand in for training: spend `step_seconds` for each step, then measure by `law`.

    Like training it does only the durations that are missing, keeps a checkpoint (every 10 steps),
    and goes on from it after a kill.
    """
    noise = noise or Noise()
    done = store.measured(trial)
    missing = [duration for duration in trial.durations if duration not in done]
    folder = store.checkpoint_dir(trial)
    step = start = _read_step(folder)
    total = trial.spent_steps({*done, *missing}) - start
    for duration in missing:
        needed = trial.spent_steps({*done, duration})
        while step_seconds and step < needed:
            failpoint("simulated.step")
            time.sleep(step_seconds)
            step += 1
            if step % 10 == 0:
                _write_step(folder, step)
            if on_progress is not None:
                on_progress(
                    Progress(
                        trial_id=trial.id,
                        phase="trunk",
                        step=step - start,
                        total_steps=total,
                        examples_per_second=trial.recipe.batch_size / step_seconds,
                    )
                )
        value = law(trial, duration) * noise.factor(trial, duration)
        store.append(trial, duration, [simulated_row(trial, duration, done, metric, value)])
        done.add(duration)
    store.forget_checkpoints(trial)


class SimulatedEngine:
    """An engine that measures by `law` in this process, as soon as it is asked."""

    pack = 1

    def __init__(
        self,
        law: Law = small_law,
        *,
        noise: Noise | None = None,
        metric: str = "simulated_error",
        workers: int = 64,
    ) -> None:
        self._law = law
        self._noise = noise
        self._metric = metric
        self._workers = workers
        self._waiting: dict[str, tuple[Trial, Store]] = {}

    def capacity(self) -> int:
        return self._workers - len(self._waiting)

    def submit(self, trial: Trial, store: Store) -> None:
        if self.capacity() < 1:
            raise RuntimeError(f"all {self._workers} workers are busy; poll until one is free")
        self._waiting[trial.id] = (trial, store)

    def poll(self, timeout: float) -> list[Progress | Attempt]:
        if not self._waiting:
            time.sleep(timeout)
        waiting, self._waiting = self._waiting, {}
        return [self._attempt(trial, store) for trial, store in waiting.values()]

    def cancel(self, trial_id: str | None = None, *, grace_seconds: float = 0.0) -> set[str]:
        for key in list(self._waiting) if trial_id is None else [trial_id]:
            self._waiting.pop(key, None)
        return set()  # none of them had begun

    def _attempt(self, trial: Trial, store: Store) -> Attempt:
        try:
            with store.lock(trial) as free:
                if not free:
                    return Attempt(trial_id=trial.id, outcome="busy")
                simulate(trial, store, law=self._law, noise=self._noise, metric=self._metric)
        except StoreError as error:
            return Attempt(trial_id=trial.id, outcome="unstorable", reason=str(error))
        return Attempt(trial_id=trial.id, outcome="done")


def simulated_row(
    trial: Trial, duration: int, done: Collection[int], metric: str, value: float
) -> Measurement:
    """A simulated measurement, which its `device` says it is; `done` were measured before it."""
    finite = bool(np.isfinite(value))
    paid = trial.spent_flops(done) if done else 0.0
    return row(
        trial,
        duration,
        spent_flops=trial.spent_flops({*done, duration}) - paid,
        status="ok" if finite else "diverged",
        reason="" if finite else f"the law gives {value}",
        metric=metric,
        value=float(value) if finite else None,
        value_sd=None,
        draws=1,
        train_seconds=0.0,
        eval_seconds=0.0,
        device="simulated",
    )


def _read_step(folder: os.PathLike) -> int:
    try:
        with open(os.path.join(folder, "step.json"), encoding="utf-8") as file:
            saved: Mapping = json.load(file)
            return int(saved["step"])
    except FileNotFoundError:
        return 0


def _write_step(folder: os.PathLike, step: int) -> None:
    aside = os.path.join(folder, "step.json.aside")
    with open(aside, "w", encoding="utf-8") as file:
        json.dump({"step": step}, file)
    os.replace(aside, os.path.join(folder, "step.json"))
