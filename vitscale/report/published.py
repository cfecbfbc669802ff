"""The report of the published star sweep of Getting ViT in Shape, which ships with the package."""

from collections.abc import Callable

from vitscale.fits import datasets
from vitscale.fits.answer import Setting
from vitscale.fits.fit_file import FitFile
from vitscale.fits.reproduce import SOVIT_COMPUTE
from vitscale.fits.rule import SOVIT_X0, flops_like
from vitscale.fits.shape_law import fit_star
from vitscale.fits.tables import in_train_flops, star_table
from vitscale.report.page import Page
from vitscale.report.source import StarSource, file_sha256
from vitscale.report.star_report import star_page
from vitscale.scaling.shape import named_shape

_NAME = "the star sweep that Getting ViT in Shape published"


def published_page(say: Callable[[str], None] = lambda line: None) -> Page:
    """The shape for the compute of ViT-g/14 on 16 billion images, which the paper made SoViT-400m for, from
    its own measurements and starting point. `say` is told what is being done."""
    table = in_train_flops(star_table(datasets.load_sovit_star(), compute="forward_gflops"))
    fit = fit_star(table, resamples=0)
    flops = flops_like(SOVIT_COMPUTE)
    source = StarSource(
        name=_NAME,
        fit_file=FitFile(fit=fit, start=SOVIT_X0, setting=Setting(heads=16)),
        table=table,
        sha256=file_sha256(datasets.path("sovit_star_sweep")),
        commands=(
            ("vitscale demo", "This report."),
            (
                "vitscale reproduce sovit",
                "The same fit beside the exponents that the paper prints.",
            ),
            (
                f'vitscale shape --rule sovit-figure1 --like "{SOVIT_COMPUTE}"',
                "The shape by the exponents of the paper's Figure 1.",
            ),
            (
                f'vitscale shape --fit fit.json --like "{SOVIT_COMPUTE}"',
                "The shape by a fit of the star alone (vitscale fit): a table brings no grid, so it starts from an "
                "x0 read off the star, and gives other sizes than this page, which starts from the paper's grid.",
            ),
        ),
        compare={"SoViT-400m, published": (named_shape("So400m/14"), flops)},
    )
    return star_page(source, flops=flops, say=say)
