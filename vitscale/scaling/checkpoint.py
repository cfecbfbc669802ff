"""Save and restore training states with Orbax, so that a killed trial goes on bit for bit.

A trial keeps its checkpoints in one folder with a line for its trunk and one for the cooldown under
way. Orbax writes aside and renames, so a kill while saving leaves the checkpoint before it.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

import jax
from orbax import checkpoint as ocp

from vitscale.scaling.train import TrainState


class Saved(NamedTuple):
    """A training state, and the seconds of training that it took."""

    state: TrainState
    seconds: float


class CheckpointLine:
    """Checkpoints along one line of training (a trunk, or one cooldown), by step.

    The newest two are kept. Saving waits until the files are durable: on CPU an asynchronous copy would
    read buffers that the next step overwrites.
    """

    def __init__(self, folder: Path):
        self._folder = folder.absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2, create=True, enable_async_checkpointing=False
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(self, saved: Saved) -> None:
        """Make `saved` durable; does nothing where its step is there already."""
        step = int(saved.state.step)
        if step not in self._manager.all_steps():
            self._manager.save(step, args=ocp.args.StandardSave(saved._asdict()))

    def newest(self, template: TrainState, *, up_to_step: int) -> Saved | None:
        """The latest state at or before `up_to_step`, shaped like `template`; None if there is none.

        Later ones are deleted: the line goes on from here, and Orbax saves no step before its last.
        """
        for step in self._manager.all_steps():
            if step > up_to_step:
                self._manager.delete(step)
        steps = list(self._manager.all_steps())
        if not steps:
            return None
        abstract = jax.eval_shape(lambda: Saved(template, 0.0)._asdict())
        restored = self._manager.restore(max(steps), args=ocp.args.StandardRestore(abstract))
        return Saved(TrainState(*restored["state"]), float(restored["seconds"]))

    def delete(self) -> None:
        """Remove the whole line."""
        self._manager.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Let go of the folder."""
        self._manager.close()
