"""What the workers of a simulated cluster did, and when."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from vitscale.sweeps.engines.engine import Outcome

Doing = Literal["compile", "train", "lost", "idle", "away"]
DOINGS: tuple[Doing, ...] = ("compile", "train", "lost", "idle", "away")
"""What a worker can be doing.

- "compile": at the beginning of an attempt;
- "train": steps that count; "lost": steps that were not saved;
- "idle": a machine without a trial; "away": no machine, its replacement is awaited.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Span:
    """One attempt: it compiles from `begins`, trains from `trains`, and what it did after `kept_until` was
    lost. Times are seconds; `steps` and `flops` include those lost."""

    worker: int
    trial_id: str
    begins: float
    trains: float
    kept_until: float
    ends: float
    outcome: Outcome
    steps: int
    flops: float
    lost_flops: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Absence:
    """A worker without a machine, in seconds."""

    worker: int
    begins: float
    ends: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timeline:
    """All attempts in the order of their ends, over the `seconds` until the last one ended."""

    workers: int
    seconds: float
    spans: tuple[Span, ...]
    absences: tuple[Absence, ...]

    @classmethod
    def of(cls, workers: int, spans: Sequence[Span], absences: Sequence[Absence]) -> "Timeline":
        """A timeline of `spans`; absences are cut off at its end."""
        seconds = max((span.ends for span in spans), default=0.0)
        cut = (dataclasses.replace(a, ends=min(a.ends, seconds)) for a in absences)
        within = tuple(absence for absence in cut if absence.begins < seconds)
        return cls(workers=workers, seconds=seconds, spans=tuple(spans), absences=within)

    @functools.cached_property
    def worker_seconds(self) -> dict[Doing, float]:
        """Time that all workers together spent on each."""
        spent: dict[Doing, float] = dict.fromkeys(DOINGS, 0.0)
        for span in self.spans:
            spent["compile"] += span.trains - span.begins
            spent["train"] += span.kept_until - span.trains
            spent["lost"] += span.ends - span.kept_until
        spent["away"] = sum(absence.ends - absence.begins for absence in self.absences)
        spent["idle"] = self.workers * self.seconds - sum(spent.values())
        return spent

    def raster(self, rows: int, columns: int) -> Int[np.ndarray, "{rows} {columns}"]:
        """What is done as a picture: the index in `DOINGS` of what the worker of each row does in the
        middle of the time of each column. With fewer `rows` than workers, every so-many-th is shown."""
        shown = np.linspace(0, self.workers - 1, rows).round().astype(int)
        picture = np.full((self.workers, columns), DOINGS.index("idle"), dtype=int)

        def paint(worker: int, begins: float, ends: float, doing: Doing) -> None:
            first, end = (_middles_before(t, self.seconds, columns) for t in (begins, ends))
            picture[worker, first:end] = DOINGS.index(doing)

        for span in self.spans:
            paint(span.worker, span.begins, span.trains, "compile")
            paint(span.worker, span.trains, span.kept_until, "train")
            paint(span.worker, span.kept_until, span.ends, "lost")
        for absence in self.absences:
            paint(absence.worker, absence.begins, absence.ends, "away")
        return picture[shown]

    def held_seconds(self, at: Float[np.ndarray, " times"]) -> Float[np.ndarray, " times"]:
        """Machine time that was paid for until each of the times `at`: all workers but those away."""
        begins = np.array([a.begins for a in self.absences])
        ends = np.array([a.ends for a in self.absences])
        away = [np.clip(t - begins, 0.0, ends - begins).sum() for t in at]
        return self.workers * at - np.array(away)

    def kept_flops(self, at: Float[np.ndarray, " times"]) -> Float[np.ndarray, " times"]:
        """Training FLOPs of steps that count, until each of the times `at`."""
        begins = np.array([span.trains for span in self.spans])
        lasts = np.array([span.kept_until for span in self.spans]) - begins
        flops = np.array([span.flops - span.lost_flops for span in self.spans])
        per_second = np.divide(flops, lasts, out=np.zeros_like(flops), where=lasts > 0)
        return np.array([(np.clip(t - begins, 0.0, lasts) * per_second).sum() for t in at])

    def trials_done(self, at: Float[np.ndarray, " times"]) -> Int[np.ndarray, " times"]:
        """Trials that were measured in full by each of the times `at`."""
        ends = np.sort([span.ends for span in self.spans if span.outcome == "done"])
        return np.searchsorted(ends, at, side="right")


def _middles_before(seconds: float, total: float, columns: int) -> int:
    """Of the middles of `columns` equal parts of the time `total`: how many lie before a moment."""
    return max(0, int(np.ceil(seconds / total * columns - 0.5)))
