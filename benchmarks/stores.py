"""The store under fire, and how long it takes to see what is in one.

    uv run python -m benchmarks.stores                  # some 12 minutes on 2 cores
    uv run python -m benchmarks.stores --kills 100 --durations 1000 5000

Four processes append to one store as fast as they can, and tell which measurements the store has
acknowledged; they are killed with SIGKILL at random moments and started again. In the end every
acknowledged measurement must be there once, whole, as it was written, and no file may be unreadable.

Then `vitscale status` is timed, as a command, on stores of more and more rows, before and after
`vitscale store compact`, beside pyarrow's own reading of the same files.

Writes results/stores.json and the table of docs/sweeps.md.
"""

import argparse
import dataclasses
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.markdown import seconds, table, write_between
from benchmarks.measure import machine
from vitscale.scaling.measurement import Measurement
from vitscale.scaling.recipe import Trial
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import Shape
from vitscale.sweeps.engines.simulated import simulated_row
from vitscale.sweeps.status import store_status
from vitscale.sweeps.store import Store

RESULT = Path(__file__).parent / "results" / "stores.json"
DOCS = Path(__file__).parents[1] / "docs" / "sweeps.md"
ROWS = 20
"""Of one measurement: the metrics of one cooled-down model."""
_BATCH = RECIPES["glyphs"].batch_size

WRITER = """
import os, sys
from benchmarks.stores import rows, trial
from vitscale.sweeps.store import Store
store, seed, out = Store.open(sys.argv[1]), int(sys.argv[2]), os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
while True:
    of = trial(seed)
    if store.append(of, of.durations[0], rows(of, seed)):
        os.write(out, f"{seed}\\n".encode())  # only now it counts as acknowledged
    seed += 1
"""


def trial(seed: int) -> Trial:
    """A trial like any other of one duration, which differs in its seed."""
    return Trial(
        shape=Shape(width=8, depth=1, mlp_dim=8, heads=2, patch=8),
        recipe=dataclasses.replace(RECIPES["glyphs"], seed=seed, warmup_steps=0),
        durations=(100 * _BATCH,),
    )


def rows(of: Trial, seed: int) -> list[Measurement]:
    """Its measurements, which tell by their values which seed wrote them."""
    return [
        simulated_row(of, of.durations[0], (), f"error_{n:02d}", seed + n / 100)
        for n in range(ROWS)
    ]


def writers_killed(kills: int, writers: int, rng: random.Random) -> dict[str, Any]:
    """The store after so many SIGKILLs, held against what it had acknowledged."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder) / "store", create=True)
        acknowledged_files = [Path(folder) / f"acknowledged-{n}" for n in range(writers)]
        processes: list[subprocess.Popen[bytes] | None] = [None] * writers
        began = time.monotonic()
        for killed in range(kills):
            for n in range(writers):
                if processes[n] is None:
                    # Seeds of writers overlap, so that two also race for the same name.
                    first = 1 + max(_seeds(acknowledged_files[n]), default=n // 2 * 10_000_000)
                    command = [sys.executable, "-c", WRITER, str(store.path), str(first)]
                    processes[n] = subprocess.Popen([*command, str(acknowledged_files[n])])
            victim = killed % writers
            before = _size(acknowledged_files[victim])
            # Not while it still imports: once it has written something, and then for a random time.
            while _size(acknowledged_files[victim]) == before:
                time.sleep(0.002)
            time.sleep(rng.uniform(0.0, 0.05))
            process = processes[victim]
            assert process is not None
            process.send_signal(signal.SIGKILL)
            process.wait()
            processes[victim] = None
        for process in processes:
            if process is not None:
                process.kill()
                process.wait()
        wall = time.monotonic() - began
        acknowledged = [seed for file in acknowledged_files for seed in _seeds(file)]
        store.prepare()
        problems = store.check()
        frame = store.read(skip=[problem.path for problem in problems])
        found = {}
        for trial_id, seed, metric, value in zip(
            frame["trial_id"], frame["seed"], frame["metric"], frame["value"], strict=True
        ):
            found.setdefault((trial_id, seed), {})[metric] = value
        whole = {
            seed
            for (_, seed), values in found.items()
            if values == {f"error_{n:02d}": seed + n / 100 for n in range(ROWS)}
        }
        return {
            "writers": writers,
            "kills": kills,
            "wall_s": wall,
            "acknowledged": len(acknowledged) * ROWS,
            "lost": sum(seed not in whole for seed in acknowledged) * ROWS,
            "unreadable": len(problems),
            "duplicates": int(frame.duplicated(["trial_id", "examples", "metric"]).sum())
            + len(acknowledged)
            - len(set(acknowledged)),
            "unacknowledged": len(found) * ROWS - len(set(acknowledged)) * ROWS,
        }


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _seeds(file: Path) -> list[int]:
    """Seeds of a file of lines; the last may be cut off, and then was not acknowledged."""
    if not file.exists():
        return []
    return [int(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


def status_times(durations: list[int]) -> list[dict[str, float]]:
    """Seconds of looking at stores of so many durations, a file each."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for count in durations:
            store = Store.open(Path(folder) / f"store-{count}", create=True)
            for seed in range(count):
                of = trial(seed)
                store.append(of, of.durations[0], rows(of, seed))
            entry: dict[str, float] = {"files": count, "rows": count * ROWS}
            entry["look_s"] = _look(store)
            entry["status_s"] = _timed("status", str(store.path))
            entry["pyarrow_s"] = _pyarrow(store.path / "measurements")
            entry["compact_s"] = _timed("store", "compact", str(store.path), repeats=1)
            entry["compacted_look_s"] = _look(store)
            entry["compacted_status_s"] = _timed("status", str(store.path), "--no-curves")
            entry["compacted_curves_s"] = _timed("status", str(store.path))
            found.append(entry)
            print(json.dumps(entry), flush=True)
    return found


