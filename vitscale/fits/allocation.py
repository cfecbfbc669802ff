"""How a budget is best divided between parameters and tokens, by Chinchilla's law.

    L(N, D) = E + A N^-alpha + B D^-beta is least on C = k N D at

    N*(C) = G (C/k)^a,   D*(C) = (C/k)^(1-a) / G,   a = beta/(alpha+beta),   G = (alpha A/(beta B))^(1/(alpha+beta))

Training Compute-Optimal Large Language Models (arXiv 2203.15556), eq. (4), with k = 6 FLOPs for each
parameter and token.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from vitscale.fits.allocation_checks import (
    beaten_cautions,
    budget_cautions,
    ratio_cautions,
    refuse_budgets,
    refuse_one_line,
)
from vitscale.fits.intervals.interval import Interval
from vitscale.fits.law_fit import LawFit, fit_law
from vitscale.fits.law_table import LawTable
from vitscale.fits.laws import LAWS
from vitscale.fits.loss import Loss
from vitscale.fits.option_error import Keyword, OptionError
from vitscale.fits.prediction.backtest import backtest
from vitscale.fits.prediction.backtest_result import Backtest

FLOPS_PER_PARAMETER_AND_TOKEN = 6.0
"""Training FLOPs of a transformer for each parameter and token: two forward, four backward."""

CHINCHILLA_LOSS = Loss(residual="log", rho="huber", delta=1e-3)
"""What the paper minimises: Huber's loss of logarithms (eq. (3))."""

_LEAST_RESAMPLES = 50
_LEAST_RUNS = 8  # with fewer, all resamples that can be fitted are nearly the same runs
_LEAST_VALUES = 3  # of N and of D, as `fit_law` asks
_REDRAWS = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """The best model for `compute` training FLOPs: parameters, tokens and its loss, with intervals.

    `times_largest`: the budget over the compute of the largest run. The interval of `loss` is that of the
    law, without the scatter of runs about it.
    """

    compute: float
    times_largest: float
    parameters: Interval
    tokens: Interval
    loss: Interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class Allocation:
    """How the best model grows: N* as C^`exponent`, D* as C^(1 - exponent), and `shares` at some C.

    `fit` is the law that it follows from; `cautions` say what speaks against the runs or
    the law, a sentence each, and `far_cautions` what speaks against the budgets.
    """

    fit: LawFit
    exponent: Interval
    shares: tuple[Share, ...]
    cautions: tuple[str, ...] = ()

    @property
    def data_exponent(self) -> Interval:
        """How the best tokens grow: one less the exponent of parameters."""
        grown = self.exponent
        ends = (
            (max(1 - grown.high, 0.0), 1 - grown.low)
            if math.isfinite(grown.high)
            else (0.0, math.inf)
        )
        return dataclasses.replace(grown, estimate=1 - grown.estimate, low=ends[0], high=ends[1])

    @property
    def far_cautions(self) -> tuple[str, ...]:
        """Of budgets far beyond the largest run."""
        return budget_cautions(
            [share.compute for share in self.shares], [share.times_largest for share in self.shares]
        )

    def beyond(self, share: Share) -> bool:
        """Whether the best model of `share` is smaller or larger, or sees fewer or more tokens, than any run."""
        sizes = {"N": share.parameters.estimate, "D": share.tokens.estimate}
        return any(
            not low <= sizes[name] <= high for name, (low, high) in self.fit.input_ranges.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "law": self.fit.to_dict(),
            "exponent": dataclasses.asdict(self.exponent),
            "data_exponent": dataclasses.asdict(self.data_exponent),
            "cautions": [*self.far_cautions, *self.cautions],
            "shares": [
                {**dataclasses.asdict(share), "beyond_the_runs": self.beyond(share)}
                for share in self.shares
            ],
        }


def backtest_allocation(table: LawTable, *, level: float = 0.9) -> Backtest:
    """Back-test Chinchilla's law: leave out the runs of the most parameters times tokens, and predict them.

    Raises `ValueError` as `vitscale.fits.prediction.backtest.backtest`.
    """
    return backtest(
        "chinchilla",
        table.inputs,
        table.target,
        cluster=table.cluster,
        loss=CHINCHILLA_LOSS,
        level=level,
        along=table.inputs["N"] * table.inputs["D"],
        along_name=f"{table.columns['N']} x {table.columns['D']}",
    )


