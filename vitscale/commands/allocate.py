"""`vitscale allocate`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from vitscale.commands.output import output
from vitscale.commands.pairs import flops_of_a_pair

if TYPE_CHECKING:
    from vitscale.fits.law_table import LawTable
    from vitscale.fits.loss import Loss

_LINE_BUDGETS = 13


@dataclasses.dataclass(frozen=True)
class Allocate:
    """How many parameters and tokens (or images) a budget is best spent on, by Chinchilla's law.

    SOURCE is any CSV or Parquet file with a run a row: its parameters N, tokens D, and loss. The law is
    fitted by Huber's loss on log residuals, as in the paper (`vitscale fit --law chinchilla --loss log-huber
    --delta 1e-3`), and each budget C = 6 N D divided so that the loss is least, with intervals.

    Where D is in images, a pair costs more: give --flops-per-pair, about 6 times the tokens of an image.

    Examples:  vitscale allocate runs.csv --flops 1e21 1e22 --inputs N=params D=tokens
               vitscale allocate vits.csv --flops 1e21 --inputs N=params D=images --flops-per-pair 1176
    """

    source: Positional[str]
    """A .csv or .parquet file, or a folder of Parquet files."""
    flops: tuple[float, ...]
    """Budgets in training FLOPs."""
    inputs: tuple[str, ...] = ()
    """Columns of N and D, as N=params D=tokens (default: the same names)."""
    error: str | None = None
    """Column of the loss (default: loss or error)."""
    model: str | None = None
    """Column of what belongs together, such as the durations of one network, which are no runs apart: drawn
    together for the intervals (default: each run stands alone)."""
    flops_per_pair: float = 6.0
    """Training FLOPs for each parameter and token; where D is in images, about 6 x tokens per image (1176 at
    224 px and patch 16)."""
    delta: float = 1e-3
    """Log residual from which on a run counts as an outlier (Huber's loss)."""
    level: float = 0.95
    """Probability of the intervals."""
    resamples: int = 200
    """Refits to runs (or what --model groups) drawn with repetition, for the intervals; 0 for none."""
    out: Path | None = None
    """Write all of it here as JSON."""
    figure: Path | None = None
    """Draw the best parameters, tokens and loss for every budget into this .png, .svg or .pdf."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(command: Allocate) -> int:
    from vitscale.fits.allocation import allocate
    from vitscale.fits.allocation_checks import refuse_store, state_cautions, unit_cautions
    from vitscale.fits.fit_file import write_json
    from vitscale.fits.law_table import law_table
    from vitscale.fits.loss import Loss
    from vitscale.fits.report import allocation_lines
    from vitscale.sources import read_source

    flops_of_a_pair(command.flops_per_pair)
    if command.figure is not None:
        from vitscale.fits.plots.style import check_suffix

        check_suffix(command.figure)
    frame = read_source(command.source)
    refuse_store(frame)
    table = law_table(
        frame,
        "chinchilla",
        inputs=command.inputs,
        target=command.error,
        cluster=command.model,
    )
    loss = Loss(residual="log", rho="huber", delta=command.delta)
    found = allocate(
        table.inputs,
        table.target,
        command.flops,
        cluster=table.cluster,
        loss=loss,
        flops=command.flops_per_pair,
        level=command.level,
        resamples=command.resamples,
    )
    used = [*table.columns.values(), table.target_column]
    units = unit_cautions(
        frame, table.inputs["N"], table.inputs["D"], command.flops_per_pair, used=used
    )
    found = dataclasses.replace(found, cautions=(*units, *state_cautions(frame), *found.cautions))
    lines = allocation_lines(found, target=table.target_column)
    if command.out is not None:
        write_json(command.out, found.to_dict())
        lines.append(f"wrote {command.out}")
    if command.figure is not None:
        lines.append(f"wrote {_drawn(command, table, loss)}")
    output(command.json, found.to_dict(), lambda: lines)
    return 0


def _drawn(command: Allocate, table: "LawTable", loss: "Loss") -> Path:
    """The figure, over all budgets from the smallest run to the largest asked about."""
    import numpy as np

    from vitscale.fits import plots
    from vitscale.fits.allocation import allocate

    spent = command.flops_per_pair * table.inputs["N"] * table.inputs["D"]
    ends = (min(spent.min(), *command.flops), max(1.5 * spent.max(), *command.flops))
    line = allocate(
        table.inputs,
        table.target,
        tuple(float(budget) for budget in np.geomspace(*ends, _LINE_BUDGETS)) + command.flops[:1],
        cluster=table.cluster,
        loss=loss,
        flops=command.flops_per_pair,
        level=command.level,
        resamples=command.resamples,
    )
    drawn = plots.allocation_figure(
        line,
        table.inputs,
        table.target,
        target=table.target_column,
        mark=command.flops[0],
        flops=command.flops_per_pair,
    )
    return plots.save(drawn, Path(str(command.figure)))
