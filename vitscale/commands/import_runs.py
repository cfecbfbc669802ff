"""`vitscale import`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tyro.conf import Positional

from vitscale.commands.options import Groups
from vitscale.commands.output import output
from vitscale.commands.saying import log, working

if TYPE_CHECKING:
    from vitscale.sweeps.importers.into_store import Brought
    from vitscale.sweeps.importers.mapping import Imported
    from vitscale.sweeps.importers.reading import Reading, Wish

_SHOWN = 20


@dataclasses.dataclass(frozen=True)
class Import:
    """Bring runs that other tools recorded into a store, to fit them: from a CSV, W&B, MLflow, TensorBoard.

    Columns are guessed by their names, and what was guessed is told; name them with --map, and values that
    are the same for all runs with --set. All rows are checked before the first is written; importing twice
    adds nothing.

    Fields: model, width, depth, mlp_dim or mlp_ratio, heads or head_dim, patch, image_size, channels,
    readout, seed, batch_size, examples (or steps with batch_size, or epochs with train_examples),
    train_flops, learning_rate, data, recipe, device, train_seconds, measured_at, and run.

    Examples:  vitscale import runs.csv --metric error=val_error --set patch=16 --dry-run
               vitscale import wandb --accuracy imagenet_error=val/top1 --store runs/mine
               vitscale import mlruns --map width=hidden_size --only experiment=star --store runs/mine
    """

    groups: ClassVar[Groups] = {
        "What columns mean": ("map", "set", "metric", "accuracy", "recipe", "step_unit"),
        "Which runs": ("only", "unfinished", "every_point"),
    }

    source: Positional[Path]
    """A CSV; W&B's folder, run folder or JSON; MLflow's mlruns or mlflow.db; a folder of TensorBoard logs."""
    store: str | None = None
    """Folder or address of the store that takes them; made where it is missing."""
    kind: Literal["csv", "wandb", "mlflow", "tensorboard"] | None = None
    """The format, where it is not to be found out."""
    map: tuple[str, ...] = ()
    """Columns of fields, as FIELD=COLUMN: width=hidden_size."""
    set: tuple[str, ...] = ()
    """Values that are the same for all runs, as FIELD=VALUE: image_size=224 patch=16."""
    metric: tuple[str, ...] = ()
    """Errors or losses to bring, as NAME=COLUMN, or the column alone."""
    accuracy: tuple[str, ...] = ()
    """Accuracies (0 to 1, or percent) to bring as errors, as NAME=COLUMN."""
    recipe: tuple[str, ...] | None = None
    """Columns that tell recipes apart; runs of several recipes are not fitted together."""
    only: tuple[str, ...] = ()
    """Bring runs with this value in this column alone, as COLUMN=VALUE."""
    unfinished: bool = False
    """Bring runs too that failed, were killed, or are still running."""
    every_point: bool = False
    """Each point of a metric's curve is a measurement, not the last alone: only for runs whose learning
    rate was annealed, or constant, at each."""
    step_unit: Literal["steps", "examples"] = "steps"
    """What the steps of curves count: optimizer steps (of batch_size examples) or examples."""
    dry_run: bool = False
    """Show what would be imported, and write nothing."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(command: Import) -> int:
    from vitscale.sweeps.importers.into_store import bring
    from vitscale.sweeps.importers.mapping import measurements
    from vitscale.sweeps.importers.reading import read_columns
    from vitscale.sweeps.importers.table import read_source
    from vitscale.sweeps.store import Store

    if command.store is None and not command.dry_run:
        raise ValueError("name the --store that takes the runs, or look at them with --dry-run")
    wish = _wish(command)
    with working(f"reading {command.source}"):
        source = read_source(command.source, kind=command.kind, key=wish.columns.get("run"))
    log.info("found %d runs in %s", len(source.runs), source.name)
    reading = read_columns(source, wish)
    imported = measurements(source, reading, wish)
    brought = None
    if command.store is not None and not command.dry_run:
        with working(f"writing to {command.store}"):
            brought = bring(imported, Store.open(command.store, create=True))
    values = _values(command, reading, imported, brought)
    output(command.json, values, lambda: _lines(command, source.name, reading, imported, brought))
    return 0


def _wish(command: Import) -> "Wish":
    from vitscale.sweeps.importers.reading import Wish

    return Wish(
        columns=_pairs("--map", command.map),
        constants=_pairs("--set", command.set),
        metrics=command.metric,
        accuracies=command.accuracy,
        recipe=command.recipe,
        only=_pairs("--only", command.only),
        unfinished=command.unfinished,
        every_point=command.every_point,
        step_unit=command.step_unit,
    )


