"""How fast one CPU training step is, beside big_vision's layout and timm: the tables of docs/speed.md.

    uv run python -m benchmarks.train_step                                  # without timm
    uv run python -m benchmarks.train_step --torch-python TORCH/bin/python  # about 20 minutes
    uv run python -m benchmarks.train_step --cells 0 2 --rounds 3 --threads 1

timm runs in an environment of its own:

    python -m venv TORCH
    TORCH/bin/pip install torch==2.13.0 huggingface_hub safetensors pyyaml
    TORCH/bin/pip install --no-deps timm==1.0.31 torchvision==0.28.0

Forward, backward and AdamW on 128 images of 32 x 32, patches of 4, float32, 100 classes. Every peer has a
process of its own and they take turns, round by round; the least of the rounds counts. CPU seconds
stand beside wall seconds because they bear a loaded machine better; not so timm's, whose OpenMP threads
spin while they wait.
"""

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.markdown import table, write_between
from benchmarks.measure import machine
from benchmarks.peers.step_server import Cell

RESULT = Path(__file__).parent / "results" / "train_step.json"
DOCUMENT = Path(__file__).parents[1] / "docs" / "speed.md"

CELLS = tuple(
    Cell(width, depth, mlp_dim, heads=width // 32)
    for width, depth, mlp_dim in (
        (64, 2, 128),
        (64, 12, 256),
        (128, 6, 256),
        (192, 4, 384),
        (192, 12, 768),
    )
)
PARAMETERS = (80_804, 613_668, 822_500, 1_229_476, 5_379_748)
"""Of each cell, counted in big_vision itself; every peer must have as many."""

_JAX_PEERS = {
    "vitscale": ("benchmarks.peers.vitscale_step",),
    "big_vision's layout": ("benchmarks.peers.big_vision_step",),
    "big_vision's layout, memory kept": ("benchmarks.peers.big_vision_step", "keep-memory"),
}
_TIMM = "timm, eager"
_REFERENCE = "big_vision's layout"


class Peer(NamedTuple):
    """A running process that takes steps on request."""

    process: subprocess.Popen[str]
    prepared: dict[str, float]

    def ask(self, steps: int) -> dict[str, float]:
        """What a step cost, on average over `steps`."""
        return _ask(self.process, str(steps))


def measure(
    cells: list[int], *, rounds: int, threads: int, seconds: float, torch_python: str | None
) -> Iterator[dict]:
    """What `results/train_step.json` holds, after each cell."""
    commands = {name: (sys.executable, "-m", *how) for name, how in _JAX_PEERS.items()}
    if torch_python:
        commands[_TIMM] = (torch_python, "-m", "benchmarks.peers.timm_step")
    rows, loads = [], []
    for index in cells:
        cell = CELLS[index]._replace(threads=threads)
        print(f"measuring {cell}", file=sys.stderr, flush=True)
        rows.append(_race(cell, PARAMETERS[index], commands, rounds, seconds))
        loads.append(os.getloadavg()[1])
        facts = machine() | {"threads": str(threads)}
        yield {"machine": facts, "rounds": rounds, "load_of_5_minutes": max(loads), "rows": rows}


def _race(
    cell: Cell, parameters: int, commands: dict, rounds: int, seconds: float
) -> dict[str, object]:
    with contextlib.ExitStack() as stack:
        peers = {name: stack.enter_context(_peer(how, cell)) for name, how in commands.items()}
        for name, peer in peers.items():
            _check(name, peer.prepared, parameters, cell.classes)
        costs = {name: [peer.ask(1)] for name, peer in peers.items()}
        steps = {name: max(1, round(seconds / cost[0]["wall_s"])) for name, cost in costs.items()}
        for _ in range(rounds):
            for name, peer in peers.items():
                costs[name].append(peer.ask(steps[name]))
    results = {
        name: {
            "images_per_s": cell.batch / min(cost["wall_s"] for cost in costs[name]),
            "images_per_cpu_s": cell.batch / min(cost["cpu_s"] for cost in costs[name]),
            "compile_cpu_s": peer.prepared["compile_cpu_s"],
        }
        for name, peer in peers.items()
    }
    return {"cell": cell._asdict(), "results": results}


@contextlib.contextmanager
def _peer(command: tuple[str, ...], cell: Cell) -> Iterator[Peer]:
    """A peer in its own process, prepared."""
    environment = os.environ | {"OMP_NUM_THREADS": str(cell.threads)}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[1],
    )
    try:
        yield Peer(process, _ask(process, json.dumps(cell._asdict())))
    finally:
        process.communicate()


def _ask(process: subprocess.Popen[str], line: str) -> dict[str, float]:
    assert process.stdin and process.stdout
    print(line, file=process.stdin, flush=True)
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"{process.args} ended without an answer; its own message stands above")
    return json.loads(answer)


def _check(name: str, prepared: dict[str, float], parameters: int, classes: int) -> None:
    """That all train the same model from the same loss."""
    if prepared["parameters"] != parameters:
        raise RuntimeError(f"{name} has {prepared['parameters']} parameters, not {parameters}")
    if abs(prepared["first_loss"] - math.log(classes)) > 1e-5:
        raise RuntimeError(f"{name} starts at {prepared['first_loss']}, not at ln {classes}")


def sections(result: dict) -> dict[str, list[str]]:
    """Lines of Markdown by the name of their markers."""
    facts = result["machine"]
    told = (
        f"{facts['processor']}, {facts['threads']} threads, {facts['system']}, {facts['date']}; load "
        f"{result['load_of_5_minutes']:.1f} from all that ran there; least of {result['rounds']} rounds."
    )
    return {
        "machine": [told],
        "wall": _table(result, "images_per_s"),
        "cpu": _table(result, "images_per_cpu_s"),
        "compile": _table(result, "compile_cpu_s"),
    }


def _table(result: dict, what: str) -> list[str]:
    names = list(dict.fromkeys(name for row in result["rows"] for name in row["results"]))
    rows = []
    for row in result["rows"]:
        cell, numbers = row["cell"], row["results"]
        reference = numbers[_REFERENCE][what]
        shown = [
            f"{numbers[name][what]:.3g} ({numbers[name][what] / reference:.2f})"
            if name in numbers
            else ""
            for name in names
        ]
        rows.append([f"{cell['width']}/{cell['depth']}/{cell['mlp_dim']}", *shown])
    return table(("width/depth/MLP", *names), rows)


def main() -> None:
    """Measure, store, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--torch-python", help="a Python that has torch and timm")
    parser.add_argument("--cells", type=int, nargs="+", default=list(range(len(CELLS))))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each peer in each round")
    parser.add_argument("--table-only", action="store_true", help="measure nothing")
    options = parser.parse_args()
    if not options.table_only:
        for result in measure(
            options.cells,
            rounds=options.rounds,
            threads=options.threads,
            seconds=options.seconds,
            torch_python=options.torch_python,
        ):
            RESULT.write_text(json.dumps(result, indent=1) + "\n")
    write_between(DOCUMENT, sections(json.loads(RESULT.read_text())))


if __name__ == "__main__":
    main()
