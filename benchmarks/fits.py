"""The one command that fills the table of docs/benchmarks.md: vitscale's fits against their peers.

    OMP_NUM_THREADS=1 uv run --group bench python -m benchmarks.fits               # about 6 minutes
    OMP_NUM_THREADS=1 uv run --group bench python -m benchmarks.fits --skip-slow   # about 2 minutes

Writes `results/fits.json`, `results/optimum.json`, `results/growth.csv`, the figure of growth and the
tables of docs/benchmarks.md. `--skip-slow` keeps the peers that take longest, and the brute-force
optimum, as they were last measured, and says so in the table. `--peer-python PATH` names a Python of
3.12 or later for the peer that needs one, where uv cannot find or fetch one by itself.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks import chinchilla_fit, growth, optimum, report, star_fit
from benchmarks.chinchilla_law import Runs, load_runs, replication_runs
from benchmarks.measure import machine, repeated
from vitscale.fits import datasets

RESULT = Path(__file__).parent / "results" / "fits.json"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def measure(*, slow: bool, peer_python: str | None) -> dict:
    """Everything that `results/fits.json` holds."""
    before = _dated(json.loads(RESULT.read_text())) if RESULT.exists() else {}
    if not slow and not (before and optimum.RESULT.exists()):
        raise ValueError("there is nothing to keep yet; run without --skip-slow first")
    runs = load_runs(datasets.path("chinchilla"))
    if slow:
        _progress("the optimum, by brute force")
        optimum.store(runs)
    known = json.loads(optimum.RESULT.read_text())
    _progress("the Chinchilla form")
    fits = _fits(runs, known["runs_234"], before.get("chinchilla", {}), slow)
    own = _fits(replication_runs(runs), known["runs_240"], {}, False)
    _progress("its bootstraps")
    resampled = chinchilla_fit.bootstrap_entries(
        runs, known["runs_234"], slow=slow, peer_python=peer_python
    )
    _keep(resampled["entries"], before.get("bootstraps", {}), slow)
    _progress("eq. (2)")
    star = star_fit.measure()
    _progress("growth")
    return {
        "machine": machine(),
        "chinchilla": fits,
        "replication": own,
        "bootstraps": resampled,
        "star": star,
        "growth": growth.run(runs),
    }


def _fits(runs: Runs, known: dict, before: dict, slow: bool) -> dict:
    entries = chinchilla_fit.fit_entries(runs, known, slow=slow)
    _keep(entries, before, slow)
    _, cost = repeated(lambda: chinchilla_fit.ours_profiles(runs), times=3)
    return {
        "points": runs.n,
        "optimum": known,
        "entries": entries,
        "with_profiles_s": cost["cpu_s"],
    }


def _keep(entries: list[dict], before: dict, slow: bool) -> None:
    """Add the entries of an earlier run for the peers that this one left out."""
    measured = {entry["name"] for entry in entries}
    if not slow:
        kept = [entry for entry in before.get("entries", ()) if entry["name"] not in measured]
        entries.extend(kept)


def _dated(before: dict) -> dict:
    """An earlier result, each of its entries with the day on which it was measured."""
    for section in ("chinchilla", "bootstraps"):
        for entry in before[section]["entries"]:
            entry.setdefault("kept_from", before["machine"]["date"])
    return before


def _progress(what: str) -> None:
    print(f"measuring {what}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure, store, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--skip-slow", action="store_true", help="keep the slow peers' last numbers"
    )
    parser.add_argument(
        "--peer-python", help="a Python of 3.12 or later, for the peer that needs it"
    )
    parser.add_argument(
        "--table-only", action="store_true", help="write the tables again, measure nothing"
    )
    options = parser.parse_args()
    if not options.table_only:
        if (
            any(os.environ.get(name, "1") != "1" for name in _THREADS)
            or "OMP_NUM_THREADS" not in os.environ
        ):
            raise SystemExit("set OMP_NUM_THREADS=1, so that every fitter has one thread")
        result = measure(slow=not options.skip_slow, peer_python=options.peer_python)
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    report.write(json.loads(RESULT.read_text()))
    report.write_comparison(json.loads(RESULT.read_text()))


if __name__ == "__main__":
    main()
