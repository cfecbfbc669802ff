"""A real run, interrupted: digits prepared as a TFDS data set, trained for about 20 minutes, killed twice.

uv run python -m benchmarks.real_run                   # about 20 minutes; fills docs/training.md
uv run python -m benchmarks.real_run --minutes 1       # a short one, which writes no file

SIGKILL after a quarter of the time, SIGTERM after half of it, each followed by the same command. What is
kept: loss and errors at each duration, and what each attempt trained.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.markdown import table

RESULTS = Path(__file__).parent / "results" / "real_run.json"
PAGE = Path(__file__).parents[1] / "docs" / "training.md"
BEGIN, END = "<!-- real run: begin -->", "<!-- real run: end -->"
IMAGES_A_MINUTE = 95_000
SHAPE = "width=48,depth=4,mlp_dim=192,heads=4,patch=2"
RECIPE = ("image_size=8", "crop=inception", "crop_min_area=0.4", "dropout=0.1", "batch_size=64")
METRICS = (
    "upstream_loss",
    "upstream_error",
    "digits_1shot_error",
    "digits_5shot_error",
    "digits_10shot_error",
)


def train(
    command: list[str], environment: dict[str, str], end: tuple[int, float] | None
) -> dict[str, Any]:
    """One attempt, which gets the signal `end[0]` after `end[1]` seconds: what became of it."""
    began = time.monotonic()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        if end is not None:
            try:
                run.wait(timeout=end[1])
            except subprocess.TimeoutExpired:
                run.send_signal(end[0])
        out, err = run.communicate()
    if end is None and run.returncode:
        raise SystemExit(err)
    told = [line for line in err.splitlines() if line.startswith("trial")]
    return {
        "ended_by": signal.Signals(end[0]).name if end else "itself",
        "exit_code": run.returncode,
        "seconds": round(time.monotonic() - began),
        "first": told[0].split("step ")[1].split(" ")[0] if told else "",
        "last": told[-1].split("step ")[1].split(" ")[0] if told else "",
        "out": out,
    }


def main() -> None:
    """Prepare, train, kill, go on, and write down what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    minutes = parser.parse_args().minutes
    longest = minutes * IMAGES_A_MINUTE * 0.55
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "VITSCALE_DATA_DIR": folder}
        vitscale = [sys.executable, "-m", "vitscale"]
        subprocess.run([*vitscale, "data", "digits"], env=environment, check=True)
        examples = [str(max(6_400, round(longest / part))) for part in (32, 8, 2, 1)]
        command = [*vitscale, "train", SHAPE, "--data", "tfds:digits", "--set", *RECIPE]
        command += ["--examples", *examples, "--store", f"{folder}/store", "--json"]
        ends = ((signal.SIGKILL, 15 * minutes), (signal.SIGTERM, 15 * minutes), None)
        attempts = [train(command, environment, end) for end in ends]
    rows = json.loads(attempts[-1].pop("out"))["measurements"]
    for attempt in attempts:
        attempt.pop("out", None)
    page = report(attempts, rows)
    print(page)
    if minutes >= 20:
        kept = {"attempts": attempts, "measurements": rows}
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{page}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def report(attempts: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """What became of each attempt, and the measurements, as two tables."""
    ended = {"SIGKILL": "SIGKILL", "SIGTERM": "SIGTERM: saved, exit code 75", "itself": "done"}
    tries = [
        [ended[a["ended_by"]], f"{a['seconds']} s", *reversed(a["last"].split("/"))]
        for a in attempts
    ]
    values = {(row["examples"], row["metric"]): row["value"] for row in rows}
    durations = sorted({examples for examples, _ in values})
    lines = [[f"{d:,}", *(f"{values[d, metric]:.4f}" for metric in METRICS)] for d in durations]
    measured = table(["images seen", *METRICS], lines)
    header = ["the attempt ended by", "after", "steps it had to do", "last step told"]
    return "\n".join([*table(header, tries), "", *measured])


if __name__ == "__main__":
    main()
