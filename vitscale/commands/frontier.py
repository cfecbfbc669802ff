"""`vitscale frontier`."""

import dataclasses
from pathlib import Path
from typing import ClassVar, Literal

from tyro.conf import Positional

from vitscale.commands.options import Groups
from vitscale.commands.output import output


@dataclasses.dataclass(frozen=True)
class Frontier:
    """The Pareto frontier of error against compute, and the saturating law along it, with intervals.

    SOURCE is a store (grid and star alike), or any CSV or Parquet file with a run a row, whose columns
    have these names or are mapped to them by flags.

    Examples:  vitscale frontier runs/laptop --figure frontier.png
               vitscale frontier runs.csv --compute gpu_hours --error val_loss --model name
    """

    groups: ClassVar[Groups] = {
        "Rows of a store": ("metric", "recipe"),
        "Columns of a table": ("compute", "error", "model", "size"),
        "The law": ("law", "envelope", "level", "resamples"),
    }

    source: Positional[str]
    """A store (a folder, or s3://..., gs://...), a .csv or a .parquet file."""
    law: Literal["double-saturating", "saturating"] = "double-saturating"
    """a (C + d)^-b + c, or without the shift d."""
    envelope: Literal["minimum", "smoothed"] = "minimum"
    """Frontier of the runs as they are, or of runs smoothed along each network, which takes off the luck of
    the least."""
    compute: str | None = None
    """Column of compute (default: compute, train_flops, forward_gflops, ...)."""
    error: str | None = None
    """Column of errors or losses (default: error, loss)."""
    model: str | None = None
    """Column that tells trained networks apart (default: model, else each run is one)."""
    size: str | None = None
    """Column of parameters, to colour the figure by (default: size, params, N)."""
    metric: str | None = None
    """In a store: which metric."""
    recipe: str | None = None
    """In a store: which recipe_id, where there are several."""
    level: float = 0.95
    """Probability of the intervals."""
    resamples: int = 200
    """Resamples of whole networks, for the intervals; 0 for none."""
    figure: Path | None = None
    """Draw runs, frontier and law into this .png, .svg or .pdf."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(command: Frontier) -> int:
    from vitscale.fits.frontier import fit_frontier
    from vitscale.fits.report import frontier_lines
    from vitscale.fits.run_table import run_table
    from vitscale.sources import read_source

    if command.figure is not None:
        from vitscale.fits.plots.style import check_suffix

        check_suffix(command.figure)
    runs = run_table(
        read_source(command.source),
        compute=command.compute,
        error=command.error,
        model=command.model,
        size=command.size,
        metric=command.metric,
        recipe=command.recipe,
    )
    compute, error, model = (runs[name].to_numpy() for name in ("compute", "error", "model"))
    fit = fit_frontier(
        compute,
        error,
        law=command.law,
        model=model,
        envelope=command.envelope,
        resamples=command.resamples,
        level=command.level,
    )
    metric, unit = runs.attrs["metric"], runs.attrs["compute_unit"]
    lines = [
        *frontier_lines(fit, runs=len(runs), metric=metric, unit=unit, least=float(compute.min())),
        *(f"  note: {note}" for note in runs.attrs["notes"]),
    ]
    if command.figure is not None:
        from vitscale.fits import plots

        drawn = plots.frontier_figure(
            compute,
            error,
            fit=fit,
            size=runs["size"].to_numpy(float) if "size" in runs else None,
            model=model,
            compute_unit=unit,
            metric=metric,
        )
        lines.append(f"wrote {plots.save(drawn, command.figure)}")
    content = fit.to_dict() | {"runs": len(runs), "metric": metric, "compute_unit": unit}
    output(command.json, content, lambda: lines)
    return 0
