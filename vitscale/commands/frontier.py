"""`vitscale frontier`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from tyro.conf import Positional, arg

from vitscale.commands.options import Groups
from vitscale.commands.output import output
from vitscale.commands.saying import verbose

if TYPE_CHECKING:
    import pandas as pd


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
    out: Annotated[Path | None, arg(aliases=["-o"])] = None
    """Write the runs that lie on the frontier into this .csv."""
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
    if command.out is not None and command.out.suffix.lower() != ".csv":
        raise ValueError(
            f"--out {command.out} is to be a table; call it {command.out.with_suffix('.csv')}"
        )
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
    points = _points(runs)
    if verbose():
        lines += ["", *_point_lines(points)]
    if command.out is not None:
        import pandas as pd

        from vitscale.fits.export import replace_text

        command.out.parent.mkdir(parents=True, exist_ok=True)
        replace_text(command.out, pd.DataFrame(points).to_csv(index=False))
        lines.append(f"wrote {command.out}")
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
    output(command.json, content | {"points": points}, lambda: lines)
    return 0


def _points(runs: "pd.DataFrame") -> list[dict[str, Any]]:
    """The runs that no cheaper run beats, cheapest first; rows count from 1 after the header."""
    import numpy as np

    from vitscale.fits.envelope import pareto_frontier

    compute, error = (runs[name].to_numpy(float) for name in ("compute", "error"))
    on = np.flatnonzero(pareto_frontier(compute, error))
    names = runs["model"].astype(str).to_numpy()
    return [
        {
            "row": int(row) + 1,
            "model": str(names[row]),
            "compute": float(compute[row]),
            "error": float(error[row]),
        }
        for row in on[np.argsort(compute[on])]
    ]


def _point_lines(points: "list[dict[str, Any]]") -> list[str]:
    from vitscale.fits.report import aligned

    rows = [("row", "model", "compute", "error")]
    rows += [
        (str(each["row"]), each["model"], f"{each['compute']:.4g}", f"{each['error']:.4g}")
        for each in points
    ]
    return aligned(rows)
