"""What `vitscale --help` prints: every command on one line. Imports no command, and no parser."""

from collections.abc import Sequence

from vitscale import __version__
from vitscale.commands.entry import Entry
from vitscale.commands.layout import EVERYWHERE, row, style, width, wrapped


def top_help(entries: Sequence[Entry]) -> str:
    """The commands, by what they are for."""
    bold, columns = style("1"), width()
    lines = [
        f"{bold('Usage:')} vitscale COMMAND [options]",
        "",
        *wrapped(
            "Which width, depth, MLP size and training length a ViT should have, for a compute budget: from "
            "a few cheap experiments, with error bars.",
            columns,
        ),
    ]
    for group in dict.fromkeys(entry.group for entry in entries):
        lines += ["", bold(f"{group}:")]
        for entry in entries:
            if entry.group == group:
                lines += row(entry.name, entry.summary, columns, left=14)
    lines += ["", bold("Begin with:")]
    lines += [
        "  vitscale quickstart",
        "  vitscale reproduce sovit",
        "  vitscale shape --flops 1e21",
    ]
    lines += ["", bold("Everywhere:")]
    lines += [line for names, text in EVERYWHERE for line in row(names, text, columns)]
    lines += row("--json", "Print one JSON object instead of text.", columns)
    lines += row("--version", f"Print the version ({__version__}).", columns)
    lines += ["", "vitscale COMMAND --help says what a command takes, with examples."]
    return "\n".join(lines) + "\n"
