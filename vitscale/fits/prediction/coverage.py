"""How often intervals held what they were to hold, against what they promise."""

import dataclasses
from collections.abc import Iterable

from scipy import special

from vitscale.fits.prediction.backtest_result import Backtest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coverage:
    """The share of intervals that held, of `count`, where `nominal` was promised; all as fractions.

    - `name`: what was predicted or simulated; `group`: a part of it, such as a shape dimension, or "".
    - `low`, `high`: 95% interval of the share.
    """

    name: str
    group: str
    nominal: float
    count: int
    share: float
    low: float
    high: float


def simulated_coverage(
    name: str, *, nominal: float, count: int, share: float, group: str = ""
) -> Coverage:
    """Of `count` independent trials, with the binomial interval of Clopper and Pearson.

    Raises `ValueError` for no trials or a share outside 0 to 1.
    """
    if count < 1 or not 0 <= share <= 1:
        raise ValueError(
            f"{name}: share={share} of count={count} is no coverage; use 0 to 1, of 1 or more"
        )
    held = share * count
    low = special.betaincinv(held, count - held + 1, 0.025) if held > 0 else 0.0
    high = special.betaincinv(held + 1, count - held, 0.975) if held < count else 1.0
    return Coverage(
        name=name,
        group=group,
        nominal=nominal,
        count=count,
        share=share,
        low=float(low),
        high=float(high),
    )


def backtest_coverage(tests: Iterable[Backtest]) -> tuple[Coverage, ...]:
    """Of the runs that back-tests left out, for each name in them and for all together.

    The interval allows for runs beyond one cut-off being right or wrong together, see
    `Backtest.coverage_range`.
    """
    found = []
    for test in tests:
        names = list(dict.fromkeys(row.name for row in test.rows))
        parts = {name: tuple(row for row in test.rows if row.name == name) for name in names}
        if len(names) > 1:
            parts["all"] = test.rows
        for name, rows in parts.items():
            part = dataclasses.replace(test, rows=rows)
            low, high = part.coverage_range
            found.append(
                Coverage(
                    name=name,
                    group="",
                    nominal=test.level,
                    count=len(rows),
                    share=part.coverage,
                    low=low,
                    high=high,
                )
            )
    return tuple(found)
