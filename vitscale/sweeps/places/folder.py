"""A folder of a local or shared file system as the place of a store."""

import contextlib
import dataclasses
import os
import secrets
from pathlib import Path

from vitscale.sweeps import files


@dataclasses.dataclass(frozen=True)
class FolderPlace:
    """The folder `path`. What is written goes aside first, into its subfolder tmp."""

    path: Path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    @property
    def scratch(self) -> Path:
        """The folder itself."""
        return self.path

    def put(self, key: str, data: bytes) -> bool:
        path = self._ready(key)
        return files.put_if_absent(path, data, aside=self._aside(), store=self.path)

    def write(self, key: str, data: bytes) -> None:
        path, aside = self._ready(key), self._aside()
        files.write_synced(aside, data, self.path)
        with files.plain_errors(self.path):
            os.replace(aside, path)

    def read(self, key: str) -> bytes:
        return (self.path / key).read_bytes()

    def exists(self, key: str) -> bool:
        return (self.path / key).exists()

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(self.path / folder))
        except FileNotFoundError:
            return []

    def delete(self, key: str) -> None:
        """Remove `key`, and its folder where that is below another and now empty."""
        path = self.path / key
        with files.plain_errors(self.path):
            path.unlink(missing_ok=True)
        if key.count("/") > 1:
            with contextlib.suppress(OSError):  # others may be in it, or be making one
                path.parent.rmdir()

    def _aside(self) -> Path:
        return self.path / "tmp" / f"{os.getpid()}-{secrets.token_hex(8)}"

    def _ready(self, key: str) -> Path:
        """The path of `key`, in a folder that is there."""
        path = self.path / key
        if not path.parent.is_dir():
            with files.plain_errors(self.path):
                path.parent.mkdir(parents=True, exist_ok=True)
        return path
