"""Measuring by a law instead of training: rehearse a sweep, study a design, test the machinery."""

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping

import numpy as np

from vitscale.scaling.failpoints import failpoint
from vitscale.scaling.measurement import Measurement
from vitscale.scaling.progress import MeasurementSink, Progress
from vitscale.scaling.recipe import Trial
from vitscale.scaling.rows import row
from vitscale.sweeps.engines.engine import Attempt
from vitscale.sweeps.files import StoreError
from vitscale.sweeps.plan import StarSweep
from vitscale.sweeps.store import Store

Law = Callable[[Trial, int], float]
"""Error of a trial's model after a number of examples; not finite: the trial diverges there."""

# The 10-shot fits of Getting ViT in Shape, eq. (2), recovered from the curves of its Figure 5: for
# each dimension alpha, a, beta, b, xi, c, eps, with compute in forward GFLOPs x images.
_PUBLISHED = {
    "width": (100.606561, 30 / 29, 2.42272307, 50 / 29, 473294.713, 18 / 29, 12 / 70),
    "depth": (0.616318536, 20 / 29, 102965.505, 22 / 29, 0.0, 18 / 29, 11 / 70),
    "mlp_dim": (0.363526512, 2 / 29, 419.027002, 36 / 29, 23785437.1, 22 / 29, 3 / 70),
}


def published_arm_law(star: StarSweep) -> Law:
    """SoViT's published 10-shot fits, for a star through its centre: each arm follows the law of
    its own dimension, and the centre their mean (the three differ by 0.6% there)."""

    def law(trial: Trial, examples: int) -> float:
        compute = trial.forward_flops_per_example() * examples / 1e9
        dimension = star.dimension_of(trial.shape)
        errors = []
        for name in star.arms if dimension is None else [dimension]:
            alpha, a, beta, b, xi, c, eps = _PUBLISHED[name]
            size = getattr(trial.shape, name)
            errors.append(alpha * size**-a + (beta * size**b + xi) * compute**-c + eps)
        return sum(errors) / len(errors)

    return law


# Size that is best at 1e11 training FLOPs, a, b: made up for networks of a CPU's size, with
# exponents s = 0.65 / (a + b) near the published 0.24, 0.46, 0.59.
_SMALL = {"width": (16, 0.9, 1.8), "depth": (2, 0.6, 0.8), "mlp_dim": (32, 0.4, 0.7)}


def small_law(trial: Trial, examples: int) -> float:
    """A made-up law of the form of SoViT's eq. (3), for any trial of a CPU's size."""
    decay = (trial.train_flops(examples) / 1e11) ** -0.65
    error = 0.1 + 0.05 * decay
    for dimension, (best, a, b) in _SMALL.items():
        size = getattr(trial.shape, dimension) / best
        error += 0.1 * (size**-a + a / b * size**b * decay)
    return error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noise:
    """Relative Gaussian noise of a measurement.

    `own` is drawn for each measurement, `shared` once for each trial (its durations share a trunk).
    The draws depend on `seed` and the trial alone, so that every rehearsal gives the same numbers.
    """

    own: float = 0.0
    shared: float = 0.0
    seed: int = 0

    def factor(self, trial: Trial, examples: int) -> float:
        """What the law's value is multiplied by."""
        own = self._generator(trial.id, examples).standard_normal()
        shared = self._generator(trial.id, 0).standard_normal()
        return 1.0 + self.own * own + self.shared * shared

    def _generator(self, trial_id: str, examples: int) -> np.random.Generator:
        digest = hashlib.sha256(f"{self.seed}/{trial_id}/{examples}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big"))


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
        store.append(trial, duration, [_row(trial, duration, done, metric, value)])
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
        self._waiting[trial.id] = (trial, store)

    def poll(self, timeout: float) -> list[Progress | Attempt]:
        if not self._waiting:
            time.sleep(timeout)
        waiting, self._waiting = self._waiting, {}
        return [self._attempt(trial, store) for trial, store in waiting.values()]

    def cancel(self, trial_id: str | None = None, *, grace_seconds: float = 0.0) -> None:
        for key in list(self._waiting) if trial_id is None else [trial_id]:
            self._waiting.pop(key, None)

    def _attempt(self, trial: Trial, store: Store) -> Attempt:
        with store.lock(trial) as free:
            if not free:
                return Attempt(trial_id=trial.id, outcome="busy")
            try:
                simulate(trial, store, law=self._law, noise=self._noise, metric=self._metric)
            except StoreError as error:
                return Attempt(trial_id=trial.id, outcome="unstorable", reason=str(error))
        return Attempt(trial_id=trial.id, outcome="done")


def _row(trial: Trial, duration: int, done: set[int], metric: str, value: float) -> Measurement:
    """A simulated measurement, which `data` and `device` say it is."""
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
