"""Figures with numbers under the pointer, each a page of HTML that needs no network.

The same arguments as the figures of the same name beside this folder, and the same look (`looks.look`, of
which the theme counts here). Needs plotly, which the extra `interactive` brings.
"""

from vitscale.fits.plots.interactive.frontier import frontier_figure
from vitscale.fits.plots.interactive.optimal_shape import optimal_shape_figure
from vitscale.fits.plots.interactive.page import save
from vitscale.fits.plots.interactive.star import star_figure

__all__ = ["frontier_figure", "optimal_shape_figure", "save", "star_figure"]
