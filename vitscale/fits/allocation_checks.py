"""What speaks against dividing a budget by some runs: columns mixed up, units, and runs that cannot tell.

Refusals raise `ValueError`; cautions are sentences for whoever reads the answer.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from vitscale.fits.columns import positive, row_list, series
from vitscale.fits.store_tables import is_store

FAR_BEYOND = 10.0
"""Times the largest run from which on a budget is cautioned."""

_TOO_FAR, _TOO_SMALL = 1e6, 1e-3
_NEARLY_ONE_LINE = 0.07  # standard deviation of log N and log D across the line that they lie on
_COMPUTE_COLUMNS = ("train_flops", "flops", "c", "compute", "training_flops", "total_flops")
_SAME_COMPUTE = 1.3  # factor between 6 N D and a compute column that is no mix-up of units
_STATE_COLUMNS = ("state", "status")
_BROKEN = ("crashed", "failed", "killed", "diverged", "preempted", "error", "running")
_BEATEN = 4.0  # standard deviations of log loss by which a run that beats the law is no luck


def refuse_store(frame: pd.DataFrame) -> None:
    """Raise one sentence for the rows of a store: all its metrics, and images whose cost is not 6 N D."""
    if is_store(frame):
        raise ValueError(
            "these are the rows of a store, which vitscale fit and vitscale frontier are for; a budget is divided by "
            "a table with a run a row: its parameters, tokens or images, and loss"
        )


def refuse_one_line(n: Float[np.ndarray, " runs"], d: Float[np.ndarray, " runs"]) -> None:
    """Raise one sentence where log N and log D are so nearly on one line that no fit can part them."""
    logs = np.log(np.column_stack([n, d]))
    across = np.linalg.svd(logs - logs.mean(axis=0), compute_uv=False)[-1] / np.sqrt(len(logs))
    if across >= _NEARLY_ONE_LINE:
        return
    ratio = logs[:, 1] - logs[:, 0]
    if ratio.std() < 2 * _NEARLY_ONE_LINE:
        what = f"all runs have about {np.exp(ratio.mean()):.3g} tokens a parameter"
    else:
        what = "the tokens of all runs follow from their parameters"
    raise ValueError(
        f"{what}; such runs cannot say how to split a budget; vary D at fixed N in some of them"
    )


def refuse_budgets(
    compute: Float[np.ndarray, " budgets"], runs: Float[np.ndarray, " runs"]
) -> None:
    """Raise one sentence for budgets absurdly far from the compute of the `runs` (both training FLOPs)."""
    for budget in compute:
        if budget > _TOO_FAR * runs.max() or budget < _TOO_SMALL * runs.min():
            which, end = (
                ("largest", runs.max()) if budget > runs.max() else ("smallest", runs.min())
            )
            raise ValueError(
                f"{budget:.4g} training FLOPs are {budget / end:.2g} times the {which} run ({end:.3g} by N "
                f"x D), too far to say anything; check the unit of the budget and of N and D (plain numbers, "
                f"not millions)"
            )


def budget_cautions(compute: Sequence[float], times: Sequence[float]) -> tuple[str, ...]:
    """Of budgets (training FLOPs) that are many `times` the largest run."""
    far = [
        f"{budget:.3g}"
        for budget, often in zip(compute, times, strict=True)
        if often > FAR_BEYOND * 1.001
    ]
    if not far:
        return ()
    return (
        f"the budget {', '.join(far)} is {'up to ' if len(far) > 1 else ''}{max(times):,.3g} times that of the "
        f"largest run; nothing measured says that the law holds so far out",
    )


def ratio_cautions(ratios: Float[np.ndarray, " runs"]) -> list[str]:
    """Of runs with fewer tokens than parameters, by their `ratios` of tokens to parameters."""
    under = int((ratios < 1).sum())
    if not under:
        return []
    return [
        f"{under} of {len(ratios)} runs saw fewer than one token a parameter (the least {ratios.min():.2g}); "
        f"are N and D swapped, or in different units?"
    ]


def unit_cautions(
    frame: pd.DataFrame,
    n: Float[np.ndarray, " runs"],
    d: Float[np.ndarray, " runs"],
    flops: float,
    *,
    used: Sequence[str] = (),
) -> list[str]:
    """Of a compute column of `frame` that is far from `flops` N D; `used` columns are something else."""
    for column in frame.columns:
        if str(column).lower() not in _COMPUTE_COLUMNS or str(column) in used:
            continue
        values = positive(frame, str(column)).to_numpy(float)
        if np.isnan(values).all():
            continue
        factor = float(np.exp(np.nanmedian(np.log(values / (flops * n * d)))))
        if not 1 / _SAME_COMPUTE <= factor <= _SAME_COMPUTE:
            return [
                f"{column} is {factor:.3g} times {flops:g} N D in the median run; budgets are counted as "
                f"{flops:g} N D, so check the units of N, D and {column}, or set --flops-per-pair"
            ]
    return []


def state_cautions(frame: pd.DataFrame) -> list[str]:
    """Of runs that a column named state or status calls crashed, failed or unfinished."""
    for column in frame.columns:
        if str(column).lower() in _STATE_COLUMNS:
            words = series(frame, str(column)).astype(str).str.strip().str.lower()
            bad = np.flatnonzero(words.isin(_BROKEN))
            if len(bad):
                named = ", ".join(sorted({str(words.iloc[row]) for row in bad}))
                return [
                    f"{len(bad)} runs are {named} by {column} ({row_list(bad)}) and count like the others; "
                    f"remove them if their loss is not that of a finished run"
                ]
    return []


def beaten_cautions(
    least: Float[np.ndarray, " runs"], target: Float[np.ndarray, " runs"], scatter: float
) -> list[str]:
    """Of runs whose loss is below the law's best at their compute, by far more than the `scatter` of runs.

    `least`: the law's best loss at the compute of each run.
    """
    below = np.flatnonzero(np.log(target) < np.log(least) - _BEATEN * scatter)
    if not len(below):
        return []
    worst = below[np.argmin(target[below] / least[below])]
    return [
        f"{row_list(below)} did better than the law's best at that compute (row {worst + 1}: {target[worst]:.4g} "
        f"against {least[worst]:.4g}); these runs differ in more than N and D, or the law is wrong there"
    ]
