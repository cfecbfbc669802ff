"""The plan that a command line names."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from vitscale.sweeps.plan import Plan


def named_plan(kind: Literal["star", "grid"], name: str) -> "Plan":
    """The plan of a TOML file or of a preset, which must be of this kind.

    Raises `ValueError` where it is of the other, or there is none of that name.
    """
    from vitscale.scaling.names import suggest
    from vitscale.sweeps.config import read_plan
    from vitscale.sweeps.presets import PRESETS, preset

    if os.sep in name or "." in name:
        _refuse_missing(name)
        plan = read_plan(name)
        if plan.kind != kind:
            raise ValueError(f"{name} is a {plan.kind}; run it with: vitscale sweep {plan.kind}")
        return plan
    base = name.removesuffix(f"-{kind}")
    if base not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; {suggest(base, PRESETS)}, or a file of .toml")
    return preset(f"{base}-{kind}")


def _refuse_missing(name: str) -> None:
    """Raise `ValueError` where there is no such file, with the nearest that there is."""
    from vitscale.scaling.names import nearest

    path = Path(name)
    if path.exists():
        return
    there = sorted(path.parent.glob("*.toml"))
    near = nearest(path.name, [each.name for each in there])
    instead = " or ".join(str(path.parent / each) for each in near)
    raise ValueError(
        f"there is no file {name}"
        + (f"; did you mean {instead}?" if near else "; name a sweep's .toml or a preset")
    )
