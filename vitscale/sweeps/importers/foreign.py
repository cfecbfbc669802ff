"""A run as another tool wrote it down, before anything is known of what its columns mean."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

State = Literal["finished", "unfinished", "diverged"]

_STATES: dict[str, State] = {
    **dict.fromkeys(("finished", "completed", "complete", "done", "ok", "success"), "finished"),
    **dict.fromkeys(
        ("running", "failed", "crashed", "killed", "preempted", "preempting", "pending"),
        "unfinished",
    ),
    **dict.fromkeys(("scheduled", "queued", "interrupted", "canceled", "cancelled"), "unfinished"),
    "diverged": "diverged",
}
"""What W&B, MLflow, Ray Tune and vitscale itself call the states of runs."""

TRACKED = "vitscale_trial"
"""The key under which vitscale's own trackers write a trial's id. Of such a run it is known that steps of
its measurements are examples, and that every point is a cooled-down model's."""

MEASURED = "measured/"
"""What vitscale's own trackers put before the names of what was measured of cooled-down models."""


@dataclasses.dataclass(frozen=True)
class Point:
    """One value of a logged metric; `step` is whatever the tool counted."""

    step: int
    value: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForeignRun:
    """One run, or one row of a table.

    - `key`: the tool's own name of the run; empty where it has none.
    - `where`: what messages call it, such as "row 3" or "run 4kq2xw".
    - `values`: its configuration and last results, by flat name.
    - `curves`: its logged metrics, in the order of steps.
    """

    key: str
    where: str
    values: Mapping[str, object]
    curves: Mapping[str, Sequence[Point]] = dataclasses.field(default_factory=dict)
    state: State = "finished"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """All runs of a file or folder. `tool` is the importer's name, `name` what tells sources apart, so it
    holds no path: the same runs moved elsewhere are the same runs."""

    tool: str
    name: str
    runs: tuple[ForeignRun, ...]

    @property
    def columns(self) -> list[str]:
        """Names of all values and curves, each once, in the order in which they appear."""
        names: dict[str, None] = {}
        for run in self.runs:
            names.update(dict.fromkeys(run.values))
            names.update(dict.fromkeys(run.curves))
        return list(names)


def state_of(text: object) -> State | None:
    """What a tool's word for the state of a run says; None for a word that says nothing of the kind."""
    return _STATES.get(str(text).strip().lower())


def flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested mappings as one, its keys joined by dots; lists stay values."""
    found: dict[str, object] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{name}.")
        else:
            found[name] = value
    return found


def by_step(points: Sequence[Point]) -> tuple[Point, ...]:
    """`points` in the order of steps; of several at one step the last written, as of a resumed run."""
    return tuple(sorted({point.step: point for point in points}.values(), key=lambda p: p.step))
