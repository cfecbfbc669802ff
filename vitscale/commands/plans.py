"""The plan that a command line names."""

import os
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from vitscale.sweeps.plan import Plan


def named_plan(kind: Literal["star", "grid"], name: str) -> "Plan":
    """The plan of a TOML file or of a preset, which must be of this kind.

    Raises `ValueError` where it is of the other, or there is none of that name.
    """
    from vitscale.sweeps.config import read_plan
    from vitscale.sweeps.presets import preset

    if name.endswith(".toml") or os.sep in name:
        plan = read_plan(name)
        if plan.kind != kind:
            raise ValueError(f"{name} is a {plan.kind}; run it with: vitscale sweep {plan.kind}")
        return plan
    return preset(f"{name.removesuffix(f'-{kind}')}-{kind}")
