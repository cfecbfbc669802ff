"""Learning-rate schedules: pure functions from step to a multiple of the peak learning rate.

"Infinite" schedules (rsqrt, constant) do not know where training ends; a linear cooldown to zero,
multiplied onto them, ends it anywhere. That is what lets one trunk serve many durations
(Scaling Vision Transformers, arXiv 2106.04560, Section 3.5). After the end every schedule is zero:
the public versions of the cooldown go negative there and walk back uphill.

Every function computes with the array library `xp`: NumPy in float64 by default, or `jax.numpy`
inside a jitted step, where all arguments may be traced.
"""

from types import ModuleType
from typing import Any, assert_never

import numpy as np

from vitscale.scaling.recipe import Schedule

NEVER = float("inf")
"""`total_steps` of a trunk: training that does not end."""


def warmup(step: Any, *, warmup_steps: Any, xp: ModuleType = np) -> Any:
    """Linear rise from 0 at step 0 to 1 at `warmup_steps`; 1 throughout where that is 0."""
    return xp.where(step < warmup_steps, step / xp.maximum(warmup_steps, 1), 1.0)


def rsqrt(step: Any, *, warmup_steps: Any, timescale_steps: Any, xp: ModuleType = np) -> Any:
    """Reciprocal square root: 1/sqrt(1 + (step - warmup)/timescale) once warmup is over, 1 before."""
    return (1 + xp.maximum(step - warmup_steps, 0) / timescale_steps) ** -0.5


def cooldown(step: Any, *, total_steps: Any, cooldown_steps: Any, xp: ModuleType = np) -> Any:
    """1 until `cooldown_steps` before the end, a straight line to 0 at `total_steps`, 0 after."""
    return xp.clip((total_steps - step) / xp.maximum(cooldown_steps, 1), 0.0, 1.0)


def cosine(step: Any, *, warmup_steps: Any, total_steps: Any, xp: ModuleType = np) -> Any:
    """Half a cosine from 1 at the end of warmup to 0 at `total_steps`; 0 after."""
    return 0.5 * (1 + xp.cos(np.pi * _progress(step, warmup_steps, total_steps, xp)))


def linear(step: Any, *, warmup_steps: Any, total_steps: Any, xp: ModuleType = np) -> Any:
    """A straight line from 1 at the end of warmup to 0 at `total_steps`; 0 after."""
    return 1 - _progress(step, warmup_steps, total_steps, xp)


def learning_rate_factor(
    schedule: Schedule,
    step: Any,
    *,
    warmup_steps: Any,
    timescale_steps: Any,
    total_steps: Any,
    cooldown_steps: Any,
    xp: ModuleType = np,
) -> Any:
    """The whole schedule, as a multiple of the peak learning rate: warmup x decay x cooldown.

    `total_steps` is `NEVER` for a trunk. "cosine" and "linear" decay to zero over the whole run and
    take no cooldown besides.
    """
    rise = warmup(step, warmup_steps=warmup_steps, xp=xp)
    match schedule:
        case "rsqrt":
            decay = rsqrt(step, warmup_steps=warmup_steps, timescale_steps=timescale_steps, xp=xp)
        case "constant":
            decay = 1.0
        case "cosine":
            return rise * cosine(step, warmup_steps=warmup_steps, total_steps=total_steps, xp=xp)
        case "linear":
            return rise * linear(step, warmup_steps=warmup_steps, total_steps=total_steps, xp=xp)
        case _:
            assert_never(schedule)
    end = cooldown(step, total_steps=total_steps, cooldown_steps=cooldown_steps, xp=xp)
    return rise * decay * end


def _progress(step: Any, warmup_steps: Any, total_steps: Any, xp: ModuleType) -> Any:
    """Part of the way from the end of warmup to the end of training, from 0 to 1."""
    return xp.clip((step - warmup_steps) / xp.maximum(total_steps - warmup_steps, 1), 0.0, 1.0)
