"""From the published star measurements to the shape of SoViT-400m, with nothing but the fit."""

import dataclasses
from typing import Any

import pandas as pd

from vitscale.fits.answer import show_interval
from vitscale.fits.datasets import load_sovit_star
from vitscale.fits.rule import (
    SOVIT_X0,
    Rule,
    flops_like,
    published_rule,
    rule_from_fit,
)
from vitscale.fits.shape_law import fit_star
from vitscale.fits.star_fit import StarFit
from vitscale.fits.tables import star_table
from vitscale.fits.uncertainty import Interval
from vitscale.scaling.shape import DIMENSIONS, Shape, named_shape

SOVIT_COMPUTE = "ViT-g/14 x 16e9"
"""SoViT-400m/14 was made for the compute of ViT-g/14 on 16 billion images."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reproduction:
    """Predicted against published sizes of SoViT-400m/14, by where the exponents come from.

    `table` holds the published star, `fit` and `rule` what we make of it.
    """

    like: str
    flops: float
    published: Shape
    table: pd.DataFrame
    fit: StarFit
    rule: Rule
    exponents: dict[str, dict[str, Interval]]
    predicted: dict[str, dict[str, Interval]]

    def ratio(self, rule: str, dimension: str) -> float:
        """Published over predicted size."""
        return getattr(self.published, dimension) / self.predicted[rule][dimension].estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "like": self.like,
            "train_flops": self.flops,
            "published": dataclasses.asdict(self.published),
            "rules": {
                rule: {
                    name: {
                        "s": dataclasses.asdict(self.exponents[rule][name]),
                        "predicted": dataclasses.asdict(self.predicted[rule][name]),
                        "published_over_predicted": self.ratio(rule, name),
                    }
                    for name in DIMENSIONS
                }
                for rule in self.predicted
            },
            "fit": self.fit.to_dict(),
        }

    def lines(self) -> list[str]:
        """A table for a person to read."""
        lines = [
            f"SoViT-400m/14 at the compute of {SOVIT_COMPUTE} ({self.flops:.3g} training FLOPs), "
            f"from x0 = (608, 10, 928) at {SOVIT_X0.t0:.2g} forward GFLOPs",
            "",
            f"{'exponents':18}{'dimension':11}{'s':24}{'predicted':26}{'published':>10}  ratio",
        ]
        for rule, sizes in self.predicted.items():
            for name in DIMENSIONS:
                lines.append(
                    f"{rule if name == DIMENSIONS[0] else '':18}{name:11}"
                    f"{_exponent(self.exponents[rule][name]):24}"
                    f"{_size(sizes[name]):26}"
                    f"{getattr(self.published, name):>10}  {self.ratio(rule, name):.3f}"
                )
        flags = [f"  caution: {flag.sentence}" for flag in self.fit.flags]
        return [*lines, "", "what the data of our own fit say about it:", *flags]


def reproduce_sovit() -> Reproduction:
    """Fit the published star sweep and scale from the paper's own x0 to SoViT-400m's compute.

    Beside our own fit's exponents stand those that the paper plots in Figure 1 and prints in its
    text, which differ (`docs/method.md` says how).
    """
    table = star_table(load_sovit_star(), compute="forward_gflops")
    fit = fit_star(table)
    ours = rule_from_fit(fit, SOVIT_X0)
    flops = flops_like(SOVIT_COMPUTE)
    rules: dict[str, Rule] = {
        "paper, Figure 1": published_rule("sovit-figure1"),
        "paper, text": published_rule("sovit-text"),
        "our fit": ours,
    }
    return Reproduction(
        like=SOVIT_COMPUTE,
        flops=flops,
        table=table,
        rule=ours,
        published=named_shape("So400m/14"),
        fit=fit,
        exponents={name: rule.exponents for name, rule in rules.items()},
        predicted={name: rule.sizes_at_flops(flops) for name, rule in rules.items()},
    )


def _exponent(s: Interval) -> str:
    return show_interval(s).replace(" (interval unknown)", "")


def _size(size: Interval) -> str:
    return show_interval(size).replace(" (interval unknown)", "")
