"""Save and restore training states with Orbax, so that a killed trial goes on bit for bit.

A trial keeps its checkpoints in one folder with a line for its trunk and one for the cooldown under
way. Orbax writes aside and renames, so a kill while saving leaves the checkpoint before it. Every
checkpoint holds checksums of its own arrays: one that was damaged later is noticed, deleted, and the
one before it taken.
"""

import logging
import shutil
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree, UInt32
from orbax import checkpoint as ocp

from vitscale.scaling.failpoints import failpoint
from vitscale.scaling.hosts import all_say
from vitscale.scaling.train import TrainState

_LOG = logging.getLogger(__name__)

_ITEM = "default"  # what Orbax calls the one thing that a checkpoint holds


class Saved(NamedTuple):
    """A training state, and the seconds of training that it took."""

    state: TrainState
    seconds: float


class CheckpointLine:
    """Checkpoints along one line of training (a trunk, or one cooldown), by step; the newest two are kept.

    Saving copies the state and returns; files are written while training goes on, and are durable when
    the next `save`, or `wait`, returns.
    """

    def __init__(self, folder: Path):
        self._folder = folder.absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2, create=True, enable_async_checkpointing=True
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(self, saved: Saved) -> None:
        """Begin to make `saved` durable; does nothing where its step is there already."""
        step = step_of(saved.state)
        if step in self._manager.all_steps():
            return
        # Copies: the next training step takes over the buffers of the state.
        for leaf in jax.tree.leaves(saved.state):
            if isinstance(leaf, jax.Array):
                leaf.copy_to_host_async()
        state = jax.tree.map(_on_host, saved.state)
        content = {"state": state, "seconds": saved.seconds, "checksums": checksums(state)}
        failpoint("checkpoint.save")
        self._manager.save(step, args=ocp.args.StandardSave(content))

    def wait(self) -> None:
        """Return when everything saved is durable."""
        self._manager.wait_until_finished()

    def newest(
        self, template: TrainState, shardings: TrainState, *, up_to_step: int
    ) -> Saved | None:
        """The latest whole state at or before `up_to_step`, shaped like `template` and laid out as
        `shardings` say; None if there is none.

        Later and damaged ones are deleted: the line goes on from here, and Orbax saves no step before
        its last. Whole ones that do not suit `template` are kept. Raises `ValueError` for those, which
        another layout of the blocks has made.
        """
        for step in sorted(self._manager.all_steps(), reverse=True):
            if step <= up_to_step:
                self._check_layout(step, template)
                found = self._restore(step, template, shardings)
                if all_say(found is not None):
                    return found
            self._manager.delete(step)
        return None

    def _check_layout(self, step: int, template: TrainState) -> None:
        """Raise `ValueError` where the checkpoint of `step` has other arrays than `template`: to the
        reader it would look damaged, and training would be lost."""
        try:
            reader: Any = ocp.StandardCheckpointHandler()
            metadata = reader.metadata(self._folder / str(step) / _ITEM)
            there = sorted(tuple(leaf.shape) for leaf in jax.tree.leaves(metadata["state"]))
        except Exception:
            return  # damaged, as reading it will tell
        if there != sorted(leaf.shape for leaf in jax.tree.leaves(template)):
            raise ValueError(
                f"checkpoint {step} of {self._folder} was made with another layout of the blocks or "
                f"by another version; go on with the --layout (unrolled or scanned) and --remat that "
                f"it was made with, or delete {self._folder.parent} to start anew"
            )

    def _restore(self, step: int, template: TrainState, shardings: TrainState) -> Saved | None:
        """The checkpoint of `step`, or None where it is damaged."""
        place = lambda leaf, sharding: jax.ShapeDtypeStruct(  # noqa: E731
            leaf.shape, leaf.dtype, sharding=sharding
        )
        abstract = {
            "state": jax.tree.map(place, template, shardings),
            "seconds": 0.0,
            "checksums": np.zeros(len(jax.tree.leaves(template)), np.uint32),
        }
        try:
            found = self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
        except Exception as error:  # whatever a damaged file makes the reader raise
            if "RESOURCE_EXHAUSTED" in str(error):
                raise  # the device is too small, and nothing is wrong with the file
            _LOG.warning("checkpoint %d of %s cannot be read (%s)", step, self._folder, error)
            return None
        state = TrainState(*found["state"])
        if not np.array_equal(checksums(state), found["checksums"]):
            _LOG.warning("checkpoint %d of %s is damaged: wrong checksums", step, self._folder)
            return None
        return Saved(state, float(found["seconds"]))

    def delete(self) -> None:
        """Remove the whole line."""
        failpoint("checkpoint.delete")
        self._manager.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Let go of the folder, when everything saved is durable."""
        self._manager.close()


def checksums(state: PyTree[Any]) -> UInt32[np.ndarray, " leaves"]:
    """CRC-32 of each array of a state; 0 for one of which this host holds a part only."""
    with ThreadPoolExecutor() as threads:  # zlib lets others run
        return np.array(list(threads.map(_checksum, jax.tree.leaves(state))), np.uint32)


def _checksum(leaf: Any) -> int:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return 0
    return zlib.crc32(np.ascontiguousarray(leaf).view(np.uint8).reshape(-1).data)


def _on_host(leaf: Any) -> Any:
    """A copy in this host's memory; arrays spread over hosts stay on their devices."""
    spread = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
    return leaf.copy() if spread else np.array(leaf)


def step_of(state: TrainState) -> int:
    """The step of a state; of several trained together, which are all at the same."""
    return int(np.asarray(state.step).reshape(-1)[0])
