"""Several hosts that train one trial together: starting them, agreeing, and who writes results.

All hosts run the same command. Whatever depends on a clock or a signal is agreed upon, because every
host must dispatch the same steps and save the same checkpoints.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array, PyTree

from vitscale.scaling.measurement import Measurement
from vitscale.scaling.progress import MeasurementSink
from vitscale.scaling.recipe import Trial


def start(
    *, coordinator: str | None = None, hosts: int | None = None, host: int | None = None
) -> None:
    """Join this process to the others, before anything else touches jax.

    Clusters that JAX knows (TPU pods, Slurm, Open MPI, GKE) need no arguments. Elsewhere `coordinator` is
    the address and port of the first host, `hosts` how many there are, and `host` which this one is.

    Raises `ValueError` where that is not enough to find the others.
    """
    try:
        jax.distributed.initialize(
            coordinator_address=coordinator, num_processes=hosts, process_id=host
        )
    except ValueError as error:
        raise ValueError(
            f"the other hosts cannot be found ({error}); give --coordinator ADDRESS:PORT, --hosts and "
            f"--host on every host"
        ) from None


def is_first() -> bool:
    """Whether this process writes what all of them measure."""
    return jax.process_index() == 0


def count() -> int:
    """How many processes train together."""
    return jax.process_count()


def agree(*, steps: int, save: bool, stop: bool) -> tuple[int, bool, bool]:
    """What to do next, on every host alike: the first host's `steps` and `save`, and any host's `stop`."""
    if jax.process_count() == 1:
        return steps, save, stop
    everyone = multihost_utils.process_allgather(np.array([steps, save, stop], np.int32))
    everyone = np.asarray(everyone).reshape(-1, 3)
    return int(everyone[0, 0]), bool(everyone[0, 1]), bool(everyone[:, 2].any())


def first_says(answer: bool) -> bool:
    """The first host's answer, on every host."""
    if jax.process_count() == 1:
        return answer
    return bool(multihost_utils.broadcast_one_to_all(np.int32(answer)))


def any_says(answer: bool) -> bool:
    """Whether some host's answer is yes."""
    return not all_say(not answer)


def all_say(answer: bool) -> bool:
    """Whether every host's answer is yes."""
    if jax.process_count() == 1:
        return answer
    return bool(np.asarray(multihost_utils.process_allgather(np.int32(answer))).all())


def whole(arrays: PyTree[Array]) -> PyTree[Any]:
    """Arrays that may be spread over hosts, whole on every host; all hosts have to ask."""
    if jax.process_count() == 1:
        return arrays
    return multihost_utils.process_allgather(arrays, tiled=True)


class SharedSink:
    """A sink that all hosts read alike and the first one writes."""

    def __init__(self, sink: MeasurementSink):
        self._sink = sink

    def measured(self, trial: Trial) -> set[int]:
        """What the first host sees: a file may reach the others later."""
        seen = self._sink.measured(trial)
        return {d for d in trial.durations if first_says(d in seen)}

    def append(self, trial: Trial, duration: int, rows: Sequence[Measurement]) -> bool:
        """Recorded by the first host; the others wait for it."""
        kept = self._sink.append(trial, duration, rows) if is_first() else False
        _together("appended")
        return kept

    def checkpoint_dir(self, trial: Trial) -> Path:
        """A folder that all hosts share."""
        folder = self._sink.checkpoint_dir(trial)
        _together("checkpoint folder")
        return folder

    def forget_checkpoints(self, trial: Trial) -> None:
        """Deleted by the first host, once all have let go of them."""
        _together("finished")
        if is_first():
            self._sink.forget_checkpoints(trial)


def _together(where: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)
