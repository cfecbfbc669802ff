"""Model FLOPs utilisation on a GPU: our training step beside timm's, compiled, on the same card.

    uv run python -m benchmarks.gpu --torch-python TORCH/bin/python
    uv run python -m benchmarks.gpu --smoke          # tiny shapes on any device: that it runs

ViT-B/16 and L/16 at 224 and So400m/14, bfloat16 with float32 parameters, AdamW, the largest batch that fits
of those tried. Utilisation is 3 x forward FLOPs x images per second over the peak of dense bfloat16
products, 989e12 for an H100 or H200 (NVIDIA's data sheet). Prints one JSON object a line and writes
`results/gpu.json`.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers.step_server import Cell
from vitscale.scaling.shape import Shape, named_shape

RESULT = Path(__file__).parent / "results" / "gpu.json"
PEAK_FLOPS = 989e12
MODELS = ("B/16", "L/16", "So400m/14")
BATCHES = (1024, 512, 256, 128, 64, 32)
_CLASSES = 1000


def ours(cell: Cell, remat: str, seconds: float) -> dict[str, Any]:
    """Images per second of our step with scanned blocks; raises where memory does not suffice."""
    from benchmarks.peers.vitscale_step import prepare_layout

    run = prepare_layout(cell, "scanned", remat=remat, dtype="bfloat16").run
    return {"images_per_s": cell.batch / _seconds_of_step(run, seconds)}


def _seconds_of_step(run: Any, seconds: float) -> float:
    """Wall seconds of one step: the least of three rounds."""
    run(2)
    began = time.perf_counter()
    run(1)
    steps = max(1, round(seconds / (time.perf_counter() - began)))
    rounds = []
    for _ in range(3):
        began = time.perf_counter()
        run(steps)
        rounds.append((time.perf_counter() - began) / steps)
    return min(rounds)


def timm(cell: Cell, python: str, seconds: float) -> dict[str, Any]:
    """Images per second of timm's step under torch.compile, in its own process."""
    lines = [json.dumps(cell._asdict()), "3", "1"]
    command = [python, "-m", "benchmarks.peers.timm_step", "compile", "bfloat16"]
    steps = max(1, round(seconds / 0.5))
    done = subprocess.run(
        command,
        input="\n".join([*lines, *[str(steps)] * 3]) + "\n",
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    if done.returncode:
        raise MemoryError(done.stderr.strip().splitlines()[-1])
    rounds = [json.loads(line)["wall_s"] for line in done.stdout.splitlines()[3:]]
    return {"images_per_s": cell.batch / min(rounds)}


def largest_that_fits(
    measure: Callable[[Cell], dict[str, Any]], shape: Shape, batches: tuple[int, ...], size: int
) -> dict[str, Any]:
    """The measurement at the first of `batches` that memory suffices for, with its utilisation."""
    flops = 3 * shape.forward_flops(image_size=size, classes=_CLASSES, counting="2mac")
    reason = "no batch given"
    for batch in batches:
        cell = Cell(
            width=shape.width,
            depth=shape.depth,
            mlp_dim=shape.mlp_dim,
            heads=shape.heads,
            image_size=size,
            patch=shape.patch,
            classes=_CLASSES,
            batch=batch,
        )
        try:
            speed = measure(cell)
        except Exception as error:  # each framework has its own class for a full memory
            reason = str(error).strip().splitlines()[0][:300]
            continue
        return {"batch": batch, **speed, "mfu": flops * speed["images_per_s"] / PEAK_FLOPS}
    return {"not_run": reason}


def measure(*, smoke: bool, torch_python: str | None, seconds: float) -> list[dict[str, Any]]:
    """A row for each model and way to train it."""
    tiny = Shape(width=32, depth=2, mlp_dim=64, heads=2, patch=4)
    shapes = {"tiny": tiny} if smoke else {name: named_shape(name) for name in MODELS}
    batches, size = ((8,), 16) if smoke else (BATCHES, 224)
    ways: dict[str, Callable[[Cell], dict[str, Any]]] = {
        f"vitscale, remat {remat}": lambda cell, remat=remat: ours(cell, remat, seconds)
        for remat in ("none", "dots")
    }
    if torch_python:
        ways["timm, torch.compile"] = lambda cell: timm(cell, torch_python, seconds)
    rows = []
    for model, shape in shapes.items():
        for name, way in ways.items():
            row = {"model": model, "who": name} | largest_that_fits(way, shape, batches, size)
            print(json.dumps(row), flush=True)
            rows.append(row)
    return rows


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="tiny shapes, on any device")
    parser.add_argument("--torch-python", help="a Python that has torch with CUDA, and timm")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round")
    options = parser.parse_args()
    seconds = 0.1 if options.smoke else options.seconds
    rows = measure(smoke=options.smoke, torch_python=options.torch_python, seconds=seconds)
    if options.smoke:
        sys.exit(any("not_run" in row for row in rows))
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
