"""An object store (S3, Google Cloud Storage, Azure, or this process's memory) as the place of a store.

Credentials and endpoints are found as the clouds' own tools find them (AWS_ACCESS_KEY_ID,
AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS, instance roles, ...): obstore, over Rust's object_store.
"""

import contextlib
import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
from obstore import exceptions
from obstore.store import MemoryStore, from_url

from vitscale.scaling.failpoints import failpoint
from vitscale.sweeps.files import StoreError
from vitscale.sweeps.reasons import first_line

_SCHEMES = ("s3", "gs", "az", "memory")


class ObjectPlace:
    """The objects below the address `url`, such as s3://bucket/prefix.

    memory://NAME lasts as long as the process, and is one for all who name it.
    """

    def __init__(self, url: str):
        scheme = url.partition("://")[0]
        if scheme not in _SCHEMES:
            raise StoreError(
                f"{url} is of an unknown kind; a store is a folder or begins with "
                f"{', '.join(f'{known}://' for known in _SCHEMES)}"
            )
        if not url.partition("://")[2].strip("/"):
            raise StoreError(f"{url} names no bucket; write {scheme}://BUCKET/PREFIX")
        self.name = url.rstrip("/")
        self._objects: Any = _connect(self.name)

    @property
    def scratch(self) -> Path:
        """A folder of the user's cache, of this store alone."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:16]
        return cache / "vitscale" / "stores" / digest

    def put(self, key: str, data: bytes) -> bool:
        failpoint("store.write")
        failpoint("store.before_link")
        try:
            with self._plain_errors():
                obstore.put(self._objects, key, data, mode="create")
        except FileExistsError:
            return False
        failpoint("store.linked")
        return True

    def write(self, key: str, data: bytes) -> None:
        with self._plain_errors():
            obstore.put(self._objects, key, data)

    def read(self, key: str) -> bytes:
        with self._plain_errors():
            return bytes(obstore.get(self._objects, key).bytes())

    def exists(self, key: str) -> bool:
        try:
            with self._plain_errors():
                obstore.head(self._objects, key)
        except FileNotFoundError:
            return False
        return True

    def names(self, folder: str) -> list[str]:
        with self._plain_errors():
            below = obstore.list_with_delimiter(self._objects, folder)
        paths = [*(found["path"] for found in below["objects"]), *below["common_prefixes"]]
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._plain_errors():
            obstore.delete(self._objects, key)

    @contextlib.contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except exceptions.AlreadyExistsError as error:
            raise FileExistsError(str(error)) from error
        except (exceptions.BaseError, OSError) as error:
            raise StoreError(
                f"the store {self.name} cannot be reached or refuses ({first_line(error)}); check its "
                f"address, your credentials and the network, and run the same command again; nothing "
                f"measured so far is lost"
            ) from error


@functools.cache
def _connect(url: str) -> Any:
    if url.startswith("memory://"):
        return MemoryStore()
    try:
        return from_url(url)
    except (exceptions.BaseError, ValueError) as error:
        raise StoreError(f"{url} is not an address of a store: {first_line(error)}") from error
