"""`vitscale advise`."""

import dataclasses
import os
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import Positional, arg

from vitscale.commands.options import Groups
from vitscale.commands.output import output
from vitscale.commands.saying import working
from vitscale.commands.star_source import COLUMN_GROUPS, TABLE_COLUMNS, Columns


@dataclasses.dataclass(frozen=True, kw_only=True)
class Advise(Columns):
    """Which trials to run next, so that the intervals of the exponents shrink most per FLOP.

    SOURCE is a store, or a table of a star as `vitscale fit` takes it. The plan that --out writes
    trains the advised trials and nothing that the store holds; ask again once it has run.

    Examples:  vitscale advise runs/laptop --budget 1e15 --out more.toml
               vitscale sweep star more.toml --store runs/laptop
               vitscale advise runs/laptop --budget 1e15 --at-flops 1e17
    """

    groups: ClassVar[Groups] = {
        **COLUMN_GROUPS,
    }

    source: Positional[str]
    """A store (a folder, or s3://..., gs://...), a .csv or a .parquet file."""
    budget: float
    """Training FLOPs to spend: 3 x forward FLOPs x examples, trunks shared."""
    at_flops: float | None = None
    """Aim at the optimal sizes for a run of this many training FLOPs, instead of the exponents."""
    arm: str | None = None
    """The only dimension that matters: width, depth or mlp_dim (default: all alike)."""
    kinds: tuple[Literal["centre", "size", "repeat", "durations"], ...] = ()
    """Kinds of trials to choose from (default: all): the centre where it is missing, new sizes, new
    seeds of measured sizes, new durations of measured networks."""
    out: Annotated[Path | None, arg(aliases=["-o"])] = None
    """Write the plan here as TOML, for `vitscale sweep star`."""
    level: float = 0.95
    """Probability of the intervals."""
    error: str | None = None
    """Column of errors or losses (default: error)."""
    recipe: str | None = None
    """In a store: which recipe_id to go on with, where there are several."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(command: Advise) -> int:
    from vitscale.advise import advise_path
    from vitscale.fits.export import replace_text
    from vitscale.sweeps.config import plan_to_toml
    from vitscale.sweeps.places.place import is_remote

    with working(f"looking for what tells most about {command.source}"):
        advice, plan = advise_path(
            command.source,
            command.budget,
            columns={name: getattr(command, name) for name in TABLE_COLUMNS},
            metric=command.metric,
            recipe=command.recipe,
            at_flops=command.at_flops,
            dimension=command.arm,
            kinds=command.kinds or None,
            level=command.level,
        )
    toml = None if plan is None else plan_to_toml(plan)
    lines = advice.lines()
    if toml is not None and command.out is None:
        lines += ["", "to run it, write the plan with --out more.toml"]
    elif toml is not None and command.out is not None:
        command.out.parent.mkdir(parents=True, exist_ok=True)
        replace_text(command.out, toml)
        store = (
            command.source
            if is_remote(command.source) or os.path.isdir(command.source)
            else "STORE"
        )
        lines += ["", f"wrote {command.out}; run it with"]
        lines += [f"  vitscale sweep star {command.out} --store {store}"]
    elif command.out is not None:
        lines += ["", f"no plan to write, so {command.out} was left as it is"]
    output(command.json, advice.to_dict() | {"plan": toml}, lambda: lines)
    return 0