def best_parameters(
    law: Mapping[str, float],
    compute: ArrayLike,
    *,
    flops: float = FLOPS_PER_PARAMETER_AND_TOKEN,
) -> Float[np.ndarray, "..."]:
    """N*(C) of Chinchilla's law with the parameters `law` (A, B, alpha, beta); D* is C / (flops N*).

    `compute` in training FLOPs, `flops` of them for each parameter and token.
    """
    alpha, beta = law["alpha"], law["beta"]
    pairs = np.asarray(compute, float) / flops
    # In logarithms, as A and B may be very large.
    # A law in which the loss does not fall with N (A = 0) has its best at none, and without D at all.
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        log_g = (np.log(alpha * law["A"]) - np.log(beta * law["B"])) / (alpha + beta)
        return np.exp(log_g + beta / (alpha + beta) * np.log(pairs))


def allocate(
    inputs: Mapping[str, ArrayLike],
    target: ArrayLike,
    compute: Sequence[float],
    *,
    cluster: Sequence[Any] | np.ndarray | None = None,
    loss: Loss | None = None,
    flops: float = FLOPS_PER_PARAMETER_AND_TOKEN,
    level: float = 0.95,
    resamples: int = 200,
    seed: int = 0,
) -> Allocation:
    """Fit Chinchilla's law to runs, and divide each budget of `compute` (training FLOPs) by it.

    - `inputs`: "N" (parameters) and "D" (tokens) of each run; `target`: their loss.
    - `cluster`: what belongs together, such as the durations of one network, a value a run; drawn together for
      the intervals. By default each run stands alone.
    - `loss`: what is minimised; by default Huber's on logarithms with delta 1e-3, as in the paper.
    - `resamples`: refits to runs (or clusters) drawn with repetition, which give the intervals (percentiles); 0
      for none.

    Raises `ValueError` where the runs cannot decide the law (all at one ratio of D to N, too few, a parameter
    at its bound), for budgets absurdly far from them, and for bad values or choices.
    """
    chosen = loss or CHINCHILLA_LOSS
    if resamples != 0 and resamples < _LEAST_RESAMPLES:
        raise ValueError(
            f"resamples={resamples} are too few for the ends of an interval; use {_LEAST_RESAMPLES} or more, "
            f"or 0 for none"
        )
    if not (np.isfinite(flops) and flops > 0):
        raise ValueError(
            f"flops={flops} is not a number of training FLOPs for each parameter and token; use a positive one, such as 6"
        )
    budgets = np.asarray(compute, float)
    if not (budgets.ndim == 1 and np.isfinite(budgets).all() and (budgets > 0).all()):
        raise ValueError(f"compute={compute} are not budgets; give training FLOPs, such as [1e21]")
    columns = {name: np.asarray(values, float) for name, values in inputs.items()}
    losses = np.asarray(target, float)
    groups = _groups(cluster, losses.size)
    if resamples and cluster is not None:
        _refuse_few(len(np.unique(groups)), "clusters of runs, which are drawn whole")
    fit = fit_law(
        "chinchilla",
        columns,
        losses,
        loss=chosen,
        cluster=None if cluster is None else groups,
        # Those of clusters are resampled.
        intervals="none" if cluster is not None and not resamples else "profile",
        level=level,
    )
    n, d = columns["N"], columns["D"]
    refuse_one_line(n, d)
    spent = flops * n * d
    refuse_budgets(budgets, spent)
    _refuse_undecided(fit)
    laws = [fit.parameters, *_resampled(columns, losses, groups, chosen, resamples, seed)]
    best = np.array([best_parameters(law, budgets, flops=flops) for law in laws])
    with np.errstate(divide="ignore"):
        tokens = budgets / flops / best
    least = np.array(
        [_loss(law, sizes, seen) for law, sizes, seen in zip(laws, best, tokens, strict=True)]
    )
    if not all(np.isfinite(values[0]).all() for values in (best, tokens, least)):
        raise ValueError(
            "the fitted law gives no finite answer at this budget; measure a wider range of N and D"
        )
    at_runs = best_parameters(fit.parameters, spent, flops=flops)
    # Of most runs: a run far off, which is what is looked for, must not widen it.
    scatter = 1.4826 * float(np.median(np.abs(np.log(losses / fit.predict(n, d)))))
    interval = _Percentiles(level=level, drawn="runs" if cluster is None else "clusters")
    return Allocation(
        fit=fit,
        exponent=interval.of(
            np.array([law["beta"] / (law["alpha"] + law["beta"]) for law in laws])
        ),
        shares=tuple(
            Share(
                compute=float(budget),
                times_largest=float(budget / spent.max()),
                parameters=interval.of(best[:, k]),
                tokens=interval.of(tokens[:, k]),
                loss=interval.of(least[:, k]),
            )
            for k, budget in enumerate(budgets)
        ),
        cautions=(
            # Where D is in images, a pair costs what the tokens of an image do.
            *ratio_cautions(flops / FLOPS_PER_PARAMETER_AND_TOKEN * d / n),
            *beaten_cautions(
                _loss(fit.parameters, at_runs, spent / flops / at_runs), losses, scatter
            ),
        ),
    )


