"""Numbers and tables as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A Markdown table."""
    header = list(header)
    rule = ["---"] * len(header)
    return ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]


def seconds(value: float) -> str:
    """Seconds to two or three digits."""
    return f"{value:.0f} s" if value >= 9.95 else f"{value:.2g} s"


def excess(value: float) -> str:
    """How far above the optimum, relative: in percent where that can be seen."""
    if abs(value) >= 1e-4:
        return f"{100 * value:.2g}%"
    return f"{value:.0e}" if abs(value) > 5e-16 else "0"


def label(entry: dict) -> str:
    """A fitter's name, and when it was measured if that was in an earlier run."""
    return (
        f"{entry['name']} (kept from {entry['kept_from']})"
        if "kept_from" in entry
        else entry["name"]
    )


def named(entries: list[dict], name: str) -> dict:
    """The entry of that fitter."""
    return next(entry for entry in entries if entry["name"] == name)


def write_between(document: Path, sections: Mapping[str, Sequence[str]]) -> None:
    """Replace what stands between each pair of markers in the document.

    Raises `ValueError` where the document lacks a pair.
    """
    text = document.read_text(encoding="utf-8")
    for name, lines in sections.items():
        opening, closing = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, found, rest = text.partition(opening)
        _, ended, after = rest.partition(closing)
        if not found or not ended:
            raise ValueError(f"{document} lacks the markers {opening} and {closing}; put them back")
        text = "\n".join([before + opening, *lines, closing + after])
    document.write_text(text, encoding="utf-8")
