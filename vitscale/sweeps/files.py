"""Writing so that a crash, a full disk or a second writer loses nothing."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from vitscale.scaling.failpoints import failpoint


class StoreError(OSError):
    """A store cannot be used as asked; the message is one sentence that says what to do."""


_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "it is on a read-only file system; make it writable or use another store",
    errno.EACCES: "its permissions forbid it; make it writable or use another store",
    errno.EPERM: "its permissions forbid it; make it writable or use another store",
}


@contextlib.contextmanager
def plain_errors(store: Path) -> Iterator[None]:
    """Turn the errors of a full, read-only or failing disk into a `StoreError` that says what to do. That
    something is missing, or there already, is passed on as it is."""
    try:
        yield
    except (StoreError, FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        why = _ADVICE.get(error.errno or 0, f"{error.strerror or error}; see to its disk")
        raise StoreError(
            f"cannot write to the store {store}: {why} and run the same command "
            f"again; nothing measured so far is lost"
        ) from error


def write_synced(path: Path, contents: bytes, store: Path) -> None:
    """Write a new file and wait until it is on the disk; where that fails nothing is left."""
    with plain_errors(store):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            view = memoryview(contents)
            while view:
                failpoint("store.write")
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)


def put_if_absent(path: Path, contents: bytes, *, aside: Path, store: Path) -> bool:
    """Make `path` with `contents`, whole and durable, unless it exists; returns whether it did so.

    `aside` is a path on the same file system that nobody else uses. Raises `StoreError` where the
    disk is full, read-only, or has no hard links; then nothing is left.
    """
    write_synced(aside, contents, store)
    failpoint("store.before_link")
    kept = True
    try:
        os.link(aside, path)
    except FileExistsError:
        # Over NFS also where the link was made and the answer lost: the request is sent again.
        kept = os.stat(aside).st_nlink == 2
    except OSError as error:
        # The file was written a moment ago, so EPERM is not about permissions: FAT answers so.
        if error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise StoreError(
                f"cannot write to the store {store}: its file system has no hard links; "
                f"put the store on a local disk"
            ) from error
        with plain_errors(store):
            raise
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()
    failpoint("store.linked")
    sync_folder(path.parent)
    return kept


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
