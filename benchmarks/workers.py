"""Two single-threaded workers against one two-threaded worker, on two cores, in one run.

uv run python benchmarks/workers.py                  # about 2 minutes
"""

import dataclasses
import tempfile
import time
from pathlib import Path

from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import Shape
from vitscale.sweeps.engines.local import LocalEngine
from vitscale.sweeps.plan import GridSweep, Plan
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store

STEPS = 400
SHAPE = Shape(width=24, depth=5, mlp_dim=48, heads=6, patch=4)


def plan(seeds: tuple[int, ...]) -> Plan:
    """Equal trials that differ in their seed alone."""
    recipe = dataclasses.replace(RECIPES["glyphs"], cooldown_max_fraction=0.0)
    sweep = GridSweep(
        widths=(SHAPE.width,),
        depths=(SHAPE.depth,),
        mlp_dims=(SHAPE.mlp_dim,),
        patch=SHAPE.patch,
        recipe=recipe,
        durations=(STEPS * recipe.batch_size,),
        seeds=seeds,
        heads=SHAPE.heads,
    )
    return Plan(name="workers", sweep=sweep)


def images_a_second(workers: int, threads: int, trials: int = 4) -> float:
    """Throughput of a plan of equal trials, after one that compiles and warms up each worker."""
    engine = LocalEngine(workers=workers, threads=threads)
    with tempfile.TemporaryDirectory() as folder, engine:
        store = Store.open(Path(folder) / "store", create=True)
        assert run(plan(tuple(range(100, 100 + workers))), engine, store).complete
        began = time.monotonic()
        assert run(plan(tuple(range(trials))), engine, store).complete
        seconds = time.monotonic() - began
    return trials * STEPS * 64 / seconds


def main() -> None:
    """Measure both three times, alternating, and print the best of each and their ratio."""
    single: list[float] = []
    double: list[float] = []
    for _ in range(3):
        single.append(images_a_second(workers=2, threads=1))
        double.append(images_a_second(workers=1, threads=2))
    print(f"2 workers x 1 thread:  {max(single):7.0f} images/s  {[round(x) for x in single]}")
    print(f"1 worker  x 2 threads: {max(double):7.0f} images/s  {[round(x) for x in double]}")
    print(f"ratio: {max(single) / max(double):.2f}")


if __name__ == "__main__":
    main()
