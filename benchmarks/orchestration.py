"""What the driver of sweeps costs: eight trials with one killed, a thousand trials that do nothing, and
what a supervisor weighs; and the trials an hour of two workers against one.

uv run python -m benchmarks.orchestration               # about 14 minutes
uv run python -m benchmarks.orchestration --table-only  # the table again

Trials sleep 10 ms a step instead of training, but for those of the last, which are the quickstart's. Writes results/orchestration.json and the table of
docs/sweeps.md.
"""

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.markdown import table, write_between
from benchmarks.measure import machine
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import Shape
from vitscale.sweeps.config import plan_to_toml
from vitscale.sweeps.engines.local import LocalEngine
from vitscale.sweeps.engines.ray import RayEngine
from vitscale.sweeps.plan import GridSweep, Plan
from vitscale.sweeps.presets import preset
from vitscale.sweeps.preview import preview
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store

RESULT = Path(__file__).parent / "results" / "orchestration.json"
DOCS = Path(__file__).parents[1] / "docs" / "sweeps.md"
SHAPE = Shape(width=8, depth=1, mlp_dim=8, heads=2, patch=8)
STEP_S = 0.01

DRIVER = """
import dataclasses, json, sys
from vitscale.sweeps.config import read_plan
from vitscale.sweeps.engines.local import LocalEngine
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store
with LocalEngine(workers=2, runner="simulated") as engine:
    report = run(read_plan(sys.argv[1]), engine, Store.open(sys.argv[2], create=True))
print(json.dumps(dataclasses.asdict(report)))
"""


def plan(trials: int, steps: int) -> Plan:
    """Equal trials of so many steps, which differ in their seed."""
    recipe = dataclasses.replace(RECIPES["glyphs"], warmup_steps=0, cooldown_max_fraction=0.0)
    sweep = GridSweep(
        widths=(SHAPE.width,),
        depths=(SHAPE.depth,),
        mlp_dims=(SHAPE.mlp_dim,),
        patch=SHAPE.patch,
        recipe=recipe,
        durations=(steps * recipe.batch_size,),
        seeds=tuple(range(trials)),
        heads=SHAPE.heads,
    )
    return Plan(name="orchestration", sweep=sweep)


def eight_with_one_killed() -> dict[str, float]:
    """8 trials of 2 s on 2 workers in a process of its own, one worker killed after 3 s: wall seconds from
    its start to its end, attempts, peak memory of the driver and its workers together, open ports."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.toml"
        path.write_text(plan_to_toml(plan(8, 200)))
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(path), str(Path(folder) / "store")],
            stdout=subprocess.PIPE,
        )
        peak, ports = {"driver": 0.0, "all": 0.0}, set()
        killed = False
        while process.poll() is None:
            family = [process.pid, *_children(process.pid)]
            peak["driver"] = max(peak["driver"], _memory_mb(process.pid))
            peak["all"] = max(peak["all"], sum(map(_memory_mb, family)))
            ports |= _listening(family)
            if not killed and time.monotonic() - began > 3 and len(family) > 2:
                os.kill(family[1], signal.SIGKILL)
                killed = True
            time.sleep(0.05)
        assert process.stdout is not None
        report = json.loads(process.stdout.read())
        wall = time.monotonic() - began
    return {
        "wall_s": wall,
        "attempts": report["attempts"],
        "measured": len(report["measured"]),
        "driver_mb": peak["driver"],
        "all_mb": peak["all"],
        "ports": len(ports),
    }


def thousand_that_do_nothing(
    engine: LocalEngine | RayEngine, trials: int = 1000
) -> dict[str, float]:
    """Seconds of one trial of one step, without the step's sleep, on 2 workers that are kept."""
    with tempfile.TemporaryDirectory() as folder, engine:
        store = Store.open(Path(folder) / "store", create=True)
        run(plan(2, 1), engine, store)  # starts the workers
        began, cpu = time.monotonic(), time.process_time()
        report = run(plan(trials + 2, 1), engine, store)
        wall, cpu = time.monotonic() - began, time.process_time() - cpu
    assert report.complete and len(report.measured) == trials
    return {
        "trials": trials,
        "wall_s": wall,
        "overhead_ms": 1000 * (wall / trials - STEP_S / 2),
        "driver_cpu_ms": 1000 * cpu / trials,
    }


