"""The file of a finder: one JSON line for each fact, appended and on the disk before the next begins.

The first line holds the conditions; a later line of conditions can change how much memory is asked
about, and nothing else. A last line that a kill cut short is left out, and overwritten.
"""

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from vitscale.scaling.finder.record import Conditions, Found, Memory, Remedy
from vitscale.scaling.shape import Shape

T = TypeVar("T")

_MAY_CHANGE = ("memory_bytes", "memory_source")
_BEGINNING = b'{"conditions": {"device_kind": "'


class Journal(NamedTuple):
    """What a file holds: the last conditions, and the last that was found of each shape."""

    conditions: Conditions
    found: dict[Shape, Found]


def read_journal(path: Path) -> Journal:
    """Read what `append` wrote; raises `ValueError` that names the line for anything else."""
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise ValueError(
            f"{path} does not exist; make it with: vitscale shapefinder --out {path}"
        ) from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text; give a file of vitscale shapefinder") from None
    if text[:200].lstrip().startswith("{") and '"format": "vitscale.' in text[:200]:
        raise ValueError(
            f"{path} is a fit, not a file of vitscale shapefinder; did you mean --fit {path}?"
        )
    lines = text.split("\n")[:-1]  # what follows the last line break was cut short
    conditions, found = None, {}
    for number, line in enumerate(lines, start=1):
        entry = _entry(line, f"{path}, line {number}")
        if isinstance(entry, Found):
            found[entry.shape] = entry
        else:
            conditions = entry
        if conditions is None:
            raise ValueError(
                f"{path} does not begin with its conditions; give a file of vitscale shapefinder"
            )
    if conditions is None:
        raise ValueError(f"{path} is empty; fill it with: vitscale shapefinder --out {path}")
    return Journal(conditions, found)


def open_journal(path: Path, conditions: Conditions) -> dict[Shape, Found]:
    """What `path` holds already, made ready to be appended to under `conditions`.

    Raises `ValueError` where it was made under others, naming the first that differs, or is another
    kind of file; what is refused is left as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = path.read_bytes() if path.exists() else b""
    whole = content.rfind(b"\n") + 1
    if not whole:
        if content and not content.startswith(_BEGINNING):
            raise ValueError(f"{path} is another kind of file; use another --out")
        if content:
            os.truncate(path, 0)
        append(path, conditions)
        return {}
    journal = read_journal(path)
    for name, value in dataclasses.asdict(conditions).items():
        before = getattr(journal.conditions, name)
        if before != value and name not in _MAY_CHANGE:
            raise ValueError(
                f"{path} was measured with {name}={before}, and now {name} is {value}; use another "
                f"--out or delete the file"
            )
    if whole < len(content):
        os.truncate(path, whole)
    if conditions != journal.conditions:
        append(path, conditions)
    return journal.found


def append(path: Path, entry: Conditions | Found) -> None:
    """Add one line, and wait until it is on the disk."""
    key = "conditions" if isinstance(entry, Conditions) else "found"
    line = json.dumps({key: dataclasses.asdict(entry)}, allow_nan=False) + "\n"
    with path.open("ab") as file:
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def _entry(line: str, where: str) -> Conditions | Found:
    try:
        content = json.loads(line)
    except json.JSONDecodeError:
        raise ValueError(
            f"{where} is not JSON; delete the line or measure into a new file"
        ) from None
    match content:
        case {"conditions": entry}:
            return _decode(Conditions, entry, where)
        case {"found": {"shape": shape, "memory": memory, "remedy": remedy} as entry}:
            parts = {
                "shape": _decode(Shape, shape, where),
                "memory": None if memory is None else _decode(Memory, memory, where),
                "remedy": None if remedy is None else _decode(Remedy, remedy, where),
            }
            return _decode(Found, {**entry, **parts}, where)
        case _:
            raise ValueError(f"{where} holds neither conditions nor a shape; delete the line")


def _decode(cls: type[T], content: Any, where: str) -> T:
    """A flat dataclass of plain JSON values, each key and type checked."""
    hints = get_type_hints(cls)
    if not isinstance(content, dict) or content.keys() != hints.keys():
        raise ValueError(f"{where}: expected the keys {', '.join(hints)}, got {content!r}")
    for name, value in content.items():
        if not _suits(value, hints[name]):
            raise ValueError(
                f"{where}: {name}={value!r} is not what belongs there; delete the line"
            )
    try:
        return cls(**content)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _suits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    options = get_args(hint) or (hint,)
    if float in options and isinstance(value, int | float) and not isinstance(value, bool):
        return math.isfinite(value) and value >= 0
    return type(value) in options and (not isinstance(value, int) or value >= 0)
