"""What the driver of sweeps costs: eight trials with one killed, a thousand trials that do nothing, and
what a supervisor weighs.

uv run python -m benchmarks.orchestration               # about 2 minutes

Trials sleep 10 ms a step instead of training. Writes results/orchestration.json and the table of
docs/sweeps.md.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import machine
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import Shape
from vitscale.sweeps.config import plan_to_toml
from vitscale.sweeps.engines.local import LocalEngine
from vitscale.sweeps.plan import GridSweep, Plan
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store

RESULT = Path(__file__).parent / "results" / "orchestration.json"
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


def thousand_that_do_nothing(trials: int = 1000) -> dict[str, float]:
    """Seconds of one trial of one step, without the step's sleep, on 2 workers that are kept."""
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalEngine(workers=2, runner="simulated") as engine,
    ):
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
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                listening.add(fields[9])
    return inodes & listening


def main() -> None:
    """Measure and store."""
    result = {
        "machine": machine(),
        "eight": eight_with_one_killed(),
        "thousand": thousand_that_do_nothing(),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
