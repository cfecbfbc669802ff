"""`vitscale plot`."""

import dataclasses
import functools
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from tyro.conf import Positional, arg

from vitscale.commands.looks import Looks
from vitscale.commands.options import Groups
from vitscale.commands.output import output
from vitscale.commands.pairs import flops_of_a_pair, refuse_pairs_of_a_star
from vitscale.commands.star_source import COLUMN_GROUPS, Columns
from vitscale.fits.option_error import in_flags

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vitscale.drawing import Material

Name = Literal[
    "star",
    "isoflop",
    "parity",
    "profiles",
    "optimal_shape",
    "frontier",
    "backtest",
    "coverage",
    "plan_cost",
]
_SAY_AFTER_S = 1.0
_LINE_BUDGETS = 13


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plot(Columns, Looks):
    """Draw every figure that a store or a table allows, and say for each other why not.

    SOURCE is what `vitscale fit` takes: a store, or a CSV or Parquet file whose columns have the usual names
    or are mapped to them by flags.

    Examples:  vitscale plot runs/laptop --out figures
               vitscale plot sovit_star_sweep.csv --compute forward_gflops --out slides --theme dark --size slide
               vitscale plot runs/laptop --out pages --only star frontier --interactive
    """

    groups: ClassVar[Groups] = {
        "The pictures": ("only", "theme", "size", "format", "interactive"),
        **COLUMN_GROUPS,
        "The fit": ("no_center", "level"),
        "Runs of other models": ("law", "inputs", "flops_per_pair"),
    }

    drawn_to: ClassVar[str] = "out"

    source: Positional[str]
    """A store (a folder, or s3://..., gs://...), a .csv or a .parquet file."""
    out: Annotated[Path, arg(aliases=["-o"])]
    """Folder to draw into; it is made where it is missing."""
    only: tuple[Name, ...] = ()
    """Draw these alone."""
    format: Literal["png", "svg", "pdf"] = "png"
    """Of the files."""
    interactive: bool = False
    """Also write star, frontier and optimal_shape as pages of HTML that show each run under the pointer and
    need no network (about 5 MB each)."""
    no_center: bool = False
    """Leave the star's centre out of the fit."""
    level: float = 0.95
    """Probability of the fit's intervals."""
    law: Literal["star", "chinchilla"] = "star"
    """With chinchilla: draw how budgets divide between parameters and tokens, and the law's back-test."""
    inputs: tuple[str, ...] = ()
    """With --law chinchilla: columns of N and D, as N=params D=tokens (default: the same names)."""
    flops_per_pair: float | None = None
    """With --law chinchilla: training FLOPs for each parameter and token (default: 6); where D is in images,
    about 6 x tokens per image (1176 at 224 px and patch 16)."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(command: Plot) -> int:
    from vitscale.drawing import FIGURES, PAGES

    if command.law == "chinchilla":
        return _plot_allocation(command)
    if command.inputs:
        raise ValueError("--inputs names the columns of --law chinchilla; add it")
    refuse_pairs_of_a_star(command.flops_per_pair)
    if command.interactive:
        _refuse_without_plotly()
    material = _material(command)
    chosen = [name for name in FIGURES if not command.only or name in command.only]
    return _draw(
        command,
        {name: functools.partial(FIGURES[name], material) for name in chosen},
        {name: functools.partial(PAGES[name], material) for name in chosen if name in PAGES}
        if command.interactive
        else {},
    )


def _draw(
    command: Plot,
    figures: "Mapping[str, Callable[[], Figure]]",
    pages: Mapping[str, Callable[[Path], Path]],
) -> int:
    """Draw what can be drawn, and say for the rest why not; `pages` go beside figures of their names."""
    from vitscale.fits import plots

    began = time.monotonic()
    written: list[tuple[str, Path]] = []
    refused: dict[str, str] = {}
    for number, (name, figure) in enumerate(figures.items(), 1):
        if time.monotonic() - began > _SAY_AFTER_S:
            print(f"[{number}/{len(figures)}] {name}", file=sys.stderr, flush=True)
        try:
            path = plots.save(figure(), command.out / f"{name}.{command.format}")
            written.append((name, path))
            if name in pages:
                written.append((name, pages[name](command.out / f"{name}.html")))
        except ValueError as error:
            refused[name] = in_flags(error)
    lines = [f"wrote {path}" for _, path in written]
    for sentence in dict.fromkeys(refused.values()):
        names = ", ".join(name for name, reason in refused.items() if reason == sentence)
        lines.append(f"no {names}: {sentence}")
    if not written:
        raise ValueError("; ".join(lines))
    content = {
        "source": command.source,
        "theme": command.theme,
        "size": command.size,
        "written": [{"figure": name, "path": str(path)} for name, path in written],
        "not_drawn": refused,
    }
    output(command.json, content, lambda: lines)
    return 0


def _material(command: Plot) -> "Material":
    from vitscale.commands.star_source import fit_source
    from vitscale.drawing import Columns as RunColumns
    from vitscale.drawing import Material
    from vitscale.sources import read_source, store_of

    named = ("compute", "error", "metric", "recipe", "model")
    columns = {name: getattr(command, name) for name in named}
    frame = read_source(command.source)
    return Material(
        frame=frame,
        columns=RunColumns(**columns),
        store=store_of(command.source),
        fit=lambda: fit_source(
            frame,
            command.source,
            command,
            include_center=not command.no_center,
            level=command.level,
            resamples=0,
        ),
    )


def _plot_allocation(command: Plot) -> int:
    """The division of budgets and the back-test of Chinchilla's law on a table of runs."""
    import numpy as np

    from vitscale.fits import plots
    from vitscale.fits.allocation import allocate, backtest_allocation
    from vitscale.fits.allocation_checks import refuse_store
    from vitscale.fits.law_table import law_table
    from vitscale.sources import read_source

    allowed = ("error", "model")
    given = [
        f"--{name.replace('_', '-')}"
        for name in (
            *(each.name for each in dataclasses.fields(Columns)),
            "only",
            "interactive",
            "no_center",
        )
        if name not in allowed and getattr(command, name)
    ]
    if given:
        raise ValueError(
            f"{', '.join(given)} is for a star, not for --law chinchilla; leave it out"
        )
    pair = flops_of_a_pair(command.flops_per_pair)
    frame = read_source(command.source)
    refuse_store(frame)
    table = law_table(
        frame,
        command.law,
        inputs=command.inputs,
        target=command.error,
        cluster=command.model,
    )
    spent = pair * table.inputs["N"] * table.inputs["D"]
    line = [float(budget) for budget in np.geomspace(spent.min(), 10 * spent.max(), _LINE_BUDGETS)]

    def division() -> "Figure":
        found = allocate(
            table.inputs,
            table.target,
            line,
            cluster=table.cluster,
            flops=pair,
            level=command.level,
        )
        return plots.allocation_figure(
            found, table.inputs, table.target, target=table.target_column, flops=pair
        )

    def tested() -> "Figure":
        test = backtest_allocation(table, level=command.level)
        return plots.backtest_figure(test, metric=table.target_column)

    return _draw(command, {"allocation": division, "backtest": tested}, {})


def _refuse_without_plotly() -> None:
    from importlib.util import find_spec

    if find_spec("plotly") is None:
        raise ValueError(
            "--interactive needs plotly, which is not installed; get it with: "
            "pip install 'vitscale[interactive]'"
        )