def _children(pid: int) -> list[int]:
    try:
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _memory_mb(pid: int) -> float:
    """Resident memory, shared pages counted in part."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def _listening(pids: list[int]) -> set[str]:
    """Inodes of the listening sockets that belong to these processes."""
    inodes = set()
    for pid in pids:
        try:
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        inodes |= {link[8:-1] for link in links if link.startswith("socket:[")}
    listening = set()
    for protocol in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                listening.add(fields[9])
    return inodes & listening


def two_workers_against_one() -> dict[str, float]:
    """The star of the quickstart, trained by one `vitscale worker` with one process and by two such side by
    side on the same store: wall seconds, with their start and compilation."""
    found = {}
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            _vitscale("sweep", "star", "quickstart", "--store", folder + "/store", "--submit")
            began = time.monotonic()
            processes = [
                subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "vitscale",
                        "worker",
                        folder + "/store",
                        "--workers",
                        "1",
                    ],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                for _ in range(workers)
            ]
            codes = [process.wait() for process in processes]
            assert not any(codes), codes
            found[f"workers_{workers}_s"] = time.monotonic() - began
    found["ratio"] = found["workers_1_s"] / found["workers_2_s"]
    return found


def shared_trunks() -> dict[str, float]:
    """Training FLOPs of the paper's star: with a trunk shared by the durations, and run by run."""
    bill = preview(preset("sovit-star"))
    return {
        "shared": bill.spent_flops,
        "separate": bill.separate_flops,
        "saved": bill.saved_fraction,
    }


def sections(result: dict) -> dict[str, list[str]]:
    """The table of docs/sweeps.md."""
    eight, thousand = result["eight"], result["thousand"]
    two, trunks = result["two"], result["trunks"]
    rows = [
        (
            "8 trials of 2 s on 2 workers, one killed",
            "10 s, 9 attempts, no port, 60 MB",
            f"{eight['wall_s']:.1f} s, {eight['measured']} of 8 measured in {eight['attempts']} attempts, "
            f"{eight['ports']} ports, {eight['driver_mb']:.0f} MB (with its workers {eight['all_mb']:.0f} MB)",
        ),
        (
            "overhead of a trial that does nothing, 1,000 trials, workers kept",
            "20 ms",
            f"{thousand['overhead_ms']:.1f} ms, of which the driver computes {thousand['driver_cpu_ms']:.1f} ms",
        ),
        (
            "the same on Ray, a cluster on this machine",
            "50 ms",
            f"{result['ray']['overhead_ms']:.1f} ms, of which the driver computes "
            f"{result['ray']['driver_cpu_ms']:.1f} ms",
        ),
        (
            "two `vitscale worker` against one, the quickstart's star, start to end",
            "1.7 times the trials an hour",
            f"{two['ratio']:.2f} times ({two['workers_1_s']:.0f} s and {two['workers_2_s']:.0f} s)",
        ),
        (
            "training FLOPs of the paper's star with shared trunks",
            "35% saved",
            f"{trunks['saved']:.1%} saved: {trunks['shared']:.3g} instead of {trunks['separate']:.3g}",
        ),
    ]
    machine = result["machine"]
    where = f"Measured on {machine['date']} on one {machine['processor']}."
    return {"orchestration": [*table(("what", "goal", "measured"), rows), "", where]}


def _vitscale(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "vitscale", *arguments], check=True, stdout=subprocess.DEVNULL
    )


def main() -> None:
    """Measure, store, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table-only", action="store_true", help="measure nothing")
    parser.add_argument("--keep-training", action="store_true", help="keep what trains, 12 minutes")
    arguments = parser.parse_args()
    if not arguments.table_only:
        kept = json.loads(RESULT.read_text()) if arguments.keep_training else {}
        result = {
            "machine": machine(),
            "eight": eight_with_one_killed(),
            "thousand": thousand_that_do_nothing(LocalEngine(workers=2, runner="simulated")),
            "ray": thousand_that_do_nothing(
                RayEngine(address="local", workers=2, runner="simulated")
            ),
            "two": kept["two"] if kept else two_workers_against_one(),
            "trunks": shared_trunks(),
        }
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(result, indent=1))
    write_between(DOCS, sections(json.loads(RESULT.read_text())))


if __name__ == "__main__":
    main()
