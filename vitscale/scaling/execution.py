"""How a trial is computed, as opposed to what: layout, memory against time, devices.

Nothing here is part of a trial's identity: another execution gives the same numbers up to rounding, but
for one thing: micro-batches draw other dropout and stochastic depth, from the same distribution.
"""

import dataclasses
from typing import Literal, get_args

from vitscale.scaling.names import suggest

Layout = Literal["auto", "unrolled", "scanned"]
Remat = Literal["none", "dots", "full"]
"""What a block keeps for its gradient: all ("none"), results of its dense layers, or only its input."""
AttentionKernel = Literal["auto", "xla", "cudnn"]
"""How attention is computed: "xla" anywhere, "cudnn" by NVIDIA's fused kernel, "auto" by what suits."""

_CHOICES = {
    "layout": get_args(Layout),
    "remat": get_args(Remat),
    "attention": get_args(AttentionKernel),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution:
    """How to compute a trial.

    - `layout`: blocks unrolled, or scanned so that compile time does not grow with depth; "auto" takes
      what measures best for the depth and device.
    - `remat`: what the backward pass computes again instead of keeping it: "none"; "dots", all but
      matrix products; "full", all but the inputs of blocks.
    - `attention`: "cudnn" is the fused kernel of NVIDIA GPUs; "auto" takes it where it can be had.
    - `micro_batches`: parts in which a batch is worked off, one after the other, with gradients
      accumulated, so that a recipe's batch size holds on any hardware.
    - `fsdp`: devices that share one copy of parameters and optimizer state; all other devices hold
      further copies. Every device works on its own part of a batch.

    Raises `ValueError` that names the field, its value and what is accepted.
    """

    layout: Layout = "auto"
    remat: Remat = "none"
    attention: AttentionKernel = "auto"
    micro_batches: int = 1
    fsdp: int = 1

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is unknown; {suggest(str(getattr(self, name)), choices)}"
                )
        for name in ("micro_batches", "fsdp"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}={value!r} is not a whole number from 1")
