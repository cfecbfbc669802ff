"""The answer to the question: which shape, trained how long, for this budget, and how sure."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

from vitscale.fits.device.capacity import Capacity
from vitscale.fits.device.choice import (
    OnDevice,
    extrapolation_warnings,
    fitting_shape,
    on_device,
)
from vitscale.fits.rounding import round_shape
from vitscale.fits.rounding_cost import RoundingCost, excess_of, rounding_cost
from vitscale.fits.rule import SOVIT_X0, WITHOUT_INTERVAL, Rule, refuse_other_dimensions
from vitscale.fits.star_fit import StarFit
from vitscale.fits.uncertainty import Interval
from vitscale.scaling.shape import Readout, Shape

_MOST_FLOPS = 1e35  # far beyond all compute there is; larger numbers are mistakes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What of a model does not scale with the budget; the defaults are Getting ViT in Shape's.

    `heads` and `head_dim` (channels of a head) exclude each other; `width_multiple` and
    `mlp_multiple` are what sizes are rounded to, besides the heads.
    """

    patch: int = 14
    image_size: int = 224
    channels: int = 3
    readout: Readout = "gap"
    heads: int | None = None
    head_dim: int | None = None
    width_multiple: int = 1
    mlp_multiple: int = 16

    @property
    def counted(self) -> dict[str, Any]:
        """What `Shape.params` and `Shape.forward_flops` are told."""
        return {
            "image_size": self.image_size,
            "channels": self.channels,
            "readout": self.readout,
        }

    @property
    def rounding(self) -> dict[str, Any]:
        """What `vitscale.fits.rounding.round_shape` is told."""
        return {
            "patch": self.patch,
            "image_size": self.image_size,
            "heads": self.heads,
            "head_dim": self.head_dim,
            "width_multiple": self.width_multiple,
            "mlp_multiple": self.mlp_multiple,
        }

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> "Setting":
        """Read what `dataclasses.asdict` gave; raises `ValueError` for unknown or missing keys."""
        try:
            return Setting(**content)
        except TypeError as error:
            raise ValueError(f"the setting of the model is damaged ({error}); fit again") from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """The compute-optimal shape at `flops` training FLOPs (3 x forward x images).

    - `sizes`: what the rule says, with intervals; open ends where nothing is known.
    - `shape`: `sizes` rounded to what hardware likes. `images`: how many to train on, so that
      training `shape` costs `flops`. `device`: what that takes on the device asked about.
    - `rounding`: what `shape` costs beyond `sizes`; `rounded_for`: what it was rounded for, in words.
    - `warnings`: why to distrust it, one sentence each.
    """

    flops: float
    sizes: dict[str, Interval]
    shape: Shape
    setting: Setting
    params: int
    forward_flops: int
    images: float
    source: str
    warnings: tuple[str, ...]
    rounding: RoundingCost
    rounded_for: str = ""
    device: OnDevice | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; open ends of intervals are null."""
        return {
            "train_flops": self.flops,
            "images": self.images,
            "shape": dataclasses.asdict(self.shape),
            "sizes": {
                name: {
                    "estimate": size.estimate,
                    "low": size.low if size.low > 0 else None,
                    "high": size.high if math.isfinite(size.high) else None,
                }
                for name, size in self.sizes.items()
            },
            "params": self.params,
            "forward_flops": self.forward_flops,
            "setting": dataclasses.asdict(self.setting),
            "source": self.source,
            "rounding": self.rounding.to_dict(),
            "device": None if self.device is None else self.device.to_dict(),
            "warnings": list(self.warnings),
        }

    def lines(self) -> list[str]:
        """The answer for a person to read."""
        chosen = {
            "width": f"{self.shape.width} ({self.shape.heads} heads of {self.shape.head_dim})",
            "depth": str(self.shape.depth),
            "mlp_dim": str(self.shape.mlp_dim),
        }
        names = max(map(len, chosen))
        texts = max(map(len, chosen.values()))
        rows = [
            f"  {name:{names}}  {chosen[name]:{texts}}  rule: {show_interval(size)}"
            for name, size in self.sizes.items()
        ]
        return [
            f"shape for {self.flops:.3g} training FLOPs",
            *rows,
            f"  {_count(self.params)} parameters, {_flops(self.forward_flops)} an image forward "
            f"at {self.setting.image_size} px; train on {_count(self.images)} images",
            *([f"  rounded for {self.rounded_for}"] if self.rounded_for else []),
            *(f"  {line}" for line in self.rounding.lines()),
            *(f"  {line}" for line in (self.device.lines() if self.device else [])),
            f"  from: {self.source}",
            *(f"  caution: {warning}" for warning in self.warnings),
        ]


def check_budget(flops: float) -> None:
    """Raises `ValueError` where `flops` is no number of training FLOPs that a rule can answer for."""
    if not (math.isfinite(flops) and 0 < flops <= _MOST_FLOPS):
        raise ValueError(
            f"flops={flops} is not a budget; give training FLOPs from above 0 to {_MOST_FLOPS:g}, "
            f"such as 1e21"
        )


def answer(
    rule: Rule,
    flops: float,
    setting: Setting,
    *,
    measured_flops: float | None = None,
    capacity: Capacity | None = None,
    fit: StarFit | None = None,
    assumed: bool = False,
    round_by_law: bool = False,
) -> Answer:
    """The shape that `rule` gives for a budget of `flops` training FLOPs.

    - `measured_flops`: the most compute that the rule's data reached, to say how far the answer lies
      beyond it (default: the most of the rule's own `t_range`).
    - `fit`: whose laws say what rounding costs. `round_by_law`: of the sizes rounded up and down, take
      those that cost least by these laws, where they are known, instead of the nearest.
    - `assumed`: nobody said that the models are of this `setting`; then a warning does.
    - `capacity`: of a device; the shape is then the nearest that fits it.

    Raises `ValueError` where the rule's unit of compute is not known in FLOPs, the rule
    lacks a dimension, the budget is not positive, or no model is that small or that large, and where
    the device was tried with other models or holds no shape near.
    """
    check_budget(flops)
    refuse_other_dimensions("rule", rule.exponents)
    if capacity is not None:
        capacity.check_model(patch=setting.patch, **setting.counted)
    sizes = rule.sizes_at_flops(flops)
    for name, size in sizes.items():
        if size.estimate < 0.5:  # rounds to nothing
            raise _too_small(flops, f"{name}={size.estimate:.2g}")
    rounded = functools.partial(
        round_shape,
        {name: size.estimate for name, size in sizes.items()},
        **setting.rounding,
        penalty=excess_of(fit, flops, sizes) if round_by_law else None,
    )
    shape, moved = (rounded(), []) if capacity is None else fitting_shape(capacity, rounded)
    forward = shape.forward_flops(**setting.counted)
    images = flops / (3 * forward)
    if images < 1:
        raise _too_small(flops, f"images={images:.2g}")
    return Answer(
        flops=flops,
        sizes=sizes,
        shape=shape,
        setting=setting,
        params=shape.params(**setting.counted),
        forward_flops=forward,
        images=images,
        source=rule.source,
        warnings=(
            *_compute_warnings(rule, flops, measured_flops),
            *(_assumed_warnings(setting) if assumed else []),
            *_start_warnings(rule, setting),
            *_interval_warnings(rule, sizes),
            *moved,
            *(extrapolation_warnings(capacity, shape) if capacity else []),
        ),
        rounding=rounding_cost(shape, sizes, image_size=setting.image_size, flops=flops, fit=fit),
        device=None if capacity is None else on_device(capacity, shape, images),
    )


def show_interval(interval: Interval) -> str:
    """An estimate with its interval, or with a word on what is not known."""
    low, high = interval.low, interval.high
    if _closed(interval):
        if low == high:
            return f"{interval.estimate:.4g}"
        return f"{interval.estimate:.4g} [{low:.4g}, {high:.4g}]"
    if low > 0:
        return f"{interval.estimate:.4g} [{low:.4g}, unbounded]"
    if math.isfinite(high):
        return f"{interval.estimate:.4g} [unbounded, {high:.4g}]"
    return f"{interval.estimate:.4g} (interval unknown)"


def _count(value: float) -> str:
    for size, name in ((1e9, " billion"), (1e6, " million")):
        if value >= size:
            return f"{value / size:,.4g}{name}"
    return f"{value:,.0f}"


def _flops(value: float) -> str:
    for size, name in ((1e12, "TFLOPs"), (1e9, "GFLOPs"), (1e6, "MFLOPs")):
        if value >= size:
            return f"{value / size:,.4g} {name}"
    return f"{value:,.0f} FLOPs"


class TooSmallError(ValueError):
    """A budget for which a rule gives no model of any size."""


def _too_small(flops: float, what: str) -> TooSmallError:
    return TooSmallError(
        f"flops={flops:g} is too small for this rule, which gives {what}; give a larger budget"
    )


def _compute_warnings(rule: Rule, flops: float, most: float | None) -> list[str]:
    unit = rule.start.flops_per_unit
    if rule.t_range is None or unit is None:
        least = None
    else:
        least, rule_most = (unit * t for t in rule.t_range)
        most = rule_most if most is None else most
    if most is not None and flops > 10 * most:
        return [
            f"this budget is {flops / most:,.3g} times the most compute that was measured; "
            f"the law is extrapolated that far"
        ]
    if least is not None and flops < least:
        published = all(s.method == WITHOUT_INTERVAL for s in rule.exponents.values())
        instead = "; for a budget this small, run vitscale quickstart or a sweep of your own"
        return [
            f"this budget is below the least compute at which the exponents were measured, "
            f"{least:.3g} training FLOPs, by a factor of {least / flops:,.3g}; the law is "
            f"extrapolated that far{instead if published else ''}"
        ]
    return []


def _assumed_warnings(setting: Setting) -> list[str]:
    return [
        f"the table does not tell what models it is of: heads, images and FLOPs are counted for patches of "
        f"{setting.patch} on images of {setting.image_size} pixels; say otherwise with patch and image_size"
    ]


def _start_warnings(rule: Rule, setting: Setting) -> list[str]:
    found = []
    if rule.start.fallback:
        found.append(
            "the start is read off the star, as no grid gives one: it depends on the compute at "
            "which it is read, which the intervals include; measure a grid of small shapes"
        )
    known = Setting()
    same = (setting.patch, setting.image_size) == (known.patch, known.image_size)
    if rule.start.source == SOVIT_X0.source and not same:
        found.append(
            f"the published start was measured at patch {known.patch} and {known.image_size} px, "
            f"not at patch {setting.patch} and {setting.image_size} px; the best shape there may "
            f"differ"
        )
    return found


def _interval_warnings(rule: Rule, sizes: Mapping[str, Interval]) -> list[str]:
    found = []
    unknown = [name for name, size in sizes.items() if not _closed(size)]
    if unknown and all(rule.exponents[k].method == WITHOUT_INTERVAL for k in unknown):
        found.append("the exponents are published without intervals, so none is known here")
    elif unknown:
        found.append(f"the data do not bound {', '.join(unknown)}; treat that as a guess")
    for name, size in sizes.items():
        if _closed(size) and size.high > 2 * size.low:
            found.append(
                f"{name} is known only to a factor of {size.high / size.low:.2g} "
                f"({int(100 * size.level)}% interval)"
            )
    return found


def _closed(interval: Interval) -> bool:
    return interval.low > 0 and math.isfinite(interval.high)
