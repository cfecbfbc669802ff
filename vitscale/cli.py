"""The command line: parse, call, print. The commands are in `vitscale.commands`.

Exit codes: 0 done, 1 something failed while it ran, 2 the input or the store was refused (what was
measured before is kept, and nothing is left half-written).
"""

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import tyro
from tyro.conf import subcommand

from vitscale.commands import (
    advise,
    allocate,
    convert,
    data,
    fit,
    frontier,
    import_runs,
    plot,
    quickstart,
    rehearse,
    report,
    reproduce,
    shape,
    shapefinder,
    status,
    store,
    sweep,
    train,
    worker,
)

Command = (
    Annotated[quickstart.Quickstart, subcommand("quickstart")]
    | Annotated[sweep.Sweep, subcommand("sweep")]
    | Annotated[rehearse.Rehearse, subcommand("rehearse")]
    | Annotated[worker.Worker, subcommand("worker")]
    | Annotated[worker.Resume, subcommand("resume")]
    | Annotated[worker.Cancel, subcommand("cancel")]
    | Annotated[train.Train, subcommand("train")]
    | Annotated[data.Data, subcommand("data")]
    | Annotated[status.Status, subcommand("status")]
    | Annotated[store.StoreCommand, subcommand("store")]
    | Annotated[import_runs.Import, subcommand("import")]
    | Annotated[fit.Fit, subcommand("fit")]
    | Annotated[report.Report, subcommand("report")]
    | Annotated[report.Demo, subcommand("demo")]
    | Annotated[plot.Plot, subcommand("plot")]
    | Annotated[frontier.Frontier, subcommand("frontier")]
    | Annotated[allocate.Allocate, subcommand("allocate")]
    | Annotated[advise.Advise, subcommand("advise")]
    | Annotated[shape.ShapeFor, subcommand("shape")]
    | Annotated[convert.Convert, subcommand("convert")]
    | Annotated[shapefinder.Shapefinder, subcommand("shapefinder")]
    | Annotated[reproduce.Reproduce, subcommand("reproduce")]
)

_RUN: dict[type, Callable[[Any], int]] = {
    quickstart.Quickstart: quickstart.run,
    sweep.Sweep: sweep.run,
    rehearse.Rehearse: rehearse.run,
    worker.Worker: worker.run_worker,
    worker.Resume: worker.run_resume,
    worker.Cancel: worker.run_cancel,
    train.Train: train.run,
    data.Data: data.run,
    status.Status: status.run,
    store.StoreCommand: store.run,
    import_runs.Import: import_runs.run,
    fit.Fit: fit.run,
    report.Report: report.run_report,
    report.Demo: report.run_demo,
    plot.Plot: plot.run,
    frontier.Frontier: frontier.run,
    allocate.Allocate: allocate.run,
    advise.Advise: advise.run,
    shape.ShapeFor: shape.run,
    convert.Convert: convert.run,
    shapefinder.Shapefinder: shapefinder.run,
    reproduce.Reproduce: reproduce.run,
}


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
