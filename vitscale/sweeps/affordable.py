"""The part of a star that a budget covers."""

import dataclasses

from vitscale.scaling.recipe import Trial
from vitscale.sweeps.plan import Part, Plan, StarSweep

_FEWEST_DURATIONS = 3  # with fewer, the law's decay and its floor cannot be told apart


def affordable_part(plan: Plan, budget: float) -> tuple[Plan, tuple[str, ...]]:
    """`plan`, a star, cut down until it costs no more than `budget` training FLOPs; and what was left out.

    Seeds beyond the first go first, then the longest durations while there are more than three, then
    the dearest shapes.

    Raises `ValueError` where not even the cheapest shape can be paid for.
    """
    star = plan.sweep
    assert isinstance(star, StarSweep)
    left_out: list[str] = []
    if flops_of(plan) > budget and len(star.seeds) > 1:
        left_out.append(f"seeds {_listed(star.seeds[1:])}")
        plan = dataclasses.replace(plan, sweep=dataclasses.replace(star, seeds=star.seeds[:1]))
    dropped: list[int] = []
    while flops_of(plan) > budget and len(plan.sweep.durations) > _FEWEST_DURATIONS:
        dropped.insert(0, plan.sweep.durations[-1])
        shorter = dataclasses.replace(plan.sweep, durations=plan.sweep.durations[:-1])
        plan = dataclasses.replace(plan, sweep=shorter)
    if dropped:
        left_out.append(f"durations {_listed(dropped)}")
    if flops_of(plan) > budget:
        plan, shapes = _cheapest_shapes(plan, budget)
        left_out.append(f"shapes {', '.join(shapes)}")
    return plan, tuple(left_out)


def flops_of(plan: Plan) -> float:
    """Training FLOPs of all of a plan, trunks shared."""
    return sum(trial.spent_flops() for trial in plan.trials)


def _cheapest_shapes(plan: Plan, budget: float) -> tuple[Plan, list[str]]:
    """The cheapest shapes of a star that fit the budget together, and names of the others."""
    star = plan.sweep
    assert isinstance(star, StarSweep)
    cost: dict[object, float] = {}
    for trial in plan.trials:
        cost[trial.shape] = cost.get(trial.shape, 0.0) + trial.spent_flops()
    kept, spent = set(), 0.0
    for shape, flops in sorted(cost.items(), key=lambda item: item[1]):
        if spent + flops > budget:
            break
        kept.add(shape)
        spent += flops
    if not kept:
        raise ValueError(
            f"budget={budget:g} is less than the cheapest trial of {plan.name} costs at its shortest "
            f"durations, {min(cost.values()):.3g} training FLOPs; give more, or plan a smaller star"
        )
    parts, others = [], []
    for shape in star.shapes():
        dimension = star.dimension_of(shape)
        size = None if dimension is None else getattr(shape, dimension)
        if shape not in kept:
            others.append("the centre" if dimension is None else f"{dimension} {size}")
            continue
        part = Part(dimension=dimension, size=size, seeds=star.seeds, durations=star.durations)
        parts.append(part)
    return dataclasses.replace(plan, sweep=dataclasses.replace(star, only=tuple(parts))), others


def longest_run(star: StarSweep) -> float:
    """Training FLOPs of the dearest single run of a star: its centre at the longest duration."""
    trial = Trial(shape=star.center, recipe=star.recipe, durations=star.durations[-1:])
    return trial.train_flops(star.durations[-1])


def _listed(values: object) -> str:
    assert isinstance(values, list | tuple)
    return ", ".join(f"{value:,}" for value in values)
