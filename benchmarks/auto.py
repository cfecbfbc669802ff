"""What `vitscale sweep auto` gains over one star of equal cost, and whether its intervals hold.

    uv run python -m benchmarks.auto

A star of 13 networks, measured by the made-up law `small_law` with 0.7% noise, correlated by 0.3 within a
network, whose optimum at the star's dearest run is known. The loop runs until every interval is within
a factor, or ten times the star's cost are spent. The star that it is compared with has the same shapes and
durations, and as many seeds as the same FLOPs pay for, those of the last one cheapest first.
`--table-only` writes the table of docs/auto.md again and measures nothing.
"""

import argparse
import dataclasses
import json
import math
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.markdown import table
from vitscale.advise import measured_star
from vitscale.auto import goal_of, known_of, run_auto
from vitscale.auto_result import Known
from vitscale.fits.shape_law import fit_star
from vitscale.scaling.recipe import Trial
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import Shape
from vitscale.sweeps.affordable import flops_of, longest_run
from vitscale.sweeps.engines.simulated import Noise, SimulatedEngine, small_law
from vitscale.sweeps.plan import Part, Plan, StarSweep
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "auto.json"
DOCUMENT = ROOT / "docs" / "auto.md"
BEGIN, END = "<!-- auto: begin -->", "<!-- auto: end -->"

TARGETS = (1.5, 1.3)
SEEDS = 20
MOST = 10  # times the star's cost that the loop may spend
NOISE = {"own": 0.006, "shared": 0.004}
# The optimum of small_law: best size at 1e11 FLOPs, and how it grows; written again, so that the law's own
# code is not what its answer is judged by.
AT_1E11 = {"width": 16.0, "depth": 2.0, "mlp_dim": 32.0}
GROWS = {"width": 0.65 / 2.7, "depth": 0.65 / 1.4, "mlp_dim": 0.65 / 1.1}


def star() -> Plan:
    """The star that every loop begins with."""
    return Plan(
        name="small",
        sweep=StarSweep(
            center=Shape(width=48, depth=8, mlp_dim=160, heads=12, patch=4),
            arms={
                "width": (8, 12, 16, 24),
                "depth": (1, 2, 3, 4),
                "mlp_dim": (16, 32, 48, 64),
            },
            recipe=RECIPES["glyphs"],
            durations=tuple(64 * steps for steps in (100, 300, 900)),
            head_dim=4,
        ),
    )


def truth() -> dict[str, float]:
    """The best sizes for the star's dearest run."""
    sweep = star().sweep
    assert isinstance(sweep, StarSweep)
    return {k: AT_1E11[k] * (longest_run(sweep) / 1e11) ** GROWS[k] for k in AT_1E11}


def study(seed: int, target: float) -> dict:
    """One loop, and one star of what the loop has cost."""
    engine = SimulatedEngine(small_law, noise=Noise(**NOISE, seed=seed))
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder) / "auto", create=True)
        goal = goal_of(star(), budget=MOST * flops_of(star()), target=target)
        found = run_auto(
            star(), lambda plan, limits: run(plan, engine, store, limits=limits), store, goal
        )
        spent = found.looks[-1].spent_flops
        once = Store.open(Path(folder) / "once", create=True)
        for plan in repeated(spent):
            run(plan, engine, once)
        measured = measured_star(once)
        fit = fit_star(measured.table, resamples=0, t_ref=goal.compute)
    return {
        "seed": seed,
        "target": target,
        "reached": found.reached,
        "rounds": len(found.looks) - 1,
        "flops": spent,
        "auto": judged(found.looks[-1].known),
        "star": judged(known_of(fit)),
    }


def repeated(budget: float) -> list[Plan]:
    """The star with as many seeds as `budget` pays for, and of one more the cheapest networks."""
    plan = star()
    sweep = plan.sweep
    assert isinstance(sweep, StarSweep)
    whole = int(budget // flops_of(plan) + 1e-9)
    plans = [dataclasses.replace(plan, sweep=dataclasses.replace(sweep, seeds=tuple(range(whole))))]
    left, parts = budget - whole * flops_of(plan), []
    recipe = dataclasses.replace(sweep.recipe, seed=whole)
    trials = [Trial(shape=s, recipe=recipe, durations=sweep.durations) for s in sweep.shapes()]
    for trial in sorted(trials, key=Trial.spent_flops):
        if trial.spent_flops() > left:
            break
        left -= trial.spent_flops()
        name = sweep.dimension_of(trial.shape)
        size = None if name is None else getattr(trial.shape, name)
        parts.append(Part(dimension=name, size=size, seeds=(whole,), durations=sweep.durations))
    if parts:
        seeds = (*range(whole), whole)
        more = dataclasses.replace(sweep, seeds=seeds, only=tuple(parts))
        plans.append(Plan(name=f"{plan.name}-rest", sweep=more))
    return plans


def judged(known: tuple[Known, ...]) -> dict:
    """Of each dimension: the interval's factor (None: open), and whether it holds the optimum."""
    best = truth()
    return {
        each.dimension: {
            "factor": each.factor if math.isfinite(each.factor) else None,
            "holds": each.size is not None
            and each.size.low <= best[each.dimension] <= each.size.high,
        }
        for each in known
    }


def document(results: list[dict]) -> str:
    """The table of docs/auto.md."""
    rows = []
    for target in sorted({result["target"] for result in results}, reverse=True):
        own = [result for result in results if result["target"] == target]
        reached = sum(result["reached"] for result in own)
        flops = statistics.median(result["flops"] for result in own) / flops_of(star())
        rounds = statistics.median(result["rounds"] for result in own)
        for kind, what in (("auto", "auto"), ("star", "one star of equal cost")):
            cells = [
                what,
                f"{reached} of {len(own)}" if kind == "auto" else str(_content(own, target)),
            ]
            factors = [_worst(result[kind]) for result in own]
            held = [
                f"{sum(result[kind][name]['holds'] for result in own)} of {len(own)}"
                for name in AT_1E11
            ]
            cost = f"{flops:.3g} ({rounds:g} rounds)" if kind == "auto" else f"{flops:.3g}"
            rows.append([f"{target:g}", *cells, cost, f"{statistics.median(factors):.3g}", *held])
    header = ["target", "", "reached it", "cost, in first stars (median)", "widest factor (median)"]
    return "\n".join(table([*header, *(f"{name} held" for name in AT_1E11)], rows))


def _content(results: list[dict], target: float) -> str:
    return f"{sum(_worst(result['star']) <= target for result in results)} of {len(results)}"


def _worst(judged: dict) -> float:
    return max(math.inf if each["factor"] is None else each["factor"] for each in judged.values())


def write(results: list[dict], path: Path = DOCUMENT) -> None:
    """Put the table between its markers; raises `ValueError` where `path` lacks them."""
    text = path.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"{path} lacks the markers {BEGIN} and {END}")
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    path.write_text(f"{before}{BEGIN}\n{document(results)}\n{after}", encoding="utf-8")


def main() -> None:
    """Measure, keep, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--table-only", action="store_true")
    arguments = parser.parse_args()
    if not arguments.table_only:
        tasks = [(seed, target) for target in TARGETS for seed in range(arguments.seeds)]
        with ProcessPoolExecutor(arguments.processes, get_context("spawn")) as pool:
            results = list(pool.map(study, *zip(*tasks, strict=True)))
        RESULT.write_text(json.dumps(results, indent=1) + "\n")
    write(json.loads(RESULT.read_text()))


if __name__ == "__main__":
    main()
