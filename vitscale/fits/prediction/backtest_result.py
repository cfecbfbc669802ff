"""What a back-test found: its rows, how often intervals held, and what to conclude."""

import dataclasses
from typing import Any

import numpy as np
from scipy import special


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One run that was left out, and its prediction.

    - `name`: the law, or the shape dimension of a star; `cutoff`: what was kept, of `along`.
    - `horizon`: how many times the run lies beyond the largest that was kept; 1 inside.
    """

    name: str
    cutoff: float
    horizon: float
    measured: float
    predicted: float
    low: float
    high: float

    @property
    def inside(self) -> bool:
        """Whether the interval holds what was measured."""
        return self.low <= self.measured <= self.high

    @property
    def log_error(self) -> float:
        """log(predicted / measured): positive where the prediction is too high."""
        return float(np.log(self.predicted / self.measured))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backtest:
    """Predictions of runs that were left out, over several cut-offs.

    - `level`: nominal, of the intervals; `along`: what the cut-offs are in.
    - `skipped`: sentences on what could not be back-tested.
    """

    rows: tuple[Row, ...]
    level: float
    along: str
    skipped: tuple[str, ...] = ()

    @property
    def cases(self) -> int:
        """Number of fits: each cut-off of each name."""
        return len({(row.name, row.cutoff) for row in self.rows})

    @property
    def coverage(self) -> float:
        """Share of the runs inside their interval."""
        return float(np.mean([row.inside for row in self.rows]))

    @property
    def coverage_range(self) -> tuple[float, float]:
        """95% binomial interval (Clopper-Pearson) of the coverage.

        Runs beyond one cut-off are right or wrong together, so they count as n / (1 + (m - 1) r) runs
        with m the runs of a case and r the correlation within cases (of one if all agree); and runs
        that lie beyond several cut-offs count once.
        """
        count = self._effective_runs()
        inside = self.coverage * count
        low = special.betaincinv(inside, count - inside + 1, 0.025) if inside > 0 else 0.0
        high = special.betaincinv(inside + 1, count - inside, 0.975) if inside < count else 1.0
        return float(low), float(high)

    @property
    def rms(self) -> float:
        """Root mean square of the log error."""
        return float(np.sqrt(np.mean([row.log_error**2 for row in self.rows])))

    @property
    def bias(self) -> float:
        """Mean log error: positive where predictions are too high."""
        return float(np.mean([row.log_error for row in self.rows]))

    @property
    def biased(self) -> bool:
        """Whether predictions err to one side by more than chance: the law does not bend as the runs do."""
        # The mean of n errors that are right or wrong together by case scatters by rms / sqrt(cases).
        return abs(self.bias) > 2 * self.rms / np.sqrt(max(self.cases, 1)) or (
            self.cases > 1 and abs(self.bias) > 0.8 * self.rms
        )

    @property
    def width(self) -> float:
        """Median of high/low - 1 over the intervals."""
        return float(np.median([row.high / row.low for row in self.rows]) - 1)

    @property
    def conclusion(self) -> str:
        """What to make of it, in words."""
        return " ".join(_sentences(self))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values: the summary, and `rows` with `inside` and `log_error` of each."""
        return {
            "along": self.along,
            "level": self.level,
            "coverage": self.coverage,
            "coverage_range": list(self.coverage_range),
            "cases": self.cases,
            "rms_log_error": self.rms,
            "bias_log_error": self.bias,
            "median_relative_width": self.width,
            "conclusion": self.conclusion,
            "skipped": list(self.skipped),
            "rows": [
                {**dataclasses.asdict(row), "inside": row.inside, "log_error": row.log_error}
                for row in self.rows
            ],
        }

    def lines(self) -> list[str]:
        """A table for a terminal, one line for each cut-off, and the conclusion."""
        return _lines(self)

    def _effective_runs(self) -> float:
        cases: dict[tuple[str, float], list[bool]] = {}
        for row in self.rows:
            cases.setdefault((row.name, row.cutoff), []).append(row.inside)
        inside = [np.array(case, float) for case in cases.values()]
        total, size = len(self.rows), len(self.rows) / len(inside)
        if len(inside) == 1 or total == len(inside) or np.ptp(np.concatenate(inside)) == 0:
            return float(len(inside))
        mean = np.concatenate(inside).mean()
        between = sum(len(c) * (c.mean() - mean) ** 2 for c in inside) / (len(inside) - 1)
        within = sum(((c - c.mean()) ** 2).sum() for c in inside) / (total - len(inside))
        spread = between + (size - 1) * within
        correlation = min(max((between - within) / spread, 0.0), 1.0)
        distinct = len({(row.name, row.measured) for row in self.rows})
        return min(total / (1 + (size - 1) * correlation), float(distinct))


def _sentences(test: Backtest) -> list[str]:
    low, high = test.coverage_range
    inside = sum(row.inside for row in test.rows)
    nominal = f"{100 * test.level:g}%"
    held = (
        f"{inside} of {len(test.rows)} runs beyond {test.cases} cut-offs lay inside their {nominal} "
        f"intervals ({100 * test.coverage:.0f}%; between {100 * low:.0f} and "
        f"{100 * high:.0f}% with 95% confidence)"
    )
    if high < test.level:
        verdict = "the intervals are too narrow here: take predictions beyond the data as a guess."
    elif low > test.level:
        verdict = "the intervals are on the safe side here."
    else:
        verdict = "nothing speaks against taking the intervals at their word."
    sentences = [f"{held}: {verdict}"]
    sentences.append(f"Predictions were off by {100 * np.expm1(test.rms):.2g}% (root mean square).")
    if test.biased:
        side = "high" if test.bias > 0 else "low"
        sentences.append(
            f"They are too {side} by {100 * np.expm1(abs(test.bias)):.2g}% on average: the law does "
            f"not bend as the runs do, so try another."
        )
    return sentences


def _lines(test: Backtest) -> list[str]:
    lines = [f"back-test: fit without the largest {test.along}, predict what was left out"]
    header = ("", "kept up to", "runs", "horizon", "off by (rms)", "too high by", "inside")
    table: list[tuple[str, ...]] = [header]
    for name, cut in dict.fromkeys((row.name, row.cutoff) for row in test.rows):
        case = Backtest(
            rows=tuple(r for r in test.rows if (r.name, r.cutoff) == (name, cut)),
            level=test.level,
            along=test.along,
        )
        inside = sum(row.inside for row in case.rows)
        table.append(
            (
                name,
                f"{cut:.4g}",
                str(len(case.rows)),
                f"{max(row.horizon for row in case.rows):.3g}x",
                f"{100 * np.expm1(case.rms):.2g}%",
                f"{100 * np.expm1(case.bias):+.2g}%",
                f"{inside} of {len(case.rows)}",
            )
        )
    widths = [max(len(row[k]) for row in table) for k in range(len(header))]
    for row in table:
        cells = [row[0].ljust(widths[0])] + [
            cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return [*lines, test.conclusion, *test.skipped]
