"""Choosing between laws of one input, and predicting where a curve goes.

The rule, one for all curves:

1. Every law is fitted by least squares on log y to the whole curve and to its last half and quarter,
   counted in log x (`curve.REACHES`).
2. Each of these candidates is back-tested: fitted without the last sixteenth, eighth and quarter of
   log x in turn, and compared with what was measured there (`curve.CUTS`).
3. The half with the larger errors is dropped. The predictions of the rest are averaged, weighted by
   one over the mean square of their errors (Bates & Granger 1969, "The combination of forecasts",
   Operational Research Quarterly 20). The average is of y, not of log y, so that a law that plunges
   to zero beyond the data takes no more than its weight away.

The average is for predicting. Whether one *law* describes the whole curve is another question:

4. Of the laws fitted to all of the curve, those are kept whose mean square back-test error exceeds the
   least by no more than chance would (95% point of F, with as many degrees of freedom as points were
   predicted), and of these the ones within 2 of the least AICc. Where one is left, it is
   `Comparison.chosen`; otherwise the answer is "not distinguishable", with their names.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy import special

from vitscale.fits.curves.comparison import Comparison, LawScore, Miss
from vitscale.fits.curves.curve import FEWEST, Curve, curve_of, cut_offs
from vitscale.fits.curves.extrapolate import Candidate, candidates
from vitscale.fits.laws import LAWS, Law
from vitscale.scaling.names import suggest

CURVE_LAWS: tuple[str, ...] = tuple(name for name, law in LAWS.items() if len(law.inputs) == 1)
"""Names of the laws of one input, which a curve can follow."""

_PARTS = {1.0: "whole", 0.5: "half", 0.25: "quarter"}
_CHANCE = 0.95  # level of the F ratio within which back-tests are equally good
_KEPT = 0.5  # of the candidates, by back-test
_SUPPORT = 2.0  # AICc above the least at which a law keeps support (Burnham & Anderson 2002, 2.6)
_EXACT = 1e-24  # mean square of log residuals below which fits are equally exact


def compare_laws(
    x: Float[ArrayLike, " points"],
    y: Float[ArrayLike, " points"],
    *,
    laws: Sequence[str] = CURVE_LAWS,
) -> Comparison:
    """Fit and back-test `laws` on one curve, and average them by the rule above.

    - `x`: what was scaled (examples, compute, parameters), in any unit and order; positive.
    - `y`: error or loss at each `x`; positive. Points may repeat.
    - `laws`: names of laws of one input in `vitscale.fits.laws.LAWS`.

    Raises `ValueError` for an unknown law, values that are not positive finite numbers, x that are all
    equal, and where the points are too few to back-test any of the laws.
    """
    chosen = [_law(name) for name in laws]
    curve = curve_of(x, y)
    comparison = _compared(curve, chosen)
    if comparison is None:
        raise ValueError(_too_few(curve, chosen))
    return comparison


def _compared(curve: Curve, laws: Sequence[Law]) -> Comparison | None:
    """The comparison, or None where the points are too few to back-test any law."""
    kept = cut_offs(curve)
    by_law = {law.name: candidates(curve, kept, law) if kept else () for law in laws}
    found = [candidate for some in by_law.values() for candidate in some]
    if not found:
        return None
    beyond = int((~kept[-1]).sum())
    weights, error = _weights(found)
    scores = _scores(found, weights)
    undecided = _undecided(scores, beyond)
    return Comparison(
        scores=scores,
        candidates=tuple(found),
        weights=weights,
        chosen=undecided[0] if len(undecided) == 1 else None,
        undecided=undecided if len(undecided) > 1 else (),
        sentence=_sentence(scores, undecided, beyond),
        left_out=tuple(
            f"{law.name} is left out: it has {len(law.parameters)} parameters, and the "
            f"{min(map(curve.distinct, kept))} distinct x before the first cut-off are too few"
            for law in laws
            if not by_law[law.name]
        ),
        backtest=error,
        curve=curve,
    )


def _law(name: str) -> Law:
    if name not in CURVE_LAWS:
        raise ValueError(f"law={name!r} is not a law of one input; {suggest(name, CURVE_LAWS)}")
    return LAWS[name]


def _too_few(curve: Curve, laws: Sequence[Law]) -> str:
    have = curve.distinct(np.ones(len(curve.y), bool))
    if not laws:
        return f"there are no laws to compare; choose from {', '.join(CURVE_LAWS)}"
    before = min(map(curve.distinct, cut_offs(curve)), default=have - 1)
    needs = [f"{law.name} {max(len(law.parameters) + 1, FEWEST)}" for law in laws]
    return (
        f"x has {have} distinct values, of which back-tests keep {before}, too few for any law "
        f"(needed: {', '.join(needs)}); measure more"
    )


def _weights(found: Sequence[Candidate]) -> tuple[Float[np.ndarray, " candidates"], float]:
    """Parts of the candidates in the average, and their root mean square back-test error by them."""
    error = np.array([candidate.error for candidate in found])
    better = np.argsort(error, kind="stable")[: int(np.ceil(_KEPT * len(found)))]
    weights = np.zeros(len(found))
    weights[better] = error[better].min() / error[better]
    weights /= weights.sum()
    return weights, float(np.sqrt(weights @ error))


def _scores(
    found: Sequence[Candidate], weights: Float[np.ndarray, " candidates"]
) -> tuple[LawScore, ...]:
    scores = []
    for name in dict.fromkeys(candidate.law.name for candidate in found):
        own = [k for k, candidate in enumerate(found) if candidate.law.name == name]
        whole = found[own[0]]
        best = min((found[k] for k in own), key=lambda candidate: candidate.error)
        aicc, bic = _criteria(whole)
        scores.append(
            LawScore(
                law=name,
                rms=float(np.sqrt(whole.sse / whole.points)),
                aicc=aicc,
                bic=bic,
                backtest=float(np.sqrt(whole.error)),
                best_reach=best.reach,
                best_backtest=float(np.sqrt(best.error)),
                weight=float(weights[own].sum()),
            )
        )
    return tuple(sorted(scores, key=lambda score: score.backtest))


def _criteria(whole: Candidate) -> tuple[float, float]:
    """AICc (Hurvich & Tsai 1989) and BIC of normal log residuals, up to a constant of the curve."""
    n, k = whole.points, len(whole.law.parameters) + 1
    fit = n * float(np.log(max(whole.sse / n, _EXACT)))
    spare = n - k - 1
    aicc = fit + 2 * k + 2 * k * (k + 1) / spare if spare > 0 else float("inf")
    return aicc, fit + k * float(np.log(n))


def _undecided(scores: Sequence[LawScore], beyond: int) -> tuple[str, ...]:
    """The laws that describe the whole curve as well as the best does, by step 4 of the rule;
    `beyond`: points that the back-tests predicted."""
    ratio = special.fdtri(beyond, beyond, _CHANCE)
    least = scores[0].backtest
    as_good = [score for score in scores if score.backtest**2 <= ratio * least**2]
    support = min(score.aicc for score in as_good)
    if not np.isfinite(support):
        return tuple(score.law for score in as_good)
    return tuple(score.law for score in as_good if score.aicc <= support + _SUPPORT)


def _sentence(scores: Sequence[LawScore], undecided: Sequence[str], beyond: int) -> str:
    ratio = special.fdtri(beyond, beyond, _CHANCE)
    best = scores[0]
    if len(undecided) == 1:
        how = "was the only law to compare" if len(scores) == 1 else "describes the curve best"
        chosen = next(score for score in scores if score.law == undecided[0])
        sentence = (
            f"{chosen.law} {how}; fitted to what came before, it misses later points by "
            f"{100 * chosen.backtest:.2g}%"
        )
    else:
        sentence = (
            f"not distinguishable: {', '.join(undecided)} describe the curve equally well; predict "
            f"with {_average(scores, undecided)}"
        )
    local = min(scores, key=lambda score: score.best_backtest)
    if best.backtest**2 > ratio * local.best_backtest**2:
        sentence += (
            f"; but no law holds over the whole of it: {local.law} fitted to the last "
            f"{_PARTS[local.best_reach]} alone misses by {100 * local.best_backtest:.2g}% beyond a "
            f"cut-off, the best law of all of it by {100 * best.backtest:.2g}%"
        )
    return sentence


def _average(scores: Sequence[LawScore], undecided: Sequence[str]) -> str:
    """What is averaged for a prediction, which back-tests choose, not the fit to the whole curve."""
    averaged = [score.law for score in scores if round(score.weight, 2) > 0]
    if set(averaged) == set(undecided):
        return "their average"
    return f"the average by back-tests, of {', '.join(averaged)}"


def back_tests(
    x: Float[ArrayLike, " points"],
    y: Float[ArrayLike, " points"],
    *,
    laws: Sequence[str] = CURVE_LAWS,
) -> tuple[Miss, ...]:
    """Errors that the rule itself would have made, at each cut-off of the curve.

    Laws, weights and average are found anew from the points before the cut-off, so that these are
    honest errors of `compare_laws`, to calibrate intervals on. Raises what `compare_laws` raises; a
    cut-off that keeps too few points for it is passed over, so that there may be none.
    """
    chosen = [_law(name) for name in laws]
    curve = curve_of(x, y)
    if _compared(curve, chosen) is None:
        raise ValueError(_too_few(curve, chosen))
    found = []
    for kept in cut_offs(curve):
        comparison = _compared(curve.part(kept), chosen)
        if comparison is not None:
            found.extend(_misses(comparison, curve, ~kept))
    return tuple(found)


def _misses(
    comparison: Comparison, curve: Curve, beyond: Bool[np.ndarray, " points"]
) -> list[Miss]:
    x, y = curve.raw_x[beyond], curve.raw_y[beyond]
    last = comparison.curve.raw_x[-1]
    forecast = comparison.predict(x)
    return [
        Miss(
            kept_x=float(last),
            x=float(x[i]),
            y=float(y[i]),
            horizon=float(x[i] / last),
            log_error=float(np.log(forecast.prediction[i]) - np.log(y[i])),
            spread=float(forecast.spread[i]),
        )
        for i in range(len(x))
    ]
