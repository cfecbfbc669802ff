"""How far to trust an answer, in one word and its reasons: a rule that anyone can check, not an opinion."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from vitscale.fits.answer import Answer
from vitscale.fits.intervals.interval import Interval
from vitscale.fits.star_fit import StarFit

Standing = Literal["good", "care", "poor"]
"""Take it; take it with care; do not build on it."""

WELL_KNOWN, KNOWN = 1.5, 3.0
"""Ratios of the ends of a size's interval up to which an answer is good, and may be used with care."""

NEAR, FAR = 10.0, 100.0
"""Multiples of the most compute measured up to which an answer is good, and may be used with care."""

_EXACT = 1.001  # so that ten times is ten times, whatever the rounding


@dataclasses.dataclass(frozen=True)
class Confidence:
    """How an answer stands, and why, most serious first."""

    standing: Standing
    reasons: tuple[str, ...]


def confidence(found: Answer, fit: StarFit, *, measured_flops: float | None) -> Confidence:
    """The standing of an answer that rests on `fit`.

    Good: every exponent is identified, every size is known to a factor of 1.5 between the ends of its interval,
    and the budget lies between the least and ten times the most compute measured (`measured_flops`, in training
    FLOPs). With care: up to a factor of 3, a hundred times more, or a hundred times less. Poor: anything else.
    """
    vague = [name for name, size in fit.dimensions.items() if not size.identified]
    beyond = found.flops / measured_flops if measured_flops else 1.0
    least = 0.0 if fit.flops_range is None else fit.flops_range[0]
    return standing_of(
        found.sizes,
        beyond,
        below=least / found.flops,
        most="the most compute that was measured",
        undecided=f"The data do not decide the exponent of {_listed(vague)}." if vague else "",
        cautions=[
            f"The exponent of {name} hangs on one network."
            for name, dimension in fit.dimensions.items()
            if any(flag.code == "outlier_leverage" for flag in dimension.flags)
        ],
        what="Every size",
    )


def standing_of(
    sizes: Mapping[str, Interval],
    beyond: float,
    *,
    below: float = 0.0,
    most: str,
    undecided: str = "",
    cautions: Sequence[str] = (),
    what: str,
) -> Confidence:
    """The rule itself, for an answer of named `sizes` at `beyond` times the most compute measured.

    - `below`: how many times less than the least compute measured, where it is less.
    - `most`: what `beyond` counts in, in words. `what`: all sizes together, in words.
    - `undecided`: a sentence where the law's exponents are not identified. `cautions`: sentences that
      keep a good answer from being one.
    """
    reasons: list[tuple[Standing, str]] = [("poor", undecided)] if undecided else []
    for name, size in sizes.items():
        if not (size.low > 0 and math.isfinite(size.high)):
            reasons.append(("poor", f"Nothing bounds {name} at this budget."))
            continue
        factor = size.high / size.low
        if factor > WELL_KNOWN:
            reasons.append((_at_most(factor, KNOWN), f"{name}: known to a factor of {factor:.2g}."))
    if beyond > NEAR * _EXACT:
        reasons.append(
            (_at_most(beyond, FAR * _EXACT), f"The budget is {beyond:,.3g} times {most}.")
        )
    if below > _EXACT:
        reasons.append(
            (
                _at_most(below, FAR * _EXACT),
                f"The least compute that was measured is {below:,.3g} times the budget.",
            )
        )
    reasons.extend(("care", sentence) for sentence in cautions)
    order: tuple[Standing, ...] = ("good", "care", "poor")
    worst = order[max((order.index(standing) for standing, _ in reasons), default=0)]
    told = tuple(text for step in reversed(order) for standing, text in reasons if standing == step)
    return Confidence(worst, told or (_all_is_well(sizes, beyond, what),))


def _at_most(value: float, most: float) -> Standing:
    return "care" if value <= most else "poor"


def _all_is_well(sizes: Mapping[str, Interval], beyond: float, what: str) -> str:
    factor = max(size.high / size.low for size in sizes.values())
    reach = "within the compute measured" if beyond <= 1 else f"{beyond:,.3g} times beyond the data"
    return f"{what} is known to a factor of {factor:.2g} or better, {reach}."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
