"""`vitscale fit`."""

import dataclasses
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import Positional, arg

from vitscale.commands.fit_law import given_flags, run_law
from vitscale.commands.options import Groups
from vitscale.commands.output import output
from vitscale.commands.saying import log, working
from vitscale.commands.star_source import COLUMN_GROUPS, Columns, fit_source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit(Columns):
    """Fit the scaling law of each shape dimension, with intervals, and say what is not identified.

    SOURCE is a store, or any CSV or Parquet file whose columns have these names or are mapped to
    them by flags. In a store the star, its centre and the grid are found from the shapes. With --law
    any registered law is fitted to any table instead; --law auto compares all laws of one input.

    Examples:  vitscale fit runs/laptop --out fit.json
               vitscale fit sovit_star_sweep.csv --compute forward_gflops --backtest
               vitscale fit runs.csv --law chinchilla --inputs N=params D=tokens --loss log-huber
    """

    groups: ClassVar[Groups] = {
        **COLUMN_GROUPS,
        "The fit": ("no_center", "t_ref", "level", "resamples"),
        "Back-tests": ("backtest", "leave_out", "along"),
        "Any other law": ("law", "inputs", "loss", "delta", "at"),
    }

    source: Positional[str]
    """A store (a folder, or s3://..., gs://...), a .csv or a .parquet file."""
    out: Annotated[Path | None, arg(aliases=["-o"])] = None
    """Write the fit here as JSON, for `vitscale shape --fit`."""
    figures: Path | None = None
    """Folder to draw the star curves and the profiles of the exponents into."""
    no_center: bool = False
    """Leave the star's centre out of the fit."""
    t_ref: float | None = None
    """Compute at which optimal sizes are given, in the column's unit (default: the largest)."""
    level: float = 0.95
    """Probability of the intervals."""
    resamples: int = 200
    """Bootstrap resamples of whole models; 0 for none."""
    backtest: bool = False
    """Leave out the largest runs, predict them from the rest, and compare, over several cut-offs."""
    leave_out: Literal["compute", "duration", "size"] = "compute"
    """With --backtest of a star: what the runs that are left out are largest in."""
    law: str | None = None
    """Fit this law instead of a star's: power, saturating, double-saturating, m3, m4, broken,
    chinchilla, coupled, shape; or auto, which compares those of one input and averages them."""
    inputs: tuple[str, ...] = ()
    """With --law: columns of the law's inputs, as N=params D=tokens (default: the same names)."""
    loss: Literal["relative", "log", "huber", "log-huber", "soft-l1", "log-soft-l1"] = "relative"
    """With --law: what is minimised."""
    delta: float | None = None
    """With --law: residual from which on a robust loss counts a point as an outlier (default: 0.01)."""
    at: tuple[str, ...] = ()
    """With --law: where to predict a new run, as N=7e10 D=1.4e12, or as 1e9 1e10 for a law of one input."""
    along: str | None = None
    """With --law and --backtest: column that says which runs are the largest (default: the input, or
    the product of the inputs)."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(command: Fit) -> int:
    if command.law is not None:
        return run_law(command)
    given = given_flags(command, ("inputs", "loss", "delta", "along", "at"))
    if given:
        raise ValueError(f"{', '.join(given)} is for a law of your choice; name it with --law")
    if not command.backtest and given_flags(command, ("leave_out",)):
        raise ValueError("--leave-out says what a back-test leaves out; add --backtest")
    return _run_star(command)


def _run_star(command: Fit) -> int:
    from vitscale.fits.fit_file import write_json
    from vitscale.fits.report import fit_lines, isoflop_lines
    from vitscale.sources import read_source

    with working(f"fitting {command.source}"):
        frame = read_source(command.source)
        log.info("read %d rows of %d columns from %s", *frame.shape, command.source)
        result, table = fit_source(
            frame,
            command.source,
            command,
            include_center=not command.no_center,
            t_ref=command.t_ref,
            level=command.level,
            resamples=command.resamples,
        )
    lines, content = fit_lines(result.fit, isoflop_lines(table, result.fit)), result.to_dict()
    test = None
    if command.backtest:
        from vitscale.fits.prediction.backtest import backtest_star

        with working("back-testing"):
            test = backtest_star(table, level=command.level, leave_out=command.leave_out)
        lines += ["", *test.lines()]
        content |= {"backtest": test.to_dict()}
    if command.out is not None:
        write_json(command.out, result.to_dict())
    figures = []
    if command.figures is not None:
        from vitscale.fits import plots

        drawn = {
            "star.png": plots.star_figure(table, result.fit),
            "profiles.png": plots.profile_figure(result.fit),
        }
        if test is not None:
            drawn["backtest.png"] = plots.backtest_figure(test, metric=result.fit.metric)
        for name, figure in drawn.items():
            figures.append(command.figures / name)
            plots.save(figure, figures[-1])
    written = [str(path) for path in [command.out, *figures] if path is not None]
    lines += [f"wrote {path}" for path in written]
    output(command.json, content, lambda: lines)
    return 0
