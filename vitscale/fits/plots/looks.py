"""How figures look: light or dark, for a paper or for a slide; one choice for all that are drawn inside it.

    with plots.look("dark", "slide"):
        figure = plots.star_figure(table, fit)

Colours are told apart with any colour vision on both backgrounds, and lines stand out from them by a
contrast of 3, words by 4.5, as the Web Content Accessibility Guidelines 2.2 (1.4.3 and 1.4.11) ask;
`tests/fits/test_looks.py` measures it.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Literal, get_args

import matplotlib
import numpy as np
from matplotlib.colors import Colormap, ListedColormap, to_hex

Theme = Literal["light", "dark"]
Size = Literal["paper", "slide"]

_NARROWEST, _WIDEST = 1.5, 2.4  # of figures on slides: width over height


@dataclasses.dataclass(frozen=True, kw_only=True)
class Palette:
    """The colours of a theme.

    - `ink`: words, axes, what is not a series; `text`: notes; `grey`: reference lines.
    - `faint`: joins behind points; `grid`; `nothing`: areas where there is nothing.
    - `blue`, `vermilion`, `green`, `accent`: series and marks.
    - `sequence`: the part of the map "viridis" that can be told from the background.
    """

    background: str
    ink: str
    text: str
    grey: str
    faint: str
    grid: str
    nothing: str
    blue: str
    vermilion: str
    green: str
    accent: str
    sequence: tuple[float, float]

    @property
    def series(self) -> tuple[str, ...]:
        """Colours of unordered series, first to last."""
        return self.blue, self.vermilion, self.green, self.accent

    def dimension(self, name: str) -> str:
        """The colour of a shape dimension; that of words for any other."""
        known = {"width": self.blue, "depth": self.vermilion, "mlp_dim": self.green}
        return known.get(name, self.ink)

    def ordered(self) -> Colormap:
        """A map for ordered values, each of its colours legible on the background."""
        low, high = self.sequence
        return ListedColormap(matplotlib.colormaps["viridis"](np.linspace(low, high, 256)))

    def lengths(self, count: int) -> list[str]:
        """`count` colours from the first to the last of an ordered series."""
        places = np.linspace(*self.sequence, max(count, 2))[:count]
        return [to_hex(color) for color in matplotlib.colormaps["viridis"](places)]


# Blue, vermilion and green of the light theme are those of Okabe and Ito, "Color Universal Design"
# (2008). Their orange is too pale for lines on white, so wine (Paul Tol's "muted" scheme) is fourth.
_PALETTES: dict[Theme, Palette] = {
    "light": Palette(
        background="#ffffff",
        ink="#000000",
        text="#555555",
        grey="#8a8a8a",
        faint="#cfcfcf",
        grid="#e6e6e6",
        nothing="#ececec",
        blue="#0072B2",
        vermilion="#D55E00",
        green="#009E73",
        accent="#882255",
        sequence=(0.0, 0.59),
    ),
    "dark": Palette(
        background="#15181d",
        ink="#e8e8e8",
        text="#b4b8be",
        grey="#8f949b",
        faint="#4a5059",
        grid="#2a2e35",
        nothing="#2a2e35",
        blue="#56B4E9",
        vermilion="#F07C3E",
        green="#1FB88A",
        accent="#F0E442",
        sequence=(0.4, 1.0),
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """A theme and a size. On a slide, words and lines grow more than the figure, which fills the page."""

    theme: Theme = "light"
    size: Size = "paper"

    @property
    def palette(self) -> Palette:
        """The colours of the theme."""
        return _PALETTES[self.theme]

    @property
    def inches(self) -> float:
        """By how much figures are larger than on paper."""
        return {"paper": 1.0, "slide": 1.25}[self.size]

    @property
    def points(self) -> float:
        """By how much words, lines and marks are larger than on paper."""
        return {"paper": 1.0, "slide": 1.75}[self.size]

    def figure_size(self, width_in: float, height_in: float) -> tuple[float, float]:
        """Width and height in inches of what has this size on paper; on a slide nearer to its format."""
        if self.size == "slide":
            width_in, height_in = (
                max(width_in, _NARROWEST * height_in),
                max(height_in, width_in / _WIDEST),
            )
        return width_in * self.inches, height_in * self.inches

    def settings(self) -> dict[Any, Any]:
        """What matplotlib is to be told."""
        sizes = {
            "font.size": 8,
            "axes.titlesize": 8.5,
            "axes.labelsize": 8,
            "xtick.labelsize": 7,
            "ytick.labelsize": 7,
            "legend.fontsize": 7.5,
            "axes.linewidth": 0.7,
            "lines.linewidth": 1.3,
            "lines.markersize": 6,
            "hatch.linewidth": 0.5,
            "xtick.major.size": 3.5,
            "ytick.major.size": 3.5,
            "xtick.major.width": 0.8,
            "ytick.major.width": 0.8,
        }
        colors = self.palette
        return {
            **{name: value * self.points for name, value in sizes.items()},
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.facecolor": colors.background,
            "axes.facecolor": colors.background,
            **dict.fromkeys(
                (
                    *("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color"),
                    *("ytick.color", "patch.edgecolor", "hatch.color"),
                ),
                colors.ink,
            ),
        }


_current: ContextVar[Look] = ContextVar("look", default=Look())  # noqa: B039 (it is frozen)


@contextlib.contextmanager
def look(theme: Theme = "light", size: Size = "paper") -> Iterator[Look]:
    """Figures made inside the `with` have this theme and size; without it, light and for paper.

    Raises `ValueError` for another theme or size.
    """
    for name, value, kinds in (("theme", theme, Theme), ("size", size, Size)):
        if value not in get_args(kinds):
            known = ", ".join(get_args(kinds))
            raise ValueError(f"{name}={value!r} is unknown; choose from {known}")
    chosen = Look(theme=theme, size=size)
    token = _current.set(chosen)
    try:
        yield chosen
    finally:
        _current.reset(token)


def current() -> Look:
    """The look that figures are drawn in here."""
    return _current.get()


def palette() -> Palette:
    """The colours that figures are drawn in here."""
    return current().palette


def points(size: float) -> float:
    """A length in points for paper, as it is here."""
    return size * current().points
