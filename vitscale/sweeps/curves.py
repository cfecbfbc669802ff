"""Errors against training length, as text: what a sweep has measured, at a glance."""

import dataclasses
import math
from typing import Any

from vitscale.sweeps.store import Store

_BARS = "▁▂▃▄▅▆▇█"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """A metric of one shape by the number of examples seen, mean over seeds."""

    shape: str
    examples: tuple[int, ...]
    values: tuple[float, ...]


def error_curves(store: Store, metric: str | None = None) -> tuple[str, list[Curve]]:
    """The metric (by default the error most often measured) and its curve for each shape, the best first;
    nothing where there is none.

    Raises `StoreError` where a file is damaged, `ValueError` for a metric that was not measured.
    """
    rows: Any = store.read()
    rows = rows[rows["status"] == "ok"]
    names = rows["metric"].value_counts()
    if metric is not None and metric not in names:
        raise ValueError(
            f"metric={metric!r} was not measured; there are {', '.join(sorted(names.index))}"
        )
    if rows.empty:
        return metric or "", []
    errors = [name for name in names.index if str(name).endswith("error")]
    chosen = metric or str((errors or list(names.index))[0])
    chosen_rows = rows[rows["metric"] == chosen]
    curves = [
        _curve(size, group)
        for size, group in chosen_rows.groupby(["width", "depth", "mlp_dim"], sort=True)
    ]
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


def _curve(size: tuple[int, int, int], group: Any) -> Curve:
    width, depth, mlp_dim = size
    means = group.groupby("examples")["value"].mean()
    return Curve(
        shape=f"{width}/{depth}/{mlp_dim}",
        examples=tuple(int(n) for n in means.index),
        values=tuple(float(value) for value in means),
    )


def _bar(value: float | None, low: float, high: float) -> str:
    if value is None:
        return " "
    if value <= 0 or high <= low:
        return _BARS[0]
    place = (math.log(value) - low) / (high - low)
    return _BARS[min(len(_BARS) - 1, int(place * len(_BARS)))]
