"""Leases: who works on a trial, agreed upon by any number of processes on any number of machines.

A lease on a trial is the object `leases/{trial id}/{epoch}.json` with the highest epoch. It is taken by
putting the next epoch, which one process alone can do. Its holder rewrites it every `BEAT_S` seconds
with a higher count. No clock is compared with another machine's: whoever wants the trial watches the
count, and may take the next epoch when it has not changed for `STALE_S` seconds of its own. On the
machine of the holder nobody has to wait: that it is dead is seen at once. A holder that finds itself
replaced, or that could not rewrite its lease for `STALE_S`, ends at once.

A lease saves work and no more: results are put if absent, so two holders would measure the same.
"""

import contextlib
import dataclasses
import functools
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from vitscale.scaling.failpoints import failpoint
from vitscale.sweeps.files import StoreError
from vitscale.sweeps.places.place import Place

BEAT_S = 30.0
STALE_S = 90.0

LOST_EXIT = 76
"""The exit code of a process that lost its lease to another."""

_watched: dict[tuple[str, str, str], tuple[str, float]] = {}
"""What this process last saw of others' leases: by place, trial and epoch, the lease and since when."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a lease: a process by its number and start, a machine by its boot, and when it began."""

    token: str
    host: str
    boot: str
    pid: int
    started: str
    since: str

    @property
    def is_dead(self) -> bool:
        """Whether it was a process of this machine that has ended; of others nothing is known."""
        return self.boot == _boot() and self.started != _start_of(self.pid)


@contextlib.contextmanager
def leased(
    place: Place,
    trial_id: str,
    *,
    on_lost: Callable[[str], None] | None = None,
    beat_s: float = BEAT_S,
    stale_s: float = STALE_S,
) -> Iterator[bool]:
    """Hold `trial_id` while inside; gives whether it was to be had.

    `on_lost` is called with a sentence, in a thread, when it was lost; by default the process ends.

    Raises `StoreError` where leases cannot be written.
    """
    lease = _take(place, trial_id, stale_s)
    if lease is None:
        yield False
        return
    done = threading.Event()
    thread = threading.Thread(
        target=_keep, args=(lease, done, on_lost or _end, beat_s, stale_s), daemon=True
    )
    thread.start()
    try:
        yield True
    finally:
        done.set()
        thread.join()
        lease.release()


def holders(place: Place) -> dict[str, Holder]:
    """Who holds what, by trial id; leases of processes that died on this machine are left out."""
    found = {}
    for trial_id in place.names("leases"):
        with contextlib.suppress(FileNotFoundError):
            epochs = _epochs(place, trial_id)
            holder = _holder(place.read(_key(trial_id, epochs[-1]))) if epochs else None
            if holder is not None and not holder.is_dead:
                found[trial_id] = holder
    return found


@dataclasses.dataclass(frozen=True)
class _Lease:
    place: Place
    trial_id: str
    epoch: int
    holder: Holder

    @property
    def key(self) -> str:
        return _key(self.trial_id, self.epoch)

    def beat(self, count: int) -> bool:
        """Show that the holder lives; False where the lease is another's by now."""
        failpoint("lease.beat")
        epochs = _epochs(self.place, self.trial_id)
        try:
            lost = epochs[-1:] != [self.epoch] or self._token() != self.holder.token
        except FileNotFoundError:
            lost = True
        if not lost:
            self.place.write(self.key, _contents(self.holder, count))
        return not lost

    def release(self) -> None:
        """Let others take the trial at once; what went before goes too."""
        failpoint("lease.release")
        with contextlib.suppress(StoreError):  # it is then taken when it is stale
            for epoch in _epochs(self.place, self.trial_id):
                if epoch <= self.epoch:
                    self.place.delete(_key(self.trial_id, epoch))

    def _token(self) -> str | None:
        holder = _holder(self.place.read(self.key))
        return holder and holder.token


def _take(place: Place, trial_id: str, stale_s: float) -> _Lease | None:
    epochs = _epochs(place, trial_id)
    if epochs and not _abandoned(place, trial_id, epochs[-1], stale_s):
        return None
    holder = Holder(
        token=secrets.token_hex(8),
        host=socket.gethostname(),
        boot=_boot(),
        pid=os.getpid(),
        started=_start_of(os.getpid()),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    lease = _Lease(place, trial_id, epochs[-1] + 1 if epochs else 1, holder)
    failpoint("lease.take")
    return lease if place.put(lease.key, _contents(holder, 0)) else None


def _abandoned(place: Place, trial_id: str, epoch: int, stale_s: float) -> bool:
    """Whether the holder of an epoch is dead, or was silent for too long while this process watched."""
    try:
        contents = place.read(_key(trial_id, epoch)).decode(errors="replace")
    except FileNotFoundError:
        return True
    holder = _holder(contents.encode())
    if holder is not None and holder.is_dead:
        return True
    watch, now = (place.name, trial_id, str(epoch)), time.monotonic()
    seen, since = _watched.get(watch, (None, now))
    if contents != seen:
        _watched[watch] = (contents, now)
        return False
    return now - since >= stale_s


def _keep(
    lease: _Lease,
    done: threading.Event,
    on_lost: Callable[[str], None],
    beat_s: float,
    stale_s: float,
) -> None:
    """Beat until done, and do nothing else, which could take longer; say so once the lease is lost."""
    count, beaten = 0, time.monotonic()
    while not done.wait(beat_s if time.monotonic() - beaten < beat_s else beat_s / 10):
        count += 1
        try:
            if not lease.beat(count):
                return on_lost(f"trial {lease.trial_id} was taken over by another process")
            beaten = time.monotonic()
        except (StoreError, OSError) as error:
            if time.monotonic() - beaten >= stale_s:
                return on_lost(f"the lease on trial {lease.trial_id} could not be kept: {error}")


def _end(sentence: str) -> None:
    """End this process: another may be training the trial, and this one must not go on."""
    print(f"vitscale: {sentence}", file=sys.stderr, flush=True)
    os._exit(LOST_EXIT)


def _epochs(place: Place, trial_id: str) -> list[int]:
    names = (name.partition(".") for name in place.names(f"leases/{trial_id}"))
    return sorted(int(epoch) for epoch, _, kind in names if epoch.isdecimal() and kind == "json")


def _key(trial_id: str, epoch: int) -> str:
    return f"leases/{trial_id}/{epoch:08d}.json"


def _contents(holder: Holder, beat: int) -> bytes:
    return json.dumps(dataclasses.asdict(holder) | {"beat": beat}).encode()


def _holder(contents: bytes) -> Holder | None:
    """Who wrote a lease, or None where it cannot be read (a newer version's, or damaged)."""
    try:
        values = json.loads(contents)
        values.pop("beat")
        return Holder(**values)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


@functools.cache
def _boot() -> str:
    """This machine since it was started, and the process numbers of this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return secrets.token_hex(16)  # no such files here: no process is known to be dead


def _start_of(pid: int) -> str:
    """When a process of this machine began, in clock ticks since it was started; "" if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
