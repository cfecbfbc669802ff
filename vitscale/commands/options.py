"""What a command takes, read off its dataclass: for its help, its refusals and shells' completion.

tyro parses; but it knows no groups of options other than nested classes, so that help is written here.
"""

import ast
import dataclasses
import inspect
import itertools
import sys
import types
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro.conf

Groups = Mapping[str, tuple[str, ...]]
"""Fields of a command by the heading that they stand under in its help. A command's class attribute
`groups`, a `ClassVar`; fields of none stand under "Options"."""

_WORDS: dict[type, str] = {int: "a whole number", float: "a number"}
_METAVARS: dict[type, str] = {int: "N", float: "NUMBER", Path: "PATH"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """One field of a command.

    - `flags`: such as --out and -o; none where it is told by its place.
    - `metavar`: what stands for its value in help; empty where it takes none.
    - `choices`: all that it can be, where that is a closed list.
    - `kind`: what its value is, in words; empty where any text is.
    - `several`: whether it takes any number of values.
    """

    field: str
    flags: tuple[str, ...]
    metavar: str
    choices: tuple[str, ...]
    kind: str
    several: bool
    required: bool
    default: Any
    help: str

    @property
    def name(self) -> str:
        """What a message calls it."""
        return self.flags[0] if self.flags else self.metavar

    @property
    def written(self) -> str:
        """How it is written in help."""
        one = f"{{{','.join(self.choices)}}}" if self.choices and not self.several else self.metavar
        value = f"{one} ..." if self.several else one
        return " ".join([", ".join(reversed(self.flags)), value]).strip()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Described:
    """A command for a reader: its first sentence, the paragraphs after it, examples, and what it takes.

    - `actions`: the commands it consists of, by name, where it is one of several.
    """

    summary: str
    paragraphs: tuple[str, ...]
    examples: tuple[str, ...]
    options: tuple[Option, ...]
    groups: Groups
    actions: dict[str, type]

    def option(self, name: str) -> Option | None:
        """The option of that flag or metavar."""
        for option in self.options:
            if name in (*option.flags, option.metavar, option.field):
                return option
        return None


def given_words(command: Any, fields: type) -> list[str]:
    """What `command` was given of the flags in the dataclass `fields`, which are None by default, as words of a
    command line."""
    words: list[str] = []
    for field in dataclasses.fields(fields):
        value = getattr(command, field.name)
        if value is not None:
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            words += [f"--{field.name.replace('_', '-')}", shown]
    return words


@cache
def describe(command: type) -> Described:
    """What the dataclass of a command says of it."""
    summary, paragraphs, examples = _read_docstring(inspect.getdoc(command) or "")
    helps = _field_docstrings(command)
    options: list[Option] = []
    actions: dict[str, type] = {}
    hints = get_type_hints(command, include_extras=True)
    for field in dataclasses.fields(command):
        found = _actions(hints[field.name])
        if found:
            actions = found
        else:
            options.append(_option(field, hints[field.name], helps.get(field.name, "")))
    return Described(
        summary=summary,
        paragraphs=paragraphs,
        examples=examples,
        options=tuple(options),
        groups=getattr(command, "groups", {}),
        actions=actions,
    )


def _option(field: "dataclasses.Field[Any]", hint: Any, text: str) -> Option:
    marks: tuple[Any, ...] = ()
    while get_origin(hint) is Annotated:
        marks += hint.__metadata__
        hint = hint.__origin__
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (each for each in get_args(hint) if each is not type(None))
    several = get_origin(hint) is tuple
    if several:
        hint = get_args(hint)[0]
    choices = tuple(map(str, get_args(hint))) if get_origin(hint) is Literal else ()
    settings = next((mark for mark in marks if hasattr(mark, "aliases")), None)
    name = (settings and settings.name) or field.name
    by_place = tyro.conf.Positional in marks
    metavar = (settings and settings.metavar) or _METAVARS.get(hint) or name.upper()
    if by_place or choices:
        metavar = name.upper()
    elif hint is bool:
        metavar = ""
    flag = f"--{name.replace('_', '-')}"
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    return Option(
        field=field.name,
        flags=() if by_place else (flag, *((settings and settings.aliases) or ())),
        metavar=metavar,
        choices=choices,
        kind=_WORDS.get(hint, ""),
        several=several,
        required=default is dataclasses.MISSING,
        default=None if default is dataclasses.MISSING else default,
        help=" ".join(text.split()),
    )


def _actions(hint: Any) -> dict[str, type]:
    """The commands that a field chooses from, by name; none where it is an ordinary one."""
    found: dict[str, type] = {}
    while get_origin(hint) is Annotated and get_origin(hint.__origin__) is not None:
        hint = hint.__origin__
    if get_origin(hint) not in (Union, types.UnionType):
        return {}
    for each in get_args(hint):
        command, marks = each, ()
        if get_origin(each) is Annotated:
            command, marks = each.__origin__, each.__metadata__
        names = [mark.name for mark in marks if getattr(mark, "name", None)]
        if not names or not isinstance(command, type):
            return {}
        found[names[0]] = command
    return found


def _read_docstring(text: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The first sentence, the paragraphs after it, and the examples, one a command."""
    paragraphs: list[str] = []
    examples: list[str] = []
    for block in text.split("\n\n"):
        label, colon, rest = block.strip().partition(":")
        if colon and label in ("Example", "Examples"):
            for line in rest.splitlines():
                line = line.strip()
                if line.startswith("vitscale "):
                    examples.append(line)
                elif line:
                    examples[-1] += f" {line}"
        elif block.strip():
            paragraphs.append(" ".join(block.split()))
    return (paragraphs or [""])[0], tuple(paragraphs[1:]), tuple(examples)


def _field_docstrings(command: type) -> dict[str, str]:
    """The strings below the fields of a class and of those it is made from."""
    found: dict[str, str] = {}
    for each in reversed(command.__mro__):
        if dataclasses.is_dataclass(each):
            for node in _class_body(each):
                found |= node
    return found


def _class_body(command: type) -> list[dict[str, str]]:
    """Of one class: a field and the string below it."""
    body = _classes(command.__module__).get(command.__name__, [])
    return [
        {field.target.id: text.value.value}
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    ]


@cache
def _classes(module: str) -> dict[str, list[ast.stmt]]:
    """The classes of a module, as they are written."""
    file = sys.modules[module].__file__
    if file is None:
        return {}
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    return {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}
