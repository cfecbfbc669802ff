"""How long the command line takes to answer: help, versions, a status, a plan.

    uv run python -m benchmarks.startup                                # about a minute
    uv run python -m benchmarks.startup --before OLDER/.venv/bin/vitscale

Writes `results/startup.json` and the table in docs/speed.md. Seconds of whole processes, by the clock and on the
CPU, each command several times in turn with the others, the least of each; beside them a Python that does
nothing. `--before` is the program of another checkout, measured in the same rounds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.markdown import table, write_between
from benchmarks.measure import cpu_seconds, machine
from benchmarks.train_step import DOCUMENT

RESULT = Path(__file__).parent / "results" / "startup.json"
ROUNDS = 15
PROGRAM = Path(sys.executable).parent / "vitscale"


def commands(store: Path) -> dict[str, list[str]]:
    """What is measured, by what the table calls it."""
    return {
        "--help": ["--help"],
        "--version": ["--version"],
        "fit --help": ["fit", "--help"],
        "status STORE": ["status", str(store)],
        "status STORE --json": ["status", str(store), "--json"],
        "sweep star sovit": ["sweep", "star", "sovit"],
        "shape --flops 1e21": ["shape", "--flops", "1e21"],
    }


def make_store(folder: Path) -> None:
    """A small store: the star of the preset laptop, 144 measurements by a law."""
    from vitscale.sweeps.engines.simulated import Noise, SimulatedEngine
    from vitscale.sweeps.presets import preset
    from vitscale.sweeps.run import run
    from vitscale.sweeps.store import Store

    engine = SimulatedEngine(
        lambda trial, examples: 0.1 + trial.shape.width**-0.5 + examples**-0.3,
        noise=Noise(own=0.003, seed=1),
    )
    if not run(preset("laptop-star"), engine, Store.open(folder, create=True)).complete:
        raise RuntimeError("the store could not be made")


def seconds(command: list[str], compiled: Path) -> dict[str, float]:
    """Seconds of one process, by the clock and on the CPU; modules are `compiled` as after a first use."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(compiled)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    silent: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    began, cpu = time.perf_counter(), cpu_seconds()
    subprocess.run(command, env=environment, check=False, **silent)
    return {"wall": time.perf_counter() - began, "cpu": cpu_seconds() - cpu}


def measure(before: Path | None, rounds: int) -> dict[str, Any]:
    """The least seconds of each command, now and before."""
    programs = {"now": PROGRAM} | ({"before": before} if before else {})
    least: dict[str, dict[str, dict[str, float]]] = {}

    def keep(name: str, which: str, command: list[str]) -> None:
        found = seconds(command, compiled)
        known = least.setdefault(name, {}).setdefault(which, found)
        known.update({key: min(known[key], value) for key, value in found.items()})

    with tempfile.TemporaryDirectory() as folder:
        store, compiled = Path(folder) / "store", Path(folder) / "compiled"
        make_store(store)
        for _ in range(rounds):
            for name, words in commands(store).items():
                for which, program in programs.items():
                    keep(name, which, [str(program), *words])
            keep("python -c pass", "now", [sys.executable, "-c", "pass"])
    load = os.getloadavg()[0]
    return {"machine": machine(), "rounds": rounds, "load": load, "seconds": least}


def section(result: dict[str, Any]) -> list[str]:
    """The result as Markdown."""
    where = result["machine"]
    rows = []
    for name, found in result["seconds"].items():
        program = name if name.startswith("python") else f"vitscale {name}"
        cells = [
            _cell(found.get(which), key) for key in ("wall", "cpu") for which in ("before", "now")
        ]
        rows.append([f"`{program}`", *cells])
    return [
        f"{where['processor']}, {where['system']}, Python {where['python']}, {where['date']}; load "
        f"{result['load']:.1f} from all that ran there; least of {result['rounds']} rounds.",
        "",
        *table(["command", "before", "now", "CPU, before", "CPU, now"], rows),
    ]


def _cell(found: dict[str, float] | None, key: str) -> str:
    return "" if found is None else f"{found[key]:.2f} s"


def main() -> None:
    """Measure, store, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--before", type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    result = measure(asked.before, asked.rounds)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    write_between(DOCUMENT, {"startup": section(result)})


if __name__ == "__main__":
    main()
