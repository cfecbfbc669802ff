"""Sweeps that extend themselves: an optimum on the edge gets more sizes beyond it, as a new plan.

Getting ViT in Shape (arXiv 2305.13035), Section 4, takes x0 strictly inside its grid of small shapes,
which was chosen so by widening it where the best shape lay on its edge. A star needs the same of its
arms: sizes on both sides of x*(t) at every compute, or one side of the curve is never seen.

What is added follows from the measurements of the plans before alone, so a sweep that is stopped at any
moment and run again comes to the same plans and repeats none of their trials.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vitscale.advise import multiples_of
from vitscale.fits.arm import Arm, estimate
from vitscale.fits.columns import series, where
from vitscale.fits.grid import (
    GridOptimum,
    Side,
    choose_x0,
    optimum_over_compute,
    sides_of,
)
from vitscale.fits.identify import has_optimum
from vitscale.fits.shape_law import arm_of
from vitscale.fits.store_fit import default_metric
from vitscale.fits.store_tables import star_table_from_store, whole_grid_table
from vitscale.sweeps.engines.engine import Engine
from vitscale.sweeps.identifiability import STRADDLE
from vitscale.sweeps.plan import GridSweep, Plan, StarSweep
from vitscale.sweeps.run import Limits, RunReport, run
from vitscale.sweeps.store import Store
from vitscale.sweeps.words import report_lines

ROUNDS = 3
"""Most extensions of one sweep, unless told otherwise."""

MOST_SIZES = 3
"""Sizes that a round adds at most to one end of an arm: the law is not trusted much beyond its data."""

_STEPS = (1.2, 2.0)  # least and greatest ratio of a new size to the last
_ONLY_STEP = 1.26  # where a dimension has one value: three to a doubling
_MOVED = 4.0  # how far the compute at which a grid is judged may move up as it is extended
_NAME = 64  # characters of a plan's name

RunPlan = Callable[[Plan, Limits], RunReport]
"""Runs a plan within limits."""


def runner(engine: Engine, store: Store) -> RunPlan:
    """What runs plans on `engine` into `store`, without a display."""

    def run_plan(plan: Plan, limits: Limits) -> RunReport:
        return run(plan, engine, store, limits=limits)

    return run_plan


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extension:
    """What one look at a measured sweep led to.

    - `plan`: the wider sweep, what was measured included; None where nothing is to be added.
    - `added`: new sizes by dimension. `reasons`: why these, or why none, one sentence each.
    """

    plan: Plan | None
    added: dict[str, tuple[int, ...]]
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "plan": None if self.plan is None else self.plan.name,
            "added": {name: list(sizes) for name, sizes in self.added.items()},
            "reasons": list(self.reasons),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extended:
    """A sweep that was run and extended: the report of each plan, each extension, and why it ended."""

    reports: tuple[RunReport, ...]
    extensions: tuple[Extension, ...]
    ended: str

    @property
    def complete(self) -> bool:
        """Whether the store holds the last plan in full."""
        return self.reports[-1].complete

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: the last report's, and `extensions`, `ended` and the earlier `reports`."""
        return {
            **dataclasses.asdict(self.reports[-1]),
            "extensions": [extension.to_dict() for extension in self.extensions],
            "ended": self.ended,
            "reports": [dataclasses.asdict(report) for report in self.reports[:-1]],
        }

    def lines(self) -> list[str]:
        """What a person has to know."""
        lines = report_lines(self.reports[0])
        for extension, report in zip(self.extensions, self.reports[1:], strict=True):
            lines += [f"extended: {reason}" for reason in extension.reasons]
            lines += report_lines(report)
        return [*lines, f"extended {len(self.extensions)} times; {self.ended}"]


