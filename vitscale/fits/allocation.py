"""How a budget is best divided between parameters and tokens, by Chinchilla's law.

    L(N, D) = E + A N^-alpha + B D^-beta is least on C = k N D at

    N*(C) = G (C/k)^a,   D*(C) = (C/k)^(1-a) / G,   a = beta/(alpha+beta),   G = (alpha A/(beta B))^(1/(alpha+beta))

Training Compute-Optimal Large Language Models (arXiv 2203.15556), eq. (4), with k = 6 FLOPs for each
parameter and token.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from vitscale.fits.intervals.interval import Interval
from vitscale.fits.law_fit import LawFit, fit_law
from vitscale.fits.loss import Loss

FLOPS_PER_PARAMETER_AND_TOKEN = 6.0
"""Training FLOPs of a transformer for each parameter and token: two forward, four backward."""

_LEAST_RESAMPLES = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """The best model for `compute` training FLOPs: parameters, tokens and its loss, with intervals."""

    compute: float
    parameters: Interval
    tokens: Interval
    loss: Interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class Allocation:
    """How the best model grows: N* as C^`exponent`, D* as C^(1 - exponent), and `shares` at some C.

    `fit` is the law that it follows from.
    """

    fit: LawFit
    exponent: Interval
    shares: tuple[Share, ...]

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
            "shares": [
                {**dataclasses.asdict(share), "beyond_the_runs": self.beyond(share)}
                for share in self.shares
            ],
        }


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
    log_g = (np.log(alpha * law["A"]) - np.log(beta * law["B"])) / (alpha + beta)
    return np.exp(log_g + beta / (alpha + beta) * np.log(pairs))


def allocate(
    inputs: Mapping[str, ArrayLike],
    target: ArrayLike,
    compute: Sequence[float],
    *,
    loss: Loss | None = None,
    flops: float = FLOPS_PER_PARAMETER_AND_TOKEN,
    level: float = 0.95,
    resamples: int = 200,
    seed: int = 0,
) -> Allocation:
    """Fit Chinchilla's law to runs, and divide each budget of `compute` (training FLOPs) by it.

    - `inputs`: "N" (parameters) and "D" (tokens) of each run; `target`: their loss.
    - `loss`: what is minimised; by default Huber's on logarithms with delta 1e-3, as in the paper.
    - `resamples`: refits to runs drawn with repetition, which give the intervals (percentiles).

    Raises `ValueError` where the runs cannot decide the law, or for bad values or choices.
    """
    chosen = loss or Loss(residual="log", rho="huber", delta=1e-3)
    if resamples < _LEAST_RESAMPLES:
        raise ValueError(
            f"resamples={resamples} are too few for the ends of an interval; use {_LEAST_RESAMPLES} or more"
        )
    budgets = np.asarray(compute, float)
    if not (budgets.ndim == 1 and np.isfinite(budgets).all() and (budgets > 0).all()):
        raise ValueError(f"compute={compute} are not budgets; give training FLOPs, such as [1e21]")
    columns = {name: np.asarray(values, float) for name, values in inputs.items()}
    losses = np.asarray(target, float)
    fit = fit_law("chinchilla", columns, losses, loss=chosen, level=level)
    rng = np.random.default_rng(seed)
    laws = [fit.parameters]
    for _ in range(resamples):
        drawn = rng.integers(len(losses), size=len(losses))
        some = {name: values[drawn] for name, values in columns.items()}
        again = fit_law("chinchilla", some, losses[drawn], loss=chosen, intervals="none")
        laws.append(again.parameters)
    interval = _Percentiles(level=level)
    best = np.array([best_parameters(law, budgets, flops=flops) for law in laws])
    tokens = budgets / flops / best
    least = np.array(
        [
            law["E"] + law["A"] * n ** -law["alpha"] + law["B"] * d ** -law["beta"]
            for law, n, d in zip(laws, best, tokens, strict=True)
        ]
    )
    return Allocation(
        fit=fit,
        exponent=interval.of(
            np.array([law["beta"] / (law["alpha"] + law["beta"]) for law in laws])
        ),
        shares=tuple(
            Share(
                compute=float(budget),
                parameters=interval.of(best[:, k]),
                tokens=interval.of(tokens[:, k]),
                loss=interval.of(least[:, k]),
            )
            for k, budget in enumerate(budgets)
        ),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Percentiles:
    """Intervals of the first value, from the percentiles of the others."""

    level: float

    def of(self, values: Float[np.ndarray, " draws"]) -> Interval:
        low, high = np.quantile(values[1:], [(1 - self.level) / 2, (1 + self.level) / 2])
        return Interval(
            estimate=float(values[0]),
            low=min(float(low), float(values[0])),
            high=max(float(high), float(values[0])),
            level=self.level,
            method="bootstrap (runs)",
        )
