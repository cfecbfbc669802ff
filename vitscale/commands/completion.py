"""`vitscale completion`."""

import dataclasses
import shlex
from collections.abc import Callable, Iterator
from typing import Literal

from tyro.conf import Positional

from vitscale import __version__
from vitscale.commands.options import Option, describe
from vitscale.commands.output import output

Shell = Literal["bash", "zsh", "fish", "tcsh"]


@dataclasses.dataclass(frozen=True)
class Completion:
    """Print what makes a shell complete commands, flags, presets, recipes, laws and files after a Tab.

    For bash, put the first example into ~/.bashrc; for zsh, the second into ~/.zshrc, after compinit; fish reads
    ~/.config/fish/completions; for tcsh, source the file in ~/.tcshrc. Make it anew after an upgrade.

    Examples:  vitscale completion bash
               vitscale completion zsh
               vitscale completion fish
    """

    shell: Positional[Shell]
    """Which shell."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Words:
    """What can follow one command, which is called `path`: other commands, or options."""

    path: str
    summary: str
    commands: dict[str, str]
    options: tuple[Option, ...]

    @property
    def flags(self) -> list[str]:
        """All flags, those of every command among them."""
        return [*(f for each in self.options for f in each.flags), *_EVERYWHERE]


_EVERYWHERE = ("--quiet", "--verbose", "--debug", "--help")


def run(command: Completion) -> int:
    script = _SCRIPTS[command.shell](list(all_words()))
    values = {"shell": command.shell, "script": script}
    output(command.json, values, lambda: [script.rstrip("\n")])
    return 0


def all_words() -> Iterator[Words]:
    """Every command, that without a name first."""
    from vitscale.cli import COMMANDS

    yield Words(
        path="",
        summary="",
        commands={entry.name: entry.summary for entry in COMMANDS},
        options=(),
    )
    for entry in COMMANDS:
        yield from _words_of(entry.load()[0], entry.name, entry.summary)


def _words_of(command: type, path: str, summary: str) -> Iterator[Words]:
    described = describe(command)
    yield Words(
        path=path,
        summary=summary,
        commands={name: describe(each).summary for name, each in described.actions.items()},
        options=described.options,
    )
    for name, each in described.actions.items():
        yield from _words_of(each, f"{path} {name}", describe(each).summary)


def _names(option: Option) -> tuple[str, ...]:
    """What an option's value can be, where that is a list; open ones by their registered names."""
    from vitscale.fits.export.table import ALL, TARGETS
    from vitscale.fits.hardware import ALIASES, HARDWARE
    from vitscale.fits.laws import LAWS
    from vitscale.fits.rule import SOVIT_EXPONENTS
    from vitscale.scaling.recipes import RECIPES
    from vitscale.sweeps.presets import PRESETS

    registered = {
        "emit": (ALL, *TARGETS),
        "hardware": (*HARDWARE, *ALIASES),
        "law": (*LAWS, "auto"),
        "recipe": tuple(RECIPES),
        "rule": tuple(SOVIT_EXPONENTS),
        "sweep": tuple(PRESETS),
    }
    return option.choices or registered.get(option.field, ())


