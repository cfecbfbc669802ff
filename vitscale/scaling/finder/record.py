"""What a finder learns of a shape on a device, and the conditions that it holds under.

Pure Python: shapes are chosen by these records without importing jax.
"""

import dataclasses
from typing import Literal

from vitscale.scaling.shape import Readout, Shape

MemorySource = Literal["device", "machine", "asked"]
"""Who says how much memory there is: the device, the machine that it is (CPU), or the user."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conditions:
    """What all shapes of one file have in common.

    - `device_kind`: as JAX calls it. `devices`: how many share a batch of `batch_size` images.
    - `memory_bytes`: what one device may hold, by `memory_source`.
    - `patch`, `image_size`, `channels`, `readout`, `classes`: of every model.
    - `optimizer`, `precision`, `loss`, `momentum_dtype`: those of the recipe that cost memory or time.
    - `layout`, `remat`, `micro_batches`, `fsdp`: how the step is computed (`Execution`).
    """

    device_kind: str
    devices: int
    memory_bytes: int
    memory_source: MemorySource
    patch: int
    image_size: int
    channels: int
    readout: Readout
    classes: int
    batch_size: int
    optimizer: str
    momentum_dtype: str
    precision: str
    loss: str
    layout: str
    remat: str
    micro_batches: int
    fsdp: int

    @property
    def micro_batch(self) -> int:
        """Images that one device works on at a time."""
        return self.batch_size // self.devices // self.micro_batches

    def forward_flops(self, shape: Shape) -> int:
        """Forward FLOPs of one image, matrix products alone and classifier included: what model
        FLOPs utilisation counts."""
        return shape.forward_flops(
            image_size=self.image_size,
            channels=self.channels,
            readout=self.readout,
            classes=self.classes,
            counting="2mac",
        )

    def params(self, shape: Shape) -> int:
        """Parameters of the whole model."""
        return shape.params(
            image_size=self.image_size,
            channels=self.channels,
            readout=self.readout,
            classes=self.classes,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
    """What a compiled training step needs of one device, in bytes, by the compiler's own account.

    `alias_bytes` of the outputs take the place of arguments: the state is updated where it lies.
    """

    argument_bytes: int
    output_bytes: int
    alias_bytes: int
    temporary_bytes: int
    code_bytes: int

    @property
    def peak_bytes(self) -> int:
        """All that is held at once, but the code."""
        return self.argument_bytes + self.working_bytes

    @property
    def working_bytes(self) -> int:
        """What comes on top of the training state and its batch."""
        return self.output_bytes - self.alias_bytes + self.temporary_bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Remedy:
    """How a shape that does not fit can be computed so that it does, by the compiler's account."""

    layout: str
    remat: str
    micro_batches: int
    peak_bytes: int

    def __str__(self) -> str:
        parts = [f"layout={self.layout}", f"remat={self.remat}"]
        if self.micro_batches > 1:
            parts.append(f"micro_batches={self.micro_batches}")
        return ", ".join(parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What was found of one shape.

    - `memory`: None where the compiler itself ran out of memory.
    - `out_of_memory`: "compile" or "run" where that ran out of memory, else "".
    - `compile_seconds`: tracing and compilation.
    - `images_per_second`: the best of a few rounds of training steps on all devices; None where no
      step was run.
    - `remedy`: for a shape that does not fit, what would make it; None where nothing was found.
    """

    shape: Shape
    memory: Memory | None
    out_of_memory: Literal["", "compile", "run"] = ""
    compile_seconds: float
    images_per_second: float | None = None
    remedy: Remedy | None = None

    def fits(self, memory_bytes: int) -> bool:
        """Whether the shape trains within `memory_bytes` of one device."""
        return (
            not self.out_of_memory
            and self.memory is not None
            and self.memory.peak_bytes <= memory_bytes
        )


def dominates(larger: Shape, smaller: Shape) -> bool:
    """Whether no size of `smaller` is above that of `larger`, so that memory for one does for the other."""
    sizes = ("width", "depth", "mlp_dim", "heads")
    return all(getattr(larger, name) >= getattr(smaller, name) for name in sizes)