def start_seconds() -> float:
    """Of the command itself, which says what it can do."""
    return _timed("--help")


def _timed(*arguments: str, repeats: int = 3) -> float:
    """The best of some."""
    best = float("inf")
    for _ in range(repeats):
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "vitscale", *arguments], check=True, stdout=subprocess.DEVNULL
        )
        best = min(best, time.monotonic() - began)
    return best


def _look(store: Store, repeats: int = 3) -> float:
    """Seconds of `store_status` in a process that has its libraries loaded; the best of some."""
    best = float("inf")
    for _ in range(repeats):
        began = time.monotonic()
        store_status(store)
        best = min(best, time.monotonic() - began)
    return best


def _pyarrow(folder: Path) -> float:
    """What pyarrow takes to read the folder as one data set, in a fresh process."""
    code = "import sys, pyarrow.dataset as d; d.dataset(sys.argv[1]).to_table()"
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
    return time.monotonic() - began


def sections(result: dict[str, Any]) -> dict[str, list[str]]:
    """The tables of docs/sweeps.md."""
    fire = result.get("fire") or {}
    found = ("lost", "unreadable", "duplicates")
    fire_lines = (
        []
        if not fire
        else [
            f"{fire['writers']} writers, {fire['kills']:,} SIGKILLs in {fire['wall_s'] / 60:.0f} minutes, "
            f"{fire['acknowledged']:,} rows acknowledged: "
            + ", ".join(f"{fire[name]:,} {name}" for name in found)
            + f". ({fire['unacknowledged']:,} rows more were stored by a writer that died before it could tell.)"
        ]
    )
    header = (
        *("rows", "files", "`store_status()`", "`vitscale status`", "pyarrow reads the folder"),
        *(
            "`store compact`",
            "then `store_status()`",
            "`status --no-curves`",
            "`status`, with curves",
        ),
    )
    names = (
        "look_s status_s pyarrow_s compact_s compacted_look_s compacted_status_s compacted_curves_s"
    ).split()
    body = [
        [f"{entry['rows']:,}", f"{entry['files']:,}", *(seconds(entry[name]) for name in names)]
        for entry in result["status"]
    ]
    start = (
        f"Of each command {seconds(result['start_s'])} are Python and the command line starting."
    )
    return {
        "store under fire": fire_lines,
        "status": [*table(header, body), "", f"{start} {_machine(result['machine'])}"],
    }


def _machine(machine: dict[str, str]) -> str:
    return f"Measured on {machine['date']} on one {machine['processor']}."


def main() -> None:
    """Measure, store, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--durations", type=int, nargs="+", default=[500, 5_000, 50_000])
    parser.add_argument("--only", choices=("status", "fire"), help="measure this, keep the rest")
    parser.add_argument("--table-only", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    if not arguments.table_only:
        result = json.loads(RESULT.read_text()) if arguments.only and RESULT.exists() else {}
        result |= {"machine": machine(), "start_s": start_seconds()}
        if arguments.only != "fire":
            result["status"] = status_times(arguments.durations)
        if arguments.only != "status":
            rng = random.Random(arguments.seed)
            result["fire"] = writers_killed(arguments.kills, arguments.writers, rng)
            print(json.dumps(result["fire"], indent=1))
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    write_between(DOCS, sections(json.loads(RESULT.read_text())))


if __name__ == "__main__":
    main()
