"""A page of plain texts, pictures and tables, and the HTML of it: one file that needs nothing else.

What a page says is decided elsewhere; here is only how it looks. Everything is escaped, no script is loaded,
and the page itself forbids the network to whatever it holds.
"""

import base64
import dataclasses
import importlib.resources
from pathlib import Path
from typing import Literal

from vitscale.fits.confidence import Standing
from vitscale.fits.export import replace_text

WORDS: dict[Standing, str] = {
    "good": "well determined",
    "care": "use with care",
    "poor": "poorly determined",
}


@dataclasses.dataclass(frozen=True)
class Check:
    """A sentence on what speaks for the answer or against it, or a note that does neither."""

    standing: Standing | Literal["note"]
    sentence: str


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells as they are to be read; the first column names the row."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class Config:
    """A file for a framework: what it is for, its text, and how it is loaded."""

    name: str
    text: str
    how: str = ""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure as SVG, on a white ground and on a dark one, and what it shows for who cannot see it.

    - `how`: how to read it, and what it says.
    """

    title: str
    light: bytes
    dark: bytes
    alt: str
    how: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """Everything that a report says, in the order in which it stands.

    - `asked`: the question, a sentence. `headline`: the answer, a few words; `answer`: the rest of it.
    - `confidence`: of the answer, with `reasons`.
    - `more`: a table of further answers. `configs`: files to copy.
    - `pictures`, `checks`: the evidence, and what it is worth.
    - `cost`, `tables`: what was spent, and what was measured.
    - `provenance`: facts that tell where everything is from. `commands`: to make it again, each with what
      it does; `files` that they take.
    """

    title: str
    asked: str
    headline: str
    answer: tuple[str, ...]
    sizes: Table | None
    confidence: Standing
    reasons: tuple[str, ...]
    more: Table | None
    configs: tuple[Config, ...]
    pictures: tuple[Picture, ...]
    checks: tuple[Check, ...]
    cost: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]
    provenance: tuple[tuple[str, str], ...]
    commands: tuple[tuple[str, str], ...]
    files: tuple[Config, ...] = ()


def page_html(page: Page) -> str:
    """The page as one HTML file, which loads nothing from anywhere."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    template = environment.get_template("page.html")
    return template.render(page=page, words=WORDS, style=_text("page.css"), script=_text("page.js"))


def write_page(page: Page, path: Path) -> None:
    """Write the HTML whole, or leave what is there.

    Raises `OSError` where `path` cannot be written.
    """
    text = page_html(page)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, text)


def page_text(page: Page) -> list[str]:
    """The first screen of the page, for a terminal."""
    return [
        page.asked,
        f"  {page.headline}",
        *(f"  {line}" for line in page.answer),
        f"  {WORDS[page.confidence]}: {' '.join(page.reasons)}",
    ]


def _text(name: str) -> str:
    return (importlib.resources.files("vitscale.report") / name).read_text(encoding="utf-8")


def _data_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")
