"""`vitscale doctor`."""

import dataclasses

from tyro.conf import Positional

from vitscale.commands.layout import style
from vitscale.commands.output import print_json
from vitscale.commands.saying import quiet

_COLOURS = {"ok": "32", "missing": "36", "warning": "33", "broken": "31"}


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Whether this machine has what vitscale needs: versions, devices, cores, memory, disk, limits, extras, and
    a store that can be written to. A line each, with what to do about it.

    Exit code 1 where something is broken that is needed; with --quiet only that and warnings are shown.

    Examples:  vitscale doctor
               vitscale doctor runs/laptop
               vitscale doctor s3://bucket/runs/star --json
    """

    store: Positional[str | None] = None
    """Folder or address that measurements are to go to."""
    device_seconds: float = 60.0
    """How long to wait for jax to name its devices: a driver may hang."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(command: Doctor) -> int:
    from vitscale.doctor import Finding, examine, summary

    if not command.device_seconds > 0:
        raise ValueError(
            f"--device-seconds {command.device_seconds:g} is no time; give more than 0"
        )
    found: list[Finding] = []
    for finding in examine(command.store, device_seconds=command.device_seconds):
        found.append(finding)
        if not command.json and not (quiet() and finding.state in ("ok", "missing")):
            colour = style(_COLOURS[finding.state])
            word, line = finding.state, finding.line()
            print(f"{colour(word)}{line.removeprefix(word)}", flush=True)
    broken = [finding for finding in found if finding.state == "broken"]
    if command.json:
        print_json(summary(found))
    elif broken:
        print(f"broken: {'; '.join(f'{finding.name} ({finding.text})' for finding in broken)}")
    else:
        print("all that is needed is there")
    return 1 if broken else 0
