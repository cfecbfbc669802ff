"""`--track`, which several commands have."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitscale.sweeps.store import Store
    from vitscale.sweeps.trackers.tracker import Tracker
    from vitscale.sweeps.trackers.tracking import Tracking

_HURRY_S = 5.0


def open_trackers(specs: tuple[str, ...]) -> "Mapping[str, Tracker]":
    """The trackers that are asked for; nothing is loaded where none is. Raises `ValueError` for one that
    cannot be had."""
    if not specs:
        return {}
    from vitscale.sweeps.trackers import table

    return table.open_trackers(specs)


def start_tracking(trackers: "Mapping[str, Tracker]", store: "Store") -> "Tracking | None":
    """Trackers ready to be told; None where there are none."""
    if not trackers:
        return None
    from vitscale.sweeps.trackers.tracking import Tracking

    return Tracking(trackers, store)


def close_tracking(tracking: "Tracking | None", *, hurry: bool = False) -> None:
    """Let trackers write the rest, and say what went wrong. In a `hurry` this machine goes away soon."""
    if tracking is not None:
        for message in tracking.close(_HURRY_S) if hurry else tracking.close():
            print(f"vitscale: {message}", file=sys.stderr)
