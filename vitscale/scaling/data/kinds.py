"""The kinds of stored data sets that a recipe can name: one row of `KINDS` each."""

from collections.abc import Callable

from vitscale.scaling.data.class_folders import folder_set
from vitscale.scaling.data.npz_files import npz_set
from vitscale.scaling.data.stored import StoredSet
from vitscale.scaling.data.tfds_sets import tfds_set
from vitscale.scaling.names import suggest

KINDS: dict[str, Callable[[str], StoredSet]] = {
    "tfds": tfds_set,
    "folder": folder_set,
    "npz": npz_set,
}
"""What stands before the colon of a name, and what reads the facts of what stands behind it."""


def is_stored(data: str) -> bool:
    """Whether `data` names a data set on disk: KIND:PLACE."""
    return data.partition(":")[0] in KINDS and ":" in data


def stored_set(data: str) -> StoredSet:
    """Facts of the data set named `data`. Raises `ValueError` where it cannot be had."""
    kind, _, place = data.partition(":")
    if not is_stored(data) or not place:
        near = suggest(kind, KINDS, listed=False) if ":" in data else ""
        raise ValueError(
            f"data={data!r} is unknown; {near}name images as "
            f"{', '.join(f'{kind}:PLACE' for kind in KINDS)}"
        )
    return KINDS[kind](place)