def bash(words: list[Words]) -> str:
    """A function for bash that needs nothing else: the words stand in it."""
    steps = [f'"{each.path} {name}"' for each in words for name in each.commands]
    lines = [
        f"# Completion of vitscale {__version__}.",
        "_vitscale() {",
        '    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"',
        '    local path="" words="" place=1 i',
        "    for ((i = 1; i < COMP_CWORD; i++)); do",
        '        case "$path ${COMP_WORDS[i]}" in',
        f"            {'|'.join(steps)})",
        '                path="${path:+$path }${COMP_WORDS[i]}" place=1 ;;',
        '            *" -"*) ;;',
        "            *) place=$((place + 1)) ;;",
        "        esac",
        "    done",
        '    case "$path $before" in',
    ]
    for each in words:
        for option in each.options:
            if option.flags and option.metavar:
                keys = "|".join(f'"{each.path} {flag}"' for flag in option.flags)
                lines.append(f'        {keys}) words="{" ".join(_names(option))}" ;;')
    lines += ["        *)", '            case "$word:$path:$place" in']
    for each in words:
        if each.commands:
            continue
        lines.append(f'                -*:"{each.path}":*) words="{" ".join(each.flags)}" ;;')
        placed = [option for option in each.options if not option.flags]
        for place, option in enumerate(placed, 1):
            if _names(option):
                names = " ".join(_names(option))
                lines.append(f'                *:"{each.path}":{place}) words="{names}" ;;')
    for each in words:
        if each.commands:
            lines.append(f'                -*:"{each.path}":*) words="{" ".join(_EVERYWHERE)}" ;;')
            lines.append(f'                *:"{each.path}":*) words="{" ".join(each.commands)}" ;;')
    lines += [
        "            esac ;;",
        "    esac",
        '    COMPREPLY=($(compgen -W "$words" -- "$word"))',
        "}",
        "complete -o default -F _vitscale vitscale",
    ]
    return "\n".join(lines) + "\n"


def zsh(words: list[Words]) -> str:
    """The same, by zsh's own reading of bash's completions."""
    return f"autoload -U +X bashcompinit && bashcompinit\n{bash(words)}"


def fish(words: list[Words]) -> str:
    """One line for each word, with what it means."""
    lines = [f"# Completion of vitscale {__version__}.", "complete -c vitscale -e"]
    for each in words:
        seen = [f"__fish_seen_subcommand_from {name}" for name in each.path.split()]
        if each.commands:
            others = f"not __fish_seen_subcommand_from {' '.join(each.commands)}"
            when = shlex.quote("; and ".join([*seen, others]))
            for name, summary in each.commands.items():
                lines.append(f"complete -c vitscale -n {when} -f -a {name} -d {_said(summary)}")
            continue
        when = shlex.quote("; and ".join(seen))
        placed = [name for o in each.options if not o.flags for name in _names(o)]
        if placed:
            lines.append(f"complete -c vitscale -n {when} -a {shlex.quote(' '.join(placed))}")
        for option in each.options:
            if option.flags:
                lines.append(f"complete -c vitscale -n {when} {_fish_flags(option)}")
    lines += [f"complete -c vitscale -l {flag[2:]}" for flag in _EVERYWHERE]
    return "\n".join(lines) + "\n"


def _fish_flags(option: Option) -> str:
    parts = [f"-l {f[2:]}" if f.startswith("--") else f"-s {f[1:]}" for f in option.flags]
    if _names(option):
        parts.append(f"-x -a {shlex.quote(' '.join(_names(option)))}")
    elif option.metavar:
        parts.append("-r")
    return " ".join([*parts, f"-d {_said(option.help)}"])


def _said(text: str) -> str:
    """A sentence as an argument; of several, the first."""
    return shlex.quote(text.split(". ")[0].rstrip("."))


def tcsh(words: list[Words]) -> str:
    """Commands, then the flags of all of them, since tcsh does not tell whose they are."""
    flags = sorted({flag[2:] for each in words for flag in each.flags if flag.startswith("--")})
    rules = [f"'c/--/({' '.join(flags)})/'"]
    values: dict[str, list[str]] = {}
    for each in words:
        for option in each.options:
            for flag in option.flags:
                values.setdefault(flag, []).extend(_names(option))
    rules += [f"'n/{flag}/({' '.join(dict.fromkeys(v))})/'" for flag, v in values.items() if v]
    for each in words:
        placed = [option for option in each.options if not option.flags]
        following = [*each.commands] or [*(_names(placed[0]) if placed else ())]
        if following:
            place = f"n/{each.path.split()[-1]}/" if each.path else "p/1/"
            rules.append(f"'{place}({' '.join(following)})/'")
    comment = f"# Completion of vitscale {__version__}.\n"
    return comment + "complete vitscale " + " \\\n    ".join(rules) + "\n"


_SCRIPTS: dict[Shell, Callable[[list[Words]], str]] = {
    "bash": bash,
    "zsh": zsh,
    "fish": fish,
    "tcsh": tcsh,
}
