"""The real training step of a shape, compiled ahead of time on abstract arrays: nothing is allocated."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from vitscale.scaling.data.batch import Batch
from vitscale.scaling.execution import Execution
from vitscale.scaling.finder.record import Memory
from vitscale.scaling.recipe import Recipe
from vitscale.scaling.schedule import NEVER
from vitscale.scaling.shape import Shape
from vitscale.scaling.train import Run, Training, training_for


class OutOfMemoryError(Exception):
    """The compiler or the device ran out of memory."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompiledStep:
    """A step that can be run, what it needs of each device, and how long it took to get."""

    training: Training
    executable: Any
    run: Run
    memory: Memory
    seconds: float


def compile_step(shape: Shape, recipe: Recipe, execution: Execution) -> CompiledStep:
    """Compile the step that trains `shape`; its batches come from the host.

    Raises `OutOfMemoryError` where the compiler runs out, and `ValueError` where shape, recipe and
    devices do not go together.
    """
    began = time.monotonic()
    training = training_for(shape, recipe, execution)
    run = Run(np.uint32(0), np.float32(1e-4), np.float32(NEVER), np.float32(0))
    size = (recipe.batch_size, recipe.image_size, recipe.image_size, recipe.channels)
    batch = Batch(jax.ShapeDtypeStruct(size, np.uint8), jax.ShapeDtypeStruct(size[:1], np.int32))
    jitted: Any = training.step
    with refusing_memory():
        executable = jitted.lower(training.template, run, batch).compile()
    return CompiledStep(
        training=training,
        executable=executable,
        run=run,
        memory=_memory(executable.memory_analysis()),
        seconds=time.monotonic() - began,
    )


@contextlib.contextmanager
def refusing_memory() -> Iterator[None]:
    """Turn XLA's complaint about memory into an `OutOfMemoryError`, which holds no arrays alive."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        sentence = str(error).splitlines()[0]
    except MemoryError as error:
        sentence = str(error)
    else:
        return
    raise OutOfMemoryError(sentence)


def _memory(analysis: Any) -> Memory:
    return Memory(
        argument_bytes=int(analysis.argument_size_in_bytes),
        output_bytes=int(analysis.output_size_in_bytes),
        alias_bytes=int(analysis.alias_size_in_bytes),
        temporary_bytes=int(analysis.temp_size_in_bytes),
        code_bytes=int(analysis.generated_code_size_in_bytes),
    )
