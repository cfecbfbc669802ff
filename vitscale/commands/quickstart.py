"""`vitscale quickstart`."""

import dataclasses
from pathlib import Path

from vitscale.commands.output import output
from vitscale.commands.saying import note, quiet


@dataclasses.dataclass(frozen=True)
class Quickstart:
    """Train real ViTs, fit the law, and hold a compute-optimal shape: minutes on two CPU cores.

    Runs the quickstart grid and star on procedural glyphs, fits eq. (2) of Getting ViT in Shape,
    and writes the store, fit.json, the shape for timm, Hugging Face and big_vision, and figures.
    Stopped at any moment, the same command goes on where it was. The store is OUT/store: what
    `vitscale status`, `fit`, `plot` and `report` take.

    Examples:  vitscale quickstart --out my-first-shape
               vitscale status my-first-shape/store
    """

    out: Path = Path("vitscale-quickstart")
    """Folder for the store, the fit, the shape and the figures."""
    workers: int | None = None
    """Worker processes; by default one for each core."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(command: Quickstart) -> int:
    from vitscale.quickstart import quickstart
    from vitscale.sweeps.preemption import PREEMPTED_EXIT, Preemption

    # SIGTERM is Ctrl-C from someone else: workers save, and what goes on is said.
    with Preemption(raising=KeyboardInterrupt) as preemption:
        try:
            result = quickstart(command.out, workers=command.workers, quiet=command.json or quiet())
        except KeyboardInterrupt:  # after the sweeps, or before
            if not preemption.asked:
                raise
            note("ended by SIGTERM; the same command goes on")
            result = None
    if result is None:
        return PREEMPTED_EXIT if preemption.asked else 1
    output(command.json, result.to_dict(), result.lines)
    return 0
