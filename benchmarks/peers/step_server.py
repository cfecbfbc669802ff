"""A training step on request: what each peer of `train_step.py` does in a process of its own.

The first line of standard input is the cell, the first line of output what was prepared; each later line
of input is a number of steps, answered by what they cost. Needs nothing but Python, since each peer runs
in the environment of its framework.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import NamedTuple


class Cell(NamedTuple):
    """A shape to train, and on what."""

    width: int
    depth: int
    mlp_dim: int
    heads: int
    image_size: int = 32
    patch: int = 4
    classes: int = 100
    batch: int = 128
    threads: int = 2


class Prepared(NamedTuple):
    """A step ready to run: `run(n)` takes n more steps and returns when they are done.

    `compile_cpu_s` is what tracing and compiling cost; for an eager framework, its first step.
    """

    parameters: int
    first_loss: float
    compile_cpu_s: float
    run: Callable[[int], None]


def serve(prepare: Callable[[Cell], Prepared]) -> None:
    """Answer requests until standard input ends."""
    cell = Cell(**json.loads(sys.stdin.readline()))
    prepared = prepare(cell)
    _answer(
        parameters=prepared.parameters,
        first_loss=prepared.first_loss,
        compile_cpu_s=prepared.compile_cpu_s,
    )
    for line in sys.stdin:
        began = time.perf_counter(), time.process_time()
        prepared.run(int(line))
        wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
        _answer(wall_s=wall / int(line), cpu_s=cpu / int(line))


def _answer(**numbers: float) -> None:
    print(json.dumps(numbers), flush=True)
