"""`vitscale data prepare|digits|info`."""

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg, subcommand

from vitscale.commands.output import output
from vitscale.commands.saying import quiet, working

if TYPE_CHECKING:
    from vitscale.scaling.data.image_folder import Prepared
    from vitscale.scaling.data.stored import StoredSet


@dataclasses.dataclass(frozen=True)
class Prepare:
    """Write your own images as a TFDS data set, with every image checked. No TensorFlow is needed.

    The folder holds a folder for each class, or train, validation and test with a folder for each
    class in them.

    Example:  vitscale data prepare flowers --from ~/images/flowers
    """

    name: Positional[str]
    """What to call the data set: recipes then say data = "tfds:NAME"."""
    source: Annotated[Path, arg(name="from")]
    """Folder of the images."""
    data_dir: Path | None = None
    """Folder of data sets (default: VITSCALE_DATA_DIR, else TFDS_DATA_DIR, else
    ~/tensorflow_datasets)."""
    validation: float = 0.1
    """Part of each class to keep for validation, where the folder has no splits of its own."""
    max_side: int | None = None
    """Shrink images whose longer side has more pixels."""
    skip_corrupt: bool = False
    """Leave out files that cannot be read, and list them."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclasses.dataclass(frozen=True)
class Digits:
    """Write scikit-learn's 1,797 handwritten digits as a TFDS data set: real images, no download.

    Example:  vitscale data digits
    """

    data_dir: Path | None = None
    """Folder of data sets (default: as for prepare)."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclasses.dataclass(frozen=True)
class Info:
    """What a data set holds, as a recipe sees it: splits, classes, sizes, how it is read.

    Example:  vitscale data info tfds:digits
    """

    data: Positional[str]
    """tfds:NAME, folder:PATH or npz:PATH."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclasses.dataclass(frozen=True)
class Data:
    """Real images to train on: prepare a data set, or see what one holds."""

    action: (
        Annotated[Prepare, subcommand("prepare")]
        | Annotated[Digits, subcommand("digits")]
        | Annotated[Info, subcommand("info")]
    )


def run(command: Data) -> int:
    match command.action:
        case Prepare():
            return _prepare(command.action)
        case Digits():
            return _digits(command.action)
        case Info():
            return _info(command.action)


def _prepare(command: Prepare) -> int:
    from vitscale.scaling.data.folders import data_folder
    from vitscale.scaling.data.image_folder import prepare_folder

    progress = _Progress()
    try:
        prepared = prepare_folder(
            command.name,
            command.source,
            data_dir=command.data_dir or data_folder(),
            validation=command.validation,
            max_side=command.max_side,
            skip_corrupt=command.skip_corrupt,
            report=progress.show,
        )
    finally:
        progress.close()
    content = {
        "data": f"tfds:{command.name}",
        "folder": str(prepared.folder),
        "classes": prepared.classes,
        "splits": prepared.splits,
        "skipped": [{"file": str(file), "reason": reason} for file, reason in prepared.skipped],
    }
    output(command.json, content, lambda: _prepared_lines(command.name, prepared))
    return 0


def _prepared_lines(name: str, prepared: "Prepared") -> list[str]:
    splits = ", ".join(f"{split} {examples:,}" for split, examples in prepared.splits.items())
    return [
        *(f"left out {file}: {reason}" for file, reason in prepared.skipped),
        f"wrote {prepared.folder}: {prepared.classes} classes, {splits}",
        f'recipes name it data = "tfds:{name}"',
    ]


def _digits(command: Digits) -> int:
    from vitscale.scaling.data.digit_set import SPLITS, prepare_digits
    from vitscale.scaling.data.folders import data_folder

    with working("writing the digits"):
        folder = prepare_digits(command.data_dir or data_folder())
    content = {"data": "tfds:digits", "folder": str(folder), "splits": SPLITS}
    lines = [f"wrote {folder}", 'recipes name it data = "tfds:digits"']
    output(command.json, content, lambda: lines)
    return 0


def _info(command: Info) -> int:
    from vitscale.scaling.data.kinds import stored_set

    with working(f"reading {command.data}"):
        stored = stored_set(command.data)
    content = {
        "data": stored.name,
        "location": str(stored.location),
        "classes": stored.classes,
        "class_names": list(stored.class_names),
        "splits": stored.splits,
        "image_shape": stored.image_shape,
        "channels": stored.channels,
        "loader": stored.loader,
    }
    output(command.json, content, lambda: _info_lines(stored))
    return 0


def _info_lines(stored: "StoredSet") -> list[str]:
    named = f" ({', '.join(stored.class_names[:5])}, ...)" if len(stored.class_names) > 5 else ""
    size = " x ".join(map(str, stored.image_shape)) if stored.image_shape else "of any size"
    channels = {None: "grey or colour", 1: "grey", 3: "colour"}.get(
        stored.channels, f"{stored.channels} channels"
    )
    ways = {
        "decoded": "decoded once into a cache, then cut and varied a batch at a time",
        "encoded": "decoded each time they are read, by Grain",
    }
    return [
        f"{stored.name} in {stored.location}",
        f"  classes    {stored.classes}{named}",
        *(f"  {split:10s} {examples:,} examples" for split, examples in stored.splits.items()),
        f"  images     {size}, {channels}",
        f"  read       {ways[stored.loader]}",
    ]


class _Progress:
    """One line on stderr: how many images are done, how fast, how long the rest will take."""

    def __init__(self) -> None:
        self._start = self._shown = time.monotonic()

    def show(self, done: int, total: int) -> None:
        now = time.monotonic()
        if quiet() or (now - self._shown < (0.5 if sys.stderr.isatty() else 30) and done < total):
            return
        self._shown = now
        rate = done / max(now - self._start, 1e-3)
        line = f"{done:,} of {total:,} images, {rate:,.0f}/s, {(total - done) / rate:,.0f} s left"
        end = "\r" if sys.stderr.isatty() else "\n"
        print(line, end=end, file=sys.stderr, flush=True)

    def close(self) -> None:
        if sys.stderr.isatty() and not quiet():
            print(file=sys.stderr)
