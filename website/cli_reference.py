"""Every command of vitscale with every flag, as Markdown, read off the parser that users meet.

`uv run --group docs mkdocs build` calls `page()`; nothing of it is written by hand.
"""

import re
from collections.abc import Iterator

from vitscale.cli import COMMANDS
from vitscale.commands.help import shown_default
from vitscale.commands.options import Described, Option, describe

Path = tuple[str, ...]
"""A command in full, such as ("data", "prepare")."""


def commands() -> dict[Path, Described]:
    """Every command below `vitscale`, each before those that it consists of."""
    return {
        path: found for entry in COMMANDS for path, found in _below(entry.load()[0], (entry.name,))
    }


def _below(command: type, path: Path) -> Iterator[tuple[Path, Described]]:
    found = describe(command)
    yield path, found
    for name, action in found.actions.items():
        yield from _below(action, (*path, name))


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
    for path, command in found.items():
        name = " ".join(path)
        lines.append(f"| [`vitscale {name}`](#{_anchor(path)}) | {_escaped(command.summary)} |")
    lines += [
        "",
        "Every command also takes `--quiet`, `--verbose`, `--debug` and `--help`. Exit codes: 0 done; 1 something failed while it "
        "ran; 2 the input was refused, and nothing is half-written; 75 asked to go (SIGTERM), with everything saved; 130 "
        "interrupted from the keyboard; 143 ended by SIGTERM.",
    ]
    for path, command in found.items():
        lines += ["", *_section(path, command)]
    return "\n".join(lines) + "\n"


def _section(path: Path, command: Described) -> list[str]:
    lines = [f"{'#' * (1 + len(path))} vitscale {' '.join(path)} {{ #{_anchor(path)} }}", ""]
    for paragraph in (command.summary, *command.paragraphs):
        lines += [_escaped(" ".join(paragraph.split())), ""]
    if command.actions:
        names = (f"[`{name}`](#{_anchor((*path, name))})" for name in command.actions)
        lines += ["One of " + ", ".join(names) + ".", ""]
    if command.examples:
        lines += ["```text", *command.examples, "```", ""]
    if command.options:
        lines += ["| argument | value | default | what it does |", "| --- | --- | --- | --- |"]
        lines += [_row(option) for option in command.options]
    return lines


def _row(option: Option) -> str:
    names = ", ".join(f"`{flag}`" for flag in option.flags) or f"`{option.metavar}`"
    value = ", ".join(option.choices) or option.metavar
    value = f"`{value}{' ...' if option.several else ''}`" if value else ""
    default = "required" if option.required else shown_default(option)
    if default not in ("", "required"):
        default = f"`{default}`"
    return f"| {names} | {value} | {default} | {_escaped(option.help)} |"


def _anchor(path: tuple[str, ...]) -> str:
    return "-".join(("vitscale", *path))


def _escaped(text: str) -> str:
    """Text as Markdown that shows it as it is; what stands between backticks stays code."""
    pieces = text.split("`")
    for at in range(0, len(pieces), 2):
        pieces[at] = re.sub(r"([*_<>|\[\]])", r"\\\1", pieces[at])
    return "`".join(pieces)
