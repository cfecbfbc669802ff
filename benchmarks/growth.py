"""How the time of a fit grows with points (10^2 to 10^6) and with bootstraps (10 to 10^4).

Points: the Chinchilla form on made runs with 0.5% noise, N and D over three decades each, by relative
least squares (the default) and by the Huber loss of `benchmarks.chinchilla_law`. Bootstraps: that
form on the 234 runs, and eq. (2) on one arm of the published star. The slope is that of log CPU
seconds against log size over the upper half of the sizes: 1 is linear growth.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import chinchilla_fit, star_fit
from benchmarks.chinchilla_law import Runs
from benchmarks.measure import timed
from vitscale.fits.arm import estimate
from vitscale.fits.loss import Loss
from vitscale.fits.plots import style
from vitscale.fits.plots.looks import palette
from vitscale.fits.uncertainty import bootstrap

POINTS = (100, 316, 1000, 3162, 10_000, 31_623, 100_000, 316_228, 1_000_000)
BOOTSTRAPS = (100, 316, 1000, 3162, 10_000)
FIGURE = Path(__file__).parents[1] / "docs" / "images" / "growth.png"
CSV = Path(__file__).parent / "results" / "growth.csv"

_HUBER = "Chinchilla, Huber on log loss"
_SQUARES = "Chinchilla, relative least squares"
_STAR = "eq. (2), one arm of 20 points"
_COLORS = {_SQUARES: palette().blue, _HUBER: palette().vermilion, _STAR: palette().green}


def made_runs(points: int, seed: int = 0) -> Runs:
    """Runs of the replication's law with 0.5% noise."""
    rng = np.random.default_rng(seed)
    n = 10 ** rng.uniform(7.5, 10.5, points)
    d = 10 ** rng.uniform(9, 12, points)
    law = 1.8172 + 482.01 * n**-0.3478 + 2085.43 * d**-0.3658
    return Runs(parameters=n, tokens=d, loss=law * np.exp(0.005 * rng.standard_normal(points)))


def measure(runs: Runs) -> pd.DataFrame:
    """CPU seconds by what grows (`grows`), `law` and `size`."""
    arm = star_fit.arms()["width"]
    best, t = estimate(arm), np.array([arm.t.max()])
    series: dict[tuple[str, str], Callable[[int], Callable]] = {
        ("points", _SQUARES): lambda size: _fit(made_runs(size), Loss()),
        ("points", _HUBER): lambda size: _fit(made_runs(size), chinchilla_fit.LOSS),
        ("bootstraps", _HUBER): lambda size: lambda: chinchilla_fit.ours_bootstrap(runs, size),
        ("bootstraps", _STAR): lambda size: lambda: bootstrap(arm, best, t, resamples=size),
    }
    rows = []
    for (grows, law), prepare in series.items():
        for size in POINTS if grows == "points" else BOOTSTRAPS:
            seconds = _seconds(prepare(size))
            rows.append({"grows": grows, "law": law, "size": size, "cpu_s": seconds})
    return pd.DataFrame(rows)


def _fit(runs: Runs, loss: Loss) -> Callable:
    return lambda: chinchilla_fit.ours(runs, loss)


def _seconds(work: Callable) -> float:
    """CPU seconds of `work`: the least of several calls where it is short."""
    _, first = timed(work)
    return min([first, *(timed(work)[1] for _ in range(4 if first < 0.5 else 0))])


def slopes(table: pd.DataFrame) -> list[dict]:
    """Of each series: the slope over its upper half, and the seconds at its ends."""
    rows = []
    for _, part in table.groupby(["grows", "law"], sort=False):
        upper = part.iloc[len(part) // 2 :]
        slope = np.polyfit(np.log(upper["size"]), np.log(upper["cpu_s"]), 1)[0]
        ends = part.iloc[[0, -1]]
        rows.append(
            {
                "grows": part["grows"].iloc[0],
                "law": part["law"].iloc[0],
                "slope": float(slope),
                "from": int(upper["size"].iloc[0]),
                "sizes": [int(size) for size in ends["size"]],
                "cpu_s": [float(seconds) for seconds in ends["cpu_s"]],
            }
        )
    return rows


def draw(table: pd.DataFrame, path: Path = FIGURE) -> None:
    """CPU seconds against size, a panel for each of what grows."""
    found = {(row["grows"], row["law"]): row["slope"] for row in slopes(table)}
    with style.styled():
        figure = style.new_figure(2 * style.PANEL_IN, 2.6)
        axes = figure.subplots(1, 2, sharey=True)
        for axis, grows in zip(axes, ("points", "bootstraps"), strict=True):
            for law, part in table[table["grows"] == grows].groupby("law", sort=False):
                label = f"{law}: slope {found[grows, law]:.2f}"
                color = _COLORS[str(law)]
                axis.loglog(part["size"], part["cpu_s"], color=color, marker="o", ms=3, label=label)
            axis.set_xlabel(f"number of {grows}")
            style.faint_grid(axis)
            axis.legend(loc="upper left")
        # Room for the legends above the curves.
        axes[0].set_ylim(table["cpu_s"].min() / 2, table["cpu_s"].max() * 30)
        axes[0].set_ylabel("CPU seconds on one thread")
        style.save(figure, path)


def run(runs: Runs) -> dict:
    """Measure, write the table and the figure; what of it goes into the results."""
    table = measure(runs)
    table.to_csv(CSV, index=False, float_format="%.5g")
    draw(table)
    return {"slopes": slopes(table)}