def _pairs(flag: str, texts: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"{flag} {text}: expected NAME=VALUE")
        if name in pairs:
            raise ValueError(f"{flag} names {name} twice; say it once")
        pairs[name.strip()] = value.strip()
    return pairs


def _values(
    command: Import, reading: "Reading", imported: "Imported", brought: "Brought | None"
) -> dict[str, Any]:
    """What was understood and done, as plain values; with --dry-run all rows."""
    values: dict[str, Any] = {
        "source": str(command.source),
        "store": command.store,
        "columns": dict(reading.columns),
        "guessed": list(reading.guessed),
        "metrics": {metric.name: metric.column for metric in reading.metrics},
        "recipe_columns": list(reading.recipe),
        "recipes": imported.recipes,
        "trials": len(imported.where),
        "models": len(imported.rows),
        "unfinished": list(imported.unfinished),
        "unmeasured": list(imported.unmeasured),
        "diverged": list(imported.diverged),
        "left_out": imported.others,
    }
    if brought is not None:
        values |= dataclasses.asdict(brought)
    else:
        values["rows"] = [dataclasses.asdict(r) for rows in imported.rows.values() for r in rows]
    return values


def _lines(
    command: Import,
    name: str,
    reading: "Reading",
    imported: "Imported",
    brought: "Brought | None",
) -> list[str]:
    """The same for a person to read."""
    lines = [] if brought is not None else _table(imported)
    lines += _understood(name, reading)
    for what, runs in (
        ("did not finish and were left out (--unfinished brings them)", imported.unfinished),
        ("have none of these metrics and were left out", imported.unmeasured),
        ("diverged, and are recorded as that", imported.diverged),
    ):
        if runs:
            lines.append(f"{len(runs)} runs {what}: {_few(runs)}")
    if imported.others:
        lines.append(f"{imported.others} runs were left out by --only")
    if imported.recipes > 1:
        lines.append(
            f"warning: these are runs of {imported.recipes} recipes (by {', '.join(reading.recipe)}), which "
            f"vitscale fit takes one at a time (--recipe ID); say which columns matter with --recipe"
        )
    models, trials = f"{len(imported.rows):,} models", f"{len(imported.where):,} runs"
    if brought is None:
        return [*lines, f"{models} of {trials} would be imported; nothing was written"]
    if brought.differing:
        lines.append(
            f"warning: {len(brought.differing)} models were there with other values, which stay: "
            f"{_few(brought.differing)}"
        )
    lines.append(
        f"{brought.written:,} of {models} of {trials} written to {command.store}"
        + (f", {brought.same:,} were there" if brought.same else "")
    )
    return lines


def _understood(name: str, reading: "Reading") -> list[str]:
    """What was guessed, counted and assumed."""
    lines = []
    if reading.guessed:
        pairs = ", ".join(f"{field} from {reading.columns[field]}" for field in reading.guessed)
        lines.append(f"guessed of {name}: {pairs} (--map says otherwise)")
    if reading.metrics_guessed and not reading.tidy:
        named = ", ".join(metric.column for metric in reading.metrics)
        lines.append(f"guessed to be errors or losses: {named} (--metric says otherwise)")
    defaults = {"channels": "channels 3", "readout": "readout gap", "seed": "seed 0"}
    assumed = [text for field, text in defaults.items() if not reading.knows(field)]
    if not reading.knows("train_flops"):
        assumed.append("train_flops 3 x forward FLOPs of the shape x examples")
    return [*lines, f"assumed: {', '.join(assumed)}"] if assumed else lines


def _table(imported: "Imported") -> list[str]:
    """The first measurements, one model a line."""
    names = ("width", "depth", "mlp_dim", "heads", "patch", "image_size")
    head = "".join(f"{name:>11}" for name in names)
    lines = [f"{head}{'examples':>16}{'train_flops':>13}  measured"]
    for rows in list(imported.rows.values())[:_SHOWN]:
        first = rows[0]
        sizes = "".join(f"{getattr(first, name):>11,}" for name in names)
        found = ", ".join(
            f"{row.metric} {row.value:.5g}" if row.value is not None else f"diverged: {row.reason}"
            for row in rows
        )
        lines.append(
            f"{sizes}{first.examples:>16,}{first.train_flops:>13.3e}  {found}  ({imported.where[first.trial_id]})"
        )
    more = len(imported.rows) - _SHOWN
    return [*lines, f"and {more:,} more"] if more > 0 else lines


def _few(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
