"""Checkpoints of a store without folders: written on this machine, kept in the store.

A checkpoint, a folder that appears whole, goes into the store as one archive
`checkpoints/{trial id}/{line}/{step}.tar`; another machine unpacks it and goes on.
"""

import contextlib
import io
import re
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

from vitscale.scaling.failpoints import failpoint
from vitscale.sweeps import files
from vitscale.sweeps.places.place import Place

KEEP_S = 30.0
"""How often the store is brought up to what this machine has."""

_keeping = threading.Lock()
"""Held by whoever changes what the store has: what another deletes meanwhile must not come back."""
_STEP = re.compile(r"[0-9]+")
_PART = re.compile(r"[A-Za-z0-9_-]+")


@contextlib.contextmanager
def mirrored(place: Place, trial_id: str, folder: Path) -> Iterator[None]:
    """Have `folder` hold a trial's checkpoints, and the store what is made of them while inside.

    They are fetched before, kept every `KEEP_S` seconds in a thread of its own, which may take as long
    as it likes, and kept once more at the end, when that thread is done. A store that refuses is tried
    again; at the end that raises `StoreError`.
    """
    fetch_checkpoints(place, trial_id, folder)
    # Not before: what is not fetched yet would count as deleted.
    done = threading.Event()
    thread = threading.Thread(target=_keep_until, args=(done, place, trial_id, folder), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        keep_checkpoints(place, trial_id, folder)


def fetch_checkpoints(place: Place, trial_id: str, folder: Path) -> None:
    """Make `folder` hold what the store has of a trial's checkpoints, and nothing else, whatever a fetch
    that was killed has left in it.

    Raises `StoreError` where the store or this machine's disk refuses.
    """
    there = _kept(place, trial_id)
    with files.plain_errors(folder):
        for path in folder.glob(".*"):
            _remove(path)
        for path in folder.glob("*/*"):
            if not path.is_dir() or (path.parent.name, path.name) not in there:
                _remove(path)
        for line, step in sorted(there - _written(folder)):
            aside = folder / f".{line}-{step}"
            data = place.read(_key(trial_id, line, step))
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                archive.extractall(aside, filter="data")
            failpoint("mirror.fetch")
            (folder / line).mkdir(parents=True, exist_ok=True)
            aside.rename(folder / line / step)


def keep_checkpoints(place: Place, trial_id: str, folder: Path) -> None:
    """Make the store hold what `folder` has of a trial's whole checkpoints; new ones come before old
    ones go."""
    with _keeping:
        here, there = _written(folder), _kept(place, trial_id)
        for line, step in sorted(here - there):
            data = _archive(folder / line / step)
            if data is None:
                return  # training has gone on: the old ones stay until the newer ones are there
            failpoint("mirror.keep")
            place.write(_key(trial_id, line, step), data)
        for line, step in there - here:
            place.delete(_key(trial_id, line, step))


def forget_checkpoints(place: Place, trial_id: str) -> None:
    """Delete the store's checkpoints of a trial, which this machine has deleted before."""
    with _keeping:
        for line, step in _kept(place, trial_id):
            place.delete(_key(trial_id, line, step))


def _keep_until(done: threading.Event, place: Place, trial_id: str, folder: Path) -> None:
    while not done.wait(KEEP_S):
        with contextlib.suppress(OSError):
            keep_checkpoints(place, trial_id, folder)


def _written(folder: Path) -> set[tuple[str, str]]:
    """Lines and steps of the whole checkpoints below a folder."""
    steps = folder.glob("*/*") if folder.is_dir() else ()
    return {(p.parent.name, p.name) for p in steps if _STEP.fullmatch(p.name) and p.is_dir()}


def _kept(place: Place, trial_id: str) -> set[tuple[str, str]]:
    found = set()
    for line in place.names(f"checkpoints/{trial_id}"):
        if not _PART.fullmatch(line):
            continue
        for name in place.names(f"checkpoints/{trial_id}/{line}"):
            if name.endswith(".tar") and _STEP.fullmatch(name.removesuffix(".tar")):
                found.add((line, name.removesuffix(".tar")))
    return found


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _archive(folder: Path) -> bytes | None:
    """A folder as an archive, or None where it was deleted meanwhile."""
    buffer = io.BytesIO()
    try:
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(folder, arcname=".")
    except FileNotFoundError:
        return None
    return buffer.getvalue()


def _key(trial_id: str, line: str, step: str) -> str:
    return f"checkpoints/{trial_id}/{line}/{step}.tar"
