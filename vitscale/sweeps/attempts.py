"""Attempts that did not end in measurements, and trials that are not to be trained: facts in the store,
so that any process can say what failed where, and why.

An attempt is one JSON object `attempts/{trial id}-{milliseconds}-{random}.json`; a cancelled trial has an
object `cancelled/{trial id}.json` until it is resumed.
"""

import dataclasses
import json
import re
import secrets
import socket
import time
from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from vitscale.sweeps.store import Store

RETRIES = 1
"""Times that a trial is tried again after its own code has failed."""
RESUMED = "resumed"
"""The outcome that says: what failed before is to be tried again."""

_ATTEMPT = re.compile(r"([0-9a-f]{12})-([0-9]{13,})-[0-9a-f]{8}\.json")
_CANCELLED = re.compile(r"([0-9a-f]{12})\.json")
_ID = re.compile(r"[0-9a-f]{12}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EndedAttempt:
    """One attempt at a trial: how it ended, why, on which host, when (UTC, ISO 8601), its core-seconds, and
    the last lines of its log."""

    trial_id: str
    outcome: str
    reason: str
    host: str
    ended_at: str
    core_seconds: float = 0.0
    log_tail: str = ""


def record_attempt(
    store: Store,
    trial_id: str,
    outcome: str,
    *,
    reason: str = "",
    core_seconds: float = 0.0,
    log_tail: str = "",
) -> None:
    """Keep how an attempt ended.

    Raises `StoreError` where the store cannot be written to.
    """
    attempt = EndedAttempt(
        trial_id=trial_id,
        outcome=outcome,
        reason=reason,
        host=socket.gethostname(),
        ended_at=datetime.now(UTC).isoformat(timespec="seconds"),
        core_seconds=core_seconds,
        log_tail=log_tail,
    )
    key = f"attempts/{trial_id}-{time.time_ns() // 1_000_000}-{secrets.token_hex(4)}.json"
    store.place.put(key, json.dumps(dataclasses.asdict(attempt), indent=1).encode())


def attempts(
    store: Store, trial_ids: Collection[str] | None = None
) -> dict[str, list[EndedAttempt]]:
    """All attempts that are known, or those at some trials, by trial id, the oldest first; files that cannot
    be read are left out."""
    found: dict[str, list[EndedAttempt]] = {}
    for name in store.place.names("attempts"):  # sorted by trial and time
        match = _ATTEMPT.fullmatch(name)
        if match is None or (trial_ids is not None and match[1] not in trial_ids):
            continue
        try:
            values = json.loads(store.place.read(f"attempts/{name}"))
            found.setdefault(match[1], []).append(EndedAttempt(**values))
        except (ValueError, TypeError, FileNotFoundError):
            continue  # of a newer version, or damaged: it is told to nobody, and harms nothing
    return found


def failures_since_resumed(of_trial: Iterable[EndedAttempt]) -> list[EndedAttempt]:
    """Failures of a trial's own code that count: those after the last time it was resumed."""
    counted: list[EndedAttempt] = []
    for attempt in of_trial:
        if attempt.outcome == RESUMED:
            counted.clear()
        elif attempt.outcome == "failed":
            counted.append(attempt)
    return counted


def given_up(of_trial: Iterable[EndedAttempt], retries: int = RETRIES) -> EndedAttempt | None:
    """The last failure of a trial that nobody tries again until it is resumed: of one whose own code has failed
    more than `retries` times, wherever. None where it is still to be tried, whatever became of it last."""
    failures = failures_since_resumed(of_trial)
    return failures[-1] if len(failures) > retries else None


def cancel(store: Store, trial_ids: Iterable[str]) -> None:
    """Have nobody train these trials until they are resumed; those that train them save and stop."""
    for trial_id in trial_ids:
        contents = {"trial_id": trial_id, "at": datetime.now(UTC).isoformat(timespec="seconds")}
        store.place.put(f"cancelled/{checked_id(trial_id)}.json", json.dumps(contents).encode())


def resume(store: Store, trial_ids: Iterable[str]) -> list[str]:
    """Have these trials trained again, whether they were cancelled or have failed, given up or not, with all
    their retries; gives the ids of those that were."""
    marked, failed = cancelled(store), attempts(store)
    resumed = []
    for trial_id in trial_ids:
        if trial_id in marked:
            store.place.delete(f"cancelled/{checked_id(trial_id)}.json")
        if failures_since_resumed(failed.get(trial_id, [])):
            record_attempt(store, trial_id, RESUMED)
        elif trial_id not in marked:
            continue
        resumed.append(trial_id)
    return resumed


def cancelled(store: Store) -> set[str]:
    """Ids of the trials that are not to be trained."""
    names = map(_CANCELLED.fullmatch, store.place.names("cancelled"))
    return {match[1] for match in names if match}


def full_id(given: str, known: Collection[str]) -> str:
    """The id among `known` that is, or alone begins with, what was `given`; else that, where it could be an id.

    Raises `ValueError` where it could not, or several begin with it.
    """
    if given in known or not re.fullmatch(r"[0-9a-f]{4,11}", given):
        return checked_id(given)
    found = sorted(trial_id for trial_id in known if trial_id.startswith(given))
    if len(found) > 1:
        raise ValueError(f"trial {given!r} may be any of {', '.join(found)}; write more of its id")
    return found[0] if found else given


def checked_id(trial_id: str) -> str:
    """`trial_id`, or `ValueError` where it is not the id of any trial."""
    if not _ID.fullmatch(trial_id):
        raise ValueError(
            f"{trial_id!r} is no trial id; ids have 12 digits of 0-9 and a-f, the first 4 or more will do"
        )
    return trial_id
