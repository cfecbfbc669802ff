"""Where the values of a sweep cannot identify the law, said before anything is spent.

The thresholds come from the published star sweep (Getting ViT in Shape, arXiv 2305.13035) and from
recovering known laws on its values: its width arm is well placed and gives the exponent to 7%, its
MLP arm lies above the optimum of every short run and gives it to 42% (to 17% with the centre).
"""

import itertools
from collections.abc import Callable, Mapping

from vitscale.scaling.names import suggest
from vitscale.scaling.recipe import Trial
from vitscale.scaling.shape import DIMENSIONS
from vitscale.sweeps.plan import GridSweep, StarSweep

Optimum = Callable[[float], float]
"""x*(t) of one dimension by a pilot fit: training FLOPs to the best size."""

MIN_VALUES = 4
"""Values of an arm beside the centre; a law of seven numbers needs spread more than repeats."""

MIN_SPREAD = 4.0
"""Largest size (the centre included) over the smallest."""

MIN_CENTER_RATIO = 1.15
"""Centre over the largest of an arm; the published star has 1.19, 1.67 and 2."""

MIN_DURATIONS = 3
MIN_DURATION_RATIO = 4.0
"""Longest over shortest duration; the published star has 8."""

STRADDLE = 2.0
"""How far the values should reach beyond x*(t) on both sides."""

MAX_GRID_STEP = 1.7
"""Ratio of neighbouring grid values; the published grid has 1.18 to 1.33."""


def design_warnings(
    sweep: StarSweep | GridSweep, optima: Mapping[str, Optimum] | None = None
) -> tuple[str, ...]:
    """One sentence for each reason why `sweep` may fail to identify what it is for.

    `optima` gives x*(t) by dimension from a pilot fit, with t in training FLOPs.

    Raises `ValueError` where `optima` names a dimension that is none.
    """
    for dimension in optima or {}:
        if dimension not in DIMENSIONS:
            raise ValueError(
                f"optima: {dimension!r} is not a dimension; {suggest(dimension, DIMENSIONS)}"
            )
    if isinstance(sweep, GridSweep):
        return tuple(_grid_warnings(sweep))
    warnings = _duration_warnings(sweep)
    for dimension in DIMENSIONS:
        warnings += _arm_warnings(sweep, dimension)
        if optima and dimension in optima and dimension in sweep.arms:
            warnings += _straddle_warnings(sweep, dimension, optima[dimension])
    return tuple(warnings)


def _duration_warnings(sweep: StarSweep) -> list[str]:
    count = len(sweep.durations)
    if count < MIN_DURATIONS:
        return [
            f"durations: {count} of them cannot separate the law's decay in compute from its "
            f"floor; use {MIN_DURATIONS} or more"
        ]
    ratio = sweep.durations[-1] / sweep.durations[0]
    if ratio < MIN_DURATION_RATIO:
        return [
            f"durations: the longest is only {ratio:.3g} times the shortest; "
            f"use {MIN_DURATION_RATIO:g} times or more"
        ]
    return []


def _arm_warnings(sweep: StarSweep, dimension: str) -> list[str]:
    values = sweep.arms.get(dimension)
    if values is None:
        return [f"{dimension}: the star has no such arm, so its exponent cannot be estimated"]
    center = getattr(sweep.center, dimension)
    warnings = []
    if len(values) < MIN_VALUES:
        warnings.append(
            f"{dimension}: {len(values)} values beside the centre are too few to test the law; "
            f"use {MIN_VALUES} or more"
        )
    spread = max(*values, center) / min(*values, center)
    if spread < MIN_SPREAD:
        warnings.append(
            f"{dimension}: the largest size, centre included, is only {spread:.3g} times the "
            f"smallest; use {MIN_SPREAD:g} times or more (it helps more than adding durations)"
        )
    ratio = center / max(values)
    if ratio < MIN_CENTER_RATIO:
        warnings.append(
            f"{dimension}: the centre ({center}) is only {ratio:.3g} times the arm's largest, "
            f"so it may limit the other arms; the published star has 1.2, 1.67 and 2"
        )
    return warnings


def _straddle_warnings(sweep: StarSweep, dimension: str, optimum: Optimum) -> list[str]:
    """Whether the arm and the centre reach from x*(least t)/2 to 2 x*(most t)."""
    trials = [
        Trial(shape=shape, recipe=sweep.recipe, durations=sweep.durations[:1])
        for shape in sweep.shapes()
        if shape == sweep.center or sweep.dimension_of(shape) == dimension
    ]
    least = min(trial.train_flops(sweep.durations[0]) for trial in trials)
    most = max(trial.train_flops(sweep.durations[-1]) for trial in trials)
    sizes = sorted([*sweep.arms[dimension], getattr(sweep.center, dimension)])
    low, high = optimum(least) / STRADDLE, optimum(most) * STRADDLE
    warnings = []
    if sizes[0] > low:
        warnings.append(
            f"{dimension}: the smallest size is {sizes[0]}, but the optimum of the cheapest run is "
            f"about {optimum(least):.0f}; add sizes down to {max(1, round(low))}"
        )
    if sizes[-1] < high:
        warnings.append(
            f"{dimension}: the largest size is {sizes[-1]}, but the optimum of the dearest run is "
            f"about {optimum(most):.0f}; add sizes up to {round(high)}"
        )
    return warnings


def _grid_warnings(sweep: GridSweep) -> list[str]:
    warnings = []
    for dimension, values in sweep.values().items():
        if len(values) < 3:
            warnings.append(
                f"{dimension}: with {len(values)} value{'s' * (len(values) > 1)} no optimum can lie strictly inside the "
                f"grid; use 3 or more"
            )
        steps = [after / before for before, after in itertools.pairwise(values)]
        if steps and max(steps) > MAX_GRID_STEP:
            warnings.append(
                f"{dimension}: neighbouring values differ by a factor {max(steps):.3g}, too coarse "
                f"to place x0; use steps of about 1.2 to 1.4"
            )
    return warnings
