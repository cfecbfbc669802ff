"""What `--help` of a command prints."""

from collections.abc import Iterable

from vitscale.commands.layout import EVERYWHERE, row, style, width, wrapped
from vitscale.commands.options import Described, Option, describe


def command_help(command: type, prog: str) -> str:
    """What one command is for, with examples and all that it takes, by groups."""
    bold, columns = style("1"), width()
    described = describe(command)
    takes = "COMMAND ..." if described.actions else " ".join(_placed(described))
    lines = [
        f"{bold('Usage:')} {prog} {'' if described.actions else '[options] '}{takes}".rstrip(),
        "",
    ]
    for paragraph in (described.summary, *described.paragraphs):
        lines += [*wrapped(paragraph, columns), ""]
    examples = described.examples or _examples_of(described.actions.values())
    if examples:
        lines.append(bold("Examples:" if len(examples) > 1 else "Example:"))
        lines += [line for example in examples for line in _example(example, columns)]
        lines.append("")
    if described.actions:
        lines.append(bold("Commands:"))
        for name, action in described.actions.items():
            lines += row(name, describe(action).summary, columns, left=14)
        lines += ["", f"{prog} COMMAND --help says what each takes."]
        return "\n".join(lines) + "\n"
    for heading, options in _sections(described):
        lines.append(bold(f"{heading}:"))
        lines += [line for o in options for line in row(o.written, _helped(o), columns)]
        if heading == _LAST:
            lines += [line for names, text in EVERYWHERE for line in row(names, text, columns)]
        lines.append("")
    return "\n".join(lines)


_LAST = "Output"


def _sections(described: Described) -> list[tuple[str, list[Option]]]:
    """Options by heading: those of a place, those of no group, the groups, and what is printed."""
    by_field = {option.field: option for option in described.options}
    grouped = {field for fields in described.groups.values() for field in fields} | {"json"}
    free = [o for o in described.options if o.field not in grouped]
    sections = [
        ("Arguments", [o for o in free if not o.flags]),
        ("Options", [o for o in free if o.flags]),
    ]
    sections += [
        (heading, [by_field[field] for field in fields])
        for heading, fields in described.groups.items()
    ]
    sections = [(heading, options) for heading, options in sections if options]
    return [*sections, (_LAST, [by_field["json"]] if "json" in by_field else [])]


def _placed(described: Described) -> Iterable[str]:
    """Arguments by place and flags that must be given, as the usage line has them."""
    for option in described.options:
        if not option.flags:
            yield option.written if option.required else f"[{option.written}]"
    for option in described.options:
        if option.flags and option.required:
            yield f"{option.flags[0]} {option.metavar}"


def _examples_of(actions: Iterable[type]) -> tuple[str, ...]:
    return tuple(example for action in actions for example in describe(action).examples)


def _helped(option: Option) -> str:
    """Its help, with what it can be and what it is where it is not given."""
    text = option.help
    if option.choices and (option.several or not option.flags):
        text = f"{text} One of {', '.join(option.choices)}."
    if option.required:
        return f"{text} (required)" if option.flags else text
    default = "" if "default" in text else shown_default(option)
    return f"{text} (default: {default})" if default else text


def shown_default(option: Option) -> str:
    """What it is where it is not given; nothing where that is said in words, or is nothing."""
    if option.required or option.default in (None, False, (), ""):
        return ""
    return f"{option.default:g}" if isinstance(option.default, float) else str(option.default)


def _example(command: str, columns: int) -> list[str]:
    """One command, over several lines of a shell where it is too long for one."""
    lines = [""]
    for word in _words(command):
        if lines[-1] and len(lines[-1]) + len(word) + 5 > columns:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return [f"  {line}" for line in lines]


def _words(command: str) -> list[str]:
    """A command in pieces that stay on one line: a flag with its first value, quoted text whole."""
    pieces: list[str] = []
    quoted = False
    for word in command.split(" "):
        if quoted or (pieces and pieces[-1].startswith("-") and " " not in pieces[-1]):
            pieces[-1] += f" {word}"
        else:
            pieces.append(word)
        quoted ^= word.count('"') % 2 == 1
    return pieces
