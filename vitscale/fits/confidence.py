"""How far to trust an answer, in one word and its reasons: a rule that anyone can check, not an opinion."""

import dataclasses
import math
from typing import Literal

from vitscale.fits.answer import Answer
from vitscale.fits.star_fit import StarFit

Standing = Literal["good", "care", "poor"]
"""Take it; take it with care; do not build on it."""

WELL_KNOWN, KNOWN = 1.5, 3.0
"""Ratios of the ends of a size's interval up to which an answer is good, and may be used with care."""

NEAR, FAR = 10.0, 100.0
"""Multiples of the most compute measured up to which an answer is good, and may be used with care."""


@dataclasses.dataclass(frozen=True)
class Confidence:
    """How an answer stands, and why, most serious first."""

    standing: Standing
    reasons: tuple[str, ...]


def confidence(found: Answer, fit: StarFit, *, measured_flops: float | None) -> Confidence:
    """The standing of an answer that rests on `fit`.

    Good: every exponent is identified, every size is known to a factor of 1.5 between the ends of its interval,
    and the budget lies within ten times the most compute measured (`measured_flops`, in training FLOPs). With
    care: up to a factor of 3 and a hundred times. Poor: anything else.
    """
    reasons: list[tuple[Standing, str]] = []
    vague = [name for name, size in fit.dimensions.items() if not size.identified]
    if vague:
        reasons.append(("poor", f"The data do not decide the exponent of {_listed(vague)}."))
    for name, size in found.sizes.items():
        if not (size.low > 0 and math.isfinite(size.high)):
            reasons.append(("poor", f"Nothing bounds {name} at this budget."))
            continue
        factor = size.high / size.low
        if factor > WELL_KNOWN:
            reasons.append(
                (_at_most(factor, KNOWN), f"{name} is known to a factor of {factor:.2g}.")
            )
    beyond = found.flops / measured_flops if measured_flops else 1.0
    if beyond > NEAR * 1.001:
        reasons.append(
            (
                _at_most(beyond, FAR * 1.001),
                f"The budget is {beyond:,.3g} times the most compute that was measured.",
            )
        )
    for name, dimension in fit.dimensions.items():
        if any(flag.code == "outlier_leverage" for flag in dimension.flags):
            reasons.append(("care", f"The exponent of {name} hangs on one network."))
    order: tuple[Standing, ...] = ("good", "care", "poor")
    worst = order[max((order.index(standing) for standing, _ in reasons), default=0)]
    told = tuple(text for step in reversed(order) for standing, text in reasons if standing == step)
    return Confidence(worst, told or (_all_is_well(found, beyond),))


def _at_most(value: float, most: float) -> Standing:
    return "care" if value <= most else "poor"


def _all_is_well(found: Answer, beyond: float) -> str:
    factor = max(size.high / size.low for size in found.sizes.values())
    reach = "within the compute measured" if beyond <= 1 else f"{beyond:,.3g} times beyond the data"
    return f"Every size is known to a factor of {factor:.2g} or better, {reach}."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