def run_extending(
    plan: Plan,
    run_plan: RunPlan,
    store: Store,
    *,
    rounds: int = ROUNDS,
    metric: str | None = None,
    limits: Limits | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Extended:
    """Run `plan`, then wider plans while its optimum lies on an edge, `rounds` of them at most.

    Every plan is recorded in the store as it is run. `limits` bound all of them together; `say` is told
    what is added and why.

    Raises `ValueError` as `refuse_unextendable`, and where the store's metric is ambiguous.
    """
    refuse_unextendable(plan, rounds)
    base, limits = plan, limits or Limits()
    reports, extensions = [run_plan(plan, limits)], []
    while True:
        if not reports[-1].complete:
            ended = "not extended further, as the plan is not measured in full"
            break
        found = extension_of(plan, store, len(extensions) + 1, base=base, metric=metric)
        if found.plan is None:
            ended = "; ".join(found.reasons)
            break
        if len(extensions) == rounds:
            ended = (
                f"as often as --extend-rounds allows, and the optimum is still on an edge: "
                f"{'; '.join(found.reasons)}"
            )
            break
        left = _left(limits, reports)
        if left is None:
            ended = f"it has spent what it may, and would go on: {'; '.join(found.reasons)}"
            break
        for reason in found.reasons:
            say(f"extending: {reason}")
        extensions.append(found)
        plan = found.plan
        reports.append(run_plan(plan, left))
    return Extended(reports=tuple(reports), extensions=tuple(extensions), ended=ended)


def _left(limits: Limits, reports: Sequence[RunReport]) -> Limits | None:
    """What the runs so far have left of the limits; None where nothing is."""
    flops, hours = limits.max_flops, limits.max_hours
    if flops is not None:
        flops -= sum(report.spent_flops for report in reports)
    if hours is not None:
        hours -= sum(report.wall_seconds for report in reports) / 3600
    if any(left is not None and left <= 0 for left in (flops, hours)):
        return None
    return Limits(max_flops=flops, max_hours=hours)


def refuse_unextendable(plan: Plan, rounds: int) -> None:
    """Raise `ValueError` for a plan of parts of a star, and for a senseless number of rounds."""
    if rounds < 0:
        raise ValueError(f"extend_rounds={rounds} is not a number of rounds; use 1 or more")
    if isinstance(plan.sweep, StarSweep) and plan.sweep.only:
        raise ValueError(
            f"{plan.name} trains parts of a star alone ([[only]]), so --extend cannot judge its "
            f"arms; extend the whole star, or ask vitscale advise"
        )


def extension_of(
    plan: Plan, store: Store, number: int, *, base: Plan | None = None, metric: str | None = None
) -> Extension:
    """How to extend `plan`, which `store` holds in full, for the time `number`.

    `base`: the plan that was extended first, and gives its name and the compute at which grids are
    judged; by default `plan` itself.

    Raises `ValueError` where the store's metric is unknown or ambiguous.
    """
    base = base or plan
    frame = store.read()
    metric = metric or default_metric(frame)
    rows = _rows_of(plan, frame)
    changes: dict[str, Any]
    if isinstance(plan.sweep, GridSweep):
        first = optimum_over_compute(whole_grid_table(_rows_of(base, frame), metric))
        judged = _best_near(first, None, plan.sweep)
        added, reasons = _beyond_grid(plan.sweep, whole_grid_table(rows, metric), judged)
        values = plan.sweep.values()
        changes = {f"{k}s": tuple(sorted((*values[k], *new))) for k, new in added.items()}
    else:
        star, center = plan.sweep, plan.sweep.center
        middle = (center.width, center.depth, center.mlp_dim)
        added, reasons = _beyond_arms(star, star_table_from_store(rows, metric, None, middle))
        arms = {k: tuple(sorted((*v, *added.get(k, ())))) for k, v in star.arms.items()}
        changes = {"arms": arms}
    wider = None
    if added:
        ending = f"-extended-{number}"
        name = base.name[: _NAME - len(ending)] + ending
        wider = Plan(name=name, sweep=dataclasses.replace(plan.sweep, **changes))
    return Extension(plan=wider, added=added, reasons=tuple(reasons))


def _rows_of(plan: Plan, frame: pd.DataFrame) -> pd.DataFrame:
    ids = {trial.id for trial in plan.trials}
    return where(frame, series(frame, "trial_id").astype(str).isin(ids))


_Added = tuple[dict[str, tuple[int, ...]], list[str]]
"""New sizes by dimension, and why."""


def _beyond_grid(grid: GridSweep, table: pd.DataFrame, first: tuple[int, float] | None) -> _Added:
    """One size on each side on which the best shape of a grid lies.

    It is judged at the compute in the middle of what the first grid could judge (`first`): that of the
    wider grids moves with the shapes that are added, and their optimum with it.
    """
    found = optimum_over_compute(table)
    judged = None if first is None else _best_near(found, first[1], grid)
    if judged is None or first is None:
        return {}, [
            "no compute was reached by all neighbouring shapes of the grid, so none can be called "
            "best; measure them over more, overlapping durations"
        ]
    try:
        chosen = ", ".join(f"{size.estimate:g}" for size in choose_x0(table).sizes.values())
        return {}, [f"({chosen}) is compute-optimal strictly inside the grid, so nothing is added"]
    except ValueError:
        pass  # it lies on the edge, or is best over too little compute
    best, compute = judged
    if compute > _MOVED * first[1]:
        return {}, [
            f"the shapes that were added cost more than {first[1]:.3g} training FLOPs, where the "
            f"first grid was judged, at their shortest duration; add shorter durations to the sweep"
        ]
    listed = f"({', '.join(str(size) for size in found.shapes[best])})"
    added: dict[str, tuple[int, ...]] = {}
    reasons = []
    for dimension, side in sides_of(found, best).items():
        values = grid.values()[dimension]
        multiple = _multiple(grid, dimension, values)
        sizes = sizes_beyond(values, side, multiple=multiple, count=1)
        why = (
            f"the best shape at {compute:.3g} training FLOPs, {listed}, has the {side} {dimension}"
        )
        reasons.append(_reason(f"{why} of the grid", dimension, sizes))
        if sizes:
            added[dimension] = sizes
    if not reasons:
        reasons = [f"{listed} is best inside the grid, but over too little compute: train longer"]
    return added, reasons


def _best_near(
    found: GridOptimum, compute: float | None, grid: GridSweep
) -> tuple[int, float] | None:
    """The best shape (by index) and the compute at which it is so, nearest to `compute`; by default
    in the geometric middle of all that can be judged. None where no shape can be called best.

    Where a shape is best that has a size than which no smaller one exists, no grid can have its optimum
    inside, so such compute counts only where there is no other.
    """
    judged = np.flatnonzero(found.best >= 0)
    least = np.array([_multiple(grid, k, values) for k, values in grid.values().items()])
    smallest = np.any(found.shapes <= least, axis=1)
    inside = ~smallest[found.best[judged]]
    judged = judged[inside] if inside.any() else judged
    if not len(judged):
        return None
    if compute is None:
        place = judged[len(judged) // 2]  # computes are in equal ratios
    else:
        place = judged[np.abs(np.log(found.compute[judged] / compute)).argmin()]
    return int(found.best[place]), float(found.compute[place])


def _beyond_arms(star: StarSweep, table: pd.DataFrame) -> _Added:
    """Sizes on the sides on which x*(t) leaves an arm, up to twice beyond it."""
    added: dict[str, tuple[int, ...]] = {}
    reasons = []
    for dimension in star.arms:
        points = where(table, series(table, "dimension") == dimension)
        try:
            arm = arm_of(points)
        except ValueError as error:
            reasons.append(str(error))
            continue
        values: list[int] = sorted((*star.arms[dimension], getattr(star.center, dimension)))
        new: list[int] = []
        multiple = _multiple(star, dimension, values)
        for side, target, why in _leaves(dimension, arm, values, multiple):
            sizes = sizes_beyond(values, side, multiple=multiple, count=MOST_SIZES, target=target)
            reasons.append(_reason(why, dimension, sizes))
            new += sizes
        if new:
            added[dimension] = tuple(sorted(new))
    return added, reasons or ["x*(t) lies within the arms at every compute, so nothing is added"]


def _leaves(
    dimension: str, arm: Arm, values: list[int], multiple: int
) -> list[tuple[Side, float, str]]:
    """Sides on which the fitted optimum leaves an arm: how far to go there, and the sentence."""
    best = estimate(arm)
    span = f"the sizes {values[0]} to {values[-1]}"
    if not has_optimum(best):
        falls = best.law.beta <= 0
        side: Side = "largest" if falls else "smallest"
        reach = values[-1] * STRADDLE if falls else values[0] / STRADDLE
        what = "falls" if falls else "rises"
        return [(side, reach, f"the error only {what} with {dimension} over {span}")]
    least, most = np.sort(best.law.optimal_x(np.array([arm.t.min(), arm.t.max()]))).tolist()
    found: list[tuple[Side, float, str]] = []
    about = f"the best {dimension} of the {{}} run, about {{:.3g}}, lies outside {span}"
    if least < values[0] and values[0] > multiple:
        found.append(("smallest", least / STRADDLE, about.format("cheapest", least)))
    if most > values[-1]:
        found.append(("largest", most * STRADDLE, about.format("dearest", most)))
    return found


def _multiple(sweep: StarSweep | GridSweep, dimension: str, values: Sequence[int]) -> int:
    """What new sizes are multiples of; small MLPs need not be round."""
    multiple = multiples_of(sweep)[dimension]
    return min(multiple, max(1, min(values) // 4)) if dimension == "mlp_dim" else multiple


def _reason(why: str, dimension: str, sizes: tuple[int, ...]) -> str:
    if not sizes:
        return f"{why}, and no legal {dimension} lies beyond"
    return f"{why}: added {dimension} {', '.join(map(str, sizes))}"


def sizes_beyond(
    values: Sequence[int],
    side: Side,
    *,
    multiple: int,
    count: int,
    target: float | None = None,
) -> tuple[int, ...]:
    """Up to `count` sizes beyond one end of `values`, in its geometric continuation; ascending.

    They are multiples of `multiple`, and end with the first that reaches `target`. The step is that
    of the last two values, within 1.2 and 2. Empty where no size is left, below the least multiple.
    """
    ordered = sorted(values, reverse=side == "smallest")
    step = ordered[-1] / ordered[-2] if len(ordered) > 1 else _ONLY_STEP
    step = float(np.clip(max(step, 1 / step), *_STEPS))
    last, found = ordered[-1], []
    while len(found) < count and (target is None or not found or not _reached(last, target, side)):
        if side == "largest":
            last = max(round(last * step / multiple) * multiple, (last // multiple + 1) * multiple)
        else:
            last = min(
                round(last / step / multiple) * multiple, (-(-last // multiple) - 1) * multiple
            )
        if last < multiple:
            break
        found.append(last)
    return tuple(sorted(found))


def _reached(size: int, target: float, side: Side) -> bool:
    return size >= target if side == "largest" else size <= target
