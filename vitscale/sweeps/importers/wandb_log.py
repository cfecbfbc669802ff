"""W&B's binary log of a run, `run-ID.wandb`: what an offline run leaves, and nothing else.

A header, then records as LevelDB's log format frames them, each a protobuf message `Record` of W&B's
`wandb_internal.proto`. Only the fields that matter are read, by their numbers, which protobuf never changes.
"""

import dataclasses
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HEADER = b":W&B"
_HEADER_BYTES = 7
_BLOCK = 32_768
_CHUNK_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _LAST = 1, 2, 4  # and 3: in the middle

# Numbers of fields in wandb_internal.proto.
_HISTORY, _SUMMARY, _CONFIG, _RUN, _EXIT = 2, 3, 5, 17, 18  # Record
_UPDATE = 1  # ConfigRecord, SummaryRecord
_ITEM = 1  # HistoryRecord
_KEY, _NESTED_KEY, _VALUE_JSON = 1, 2, 16  # ConfigItem, SummaryItem, HistoryItem
_INTEGER, _NUMBER = 5, 6  # HistoryItem, beside its value as JSON
_RUN_ID, _RUN_CONFIG, _DISPLAY_NAME = 1, 4, 8  # RunRecord
_EXIT_CODE = 1  # RunExitRecord

Field = tuple[int, int | bytes]
"""A field's number, and its value: whole, or the bytes of a text, number or message."""


@dataclasses.dataclass
class Log:
    """What a run logged: `history` is one mapping for each call of `log`, `exit_code` None where the log
    ends before the run did."""

    run_id: str = ""
    name: str = ""
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    summary: dict[str, Any] = dataclasses.field(default_factory=dict)
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    exit_code: int | None = None


def read_log(path: Path) -> Log:
    """The log at `path`, up to where it was cut short if it was.

    Raises `ValueError` where it is not one, or is damaged.
    """
    data = path.read_bytes()
    if not data.startswith(_HEADER):
        raise ValueError(f"{path} is not a log of W&B; name a folder of runs, or a run-ID.wandb")
    log = Log()
    try:
        for record in _records(path, data):
            _take(log, _fields(record))
    except (IndexError, UnicodeDecodeError, json.JSONDecodeError, struct.error) as error:
        raise ValueError(f"{path} is damaged; sync or copy the run again") from error
    return log


def _take(log: Log, record: list[Field]) -> None:
    """Enter one record into the log."""
    for number, body in record:
        if not isinstance(body, bytes):
            continue
        if number == _HISTORY:
            log.history.append(_items(body, _ITEM))
        elif number == _SUMMARY:
            log.summary |= _items(body, _UPDATE)
        elif number == _CONFIG:
            log.config |= _items(body, _UPDATE)
        elif number == _RUN:
            for inner, value in _fields(body):
                if inner == _RUN_ID:
                    log.run_id = _text(value)
                elif inner == _DISPLAY_NAME:
                    log.name = _text(value)
                elif inner == _RUN_CONFIG and isinstance(value, bytes):
                    log.config |= _items(value, _UPDATE)
        elif number == _EXIT:
            codes = [value for inner, value in _fields(body) if inner == _EXIT_CODE]
            log.exit_code = int(codes[0]) if codes else 0


def _items(body: bytes, number: int) -> dict[str, Any]:
    """Keys and values of the items in field `number` of a message; nested keys joined by dots."""
    found: dict[str, Any] = {}
    for inner, item in _fields(body):
        if inner == number and isinstance(item, bytes):
            fields = _fields(item)
            keys = [_text(value) for n, value in fields if n == _NESTED_KEY]
            keys = keys or [_text(value) for n, value in fields if n == _KEY]
            found[".".join(keys)] = _value(fields)
    return found


def _value(fields: list[Field]) -> Any:
    for number, value in fields:
        if number == _VALUE_JSON:
            return json.loads(_text(value))
        if number == _INTEGER and isinstance(value, int):
            return value - (1 << 64) if value >> 63 else value
        if number == _NUMBER and isinstance(value, bytes):
            return struct.unpack("<d", value)[0]
    return None


def _text(value: int | bytes) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _fields(message: bytes) -> list[Field]:
    """The fields of a protobuf message in their order."""
    found: list[Field] = []
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, place = _varint(message, place)
            found.append((number, value))
            continue
        if kind == 2:
            length, place = _varint(message, place)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise IndexError(f"wire type {kind}")
        if place + length > len(message):
            raise IndexError("a field is longer than its message")
        found.append((number, message[place : place + length]))
        place += length
    return found


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not byte & 0x80:
            return value, place


def _records(path: Path, data: bytes) -> Iterator[bytes]:
    """Whole records; one that the end of the file cuts short is left out."""
    parts: list[bytes] = []
    place = _HEADER_BYTES
    while place + _CHUNK_HEADER.size <= len(data):
        if (left := _BLOCK - place % _BLOCK) < _CHUNK_HEADER.size:
            place += left  # no chunk's header fits into the rest of a block
            continue
        checksum, length, kind = _CHUNK_HEADER.unpack_from(data, place)
        place += _CHUNK_HEADER.size
        chunk = data[place : place + length]
        if len(chunk) < length or kind == 0:  # zeros: space that was never written
            return
        if zlib.crc32(chunk, zlib.crc32(bytes([kind]))) != checksum:
            raise ValueError(f"{path} is damaged; sync or copy the run again")
        place += length
        if kind in (_FULL, _FIRST):
            parts = []
        parts.append(chunk)
        if kind in (_FULL, _LAST):
            yield b"".join(parts)
