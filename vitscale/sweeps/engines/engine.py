"""What every engine does: four methods, and no truth. What is done is what the store holds."""

import dataclasses
from typing import Literal, Protocol

from vitscale.scaling.progress import Progress
from vitscale.scaling.recipe import Trial
from vitscale.sweeps.store import Store

Outcome = Literal["done", "busy", "failed", "lost", "preempted", "unstorable"]
"""How an attempt at a trial ended.

- "done": the runner came to its end;
- "busy": another process holds the trial, nothing was tried;
- "failed": the trial's own code raised an error;
- "lost": the process or machine went away (killed, out of memory);
- "preempted": it was asked to go, and saved what it had;
- "unstorable": the store cannot be written to, which no other trial could either.
"""

Runner = Literal["train", "simulated"]
"""What runs a trial: training, or a stand-in that sleeps 10 ms a step and measures by a law."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attempt:
    """The end of one attempt; `reason` is a sentence, empty where all went well.

    `diverged` says whether a duration was recorded as diverged; None where that is not known.
    """

    trial_id: str
    outcome: Outcome
    reason: str = ""
    core_seconds: float = 0.0
    diverged: bool | None = None


class Engine(Protocol):
    """A place where trials run. It may be killed and replaced at any moment.

    - `pack`: how many trials it may train together, if they differ in seed and learning rate alone.
    """

    pack: int

    def capacity(self) -> int:
        """How many more trials it takes now."""
        ...

    def submit(self, trial: Trial, store: Store) -> None:
        """Start one attempt at `trial`, whose results go to `store`."""
        ...

    def poll(self, timeout: float) -> list[Progress | Attempt]:
        """What happened since the last call; waits up to `timeout` seconds for something to."""
        ...

    def cancel(self, trial_id: str | None = None, *, grace_seconds: float = 0.0) -> set[str]:
        """Stop one trial, or everything, and let go of the processes; no attempt at what is stopped is reported.

        Trials that were trained together with one that is stopped end with it, "preempted", as the next poll reports.
        Trials may save what they have for `grace_seconds` at most. Gives the ids of those that did not, and go on from
        their last checkpoint.
        """
        ...
