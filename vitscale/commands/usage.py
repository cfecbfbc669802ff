"""From words to a command, or one sentence that says what is wrong with them and what to do."""

import contextlib
import dataclasses
import io
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import tyro

from vitscale.commands.options import Described, Option, describe
from vitscale.scaling.names import suggest

T = TypeVar("T")

_MARKS = (
    tyro.conf.OmitArgPrefixes,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.PositionalMetavarFromFieldName,
)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_BORDER = re.compile(r"^[│|] ?|\s*[│|]$")
_RULE = re.compile(r"^[\s╭╰╮╯─-]*$")
_WIDE = "100000"  # so that what tyro says is not wrapped


class UsageError(ValueError):
    """Words that are no command."""


def parse(command: type[T], words: Sequence[str], prog: str) -> T:
    """The command that the words say, an instance of the dataclass `command`.

    Raises `UsageError` with one sentence otherwise.
    """
    leaf, path, rest = find_action(command, words, prog)
    described = describe(leaf)
    _refuse_unknown_flags(described, rest, path)
    told = io.StringIO()
    try:
        with _wide(), contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
            return tyro.cli(command, args=list(words), prog=prog, config=_MARKS)
    except SystemExit:
        raise UsageError(_sentence(told.getvalue(), described, path)) from None


def given(command: Any) -> dict[str, Any]:
    """What a command was told: its fields that are not as they are by default."""
    values = {field.name: getattr(command, field.name) for field in dataclasses.fields(command)}
    return {
        field.name: values[field.name]
        for field in dataclasses.fields(command)
        if values[field.name] != field.default
    }


def find_action(command: type, words: Sequence[str], prog: str) -> tuple[type, str, Sequence[str]]:
    """Of a command that consists of several: the one that the words name, with what it is called in full
    and the words after it. Raises `UsageError` where they name none."""
    actions = describe(command).actions
    if not actions:
        return command, prog, words
    listed = ", ".join(actions)
    if not words or words[0].startswith("-"):
        raise UsageError(f"{prog} needs to know what to do: {listed}; see {prog} --help")
    if words[0] not in actions:
        raise UsageError(f"{prog} has no command {words[0]!r}; {suggest(words[0], actions)}")
    return find_action(actions[words[0]], words[1:], f"{prog} {words[0]}")


def _refuse_unknown_flags(described: Described, words: Sequence[str], prog: str) -> None:
    flags = [flag for option in described.options for flag in option.flags]
    for word in words:
        if word == "--":
            return
        flag = word.partition("=")[0].replace("_", "-")
        short = re.fullmatch(r"-[A-Za-z]", flag) is not None
        if (short or re.match(r"--[A-Za-z]", flag)) and flag not in flags:
            near = suggest(flag, [*flags, *_EVERYWHERE], listed=False)
            raise UsageError(f"{prog} has no option {flag}; {near}see {prog} --help")


_EVERYWHERE = ("--help", "--quiet", "--verbose", "--debug")


@contextlib.contextmanager
def _wide() -> Iterator[None]:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _WIDE
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _sentence(box: str, described: Described, prog: str) -> str:
    """What tyro draws a box around, as one sentence in our words; in its own where they are new to us."""
    lines = [_BORDER.sub("", _ANSI.sub("", line)) for line in box.splitlines()]
    said = [line for line in lines[1:] if not _RULE.match(line)]  # the first is a title
    for number, line in enumerate(said):
        if line.strip().startswith(("For full helptext", "Argument helptext")):
            said = said[:number]
            break
    text = " ".join(" ".join(said).split())
    see = f"see {prog} --help"
    if text.startswith("Missing from"):
        return f"{prog} needs {_missing(said[1:], described)}; {see}"
    if found := re.match(r"Missing value for argument '(.+?)'", text):
        option = described.option(found[1])
        more = f": {_helped(option)}" if option else ""
        return f"{found[1]} lacks its value{more}; {see}"
    if found := re.match(r"invalid choice '(.*)' for argument '(.+?)'\. Expected", text):
        option = described.option(found[2])
        if option and option.choices:
            return f"{option.name} is {found[1]!r}; {suggest(found[1], option.choices)}"
    if found := re.match(r"Error parsing (\S+?):.*?\[(.*?)\]", text):
        option = described.option(found[1])
        if option and option.kind:
            given = found[2].replace("'", "").replace(",", "")
            each = "each " if option.several else ""
            return f"{option.name} {given}: expected {each}{option.kind}; {see}"
    if found := re.match(r"Unrecognized options: (.+)", text):
        takes = " ".join(each.written for each in described.options if not each.flags)
        return f"{found[1]!r} is too much: expected {prog} {takes} and options; {see}"
    return f"{text.rstrip('.')}; {see}" if text else f"{prog} was not understood; {see}"


def _missing(lines: Sequence[str], described: Described) -> str:
    """What is missing, each with what it is; tyro lists them four spaces in."""
    names = {line.split()[0] for line in lines}
    missing = [each for each in described.options if each.required and each.name in names]
    if not missing:
        return " ".join(" ".join(lines).split())
    return "; and ".join(f"{each.name}: {_helped(each)}" for each in missing)


def _helped(option: Option) -> str:
    """What an option is, within a sentence."""
    text = option.help.rstrip(".")
    listed = f": {', '.join(option.choices)}" if option.choices else ""
    return f"{text[:1].lower()}{text[1:]}{listed}"
