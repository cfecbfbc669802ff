"""Figures as SVG for a page, in light and dark, with words for who cannot see them."""

import io
from collections.abc import Callable

import matplotlib
from matplotlib.figure import Figure

from vitscale.fits import plots
from vitscale.report.page import Picture


def picture(title: str, draw: Callable[[], Figure], *, alt: str, how: str) -> Picture:
    """Draw a figure on both grounds."""
    with plots.look("dark"):
        dark = _svg(draw())
    return Picture(title=title, light=_svg(draw()), dark=dark, alt=alt, how=how)


def _svg(figure: Figure) -> bytes:
    drawn = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "vitscale"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()
