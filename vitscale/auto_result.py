"""A loop that buys trials, as values and in words: its goal, what each round found, and what it came to."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from vitscale.fits.answer import Answer
from vitscale.fits.uncertainty import Interval
from vitscale.sweeps.plan import Plan
from vitscale.sweeps.run import RunReport
from vitscale.sweeps.words import report_lines

TARGET = 1.3
"""Upper over lower end of the interval of every optimal size at which the loop is content, by default."""

ROUNDS = 20
"""Most rounds, unless told otherwise."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """How well the best size of one dimension is known at the wanted compute, the others at the centre.

    - `size`: x*(t) with its interval; None where the fit has no optimum. `identified`: whether the data
      decide how it grows with compute; `flags` say why not.
    """

    dimension: str
    size: Interval | None
    identified: bool
    flags: tuple[str, ...]

    @property
    def factor(self) -> float:
        """Upper over lower end; infinite where one is open."""
        size = self.size
        if size is None or not (size.low > 0 and math.isfinite(size.high)):
            return math.inf
        return size.high / size.low

    @property
    def reliable_factor(self) -> float:
        """`factor`, infinite where the fit is not identified: such an interval is no claim."""
        return self.factor if self.identified else math.inf

    def words(self) -> str:
        """In a line: width 19.7 (factor 1.09)."""
        if self.size is None:
            return f"{self.dimension} has no optimum yet"
        words = "not bounded" if math.isinf(self.factor) else f"factor {self.factor:.3g}"
        if not self.identified:
            words += ", not identified"
        return f"{self.dimension} {self.size.estimate:.3g} ({words})"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; what is not known is null."""
        size, bounded = self.size, math.isfinite(self.factor)
        return {
            "estimate": None if size is None else size.estimate,
            "low": size.low if size is not None and size.low > 0 else None,
            "high": size.high if size is not None and math.isfinite(size.high) else None,
            "factor": self.factor if bounded else None,
            "identified": self.identified,
            "flags": list(self.flags),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """What the rounds so far came to, and what is to be bought next.

    - `plan`: the next round; None where the loop ends, with the reason in `ended`.
    - `known`: empty where the star cannot be fitted yet.
    """

    round: int
    spent_flops: float
    known: tuple[Known, ...]
    plan: Plan | None = None
    why: str = ""
    ended: str = ""

    def line(self, budget: float, compute: float) -> str:
        """All of it in one line."""
        before = self.round - 1
        spent = f"after round {before}: " if before else ""
        spent += f"{self.spent_flops:.3g} of {budget:.3g} training FLOPs spent"
        known = ", ".join(each.words() for each in self.known)
        if known:
            spent += f"; best for {compute:.3g}: {known}"
        return f"{spent}; next: {self.why}" if self.plan else f"{spent}; {self.ended}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "round": self.round,
            "spent_flops": self.spent_flops,
            "sizes": {each.dimension: each.to_dict() for each in self.known},
            "plan": None if self.plan is None else self.plan.name,
            "why": self.why or self.ended,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Goal:
    """What the loop is for.

    - `budget`: training FLOPs that all rounds together may cost, measured before or not.
    - `target`: upper over lower end of every dimension's interval that is good enough.
    - `compute`: training FLOPs of the run whose shape is wanted. `rounds`: at most.

    Raises `ValueError` that names the one that makes no sense.
    """

    budget: float
    compute: float
    target: float = TARGET
    rounds: int = ROUNDS
    metric: str | None = None

    def __post_init__(self) -> None:
        for name in ("budget", "compute"):
            value = getattr(self, name)
            if not 0 < value < 1e40:
                raise ValueError(
                    f"{name}={value:g} is not a number of training FLOPs; use e.g. 1e15"
                )
        if not self.target > 1:
            raise ValueError(
                f"target={self.target:g} is no ratio of an interval's ends; use a number above 1, "
                f"such as {TARGET}"
            )
        if self.rounds < 1:
            raise ValueError(f"rounds={self.rounds} is not a number of rounds; use 1 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Auto:
    """What the loop came to: each look, the runs of this call, why it ended, and the shape."""

    goal: Goal
    store: str
    looks: tuple[Look, ...]
    reports: tuple[RunReport, ...]
    ended: str
    complete: bool
    shape: Answer | None
    no_shape: str

    @property
    def reached(self) -> bool:
        """Whether every dimension is known as well as was wanted."""
        return is_reached(self.looks[-1].known, self.goal.target)

    def commands(self) -> list[str]:
        """What gives the fit, and the shape and its configuration where there is one, anew."""
        metric = f" --metric {self.goal.metric}" if self.goal.metric else ""
        fit = f"vitscale fit {self.store}{metric} --out fit.json"
        if self.shape is None:
            return [fit]
        return [
            fit,
            f"vitscale shape --fit fit.json --flops {self.goal.compute:g} --emit all --out my-vit",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        last = self.looks[-1]
        return {
            "store": self.store,
            "budget_flops": self.goal.budget,
            "spent_flops": last.spent_flops,
            "compute_flops": self.goal.compute,
            "target": self.goal.target,
            "reached": self.reached,
            "complete": self.complete,
            "ended": self.ended,
            "sizes": last.to_dict()["sizes"],
            "shape": None if self.shape is None else self.shape.to_dict(),
            "no_shape": self.no_shape,
            "looks": [look.to_dict() for look in self.looks],
            "reports": [dataclasses.asdict(report) for report in self.reports],
            "commands": self.commands(),
        }

    def lines(self) -> list[str]:
        """What a person has to know."""
        last = self.looks[-1]
        lines = [] if self.complete or not self.reports else report_lines(self.reports[-1])
        lines.append(f"{'reached' if self.reached else 'not reached'}: {self.ended}")
        lines.append(
            f"spent {last.spent_flops:.4g} of {self.goal.budget:.4g} training FLOPs; best sizes for a run "
            f"of {self.goal.compute:.3g}, each with the others at the centre:"
            if last.known
            else f"spent {last.spent_flops:.4g} of {self.goal.budget:.4g} training FLOPs"
        )
        for each in last.known:
            ends = ""
            if math.isfinite(each.factor) and each.size is not None:
                ends = f", {100 * each.size.level:g}% interval {each.size.low:.4g} to {each.size.high:.4g}"
            lines.append(f"  {each.words()}{ends}")
            lines += [f"    {flag}" for flag in each.flags]
        if self.shape is not None:
            lines += ["all grown together, by the joint rule:", *self.shape.lines()]
        else:
            lines.append(f"no shape: {self.no_shape}")
        return [
            *lines,
            "the same again, and its configs, with" if self.shape else "the whole fit, with",
            *(f"  {c}" for c in self.commands()),
        ]


def is_reached(known: Sequence[Known], target: float) -> bool:
    """Whether every dimension is known to within a factor of `target`."""
    return bool(known) and all(each.reliable_factor <= target for each in known)
