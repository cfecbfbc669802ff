"""`vitscale allocate`."""

import dataclasses
from pathlib import Path

from tyro.conf import Positional

from vitscale.commands.output import output


@dataclasses.dataclass(frozen=True)
class Allocate:
    """How many parameters and tokens (or images) a budget is best spent on, by Chinchilla's law.

    SOURCE is any CSV or Parquet file with a run a row: its parameters N, tokens D, and loss. The law is
    fitted by Huber's loss on log residuals, as in the paper (`vitscale fit --law chinchilla --loss log-huber
    --delta 1e-3`), and each budget C = 6 N D divided so that the loss is least, with intervals.

    Example:  vitscale allocate runs.csv --flops 1e21 1e22 --inputs N=params D=tokens
    """

    source: Positional[str]
    """A .csv or .parquet file, or a folder of Parquet files."""
    flops: tuple[float, ...]
    """Budgets in training FLOPs."""
    inputs: tuple[str, ...] = ()
    """Columns of N and D, as N=params D=tokens (default: the same names)."""
    error: str | None = None
    """Column of the loss (default: loss or error)."""
    flops_per_pair: float = 6.0
    """Training FLOPs for each parameter and token."""
    delta: float = 1e-3
    """Log residual from which on a run counts as an outlier (Huber's loss)."""
    level: float = 0.95
    """Probability of the intervals."""
    resamples: int = 200
    """Refits to runs drawn with repetition, for the intervals; 0 for none."""
    out: Path | None = None
    """Write all of it here as JSON."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(command: Allocate) -> int:
    from vitscale.fits.allocation import allocate
    from vitscale.fits.allocation_checks import state_cautions, unit_cautions
    from vitscale.fits.fit_file import write_json
    from vitscale.fits.law_table import law_table
    from vitscale.fits.loss import Loss
    from vitscale.fits.report import allocation_lines
    from vitscale.sources import read_source

    if not 0 < command.flops_per_pair < float("inf"):
        raise ValueError(
            f"--flops-per-pair {command.flops_per_pair:g} is not a number of training FLOPs for each parameter "
            f"and token; give a positive one, such as 6"
        )
    frame = read_source(command.source)
    table = law_table(frame, "chinchilla", inputs=command.inputs, target=command.error)
    found = allocate(
        table.inputs,
        table.target,
        command.flops,
        loss=Loss(residual="log", rho="huber", delta=command.delta),
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
    output(command.json, found.to_dict(), lambda: lines)
    return 0
