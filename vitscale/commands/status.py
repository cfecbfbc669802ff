"""`vitscale status`."""

import dataclasses

from tyro.conf import Positional

from vitscale.commands.output import output


@dataclasses.dataclass(frozen=True)
class Status:
    """What a store holds: trials by shape, durations, what diverged, which files are damaged.

    Example:  vitscale status runs/laptop
    """

    store: Positional[str]
    """Folder or address of the measurements."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(command: Status) -> int:
    from vitscale.sweeps.status import store_status
    from vitscale.sweeps.store import Store

    status = store_status(Store.open(command.store))
    output(command.json, status.to_dict(), status.lines)
    return 1 if status.problems else 0
