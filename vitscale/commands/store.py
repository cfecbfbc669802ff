"""`vitscale store compact|check|export|merge`."""

import dataclasses
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, subcommand

from vitscale.commands.output import output
from vitscale.commands.saying import working


@dataclasses.dataclass(frozen=True)
class Compact:
    """Put the many small files of a store into one, while sweeps go on. Nothing is lost if it is killed.

    Example:  vitscale store compact runs/laptop
    """

    store: Positional[str]
    """Folder or address of the measurements."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclasses.dataclass(frozen=True)
class Check:
    """Read every file of a store whole, by its checksums; name what is damaged and what to do.

    Exit code 1 where something is wrong.

    Example:  vitscale store check runs/laptop
    """

    store: Positional[str]
    """Folder or address of the measurements."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclasses.dataclass(frozen=True)
class Export:
    """Write all measurements of a store into one CSV or Parquet file.

    Example:  vitscale store export runs/laptop laptop.csv
    """

    store: Positional[str]
    """Folder or address of the measurements."""
    file: Positional[Path]
    """The .csv or .parquet file to write."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclasses.dataclass(frozen=True)
class Merge:
    """Bring what other stores hold into one; the first result of a trial stays.

    Example:  vitscale store merge runs/all runs/laptop s3://bucket/runs/cluster
    """

    store: Positional[str]
    """Folder or address of the store that takes them; made where it is missing."""
    sources: Positional[tuple[str, ...]]
    """Folders or addresses of stores to bring."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclasses.dataclass(frozen=True)
class StoreCommand:
    """Compact, check, export or merge stores of measurements."""

    do: (
        Annotated[Compact, subcommand("compact")]
        | Annotated[Check, subcommand("check")]
        | Annotated[Export, subcommand("export")]
        | Annotated[Merge, subcommand("merge")]
    )


def run(command: StoreCommand) -> int:
    match command.do:
        case Compact():
            return _compact(command.do)
        case Check():
            return _check(command.do)
        case Export():
            return _export(command.do)
        case Merge():
            return _merge(command.do)


def _compact(command: Compact) -> int:
    from vitscale.sweeps.store import Store

    with working(f"compacting {command.store}"):
        done = Store.open(command.store).compact()
    values = {"compacted": done is not None} | (dataclasses.asdict(done) if done else {})
    text = "nothing to compact: no single files, or another process compacts at this moment"
    if done is not None:
        text = (
            f"{done.files} files are one now, {done.base}: {done.rows:,} measurements of "
            f"{done.durations:,} cooled-down models"
        )
    output(command.json, values, lambda: [text])
    return 0


def _check(command: Check) -> int:
    from vitscale.sweeps.recorded import read_recorded
    from vitscale.sweeps.store import Store

    store = Store.open(command.store)
    with working(f"reading every file of {store.name}"):
        measurements, plans = store.check(), read_recorded(store).unreadable
    problems = [*measurements, *plans]
    damaged = [{"path": str(p.path), "reason": p.reason} for p in problems]
    lines = [f"{problem.path} {problem.reason}" for problem in problems]
    if measurements:
        lines.append(
            f"{len(measurements)} of the files are not to be trusted; move single ones out of the store and "
            f"run the same sweeps again to measure them anew: nothing else is lost"
        )
    if not problems:
        files = sum(map(len, store.measured_durations().values()))
        lines = [f"{store.name} is whole: {files:,} cooled-down models measured"]
    output(command.json, {"store": store.name, "problems": damaged}, lambda: lines)
    return 1 if problems else 0


def _export(command: Export) -> int:
    from vitscale.fits.export import replace_text
    from vitscale.sweeps.store import Store

    kind = command.file.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise ValueError(f"{command.file} is of an unknown kind; name a .csv or .parquet file")
    with working(f"reading {command.store}"):
        table = Store.open(command.store).table()
    if kind == ".csv":
        replace_text(command.file, table.to_pandas().to_csv(index=False))
    else:
        import pyarrow.parquet as pq

        aside = command.file.with_name(f".{command.file.name}.aside")
        try:
            pq.write_table(table, aside)
            aside.replace(command.file)
        finally:
            aside.unlink(missing_ok=True)
    values = {"file": str(command.file), "rows": len(table)}
    output(command.json, values, lambda: [f"wrote {len(table):,} measurements to {command.file}"])
    return 0


def _merge(command: Merge) -> int:
    from vitscale.sweeps.merge import merge
    from vitscale.sweeps.store import Store

    if not command.sources:
        raise ValueError("name one store or more to bring into the first")
    sources = [Store.open(source) for source in command.sources]
    into = Store.open(command.store, create=True)
    into.prepare()
    done = []
    for source in sources:
        with working(f"bringing {source.name} into {into.name}"):
            done.append(merge(into, source))
    lines = []
    for each in done:
        lines.append(
            f"{each.source}: {each.copied:,} cooled-down models and {each.plans} plans brought, "
            f"{each.same:,} were there with the same values"
        )
        if each.differing:
            shown = ", ".join(each.differing[:5]) + (", ..." if len(each.differing) > 5 else "")
            lines.append(
                f"  warning: {len(each.differing)} were there with other values, which stay: {shown}"
            )
    output(
        command.json,
        {"store": into.name, "merged": [dataclasses.asdict(d) for d in done]},
        lambda: lines,
    )
    return 0
