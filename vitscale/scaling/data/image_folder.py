"""From a folder of image files to a TFDS data set, every image checked on the way."""

import collections
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from vitscale.scaling.data.class_folders import class_files, class_names, hash_of
from vitscale.scaling.data.encode import encoded, looked_at
from vitscale.scaling.data.tfds_writer import Encoded, check_free, write_tfds

_NAMED = 20
"""Damaged files that a refusal names; of more than these it gives the count."""

Report = Callable[[int, int], None]
"""Told how many images are done, and of how many."""


class Skipped(NamedTuple):
    """A file that was left out, and why."""

    file: Path
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """A data set that has been written: its folder, examples by split, classes, and what was left out."""

    folder: Path
    splits: dict[str, int]
    classes: int
    skipped: tuple[Skipped, ...]


def prepare_folder(
    name: str,
    source: Path,
    *,
    data_dir: Path,
    validation: float = 0.1,
    max_side: int | None = None,
    skip_corrupt: bool = False,
    report: Report = lambda done, total: None,
) -> Prepared:
    """Write the images of `source`, a folder for each class, as the TFDS data set `name`.

    - `validation`: part of each class that becomes the validation split, chosen by a hash of the
      files' names, where `source` has no folders train, validation and test.
    - `max_side`: images with a longer side are shrunk to it.
    - `skip_corrupt`: leave files out that cannot be read, and list them, instead of refusing.

    PNG and JPEG files in the colours of the set go in as they are, byte for byte; all others are
    encoded anew (JPEG at quality 95, the rest as PNG). Raises `ValueError` for a name that is taken,
    for folders that are no image set and for files that cannot be read.
    """
    if check_free(name, data_dir).resolve().is_relative_to(source.resolve()):
        raise ValueError(
            f"{source} is where the data set {name!r} would be written; choose another name or folder"
        )
    if not 0 <= validation < 1:
        raise ValueError(f"validation={validation} is not a part of each class, from 0 to below 1")
    if max_side is not None and max_side < 1:
        raise ValueError(f"max_side={max_side} is not a number of pixels")
    files = class_files(source)
    names = class_names(source, files)
    if list(files) == ["train"] and validation:
        files = _split(source, files["train"], validation)
    listed = {
        split: [(path, label) for label, name in enumerate(names) for path in by_class[name]]
        for split, by_class in files.items()
    }
    if not all(listed.values()):
        raise ValueError(f"{source} leaves a split without images: {list(listed)}")
    every = [path for examples in listed.values() for path, _ in examples]
    look = looked_at(every, max_side)
    height, width = look.image_shape or (None, None)
    work = _Work(source, look.channels, max_side, skip_corrupt, report, len(every))
    folder = write_tfds(
        name,
        {split: work.examples(split, examples) for split, examples in listed.items()},
        class_names=names,
        shape=(height, width, look.channels),
        description=f"Images from class folders: {len(names)} classes.",
        data_dir=data_dir,
    )
    return Prepared(
        folder=folder, splits=work.written, classes=len(names), skipped=tuple(work.skipped)
    )


def _split(
    source: Path, by_class: dict[str, list[Path]], validation: float
) -> dict[str, dict[str, list[Path]]]:
    """The files whose names have the smallest hashes, of each class, as validation."""
    splits: dict[str, dict[str, list[Path]]] = {"train": {}, "validation": {}}
    for name, files in by_class.items():
        ranked = sorted(files, key=lambda path: hash_of(source, path))
        kept = min(round(validation * len(files)), len(files) - 1)
        splits["validation"][name] = sorted(ranked[:kept])
        splits["train"][name] = sorted(ranked[kept:])
    if not any(splits["validation"].values()):
        raise ValueError(
            f"{source} has too few images for validation={validation:g} of each class; use more, or "
            f"0 for no validation split"
        )
    return splits


class _Work:
    """Checks and encodes files in threads, in order, and keeps count."""

    def __init__(
        self,
        source: Path,
        channels: int,
        max_side: int | None,
        skip_corrupt: bool,
        report: Report,
        total: int,
    ) -> None:
        self._source, self._channels, self._max_side = source, channels, max_side
        self._skip_corrupt, self._report, self._total = skip_corrupt, report, total
        self._done = 0
        self.written: dict[str, int] = {}
        self.skipped: list[Skipped] = []

    def examples(self, split: str, files: list[tuple[Path, int]]) -> Iterator[Encoded]:
        """The readable files of a split.

        Raises `ValueError` for the others, unless they are skipped: once for those of all splits, or
        after a split that has no readable file at all.
        """
        self.written[split] = 0
        for path, label, image in self._in_threads(files):
            self._done += 1
            self._report(self._done, self._total)
            try:
                content = image.result()
            except ValueError as error:
                self.skipped.append(Skipped(path, str(error)))
                continue
            self.written[split] += 1
            yield Encoded(path.relative_to(self._source).as_posix(), content, label)
        empty = not self.written[split]
        if self._skip_corrupt and empty:
            raise ValueError(
                f"none of the files for {split!r} in {self._source} is a readable image"
            )
        if self.skipped and not self._skip_corrupt and (empty or self._done == self._total):
            raise self._refusal()

    def _refusal(self) -> ValueError:
        named = ", ".join(
            f"{file.relative_to(self._source)} ({reason})" for file, reason in self.skipped[:_NAMED]
        )
        more = len(self.skipped) - _NAMED
        return ValueError(
            f"{self._source} holds files that are no readable image, {len(self.skipped)} of "
            f"{self._done}: {named}{f' and {more} more' if more > 0 else ''}; repair them or take "
            f"them away, or leave out all such files with --skip-corrupt"
        )

    def _in_threads(
        self, files: list[tuple[Path, int]]
    ) -> Iterator[tuple[Path, int, Future[bytes]]]:
        """The files in order, each with its encoding under way, a few ahead of what is asked for."""
        workers = os.cpu_count() or 1
        with ThreadPoolExecutor(workers) as threads:
            rest = iter(files)
            ahead: collections.deque[tuple[Path, int, Future[bytes]]] = collections.deque()
            try:
                while True:
                    for path, label in itertools.islice(rest, 4 * workers - len(ahead)):
                        ahead.append((path, label, self._submit(threads, path)))
                    if not ahead:
                        return
                    yield ahead.popleft()
            finally:
                threads.shutdown(wait=False, cancel_futures=True)

    def _submit(self, threads: ThreadPoolExecutor, path: Path) -> Future[bytes]:
        return threads.submit(encoded, path, channels=self._channels, max_side=self._max_side)
