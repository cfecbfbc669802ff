"""Every command of vitscale with every flag, as Markdown, read off the parser that users meet.

`uv run --group docs mkdocs build` calls `page()`; nothing of it is written by hand.
"""

import dataclasses
import re
import warnings
from collections.abc import Iterator
from typing import Any, cast

import tyro

from vitscale.cli import Command

_HIDDEN = {"-h", "--help"}
# The parser's own, at the end; a sentence before it may say "(default: as for prepare)" too.
_DEFAULT = re.compile(r"\s*\((default: (?:[^()]|\([^()]*\))*|required)\)$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Argument:
    """One argument of a command.

    `names` is empty where it is positional; `value` says what it takes ("" for a switch); `default`
    is "required", or what holds where it is not given.
    """

    names: tuple[str, ...]
    value: str
    default: str
    help: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandHelp:
    """A command, such as `("data", "prepare")`, with the paragraphs of its help."""

    path: tuple[str, ...]
    description: str
    arguments: tuple[Argument, ...]
    subcommands: tuple[str, ...]


def commands() -> tuple[CommandHelp, ...]:
    """Every command below `vitscale`, each before its subcommands."""
    with warnings.catch_warnings():
        # The only way to a parser that can be walked; uv.lock holds a tyro that has it.
        warnings.simplefilter("ignore", DeprecationWarning)
        parser = tyro.extras.get_parser(
            cast(Any, Command),  # typed for functions, takes unions as tyro.cli does
            prog="vitscale",
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
        )
    return tuple(_below(parser, ()))


def _below(parser: Any, path: tuple[str, ...]) -> Iterator[CommandHelp]:
    arguments, children = [], {}
    for action in parser._actions:
        if isinstance(action.choices, dict):
            children = action.choices
        elif not _HIDDEN & set(action.option_strings):
            arguments.append(_argument(action))
    if path:
        yield CommandHelp(
            path=path,
            description=(parser.description or "").strip(),
            arguments=tuple(arguments),
            subcommands=tuple(children),
        )
    for name, child in children.items():
        yield from _below(child, (*path, name))


def _argument(action: Any) -> Argument:
    text = " ".join((action.help or "").split())
    found = _DEFAULT.search(text)
    default = found[1].removeprefix("default: ") if found else ""
    if default in ("None", "False"):
        # What stands for None is said in words, or is "not at all"; a switch is off.
        default = ""
    metavar = action.metavar
    value = " ".join(metavar) if isinstance(metavar, tuple) else metavar or ""
    return Argument(
        names=tuple(action.option_strings),
        value=re.sub(r"\{None\}\|", "", value).replace("{None,", "{"),
        default=default,
        help=text[: found.start()] if found else text,
    )


def page() -> str:
    """The page of the command line, in Markdown."""
    found = commands()
    lines = [
        "# Command line",
        "",
        "Written by the parser itself when this site was built. `vitscale COMMAND --help` shows the same "
        "in a terminal.",
        "",
        "| command | what it does |",
        "| --- | --- |",
    ]
    for command in found:
        name = " ".join(command.path)
        first = _escaped(_first_sentence(command.description))
        lines.append(f"| [`vitscale {name}`](#{_anchor(command.path)}) | {first} |")
    lines += [
        "",
        "Exit codes: 0 done; 1 something failed while it ran; 2 the input was refused, and nothing is "
        "half-written; 75 asked to go (SIGTERM), with everything saved.",
    ]
    for command in found:
        lines += ["", *_section(command)]
    return "\n".join(lines) + "\n"


def _section(command: CommandHelp) -> list[str]:
    name = " ".join(command.path)
    depth = "#" * (1 + len(command.path))
    lines = [f"{depth} vitscale {name} {{ #{_anchor(command.path)} }}", ""]
    text, examples = split_examples(command.description)
    lines += [_escaped(text), ""]
    if command.subcommands:
        names = (f"[`{n}`](#{_anchor((*command.path, n))})" for n in command.subcommands)
        lines += ["One of " + ", ".join(names) + ".", ""]
    if examples:
        lines += ["```text", *examples, "```", ""]
    if command.arguments:
        lines += ["| argument | value | default | what it does |", "| --- | --- | --- | --- |"]
        lines += [_row(argument) for argument in command.arguments]
    return lines


def _row(argument: Argument) -> str:
    names = ", ".join(f"`{name}`" for name in argument.names) or "positional"
    value = f"`{argument.value}`".replace("|", "\\|") if argument.value else ""
    default = argument.default
    if default and default != "required":
        default = f"`{default}`"
    return f"| {names} | {value} | {default} | {_escaped(argument.help)} |"


def split_examples(description: str) -> tuple[str, list[str]]:
    """The text of a help, and its examples as one command a line."""
    text, _, examples = re.sub(r"\bExamples?:[ \n]", "\0", description, count=1).partition("\0")
    commands = re.split(r"\n\s*(?=vitscale )", examples.strip())
    return text.strip(), [" ".join(command.split()) for command in commands if command]


def _first_sentence(description: str) -> str:
    paragraph = " ".join(description.split("\n\n")[0].split())
    return re.split(r"(?<=[.:]) (?=[A-Z])", paragraph)[0]


def _anchor(path: tuple[str, ...]) -> str:
    return "-".join(("vitscale", *path))


def _escaped(text: str) -> str:
    """Text as Markdown that shows it as it is; what stands between backticks stays code."""
    pieces = text.split("`")
    for at in range(0, len(pieces), 2):
        pieces[at] = re.sub(r"([*_<>|\[\]])", r"\\\1", pieces[at])
    return "`".join(pieces)
