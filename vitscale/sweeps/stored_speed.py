"""How fast trials train, by what a store has measured: for the estimated time of a plan."""

from collections.abc import Iterable, Mapping

import numpy as np

from vitscale.scaling.progress import Speed
from vitscale.scaling.recipe import Trial
from vitscale.sweeps.parquet import Facts
from vitscale.sweeps.recorded import recorded
from vitscale.sweeps.store import Store


def stored_speed(store: Store, trials: Iterable[Trial]) -> Speed | None:
    """How fast the trials of the plans of a store, and `trials`, were trained; None where it holds none.

    Time is taken as steps x overhead + FLOPs / rate, both fitted to the relative errors of the times.
    """
    facts = store.facts()
    known = {t.id: t for plan in recorded(store) for t in plan.trials} | {t.id: t for t in trials}
    return speed_of({known[i]: each for i, each in facts.items() if i in known})


def speed_of(facts: Mapping[Trial, Mapping[int, Facts]]) -> Speed | None:
    """`stored_speed` of facts by trial and duration."""
    from scipy.optimize import nnls

    rows = [
        (
            duration / trial.recipe.batch_size / fact.train_seconds,
            3.0 * trial.forward_flops_per_example() * duration / fact.train_seconds,
        )
        for trial, each in facts.items()
        for duration, fact in each.items()
        if fact.status == "ok" and fact.train_seconds > 0
    ]
    if not rows:
        return None
    design = np.array(rows)
    scale = design.max(axis=0)
    overhead, per_flop = nnls(design / scale, np.ones(len(rows)))[0] / scale
    if not per_flop > 0:  # trials so small that only their steps count
        per_flop = 1e-30
    return Speed(
        compile_seconds=0.0, step_overhead_seconds=overhead, flops_per_second=1.0 / per_flop
    )
