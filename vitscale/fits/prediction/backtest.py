"""Back-tests: leave out the largest runs, fit the rest, and compare predictions with what was measured.

Nothing that is left out takes part in its own prediction: the law, its noise and the calibration of
its interval (`vitscale.fits.prediction.prediction`) come from the runs below the cut-off alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from vitscale.fits import varpro
from vitscale.fits.frontier import FrontierLaw, pareto_frontier
from vitscale.fits.laws import SHAPE_LAW, Law, law_named
from vitscale.fits.loss import Loss
from vitscale.fits.measured import TARGET_SPAN, measured
from vitscale.fits.prediction.backtest_result import Backtest as Backtest
from vitscale.fits.prediction.backtest_result import Row as Row
from vitscale.fits.prediction.misfit import spaced_cutoffs
from vitscale.fits.prediction.prediction import CORRELATION, checked, predictor
from vitscale.scaling.names import suggest

LeaveOut = Literal["compute", "duration", "size"]


def backtest(
    law: str,
    inputs: Mapping[str, ArrayLike],
    target: ArrayLike,
    *,
    along: ArrayLike | None = None,
    along_name: str | None = None,
    name: str | None = None,
    cluster: ArrayLike | None = None,
    loss: Loss = varpro.RELATIVE_SQUARES,
    cutoffs: int | Sequence[float] = 4,
    level: float = 0.9,
    correlation: float = CORRELATION,
    resamples: int = 200,
    seed: int = 0,
) -> Backtest:
    """Back-test any law on a table: keep the runs up to each cut-off, predict those beyond.

    - `law` to `loss`, `correlation`, `resamples`: as in `vitscale.fits.prediction.predictor`.
    - `along_name`: what `along` is; `name`: of the rows, by default the law's.
    - `cutoffs`: values of `along`, or how many, spaced evenly on a logarithmic scale over the upper
      half of the runs.

    Raises `ValueError` where no cut-off leaves enough runs to decide the law.
    """
    chosen = law_named(law)
    arrays = checked(chosen, inputs, target, along)
    arrays["cluster"] = np.arange(len(arrays["target"])) if cluster is None else np.asarray(cluster)
    least = len(chosen.parameters) + 2
    cuts = _cutoffs(cutoffs, arrays["along"], least, chosen)
    options = {"loss": loss, "correlation": correlation, "resamples": resamples, "seed": seed}
    rows = [
        row
        for cut in cuts
        for row in _rows(
            chosen, arrays, arrays["along"] <= cut, name or law, cut, (level,), options
        )[0]
    ]
    default = chosen.inputs[0] if along is None else "along"
    return Backtest(rows=tuple(rows), level=level, along=along_name or default)


def _cutoffs(
    cutoffs: int | Sequence[float], along: np.ndarray, least: int, law: Law
) -> tuple[float, ...]:
    if isinstance(cutoffs, int):
        cuts = spaced_cutoffs(along, least=least, count=cutoffs)
        if not cuts:
            raise ValueError(
                f"{len(along)} runs leave no cut-off that keeps {least} or more and leaves one out; "
                f"measure more runs to back-test the {law.name} law"
            )
        return cuts
    for cut in cutoffs:
        kept = int((along <= cut).sum())
        if not least <= kept < len(along):
            raise ValueError(
                f"the cut-off {cut:g} keeps {kept} of {len(along)} runs, but the {law.name} law needs "
                f"at least {least} below it and one beyond; choose another"
            )
    return tuple(sorted(float(cut) for cut in cutoffs))


def backtest_frontier(
    compute: ArrayLike,
    error: ArrayLike,
    *,
    law: FrontierLaw = "double-saturating",
    compute_name: str = "compute",
    cutoffs: int = 4,
    level: float = 0.9,
    seed: int = 0,
) -> Backtest:
    """Back-test a law along the Pareto frontier of all runs: leave out those that cost most.

    Raises `ValueError` as `fit_frontier` and `backtest` do.
    """
    runs = measured("compute", compute)
    errors = measured("error", error, span=TARGET_SPAN, runs=runs.size)
    on = pareto_frontier(runs, errors)
    return backtest(
        law,
        {"C": runs[on]},
        errors[on],
        along_name=compute_name,
        name="frontier",
        loss=Loss(residual="log"),
        cutoffs=cutoffs,
        level=level,
        seed=seed,
    )


def backtest_star(
    table: pd.DataFrame,
    *,
    leave_out: LeaveOut = "compute",
    cutoffs: int = 4,
    level: float = 0.9,
    correlation: float = CORRELATION,
    resamples: int = 200,
    seed: int = 0,
) -> Backtest:
    """Back-test eq. (2) along every dimension of a canonical star table, at one level.

    See `backtest_star_at`.
    """
    (found,) = backtest_star_at(
        table,
        levels=(level,),
        leave_out=leave_out,
        cutoffs=cutoffs,
        correlation=correlation,
        resamples=resamples,
        seed=seed,
    )
    return found


def backtest_star_at(
    table: pd.DataFrame,
    *,
    levels: Sequence[float],
    leave_out: LeaveOut = "compute",
    cutoffs: int = 4,
    correlation: float = CORRELATION,
    resamples: int = 200,
    seed: int = 0,
) -> tuple[Backtest, ...]:
    """Back-test eq. (2) along every dimension of a canonical star table, once for each of `levels`, with one
    fit for all of them.

    - `leave_out`: "compute", the runs that cost most, or "size", those of the largest size, over
      several cut-offs; or "duration", the longest run of every network, all at once.

    A dimension that has too few runs to be fitted without them is skipped, and said to be. Raises
    `ValueError` where all are.
    """
    if leave_out not in get_args(LeaveOut):
        raise ValueError(
            f"leave_out={leave_out!r} is unknown; {suggest(leave_out, get_args(LeaveOut))}"
        )
    options = {"correlation": correlation, "resamples": resamples, "seed": seed}
    rows: list[list[list[Row]]] = []
    skipped: list[str] = []
    for name, points in table.groupby("dimension", sort=False):
        found = False
        for cut, kept in _star_splits(points, leave_out, cutoffs):
            found = True
            arrays = _star_arrays(points, leave_out)
            rows.append(_rows(SHAPE_LAW, arrays, kept, str(name), cut, levels, options))
        if not found:
            skipped.append(
                f"{name} has too few runs to leave out the largest {leave_out} and still decide eq. (2)."
            )
    if not rows:
        raise ValueError(f"nothing can be back-tested: {' '.join(skipped)} Measure more runs")
    return tuple(
        Backtest(
            rows=tuple(row for case in rows for row in case[k]),
            level=level,
            along=leave_out,
            skipped=tuple(skipped),
        )
        for k, level in enumerate(levels)
    )


def _star_arrays(points: pd.DataFrame, leave_out: LeaveOut) -> dict[str, np.ndarray]:
    x, t = points["x"].to_numpy(float), points["compute"].to_numpy(float)
    return {
        "x": x,
        "t": t,
        "target": points["error"].to_numpy(float),
        "along": x if leave_out == "size" else t,
        "cluster": points["model"].to_numpy(),
    }


def _star_splits(
    points: pd.DataFrame, leave_out: LeaveOut, count: int
) -> list[tuple[float, np.ndarray]]:
    """Cut-offs and what each keeps, those that leave eq. (2) decided."""
    arrays = _star_arrays(points, leave_out)
    least = len(SHAPE_LAW.parameters) + 2
    if leave_out == "duration":
        longest = points.groupby("model")["compute"].transform("max").to_numpy(float)
        kept = arrays["t"] < longest
        splits = [(float(arrays["t"][kept].max()), kept)] if kept.any() else []
    else:
        cuts = spaced_cutoffs(arrays["along"], least=least, count=count)
        splits = [(cut, arrays["along"] <= cut) for cut in cuts]
    return [(cut, kept) for cut, kept in splits if _decides(arrays, kept, least)]


def _decides(arrays: dict[str, np.ndarray], kept: np.ndarray, least: int) -> bool:
    """Whether what is kept has enough points over three sizes and two durations."""
    x, t = arrays["x"][kept], arrays["t"][kept]
    durations = max((len(np.unique(t[x == size])) for size in np.unique(x)), default=0)
    return len(x) >= least and len(np.unique(x)) >= 3 and durations >= 2 and not kept.all()


def _rows(
    law: Law,
    arrays: dict[str, np.ndarray],
    kept: np.ndarray,
    name: str,
    cut: float,
    levels: Sequence[float],
    options: dict[str, Any],
) -> list[list[Row]]:
    """The runs beyond a cut-off, once for each level."""
    fitted = predictor(
        law.name,
        {key: arrays[key][kept] for key in law.inputs},
        arrays["target"][kept],
        along=arrays["along"][kept],
        cluster=arrays["cluster"][kept],
        **options,
    )
    beyond = {key: arrays[key][~kept] for key in law.inputs}
    keys = ("horizon", "measured", "predicted", "low", "high")
    cases = []
    for level in levels:
        found = fitted.predict(beyond, along=arrays["along"][~kept], level=level)
        measured = arrays["target"][~kept]
        columns = zip(found.horizon, measured, found.predicted, found.low, found.high, strict=True)
        cases.append(
            [
                Row(name=name, cutoff=cut, **dict(zip(keys, map(float, values), strict=True)))
                for values in columns
            ]
        )
    return cases
