"""`vitscale reproduce`."""

import dataclasses
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from vitscale.commands.output import output
from vitscale.commands.saying import working


@dataclasses.dataclass(frozen=True)
class Reproduce:
    """Run published measurements through the whole fit, offline, in seconds.

    `sovit`: from the star sweep of Getting ViT in Shape to the shape of SoViT-400m, predicted
    against published.

    Example:  vitscale reproduce sovit
    """

    paper: Positional[Literal["sovit"]]
    """What to reproduce."""
    figures: Path | None = None
    """Folder to draw the star curves and the optimal shapes into."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(command: Reproduce) -> int:
    from vitscale.fits.reproduce import reproduce_sovit

    with working("fitting the published star"):
        result = reproduce_sovit()
    written = []
    if command.figures is not None:
        from vitscale.fits import plots
        from vitscale.fits.rule import flops_like

        published = {"SoViT-400m": (result.published, flops_like(result.like))}
        drawn = {
            "star.png": plots.star_figure(result.table, result.fit),
            "optimal_shape.png": plots.optimal_shape_figure(
                result.rule, result.fit, compare=published
            ),
        }
        written = [plots.save(f, command.figures / name) for name, f in drawn.items()]
    lines = [*result.lines(), *(f"wrote {path}" for path in written)]
    output(command.json, result.to_dict(), lambda: lines)
    return 0
