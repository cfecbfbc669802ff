"""Strict decoding of plain tables (TOML, JSON) into frozen dataclasses.

The classes are fixed by the caller and every key is checked against their fields: unknown keys,
missing keys and wrong types are refused by name. Nothing is imported or evaluated by what a file
says.
"""

import dataclasses
import types
from collections.abc import Iterable
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vitscale.scaling.names import suggest

T = TypeVar("T")


def decode(cls: type[T], table: object, where: str) -> T:
    """`table` as an instance of the dataclass `cls`; `where` names the table in errors.

    Fields are whole numbers, numbers, strings, booleans, `Literal`s, `tuple[X, ...]`, other
    dataclasses, or these or `None`. A whole number is taken where a number is wanted, never the
    reverse.

    Raises `ValueError` that names the key, what was found, and what is accepted.
    """
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table of keys and values, got {table!r}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # pyright: ignore[reportArgumentType]
    hints = get_type_hints(cls)
    refuse_unknown(table, fields, where)
    for name, field in fields.items():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and name not in table:
            raise ValueError(f"{where} lacks the key {name!r}, {_expected(hints[name])}")
    values = {
        name: _value(hints[name], value, f"{where}.{name}" if where else name)
        for name, value in table.items()
    }
    return cls(**values)


def refuse_unknown(table: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise `ValueError` for the first key of `table` that is not `known`, with the nearest."""
    known = list(known)
    for key in table:
        if key not in known:
            raise ValueError(f"{where} has no key {key!r}; {suggest(key, known)}")


def _value(hint: Any, value: object, name: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (hint,) = (option for option in get_args(hint) if option is not type(None))
        return _value(hint, value, name)
    if origin is Literal and value in get_args(hint) and isinstance(value, str):
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(
            _value(get_args(hint)[0], item, f"{name}[{i}]") for i, item in enumerate(value)
        )
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, float, str, bool) and type(value) is hint:
        return value
    if dataclasses.is_dataclass(hint):
        return decode(hint, value, name)  # pyright: ignore[reportArgumentType]
    advice = ""
    if hint is int and isinstance(value, float) and value.is_integer():
        advice = f"; write {int(value)}"
    if origin is Literal and isinstance(value, str):
        near = suggest(value, get_args(hint), listed=False).strip()
        advice = f"; {near}" if near else ""
    raise ValueError(f"{name}={value!r} is not {_expected(hint)}{advice}")


def _expected(hint: Any) -> str:
    """A type in words."""
    words = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}
    if hint in words:
        return words[hint]
    origin, options = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(repr, options))}"
    if origin is tuple:
        return f"a list, each item {_expected(options[0])}"
    if origin in (Union, types.UnionType):
        return " or ".join(_expected(option) for option in options if option is not type(None))
    return "a table of keys and values"
