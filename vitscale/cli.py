"""The command line: parse, call, print.

Each command is a frozen dataclass, whose fields are its flags and whose docstring is its help, and a
function that runs it. What a command needs is imported when it runs, so that help, plans and fits
answer at once and without jax.

Exit codes: 0 done, 1 something failed while it ran, 2 the input or the store was refused (what was
measured before is kept, and nothing is left half-written).
"""

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional, arg, subcommand

if TYPE_CHECKING:
    import pandas as pd

    from vitscale.fits.answer import Setting
    from vitscale.fits.fit_file import FitFile
    from vitscale.sweeps.plan import Plan


@dataclasses.dataclass(frozen=True)
class Quickstart:
    """Train real ViTs, fit the law, and hold a compute-optimal shape: minutes on two CPU cores.

    Runs the quickstart grid and star on procedural glyphs, fits eq. (2) of Getting ViT in Shape,
    and writes the store, fit.json, the shape for timm, Hugging Face and big_vision, and figures.
    Stopped at any moment, the same command goes on where it was.

    Example:  vitscale quickstart --out my-first-shape
    """

    out: Path = Path("vitscale-quickstart")
    """Folder for the store, the fit, the shape and the figures."""
    workers: int | None = None
    """Worker processes; by default one for each core."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Plan or run a sweep: a star through a large centre, or a grid of small shapes.

    Shows trials, parameters, FLOPs, what sharing trunks saves, and warns where the values cannot
    identify the law. With --store it then trains what the store does not hold yet; stopped at any
    moment, the same command goes on.

    Presets: sovit (the paper's own, to plan and price), quickstart, laptop, gpu-hour. Your own
    sweeps are TOML files; --toml prints any plan as one to start from.

    Examples:  vitscale sweep star sovit
               vitscale sweep grid laptop --store runs/laptop
               vitscale sweep star my-sweep.toml --store runs/mine --plan
    """

    kind: Positional[Literal["star", "grid"]]
    """Which of the two."""
    sweep: Positional[str]
    """A preset's name or a TOML file."""
    store: Path | None = None
    """Folder of the measurements; made where it is missing."""
    plan: bool = False
    """Show the plan and stop, even with --store; what the store holds is not counted again."""
    calibrate: bool = False
    """Train a few seconds to estimate how long the plan takes on this machine."""
    toml: bool = False
    """Print the plan as a TOML file and stop."""
    workers: int | None = None
    """Worker processes; by default one for each accelerator or core."""
    threads: int = 1
    """Threads of each worker, on CPU."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclasses.dataclass(frozen=True)
class Status:
    """What a store holds: trials by shape, durations, what diverged, which files are damaged.

    Example:  vitscale status runs/laptop
    """

    store: Positional[Path]
    """Folder of the measurements."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """Fit the scaling law of each shape dimension, with intervals, and say what is not identified.

    SOURCE is a store, or any CSV or Parquet file whose columns have these names or are mapped to
    them by flags. In a store the star, its centre and the grid are found from the shapes.

    Examples:  vitscale fit runs/laptop --out fit.json
               vitscale fit sovit_star_sweep.csv --x x --dimension dimension
                   --compute forward_gflops --error error --json
    """

    source: Positional[Path]
    """A store's folder, a .csv or a .parquet file."""
    out: Annotated[Path | None, arg(aliases=["-o"])] = None
    """Write the fit here as JSON, for `vitscale shape --fit`."""
    figures: Path | None = None
    """Folder to draw the star curves and the profiles of the exponents into."""
    x: str | None = None
    """Column of sizes (default: x)."""
    dimension: str | None = None
    """Column that names the dimension of each row (default: dimension)."""
    compute: str | None = None
    """Column of compute: train_flops, forward_flops, forward_gflops, or any other unit."""
    error: str | None = None
    """Column of errors or losses (default: error)."""
    is_center: str | None = None
    """Column of 0 and 1 that marks the centre of the star (default: is_center)."""
    model: str | None = None
    """Column that tells trained networks apart (default: same size and seed is one network)."""
    flops_per_unit: float | None = None
    """Training FLOPs in one unit of the compute column, where its name does not say."""
    metric: str | None = None
    """In a store: which metric to fit."""
    recipe: str | None = None
    """In a store: which recipe_id to fit, where there are several."""
    no_center: bool = False
    """Leave the star's centre out of the fit."""
    t_ref: float | None = None
    """Compute at which optimal sizes are given, in the column's unit (default: the largest)."""
    resamples: int = 200
    """Bootstrap resamples of whole models; 0 for none."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclasses.dataclass(frozen=True)
class ShapeFor:
    """The compute-optimal shape for a budget, from a fit or from the paper's own rule.

    Examples:  vitscale shape --flops 1e21
               vitscale shape --fit fit.json --like "ViT-g/14 x 16e9" --emit my-vit
    """

    flops: float | None = None
    """Budget in training FLOPs: 3 x forward FLOPs x images."""
    like: str | None = None
    """Budget of a known training run, as "ViT-g/14 x 16e9" (model x images seen)."""
    fit: Path | None = None
    """What `vitscale fit --out` wrote. Without it, the published rule."""
    rule: str = "sovit-figure1"
    """Published exponents to use without --fit: sovit-figure1, sovit-text, sovit-figure5 or
    sovit-multitask."""
    emit: Path | None = None
    """Folder to write the configs for timm, Hugging Face and big_vision into."""
    classes: int = 0
    """Outputs of the classifier in the emitted configs; 0 for none."""
    patch: int | None = None
    """Patch size in pixels (default: the fit's, or 14)."""
    image_size: int | None = None
    """Image size in pixels (default: the fit's, or 224)."""
    readout: Literal["gap", "map", "tok"] | None = None
    """Mean over tokens, attention pooling, or class token (default: the fit's, or gap)."""
    heads: int | None = None
    """Number of attention heads; the width becomes a multiple of it."""
    head_dim: int | None = None
    """Channels of a head; the width becomes a multiple of it."""
    width_multiple: int | None = None
    """Round the width to a multiple of this too."""
    mlp_multiple: int | None = None
    """Round mlp_dim to a multiple of this (default: the fit's, or 16)."""
    json: bool = False
    """Print one JSON object instead of text."""


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


Command = (
    Annotated[Quickstart, subcommand("quickstart")]
    | Annotated[Sweep, subcommand("sweep")]
    | Annotated[Status, subcommand("status")]
    | Annotated[Fit, subcommand("fit")]
    | Annotated[ShapeFor, subcommand("shape")]
    | Annotated[Reproduce, subcommand("reproduce")]
)


def main() -> None:
    """Entry point of `vitscale`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Parse and run one command; returns its exit code."""
    command = tyro.cli(
        Command,
        args=arguments,
        prog="vitscale",
        description="Which width, depth, MLP size and training length a ViT should have, for a "
        "compute budget: from a few cheap experiments, with error bars.",
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    try:
        return _RUN[type(command)](command)
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            return _output_closed()
        return _refuse(_sentence(error))
    except RuntimeError as error:
        print(f"vitscale: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 1


def _quickstart(command: Quickstart) -> int:
    from vitscale.quickstart import quickstart

    result = quickstart(command.out, workers=command.workers, quiet=command.json)
    if result is None:
        return 1
    _output(command.json, result.to_dict(), result.lines)
    return 0


def _sweep(command: Sweep) -> int:
    plan = _plan(command.kind, command.sweep)
    if command.toml:
        from vitscale.sweeps.config import plan_to_toml

        sys.stdout.write(plan_to_toml(plan))
        return 0
    show_only = command.plan or command.store is None
    from vitscale.sweeps.display import preview_lines, preview_tables, report_lines, run_display
    from vitscale.sweeps.engines.local import LocalEngine
    from vitscale.sweeps.preview import preview
    from vitscale.sweeps.run import run
    from vitscale.sweeps.store import Store

    engine = LocalEngine(workers=command.workers, threads=command.threads)
    try:
        store = None
        if command.calibrate or not show_only:
            engine.check(plan.trials[0])  # before anything is made
        if command.store is not None and (command.store.exists() or not show_only):
            store = Store.open(command.store, create=not show_only)
        bill = preview(
            plan,
            measured=store.measured_durations() if store else None,
            resumable=store.resumable() if store else (),
            speed=engine.calibrate(plan.trials) if command.calibrate else None,
            workers=engine.workers,
        )
        if show_only or store is None:
            if command.json:
                _print_json(bill.as_dict())
            else:
                from rich.console import Console

                Console().print(preview_tables(bill))
                if command.store is None:
                    print("nothing was trained; name a --store to run this plan")
            return 0
        display = None
        if not command.json:
            for line in preview_lines(bill):
                print(line, file=sys.stderr, flush=True)
            display = run_display()
        report = run(plan, engine, store, display=display)
    finally:
        engine.cancel()
    _output(command.json, dataclasses.asdict(report), lambda: report_lines(report))
    return 0 if report.complete else 1


def _status(command: Status) -> int:
    from vitscale.sweeps.status import store_status
    from vitscale.sweeps.store import Store

    status = store_status(Store.open(command.store))
    _output(command.json, status.to_dict(), status.lines)
    return 1 if status.problems else 0


def _fit(command: Fit) -> int:
    from vitscale.fits.fit_file import write_json
    from vitscale.fits.report import fit_lines

    result, table = _fit_source(command)
    if command.out is not None:
        write_json(command.out, result.to_dict())
    figures = []
    if command.figures is not None:
        from vitscale.fits import plots

        drawn = {
            "star.png": plots.star_figure(table, result.fit),
            "profiles.png": plots.profile_figure(result.fit),
        }
        for name, figure in drawn.items():
            figures.append(command.figures / name)
            plots.save(figure, figures[-1])
    written = [str(path) for path in [command.out, *figures] if path is not None]
    lines = [*fit_lines(result.fit), *(f"wrote {path}" for path in written)]
    _output(command.json, result.to_dict(), lambda: lines)
    return 0


def _fit_source(command: Fit) -> "tuple[FitFile, pd.DataFrame]":
    """Fit a store (with the starting point of its grid, if it has one) or a table."""
    from vitscale.fits.files import read_table
    from vitscale.fits.fit_file import FitFile
    from vitscale.fits.shape_law import fit_star
    from vitscale.fits.store_fit import fit_store
    from vitscale.fits.store_tables import is_store
    from vitscale.fits.tables import star_table

    options: dict[str, Any] = {
        "include_center": not command.no_center,
        "t_ref": command.t_ref,
        "resamples": command.resamples,
    }
    frame = read_table(command.source)
    mapped = {
        "--x": command.x,
        "--dimension": command.dimension,
        "--compute": command.compute,
        "--error": command.error,
        "--is-center": command.is_center,
        "--model": command.model,
        "--flops-per-unit": command.flops_per_unit,
    }
    if is_store(frame):
        given = [flag for flag, value in mapped.items() if value is not None]
        if given:
            raise ValueError(
                f"{', '.join(given)} maps the columns of a table, but {command.source} is a store, "
                f"whose columns are known; choose its rows with --metric and --recipe"
            )
        return fit_store(frame, metric=command.metric, recipe=command.recipe, **options)
    for flag, value in (("--metric", command.metric), ("--recipe", command.recipe)):
        if value is not None:
            raise ValueError(
                f"{flag} {value} chooses among the rows of a store, but {command.source} is not "
                f"one; name its columns with --x, --compute and --error instead"
            )
    table = star_table(
        frame,
        dimension=command.dimension,
        x=command.x,
        compute=command.compute,
        error=command.error,
        is_center=command.is_center,
        model=command.model,
        flops_per_unit=command.flops_per_unit,
    )
    from vitscale.fits.answer import Setting

    return FitFile(fit=fit_star(table, **options), start=None, setting=Setting()), table


def _shape(command: ShapeFor) -> int:
    from vitscale.fits.answer import Setting, answer, emit_answer
    from vitscale.fits.fit_file import read_fit
    from vitscale.fits.rule import flops_like, published_rule

    if (command.flops is None) == (command.like is None):
        raise ValueError('give the budget either as --flops 1e21 or as --like "ViT-g/14 x 16e9"')
    measured = None
    if command.fit is None:
        rule, setting = published_rule(command.rule), Setting(heads=16)
    else:
        content = read_fit(command.fit)
        rule, setting, measured = content.rule(), content.setting, content.measured_flops()
    budget = command.flops if command.flops is not None else flops_like(str(command.like))
    found = answer(rule, budget, _changed(setting, command), measured_flops=measured)
    written = []
    if command.emit is not None:
        written = emit_answer(found, command.emit, classes=command.classes)
    lines = [*found.lines(), *(f"wrote {path}" for path in written)]
    _output(command.json, found.to_dict() | {"written": list(map(str, written))}, lambda: lines)
    return 0


def _changed(setting: "Setting", command: ShapeFor) -> "Setting":
    """The setting with what the command's flags say otherwise."""
    flags = ("patch", "image_size", "readout", "width_multiple", "mlp_multiple")
    changes = {name: getattr(command, name) for name in flags}
    if command.heads is not None or command.head_dim is not None:
        setting = dataclasses.replace(setting, heads=command.heads, head_dim=command.head_dim)
    return dataclasses.replace(
        setting, **{name: value for name, value in changes.items() if value is not None}
    )


def _reproduce(command: Reproduce) -> int:
    from vitscale.fits.reproduce import reproduce_sovit

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
    _output(command.json, result.to_dict(), lambda: lines)
    return 0


_RUN: dict[type, Callable[[Any], int]] = {
    Quickstart: _quickstart,
    Sweep: _sweep,
    Status: _status,
    Fit: _fit,
    ShapeFor: _shape,
    Reproduce: _reproduce,
}


def _plan(kind: Literal["star", "grid"], name: str) -> "Plan":
    """The plan of a TOML file or of a preset, which must be of this kind."""
    from vitscale.sweeps.config import read_plan
    from vitscale.sweeps.presets import preset

    if name.endswith(".toml") or os.sep in name:
        plan = read_plan(name)
        if plan.kind != kind:
            raise ValueError(f"{name} is a {plan.kind}; run it with: vitscale sweep {plan.kind}")
        return plan
    return preset(f"{name.removesuffix(f'-{kind}')}-{kind}")


def _output(as_json: bool, content: dict[str, Any], lines: Callable[[], list[str]]) -> None:
    if as_json:
        _print_json(content)
    else:
        print("\n".join(lines()))


def _print_json(content: dict[str, Any]) -> None:
    from vitscale.fits.fit_file import finite

    json.dump(finite(content), sys.stdout, allow_nan=False, default=str)
    sys.stdout.write("\n")


def _sentence(error: ValueError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _refuse(sentence: str) -> int:
    print(f"vitscale: {sentence}", file=sys.stderr)
    return 2


def _output_closed() -> int:
    # Whoever read our output has gone (as `head` does); do not complain at exit either.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


if __name__ == "__main__":
    main()
