"""What compiling a training step costs by depth and layout, and what the layout costs each step.

    uv run python -m benchmarks.compile_time                    # about 3 minutes
    uv run python -m benchmarks.compile_time --depths 1 2 4

Writes `results/compile_time.json` and its table in docs/speed.md. The net is narrow (width 32, 16 tokens,
batch 64), since compile time depends on the number of operations and not on their sizes, and small
nets are where compile time counts. CPU seconds, on one core.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from benchmarks.markdown import table, write_between
from benchmarks.peers.jax_step import limit_threads
from benchmarks.peers.step_server import Cell
from benchmarks.train_step import DOCUMENT
from vitscale.scaling.host_memory import keep_freed_memory

RESULT = Path(__file__).parent / "results" / "compile_time.json"
DEPTHS = (1, 2, 4, 8, 16, 40)
ROUNDS = 8


def measure(depths: list[int]) -> Iterator[dict[str, Any]]:
    """A row for each depth and layout."""
    from benchmarks.measure import timed
    from benchmarks.peers.vitscale_step import prepare_layout
    from vitscale.scaling.models.vit import BlockLayout

    for depth in depths:
        cell = Cell(32, depth, 64, heads=2, image_size=16, classes=10, batch=64, threads=1)
        for layout in get_args(BlockLayout):
            prepared = prepare_layout(cell, layout)
            step = min(timed(lambda run=prepared.run: run(5))[1] for _ in range(ROUNDS)) / 5
            row = {"depth": depth, "layout": layout, "compile_cpu_s": prepared.compile_cpu_s}
            yield row | {"step_cpu_s": step}


def section(rows: list[dict[str, Any]]) -> list[str]:
    """The rows as Markdown, a line for each depth."""
    by_key = {(row["depth"], row["layout"]): row for row in rows}
    lines = []
    for depth in dict.fromkeys(row["depth"] for row in rows):
        unrolled, scanned = by_key[depth, "unrolled"], by_key[depth, "scanned"]
        saved = unrolled["compile_cpu_s"] - scanned["compile_cpu_s"]
        slower = scanned["step_cpu_s"] - unrolled["step_cpu_s"]
        lines.append(
            [
                str(depth),
                f"{unrolled['compile_cpu_s']:.1f} s",
                f"{scanned['compile_cpu_s']:.1f} s",
                f"{1e3 * unrolled['step_cpu_s']:.1f} ms",
                f"{1e3 * scanned['step_cpu_s']:.1f} ms",
                _break_even(saved, slower),
            ]
        )
    header = (
        "depth",
        "compile, unrolled",
        "compile, scanned",
        "step, unrolled",
        "step, scanned",
        "unrolled pays from",
    )
    return table(header, lines)


def _break_even(saved: float, slower: float) -> str:
    """After how many steps the faster step has paid for the longer compilation."""
    if slower <= 0:
        return "never" if saved > 0 else "either"
    return f"{max(0.0, saved / slower):,.0f} steps"


def main() -> None:
    """Measure, store, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--depths", type=int, nargs="+", default=list(DEPTHS))
    depths = parser.parse_args().depths
    limit_threads(1)
    keep_freed_memory()
    rows = []
    for row in measure(depths):
        print(json.dumps(row), flush=True)
        rows.append(row)
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")
    write_between(DOCUMENT, {"layouts": section(rows)})


if __name__ == "__main__":
    main()