def _loss(law: Mapping[str, float], n: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The law's loss; a term without an amplitude is none, whatever N or D."""
    total = np.full(np.shape(n), law["E"], float)
    with np.errstate(divide="ignore", over="ignore"):
        for amplitude, exponent, sizes in (("A", "alpha", n), ("B", "beta", d)):
            if law[amplitude] > 0:
                total = total + law[amplitude] * sizes ** -law[exponent]
    return total


def _refuse_undecided(fit: LawFit) -> None:
    """Raise one sentence where the law leaves no trade-off between N and D."""
    for amplitude, exponent, name in (("A", "alpha", "N"), ("B", "beta", "D")):
        if fit.parameters[amplitude] <= 0:
            why = f"by the fit the loss does not fall with {name} ({amplitude} = 0)"
        elif any(flag.code == f"{exponent}_at_bound" for flag in fit.flags):
            why = f"{exponent} ended at a bound, {fit.parameters[exponent]:.3g}"
        else:
            continue
        raise ValueError(
            f"the runs do not decide how the loss depends on {name}: {why}; no budget can be divided by such a "
            f"law; measure a wider range of {name}, and check the columns"
        )


def _groups(cluster: Sequence[Any] | np.ndarray | None, runs: int) -> Int[np.ndarray, " runs"]:
    """The number of what each run belongs to, from 0; each to itself where no `cluster` is given."""
    if cluster is None:
        return np.arange(runs)
    groups = np.unique(np.asarray(cluster), return_inverse=True)[1]
    if len(groups) != runs:
        raise ValueError(f"cluster has {len(groups)} entries for {runs} runs; give one a run")
    return groups


def _refuse_few(count: int, what: str) -> None:
    """Raise one sentence where all resamples that can be fitted are nearly the same."""
    if count < _LEAST_RUNS:
        raise OptionError(
            f"there are {count} {what}, but intervals need at least {_LEAST_RUNS}; measure more, or ask for none "
            f"with ",
            Keyword("resamples", 0),
        )


def _resampled(
    columns: Mapping[str, np.ndarray],
    losses: np.ndarray,
    groups: np.ndarray,
    loss: Loss,
    resamples: int,
    seed: int,
) -> list[dict[str, float]]:
    """Parameters of the law refitted to whole groups of runs drawn with repetition; draws too alike to be fitted
    are redrawn."""
    if not resamples:
        return []
    _refuse_few(len(np.unique(np.column_stack([*columns.values()]), axis=0)), "different runs")
    members = [np.flatnonzero(groups == group) for group in range(groups.max() + 1)]
    rng = np.random.default_rng(seed)
    laws = []
    for _ in range(resamples):
        for _ in range(_REDRAWS):
            chosen = rng.integers(len(members), size=len(members))
            drawn = np.concatenate([members[group] for group in chosen])
            some = {name: values[drawn] for name, values in columns.items()}
            if _can_be_fitted(some):
                break
        else:
            raise OptionError(
                "the runs take too few values of N or D to be resampled; measure more, or ask for no intervals "
                "with ",
                Keyword("resamples", 0),
            )
        again = fit_law("chinchilla", some, losses[drawn], loss=loss, intervals="none")
        laws.append(again.parameters)
    return laws


def _can_be_fitted(some: Mapping[str, np.ndarray]) -> bool:
    needed = len(LAWS["chinchilla"].parameters) + 1
    points = len(np.unique(np.column_stack([*some.values()]), axis=0))
    return points >= needed and all(
        len(np.unique(values)) >= _LEAST_VALUES for values in some.values()
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Percentiles:
    """Intervals of the first value, from the percentiles of the others; open where there are none."""

    level: float
    drawn: str

    def of(self, values: Float[np.ndarray, " draws"]) -> Interval:
        estimate, draws = float(values[0]), values[1:]
        low, high = 0.0, np.inf
        method = f"bootstrap ({self.drawn})" if len(draws) else "none"
        if len(draws):
            # A resample that decides nothing leaves both ends open. Of the draws themselves, as between
            # infinite ones nothing can be interpolated.
            kind = "linear" if np.isfinite(draws).all() else "inverted_cdf"
            below, above = (
                np.nan_to_num(draws, nan=0.0, posinf=np.inf),
                np.where(np.isnan(draws), np.inf, draws),
            )
            low = float(np.quantile(below, (1 - self.level) / 2, method=kind))
            high = float(np.quantile(above, (1 + self.level) / 2, method=kind))
        return Interval(
            estimate=estimate,
            low=min(low, estimate),
            high=max(high, estimate),
            level=self.level,
            method=method,
        )
