"""Compaction: many small files of measurements as one base file, while writers go on.

`measurements/base-000002-1f3a.parquet` holds what was in single files before; `manifests/000002.json`,
put if absent, makes it the base. Manifests are numbered and never removed, so they form one chain:
whoever compacts starts from the newest and puts the next, which one process alone can do. What it
covers is deleted only after that. A reader who finds a single file gone finds it in the newest base.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import re
import secrets
from typing import TYPE_CHECKING

from vitscale.scaling.failpoints import failpoint
from vitscale.sweeps.files import StoreError
from vitscale.sweeps.places.place import Place

if TYPE_CHECKING:
    import pyarrow as pa

    from vitscale.sweeps.parquet import Facts

MEASUREMENT = re.compile(r"([0-9a-f]{12})-([1-9][0-9]{0,18})\.parquet")
"""The name of the file of one trial and duration."""
BASE = re.compile(r"base-([0-9]{6})-[0-9a-f]{8}\.parquet")
"""The name of a base file."""
_MANIFEST = re.compile(r"([0-9]{6})\.json")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """One compaction: the base file that it made, and what the file holds."""

    number: int
    base: str
    sha256: str
    durations: int
    rows: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compaction:
    """What a compaction did: single files that went into the base, and rows of the base."""

    files: int
    durations: int
    rows: int
    base: str


def newest(place: Place) -> Manifest | None:
    """The manifest that counts, or None where nothing was compacted.

    Raises `StoreError` where it is damaged.
    """
    names = [name for name in place.names("manifests") if _MANIFEST.fullmatch(name)]
    if not names:
        return None
    key = f"manifests/{names[-1]}"
    try:
        values = json.loads(place.read(key))
        return Manifest(**values)
    except (ValueError, TypeError) as error:
        raise StoreError(
            f"{key} of the store {place.name} is damaged; restore it from a copy: it names the file in "
            f"measurements/ that holds what was compacted"
        ) from error


def covered(place: Place, manifest: Manifest | None) -> dict[str, frozenset[int]]:
    """Durations in the base, by trial id. Bases never change, so each is read once a process."""
    if manifest is None:
        return {}
    return _covered(_Cached(place), manifest)


def compacted(place: Place) -> dict[str, frozenset[int]]:
    """Durations in the newest base, by trial id, while others may be making a newer one.

    Raises `StoreError` where the base is missing or damaged.
    """
    while True:
        with contextlib.suppress(FileNotFoundError):  # of a base that was replaced this moment
            return covered(place, newest(place))


def base_table(place: Place, manifest: Manifest) -> "pa.Table":
    """The rows of a base.

    Raises `FileNotFoundError` where a newer one has replaced it, `StoreError` where it is damaged or missing.
    """
    from vitscale.sweeps.parquet import UNREADABLE, from_bytes

    data = _read_base(place, manifest)
    try:
        return from_bytes(data)
    except UNREADABLE as error:
        raise _damaged(place, manifest) from error


def base_facts(place: Place, manifest: Manifest | None) -> "dict[tuple[str, int], Facts]":
    """Status and cost of all that is in a base, by trial id and duration.

    Raises as `base_table`.
    """
    from vitscale.sweeps.parquet import UNREADABLE, facts_of_base

    if manifest is None:
        return {}
    data = _read_base(place, manifest)
    try:
        return facts_of_base(data)
    except UNREADABLE as error:
        raise _damaged(place, manifest) from error


def is_whole(place: Place, manifest: Manifest) -> bool:
    """Whether a base is byte for byte what was written."""
    try:
        data = place.read(f"measurements/{manifest.base}")
    except FileNotFoundError:
        return False
    return hashlib.sha256(data).hexdigest() == manifest.sha256


def compact(place: Place) -> Compaction | None:
    """Put all single files into a new base; None where there are none, or another process was first.

    Killed at any moment it leaves a store that reads the same; the next compaction tidies up. Raises
    `StoreError` where a file is damaged.
    """
    try:
        return _compact(place)
    except FileNotFoundError:
        return None  # another process compacts, and deleted what this one was reading


def _compact(place: Place) -> Compaction | None:
    import pyarrow as pa

    from vitscale.sweeps.parquet import UNREADABLE, from_bytes, to_bytes

    last = newest(place)
    names = place.names("measurements")
    singles = [name for name in names if MEASUREMENT.fullmatch(name)]
    known = covered(place, last)
    tables = [base_table(place, last)] if last else []
    for name in singles:
        trial_id, examples = of_name(name)
        if examples in known.get(trial_id, ()):
            continue
        data = place.read(f"measurements/{name}")
        try:
            tables.append(from_bytes(data))
        except UNREADABLE as error:
            raise StoreError(
                f"measurements/{name} of the store {place.name} cannot be read; see what is wrong with: "
                f"vitscale store check {place.name}"
            ) from error
    if not singles:
        _tidy(place, last, singles)
        return None
    table = pa.concat_tables(tables).sort_by(
        [("trial_id", "ascending"), ("examples", "ascending"), ("metric", "ascending")]
    )
    number = last.number + 1 if last else 1
    data = to_bytes(table)
    manifest = Manifest(
        number=number,
        base=f"base-{number:06d}-{secrets.token_hex(4)}.parquet",
        sha256=hashlib.sha256(data).hexdigest(),
        durations=len(table.group_by(["trial_id", "examples"]).aggregate([])),
        rows=len(table),
    )
    place.put(f"measurements/{manifest.base}", data)
    failpoint("compact.base")
    contents = json.dumps(dataclasses.asdict(manifest), indent=1).encode()
    if not place.put(f"manifests/{number:06d}.json", contents) and newest(place) != manifest:
        # Else it is ours, and what said so was lost on the way: the base is needed.
        place.delete(f"measurements/{manifest.base}")
        return None
    failpoint("compact.manifest")
    _tidy(place, manifest, singles)
    return Compaction(
        files=len(singles), durations=manifest.durations, rows=manifest.rows, base=manifest.base
    )


def of_name(name: str) -> tuple[str, int]:
    """Trial id and duration of the single file called `name`."""
    match = MEASUREMENT.fullmatch(name)
    assert match is not None
    return match[1], int(match[2])


def _tidy(place: Place, manifest: Manifest | None, singles: list[str]) -> None:
    """Delete what the base of `manifest` holds: single files, and bases before it."""
    if manifest is None:
        return
    known = covered(place, manifest)
    for name in singles:
        trial_id, examples = of_name(name)
        if examples in known.get(trial_id, ()):
            failpoint("compact.delete")
            place.delete(f"measurements/{name}")
    for name in place.names("measurements"):
        match = BASE.fullmatch(name)
        # Those of the same or a higher number may belong to a compaction that is under way.
        if match and int(match[1]) < manifest.number:
            place.delete(f"measurements/{name}")


def _read_base(place: Place, manifest: Manifest) -> bytes:
    try:
        return place.read(f"measurements/{manifest.base}")
    except FileNotFoundError as error:
        if newest(place) != manifest:
            raise
        raise StoreError(
            f"measurements/{manifest.base} of the store {place.name} is missing; restore it from a copy"
        ) from error


class _Cached:
    """A place as a key of a cache: by its name."""

    def __init__(self, place: Place):
        self.place = place

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Cached) and other.place.name == self.place.name

    def __hash__(self) -> int:
        return hash(self.place.name)


@functools.lru_cache(maxsize=8)
def _covered(cached: _Cached, manifest: Manifest) -> dict[str, frozenset[int]]:
    from vitscale.sweeps.parquet import UNREADABLE, durations_of_base

    data = _read_base(cached.place, manifest)
    try:
        return durations_of_base(data)
    except UNREADABLE as error:
        raise _damaged(cached.place, manifest) from error


def _damaged(place: Place, manifest: Manifest) -> StoreError:
    return StoreError(
        f"measurements/{manifest.base} of the store {place.name} is damaged; restore it from a copy"
    )
