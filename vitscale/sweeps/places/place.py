"""What a store asks of the place that its bytes lie in, and the place that an address names."""

import re
from pathlib import Path
from typing import Protocol

# A path made of an address has lost one of its two slashes.
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}")


class Place(Protocol):
    """A place for named bytes. Keys are names joined by "/", such as "plans/star.toml".

    All methods raise `StoreError`, in one sentence, where the place refuses: full, read-only, not reachable.
    """

    @property
    def name(self) -> str:
        """What messages call it: its path or address."""
        ...

    @property
    def scratch(self) -> Path:
        """A folder of this machine for what processes write piece by piece (checkpoints under way, logs);
        of a folder, itself."""
        ...

    def put(self, key: str, data: bytes) -> bool:
        """Make `key`, whole and durable, unless it exists; returns whether it did so."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Make or replace `key`, whole."""
        ...

    def read(self, key: str) -> bytes:
        """The bytes of `key`; raises `FileNotFoundError` where there is none."""
        ...

    def exists(self, key: str) -> bool:
        """Whether there is a `key`."""
        ...

    def names(self, folder: str) -> list[str]:
        """Names right below `folder`, without those below them; empty where there is no such folder."""
        ...

    def delete(self, key: str) -> None:
        """Remove `key`; nothing happens where there is none."""
        ...


def is_remote(where: str | Path) -> bool:
    """Whether `where` is an address such as s3://bucket/prefix and not a folder's path."""
    return _SCHEME.match(str(where)) is not None


def open_place(where: str | Path) -> Place:
    """The folder or object store that `where` names; nothing is made or asked yet.

    Raises `StoreError` for an address of an unknown kind.
    """
    if is_remote(where):
        from vitscale.sweeps.places.objects import ObjectPlace

        return ObjectPlace(_address(where))
    from vitscale.sweeps.places.folder import FolderPlace

    return FolderPlace(Path(where))


def check_shared(where: str | Path, hosts: int) -> None:
    """Raise `ValueError` where `hosts` machines could not train a trial together into the store at `where`:
    each has to see the same checkpoints, and those of an object store lie in each one's own cache."""
    if hosts > 1 and is_remote(where):
        raise ValueError(
            f"{_address(where)} is no folder, and a trial over {hosts} hosts takes its checkpoints from one that all of "
            f"them see; name such a folder as the store, or train each trial on one host"
        )


def _address(where: str | Path) -> str:
    return _SCHEME.sub(r"\1://", str(where), count=1)
