"""Trying shapes on this device, one after another: what they need, and how fast they train."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence

import jax

from vitscale.scaling.execution import Execution
from vitscale.scaling.finder.device import DeviceMemory, device_memory
from vitscale.scaling.finder.grid import spread_out
from vitscale.scaling.finder.record import Conditions, Found, Remedy, dominates
from vitscale.scaling.finder.speed import images_per_second
from vitscale.scaling.finder.step import OutOfMemoryError, compile_step
from vitscale.scaling.recipe import Recipe
from vitscale.scaling.shape import Shape


def conditions_here(
    recipe: Recipe, execution: Execution, *, patch: int, classes: int, memory_bytes: int | None
) -> Conditions:
    """What shapes are tried under on this process's devices.

    - `memory_bytes`: what to take a device to hold, if not what it has.

    Raises `ValueError` where that is not known.
    """
    device, devices = jax.devices()[0], jax.device_count()
    if memory_bytes is None:
        memory = device_memory(device, devices)
    else:
        memory = DeviceMemory(memory_bytes, "asked")
    return Conditions(
        device_kind=device.device_kind,
        devices=devices,
        memory_bytes=memory.bytes,
        memory_source=memory.source,
        patch=patch,
        image_size=recipe.image_size,
        channels=recipe.channels,
        readout=recipe.readout,
        classes=classes,
        batch_size=recipe.batch_size,
        optimizer=recipe.optimizer,
        momentum_dtype=recipe.momentum_dtype,
        precision=recipe.precision,
        loss=recipe.loss,
        layout=execution.layout,
        remat=execution.remat,
        micro_batches=execution.micro_batches,
        fsdp=execution.fsdp,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """What to try shapes with: everything but the shapes."""

    conditions: Conditions
    recipe: Recipe
    execution: Execution

    def open_shapes(self, shapes: Sequence[Shape], known: Mapping[Shape, Found]) -> list[Shape]:
        """The shapes that are still to be tried, in the order that spans the grid soonest.

        Left out are those that `known` answers, and those at least as large in every size as one
        that does not fit.
        """
        return [shape for shape in spread_out(shapes) if not self._is_answered(shape, known)]

    def run(
        self, shapes: Sequence[Shape], known: Mapping[Shape, Found], *, seconds: float
    ) -> Iterator[Found]:
        """Try what is open of `shapes`, beginning none once `seconds` are over."""
        deadline, found = time.monotonic() + seconds, dict(known)
        for shape in self.open_shapes(shapes, known):
            if time.monotonic() >= deadline:
                return
            if not self._is_answered(shape, found):
                found[shape] = self.try_shape(shape)
                yield found[shape]

    def try_shape(self, shape: Shape) -> Found:
        """Compile the training step of `shape`, and time it where it fits the device that is here."""
        began, limit = time.monotonic(), self.conditions.memory_bytes
        try:
            step = compile_step(shape, self.recipe, self.execution)
        except OutOfMemoryError:
            return Found(
                shape=shape,
                memory=None,
                out_of_memory="compile",
                compile_seconds=time.monotonic() - began,
                remedy=self._remedy(shape, limit),
            )
        found = Found(shape=shape, memory=step.memory, compile_seconds=step.seconds)
        if not found.fits(limit):
            return dataclasses.replace(found, remedy=self._remedy(shape, limit))
        if not found.fits(self._memory_here()):
            return found  # fits only what was asked about
        try:
            speed = images_per_second(step, self.recipe)
        except OutOfMemoryError:
            return dataclasses.replace(
                found, out_of_memory="run", remedy=self._remedy(shape, limit)
            )
        return dataclasses.replace(found, images_per_second=speed)

    def _is_answered(self, shape: Shape, known: Mapping[Shape, Found]) -> bool:
        limit = self.conditions.memory_bytes
        if shape in known:
            # Asked about less memory before, a shape that fits now was not timed.
            found = known[shape]
            untimed = found.images_per_second is None and found.fits(limit)
            return not (untimed and found.fits(self._memory_here()))
        return any(
            dominates(shape, other) for other, found in known.items() if not found.fits(limit)
        )

    def _memory_here(self) -> int:
        """What may be run: the device's own memory, whatever was asked about."""
        if self.conditions.memory_source != "asked":
            return self.conditions.memory_bytes
        try:
            here = device_memory(jax.devices()[0], self.conditions.devices).bytes
        except ValueError:
            return self.conditions.memory_bytes
        return min(here, self.conditions.memory_bytes)

    def _remedy(self, shape: Shape, limit: int) -> Remedy | None:
        """The least that makes `shape` fit: rematerialisation, then smaller micro-batches with it.

        How small is guessed from what does not grow with the batch, and then compiled. Blocks are
        scanned, because XLA undoes the rematerialisation of unrolled ones on CPU.
        """
        execution = dataclasses.replace(self.execution, layout="scanned", remat="full")
        while True:
            try:
                memory = compile_step(shape, self.recipe, execution).memory
            except OutOfMemoryError:
                memory = None
            if memory is not None and memory.peak_bytes <= limit:
                return Remedy(
                    layout=execution.layout,
                    remat=execution.remat,
                    micro_batches=execution.micro_batches,
                    peak_bytes=memory.peak_bytes,
                )
            if memory is not None and memory.argument_bytes >= limit:
                return None  # the state alone is too much
            least = 2 * execution.micro_batches
            if memory is not None:
                room = limit - memory.argument_bytes
                least = max(least, execution.micro_batches * memory.working_bytes // room)
            micro_batches = self._micro_batches(int(least))
            if micro_batches is None:
                return None
            execution = dataclasses.replace(execution, micro_batches=micro_batches)

    def _micro_batches(self, least: int) -> int | None:
        """The fewest micro-batches from `least` on that divide the batch evenly over devices."""
        examples = self.conditions.batch_size // self.conditions.devices
        return next((n for n in range(least, examples + 1) if examples % n == 0), None)
