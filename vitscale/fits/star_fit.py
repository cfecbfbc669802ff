"""The fit of a star as a value, and as JSON that another run of vitscale reads back."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vitscale.fits.identify import Flag
from vitscale.fits.intervals.correlation import VarianceComponents
from vitscale.fits.intervals.interval import Interval, Profile
from vitscale.fits.laws import ShapeLaw

FORMAT = "vitscale.star_fit"
VERSION = 2

SIGNIFICANCE = 0.05
"""Sharing is rejected where its F-test gives a probability below this."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimum:
    """x*(t) at one compute `t` (in the fit's unit), with its interval."""

    t: float
    x: Interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class DimensionFit:
    """Eq. (2) along one shape dimension, and how far it can be trusted.

    - `law`: parameters in the user's units. `sse`, `rms`: of relative error over `n` points.
    - `noise`: standard deviations of relative error between networks, and within one.
    - `s`: the exponent with the interval to report; `s_independent` and `s_bootstrap` beside it.
    - `identified`: whether the data decide `s`; `flags` say why where they do not.
    - `x_star`: optimal size at the fit's `t_ref`; `x_star_curve`: over the measured compute and ten
      times beyond. None and empty where the fit has no optimum.
    - `starts_agreed` of `starts` searches ended within 1e-6 of the best objective.
    """

    dimension: str
    law: ShapeLaw
    n: int
    models: int
    sse: float
    rms: float
    noise: VarianceComponents
    converged: bool
    starts: int
    starts_agreed: int
    identified: bool
    s: Interval
    s_independent: Interval
    s_bootstrap: Interval | None
    x_star: Optimum | None
    x_star_curve: tuple[Optimum, ...]
    x_range: tuple[float, float]
    t_range: tuple[float, float]
    flags: tuple[Flag, ...]
    profile: Profile | None

    def optimal_x(self, t) -> np.ndarray:
        """x*(t) of eq. (4), without its interval; `t` in the fit's unit."""
        return self.law.optimal_x(t)

    def x_star_at(self, t: float) -> Interval | None:
        """x*(t) with its interval, read off `x_star_curve` between its points.

        None where the fit has no optimum; open ends beyond the curve.
        """
        if not self.x_star_curve:
            return None
        curve = sorted(self.x_star_curve, key=lambda optimum: optimum.t)
        estimate = float(self.law.optimal_x(t))
        ends = []
        for kind in ("low", "high"):
            # Ends relative to the estimate vary slowly, so few points are enough.
            ratios = [
                np.log(getattr(o.x, kind) / o.x.estimate) if _closed(o.x) else np.nan for o in curve
            ]
            log_t = np.log([o.t for o in curve])
            ratio = np.interp(np.log(t), log_t, ratios, left=np.nan, right=np.nan)
            ends.append(estimate * float(np.exp(ratio)))
        low, high = ends
        known = np.isfinite(low) and np.isfinite(high)
        first = curve[0].x
        return Interval(
            estimate=estimate,
            low=low if known else 0.0,
            high=high if known else np.inf,
            level=first.level,
            method=first.method,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharingTest:
    """F-test of sharing parameters across dimensions against separate fits.

    - `rejected`: by its own test at 5%. `advised`: neither rejected nor implying what is, with an
      optimum in every dimension; c+eps implies c.
    - `c`, `eps`: the shared values that the test compares, every point weighing alike; eps None where
      it is not shared.
    - `s`: the exponents under sharing. `intervals` of the same exponents, where sharing is not rejected
      and every dimension has an optimum: then each dimension weighs by its own noise, and `s` are
      their estimates. Elsewhere `s` belongs to `c` and `eps`.
    """

    share: str
    f: float
    p_value: float
    advised: bool
    c: float
    eps: float | None
    s: dict[str, float]
    intervals: dict[str, Interval]

    @property
    def rejected(self) -> bool:
        """Whether the F-test rejects this sharing at 5%."""
        return self.p_value <= SIGNIFICANCE


@dataclasses.dataclass(frozen=True, kw_only=True)
class StarFit:
    """Eq. (2) along every dimension of a star.

    - `compute_unit`: what compute was measured in, such as "forward_gflops" (a column's name);
      `flops_per_unit`: training FLOPs in one of it, None where unknown.
    - `t_ref`: the compute at which `x_star` of the dimensions is given, in that unit.
    - `correlation`, `correlation_sd`: of the noise of one network's durations, estimated from all
      arms together; about zero where every point has its own noise.
    """

    dimensions: dict[str, DimensionFit]
    metric: str
    compute_unit: str
    flops_per_unit: float | None
    t_ref: float
    level: float
    include_center: bool
    correlation: float
    correlation_sd: float
    sharing_tests: tuple[SharingTest, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def flags(self) -> tuple[Flag, ...]:
        """Flags of all dimensions."""
        return tuple(flag for fit in self.dimensions.values() for flag in fit.flags)

    @property
    def flops_range(self) -> tuple[float, float] | None:
        """The least and the most training FLOPs that were measured; None where the unit is not known in them."""
        if self.flops_per_unit is None:
            return None
        ranges = [dimension.t_range for dimension in self.dimensions.values()]
        least, most = min(low for low, _ in ranges), max(high for _, high in ranges)
        return least * self.flops_per_unit, most * self.flops_per_unit

    def compute_from_flops(self, flops: float) -> float:
        """Training FLOPs in the fit's unit of compute.

        Raises `ValueError` where the unit is unknown.
        """
        if self.flops_per_unit is None:
            raise ValueError(
                f"compute_unit={self.compute_unit!r} is not known in FLOPs, so {flops:g} FLOPs "
                f"cannot be converted; fit with the column named train_flops, forward_flops or "
                f"forward_gflops, or say how many training FLOPs one unit is"
            )
        return flops / self.flops_per_unit

    def to_dict(self) -> dict[str, Any]:
        """The fit as plain JSON values; open ends of intervals are null.

        Keys: `format`, `version`, `metric`, `compute_unit`, `flops_per_unit`, `t_ref`, `level`,
        `include_center`, `correlation`, `correlation_sd`, `sharing_tests` (a list of
        `share`, `f`, `p_value`, `advised`, `c`, `eps`, `s`, and `intervals`, whose estimates are `s`),
        `notes`, and for each name under `dimensions`: `noise` (`between`, `within`), `s` (`estimate`,
        `low`, `high`, `identified`, `method`, `independent`, `bootstrap`),
        `alpha`, `a`, `beta`, `b`, `xi`, `c`, `eps`, `n`, `models`, `sse`, `rms`, `converged`,
        `starts`, `starts_agreed`, `x_star` (`t`, `estimate`, `low`, `high`), `x_star_curve` (a list
        of the same), `x_range`, `t_range`, `flags` (`code`, `sentence`) and `profile` (`s`,
        `deviance`, `threshold`).
        """
        plain = (
            *("metric", "compute_unit", "flops_per_unit", "t_ref", "level", "include_center"),
            *("correlation", "correlation_sd"),
        )
        return {
            "format": FORMAT,
            "version": VERSION,
            **{name: getattr(self, name) for name in plain},
            "sharing_tests": [_sharing_dict(test) for test in self.sharing_tests],
            "dimensions": {name: _dimension_dict(fit) for name, fit in self.dimensions.items()},
            "notes": list(self.notes),
        }

    @staticmethod
    def from_dict(content: Any) -> "StarFit":
        """Read what `to_dict` gave.

        Raises `ValueError`, in one sentence, for anything else.
        """
        if not isinstance(content, Mapping) or content.get("format") != FORMAT:
            raise ValueError(
                f'the fit lacks "format": "{FORMAT}"; expected the JSON that vitscale fit writes'
            )
        if content.get("version") != VERSION:
            raise ValueError(
                f"the fit has version {content.get('version')!r}, but this vitscale reads "
                f"{VERSION}; fit again with this vitscale"
            )
        try:
            return _read(content)
        except KeyError as error:
            raise ValueError(f"the fit lacks the key {error}; fit again to write it anew") from None
        except (TypeError, AttributeError, IndexError, ValueError) as error:
            raise ValueError(f"the fit is damaged ({error}); fit again to write it anew") from None


def _closed(interval: Interval) -> bool:
    return interval.low > 0 and math.isfinite(interval.high)


def _end(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None


def _interval_dict(interval: Interval) -> dict[str, Any]:
    ends = {"low": _end(interval.low), "high": _end(interval.high)}
    return {"estimate": interval.estimate, **ends, "method": interval.method}


def _sharing_dict(test: SharingTest) -> dict[str, Any]:
    intervals = {name: _interval_dict(interval) for name, interval in test.intervals.items()}
    return {**dataclasses.asdict(test), "intervals": intervals}


def _optimum_dict(optimum: Optimum) -> dict[str, Any]:
    return {"t": optimum.t, **_interval_dict(optimum.x)}


def _dimension_dict(fit: DimensionFit) -> dict[str, Any]:
    plain = ("n", "models", "sse", "rms", "converged", "starts", "starts_agreed")
    profile = fit.profile
    return {
        "s": {
            **_interval_dict(fit.s),
            "identified": fit.identified,
            "independent": _interval_dict(fit.s_independent),
            "bootstrap": _interval_dict(fit.s_bootstrap) if fit.s_bootstrap else None,
        },
        **dataclasses.asdict(fit.law),
        "noise": dataclasses.asdict(fit.noise),
        **{name: getattr(fit, name) for name in plain},
        "x_star": _optimum_dict(fit.x_star) if fit.x_star else None,
        "x_star_curve": [_optimum_dict(optimum) for optimum in fit.x_star_curve],
        "x_range": list(fit.x_range),
        "t_range": list(fit.t_range),
        "flags": [dataclasses.asdict(flag) for flag in fit.flags],
        "profile": None
        if profile is None
        else {
            "s": profile.values.tolist(),
            "deviance": profile.deviance.tolist(),
            "threshold": profile.threshold,
        },
    }


def _number(content: Mapping[str, Any], key: str) -> float:
    value = content[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{key} is {value!r}, expected a finite number")
    return float(value)


def _read(content: Mapping[str, Any]) -> StarFit:
    level = _number(content, "level")
    return StarFit(
        dimensions={
            name: _read_dimension(name, fit, level) for name, fit in content["dimensions"].items()
        },
        metric=str(content["metric"]),
        compute_unit=str(content["compute_unit"]),
        flops_per_unit=None
        if content["flops_per_unit"] is None
        else _number(content, "flops_per_unit"),
        t_ref=_number(content, "t_ref"),
        level=level,
        include_center=bool(content["include_center"]),
        correlation=_number(content, "correlation"),
        correlation_sd=_number(content, "correlation_sd"),
        sharing_tests=tuple(_read_sharing(test, level) for test in content["sharing_tests"]),
        notes=tuple(content["notes"]),
    )


def _read_interval(content: Mapping[str, Any], level: float) -> Interval:
    return Interval(
        estimate=_number(content, "estimate"),
        low=0.0 if content["low"] is None else _number(content, "low"),
        high=math.inf if content["high"] is None else _number(content, "high"),
        level=level,
        method=str(content["method"]),
    )


def _read_sharing(content: Mapping[str, Any], level: float) -> SharingTest:
    intervals = {n: _read_interval(c, level) for n, c in content["intervals"].items()}
    return SharingTest(**{**content, "intervals": intervals})


def _read_dimension(name: str, content: Mapping[str, Any], level: float) -> DimensionFit:
    s, profile = content["s"], content["profile"]
    curve = [
        Optimum(t=_number(o, "t"), x=_read_interval(o, level)) for o in content["x_star_curve"]
    ]
    star = content["x_star"]
    return DimensionFit(
        dimension=name,
        law=ShapeLaw(**{f.name: _number(content, f.name) for f in dataclasses.fields(ShapeLaw)}),
        n=int(_number(content, "n")),
        models=int(_number(content, "models")),
        sse=_number(content, "sse"),
        rms=_number(content, "rms"),
        noise=VarianceComponents(
            between=_number(content["noise"], "between"),
            within=_number(content["noise"], "within"),
        ),
        converged=bool(content["converged"]),
        starts=int(_number(content, "starts")),
        starts_agreed=int(_number(content, "starts_agreed")),
        identified=bool(s["identified"]),
        s=_read_interval(s, level),
        s_independent=_read_interval(s["independent"], level),
        s_bootstrap=_read_interval(s["bootstrap"], level) if s["bootstrap"] else None,
        x_star=Optimum(t=_number(star, "t"), x=_read_interval(star, level)) if star else None,
        x_star_curve=tuple(curve),
        x_range=(float(content["x_range"][0]), float(content["x_range"][1])),
        t_range=(float(content["t_range"][0]), float(content["t_range"][1])),
        flags=tuple(Flag(code=f["code"], sentence=f["sentence"]) for f in content["flags"]),
        profile=None
        if profile is None
        else Profile(
            values=np.array(profile["s"], float),
            deviance=np.array(profile["deviance"], float),
            threshold=_number(profile, "threshold"),
        ),
    )
