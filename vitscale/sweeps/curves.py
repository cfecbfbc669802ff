"""Errors against training length, as text: what a sweep has measured, at a glance."""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from vitscale.scaling.names import suggest
from vitscale.sweeps.store import Store

Sizes = tuple[int, int, int]
"""Width, depth and MLP size."""

_BARS = "▁▂▃▄▅▆▇█"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """A metric of one shape by the number of examples seen, mean over seeds."""

    shape: str
    examples: tuple[int, ...]
    values: tuple[float, ...]


def error_curves(
    store: Store, metric: str | None = None, *, preferred: Sequence[str] = ()
) -> tuple[str, list[Curve]]:
    """The metric and its curve for each shape, the best first; nothing where there is none.

    By default it is the first of `preferred` that was measured, else the error most often measured.

    Raises `StoreError` where a file is damaged, `ValueError` for a metric that was not measured.
    """
    columns = ["status", "metric", "width", "depth", "mlp_dim", "examples", "value"]
    measured = [row for row in store.table().select(columns).to_pylist() if row["status"] == "ok"]
    names = Counter(row["metric"] for row in measured)
    if metric is not None and metric not in names:
        raise ValueError(f"metric={metric!r} was not measured; {suggest(metric, sorted(names))}")
    if not measured:
        return metric or "", []
    by_count = [name for name, _ in names.most_common()]
    errors = [name for name in by_count if name.endswith("error")]
    usual = [name for name in preferred if name in names]
    chosen = metric or (usual or errors or by_count)[0]
    points: dict[Sizes, dict[int, list[float]]] = {}
    for row in measured:
        if row["metric"] == chosen:
            sizes = (row["width"], row["depth"], row["mlp_dim"])
            points.setdefault(sizes, {}).setdefault(row["examples"], []).append(row["value"])
    curves = [_curve(sizes, points[sizes]) for sizes in sorted(points)]
    return chosen, sorted(curves, key=lambda curve: curve.values[-1])


def curve_lines(metric: str, curves: list[Curve], *, most: int = 16) -> list[str]:
    """Curves as lines of text: a bar for each length, on one scale, and the last value."""
    if not curves:
        return []
    values = [math.log(value) for curve in curves for value in curve.values if value > 0]
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    lengths = sorted({examples for curve in curves for examples in curve.examples})
    lines = [
        f"{metric} by shape, at {', '.join(f'{n:,}' for n in lengths)} examples (bars: log scale from "
        f"{math.exp(low):.3g} to {math.exp(high):.3g}), the best first"
    ]
    for curve in curves[:most]:
        at = dict(zip(curve.examples, curve.values, strict=True))
        bars = "".join(_bar(at.get(n), low, high) for n in lengths)
        lines.append(f"  {curve.shape:<22} {bars}  {curve.values[-1]:.4f}")
    if len(curves) > most:
        lines.append(f"  and {len(curves) - most} more shapes; all with: vitscale store export")
    return lines


def _curve(sizes: Sizes, values: dict[int, list[float]]) -> Curve:
    width, depth, mlp_dim = sizes
    return Curve(
        shape=f"{width}/{depth}/{mlp_dim}",
        examples=tuple(sorted(values)),
        values=tuple(fmean(values[examples]) for examples in sorted(values)),
    )


def _bar(value: float | None, low: float, high: float) -> str:
    if value is None:
        return " "
    if value <= 0 or high <= low:
        return _BARS[0]
    place = (math.log(value) - low) / (high - low)
    return _BARS[min(len(_BARS) - 1, int(place * len(_BARS)))]
