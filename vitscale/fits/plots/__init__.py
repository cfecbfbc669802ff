"""Every figure, each a function that returns a matplotlib `Figure`; the only part of fits that draws.

Made with matplotlib's objects and never with pyplot, so that drawing leaves no global state behind and
needs no display. `save` writes one as PNG, SVG or PDF.
"""

from vitscale.fits.plots.advice import advice_figure as advice_figure
from vitscale.fits.plots.allocation import allocation_figure as allocation_figure
from vitscale.fits.plots.backtest import backtest_figure as backtest_figure
from vitscale.fits.plots.comparison import comparison_figure as comparison_figure
from vitscale.fits.plots.coverage import coverage_figure as coverage_figure
from vitscale.fits.plots.exponents import profile_figure as profile_figure
from vitscale.fits.plots.frontier import Band as Band
from vitscale.fits.plots.frontier import frontier_figure as frontier_figure
from vitscale.fits.plots.isoflop import isoflop_figure as isoflop_figure
from vitscale.fits.plots.looks import Look as Look
from vitscale.fits.plots.looks import look as look
from vitscale.fits.plots.optimal_shape import optimal_shape_figure as optimal_shape_figure
from vitscale.fits.plots.parity import parity_figure as parity_figure
from vitscale.fits.plots.plan_cost import plan_cost_figure as plan_cost_figure
from vitscale.fits.plots.star import star_figure as star_figure
from vitscale.fits.plots.style import save as save
