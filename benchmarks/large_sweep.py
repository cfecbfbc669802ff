"""A sweep of ten thousand trials on a thousand workers, 5% of which are taken away every hour: planned, run
and costed without a machine.

    uv run python -m benchmarks.large_sweep               # less than a minute

The paper's grid, with many seeds, on machines as fast as an H100 at 40% of its dense bf16 peak, for 2.5 an
hour. The driver is the one of every sweep. Writes results/large_sweep.json, docs/images/large_sweep.png and
the table of docs/sweeps.md.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.markdown import seconds, table, write_between
from benchmarks.measure import machine
from vitscale.commands.rehearse import draw
from vitscale.scaling.progress import Speed
from vitscale.sweeps.engines.cluster import Cluster
from vitscale.sweeps.plan import GridSweep, Plan
from vitscale.sweeps.presets import preset
from vitscale.sweeps.preview import preview
from vitscale.sweeps.rehearsal.rehearsal import Rehearsal, rehearse

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "large_sweep.json"
PICTURE = ROOT / "docs" / "images" / "large_sweep.png"
DOCS = ROOT / "docs" / "sweeps.md"

TRIALS, WORKERS, PRICE = 10_000, 1_000, 2.5
SPEED = Speed(compile_seconds=60.0, step_overhead_seconds=0.0, flops_per_second=4e14)


def large_plan() -> Plan:
    """The paper's grid with so many seeds that it has about ten thousand trials."""
    grid = preset("sovit-grid").sweep
    assert isinstance(grid, GridSweep)
    seeds = -(-TRIALS // len(Plan(name="one-seed", sweep=grid).trials))
    return Plan(name="large", sweep=dataclasses.replace(grid, seeds=tuple(range(seeds))))


def measure() -> tuple[dict[str, Any], Rehearsal]:
    """What the sweep takes, and what it takes to find that out."""
    began = time.monotonic()
    plan = large_plan()
    bill = preview(plan, workers=WORKERS, speed=SPEED)
    planned = time.monotonic() - began
    cluster = Cluster(workers=WORKERS, speed=SPEED, preemptions_per_hour=0.05)
    began = time.monotonic()
    found = rehearse(plan, cluster)
    rehearsed = time.monotonic() - began
    return {
        "machine": machine(),
        "planned_s": planned,
        "rehearsed_s": rehearsed,
        "undisturbed_hours": (bill.seconds or 0.0) / 3600,
        "price": PRICE,
        "cost": found.cost(PRICE),
        "workers": WORKERS,
        **found.as_dict(),
    }, found


def sections(result: dict[str, Any]) -> dict[str, list[str]]:
    """The table of docs/sweeps.md."""
    rows = [
        ("trials, all measured in full", f"{result['measured']:,}"),
        ("training FLOPs", f"{result['spent_flops']:.3g}"),
        ("attempts", f"{result['attempts']:,}"),
        ("machines taken away, at work", f"{result['preemptions']:,}, {result['interrupted']:,}"),
        ("hours; undisturbed", f"{result['hours']:.2f}; {result['undisturbed_hours']:.2f}"),
        ("hours that no schedule beats", f"{result['bound_hours']:.2f}"),
        (
            "machine-hours",
            f"{result['worker_hours']:,.0f}: {result['train_hours']:,.0f} training, "
            f"{result['compile_hours']:,.0f} compiling, {result['lost_hours']:,.1f} lost, "
            f"{result['idle_hours']:,.0f} idle",
        ),
        ("cost", f"{result['cost']:,.0f} at {result['price']:g} a machine-hour"),
        ("FLOPs spent twice", f"{result['repeated_flops'] / result['spent_flops']:.2%}"),
        (
            "time to plan and to rehearse it, on one core",
            f"{seconds(result['planned_s'])} and {seconds(result['rehearsed_s'])}",
        ),
    ]
    return {"large sweep": table(("what", "how much"), rows)}


def main() -> None:
    """Rehearse, draw, store, and write the table."""
    result, found = measure()
    draw(found, PICTURE, PRICE)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    write_between(DOCS, sections(result))


if __name__ == "__main__":
    main()
