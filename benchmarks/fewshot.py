"""How fast and how exact is the few-shot probe, at the size of ImageNet's, beside its peers?

    OMP_NUM_THREADS=2 uv run python -m benchmarks.fewshot              # about 4 minutes
    uv run python -m benchmarks.fewshot --table-only                   # the tables again

10 shots of 1,000 classes in 1,152 features (So400m's), 10,000 test images; whole: features as they
come from the model, standardised, solved for every l2, predictions of the test images. Rounds are
interleaved over the methods, the least wall time of three counts. Writes `results/fewshot.json` and
the tables of docs/evaluation.md.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy import linalg

from benchmarks import markdown
from benchmarks.measure import machine
from benchmarks.peers import fewshot_big_vision, fewshot_sklearn
from vitscale.scaling.evaluate.ridge import PAPER_L2, RidgeProbe

RESULT = Path(__file__).parent / "results" / "fewshot.json"
PAGE = Path(__file__).parents[1] / "docs" / "evaluation.md"

CLASSES, WIDTH, TEST, ROUNDS = 1000, 1152, 10_000, 3
GRID = tuple(2.0**k for k in range(-10, 11))
CHECKED = (2.0**-10, 1.0, PAPER_L2)
"""l2 values at which predictions are compared with the reference."""

Predict = Callable[..., Int[np.ndarray, "l2 m"]]


def ours(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m d"],
    l2_values: Sequence[float],
    *,
    classes: int,
) -> Int[np.ndarray, "l2 m"]:
    """Classes of test examples by vitscale's probe, for each l2."""
    return RidgeProbe(features, labels, classes=classes).predict(test, l2_values)


def ours_chosen(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m d"],
    l2_values: Sequence[float],
    *,
    classes: int,
) -> Int[np.ndarray, "1 m"]:
    """The same for the one l2 that leave-one-out chooses."""
    probe = RidgeProbe(features, labels, classes=classes)
    return probe.predict(test, [probe.best_l2(l2_values)])


METHODS: dict[str, Predict] = {
    "vitscale": ours,
    "big_vision's functions": fewshot_big_vision.predict,
    "scikit-learn RidgeClassifier": fewshot_sklearn.predict,
}
CHOSEN = "vitscale, l2 chosen by leave-one-out, predicted once"


def draw(
    shots: int,
) -> tuple[np.ndarray, Int[np.ndarray, " n"], np.ndarray, Int[np.ndarray, " m"]]:
    """Features with a power-law spectrum and an offset, as networks make them, and their labels."""
    rng = np.random.default_rng(0)
    spectrum = (np.arange(1, WIDTH + 1) ** -0.5).astype(np.float32)
    rotation = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH), np.float32))[0]
    means = 0.25 * rng.standard_normal((CLASSES, WIDTH), np.float32)

    def features(labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        noise = rng.standard_normal((len(labels), WIDTH), np.float32)
        return ((means[labels] + noise) * spectrum) @ rotation * 3 + np.float32(0.5)

    labels = np.repeat(np.arange(CLASSES), shots)
    test_labels = rng.integers(0, CLASSES, TEST)
    return features(labels), labels, features(test_labels), test_labels


def reference(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m d"],
    l2_values: Sequence[float],
) -> Int[np.ndarray, "l2 m"]:
    """Classes by a float64 Cholesky solve on the augmented features, written out."""
    x, test = features.astype(np.float64), test.astype(np.float64)
    mean, std = x.mean(0), x.std(0) + 1e-5
    x, test = (x - mean) / std, (test - mean) / std
    targets = np.where(labels[:, None] == np.arange(CLASSES), 1.0, -1.0)
    centred, rows = targets - targets.mean(0), []
    for l2 in l2_values:
        if len(x) >= x.shape[1]:
            weights = linalg.solve(x.T @ x + l2 * np.eye(x.shape[1]), x.T @ centred, assume_a="pos")
        else:
            weights = x.T @ linalg.solve(x @ x.T + l2 * np.eye(len(x)), centred, assume_a="pos")
        rows.append((test @ weights + targets.mean(0)).argmax(1))
    return np.stack(rows)


def speeds() -> dict[str, dict[str, dict[str, float]]]:
    """Least wall and CPU seconds of each method, for one l2 and for all."""
    features, labels, test, _ = draw(10)
    works: dict[str, dict[str, Callable[[], object]]] = {"1": {}, "21": {}}
    for name, predict in METHODS.items():
        for count, l2_values in (("1", (PAPER_L2,)), ("21", GRID)):
            works[count][name] = _work(predict, features, labels, test, l2_values)
    works["21"][CHOSEN] = _work(ours_chosen, features, labels, test, GRID)
    for name in METHODS:
        works["1"][name]()  # compiles, and starts the threads
    return {count: _interleaved(methods) for count, methods in works.items()}


def _work(predict: Predict, *arguments: object) -> Callable[[], object]:
    return lambda: predict(*arguments, classes=CLASSES)


def _interleaved(methods: dict[str, Callable[[], object]]) -> dict[str, dict[str, float]]:
    seconds = {name: [] for name in methods}
    for _ in range(ROUNDS):
        for name, work in methods.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: {"wall_s": min(w for w, _ in pairs), "cpu_s": min(c for _, c in pairs)}
        for name, pairs in seconds.items()
    }


def flips() -> list[dict[str, object]]:
    """How many test predictions differ from the float64 reference, and both accuracies."""
    rows = []
    for shots in (10, 5, 1):
        features, labels, test, test_labels = draw(shots)
        exact = reference(features, labels, test, CHECKED)
        for name, predict in METHODS.items():
            each = [predict(features, labels, test, [l2], classes=CLASSES)[0] for l2 in CHECKED]
            rows += _compared(name, shots, each, exact, test_labels)
        together = ours(features, labels, test, GRID, classes=CLASSES)
        chosen = [together[GRID.index(l2)] for l2 in CHECKED]
        rows += _compared("vitscale, 21 together", shots, chosen, exact, test_labels)
    return rows


def _compared(
    name: str,
    shots: int,
    found: Sequence[Int[np.ndarray, " m"]],
    exact: Int[np.ndarray, "l2 m"],
    test_labels: Int[np.ndarray, " m"],
) -> list[dict[str, object]]:
    return [
        {
            "method": name,
            "shots": shots,
            "l2": l2,
            "flips": int(np.sum(mine != right)),
            "accuracy": float(np.mean(mine == test_labels)),
            "reference_accuracy": float(np.mean(right == test_labels)),
        }
        for l2, mine, right in zip(CHECKED, found, exact, strict=True)
    ]


def write(result: dict) -> None:
    """The tables of docs/evaluation.md."""
    of = result["machine"]
    sentence = (
        f"Measured on {of['date']} on one {of['processor']}, {of['system']}, with {of['threads']} "
        f"threads, at a load of {result['load'][0]:.1f} when it began and {result['load'][1]:.1f} "
        f"when it ended; Python {of['python']}, NumPy {of['numpy']}, SciPy {of['scipy']}."
    )
    page = PAGE.read_text()
    for name, lines in (
        ("fewshot-machine", [sentence]),
        ("fewshot-speed", _speed_table(result["speeds"])),
        ("fewshot-flips", _flips_table(result["flips"])),
    ):
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, rest = page.split(begin)
        page = "\n".join([before + begin, *lines, end + rest.split(end)[1]])
    PAGE.write_text(page)


def _speed_table(speeds: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    header = ["method", "1 l2: wall (CPU)", "vitscale is faster by"]
    header += ["21 l2: wall (CPU)", "vitscale is faster by"]
    rows = []
    for name in (*METHODS, CHOSEN):
        row = [name]
        for count in ("1", "21"):
            cost, mine = speeds[count].get(name), speeds[count]["vitscale"]["wall_s"]
            if cost is None:
                row += ["", ""]
                continue
            own = name in ("vitscale", CHOSEN)
            row += [f"{cost['wall_s']:.2f} s ({cost['cpu_s']:.2f})"]
            row += ["" if own else f"{cost['wall_s'] / mine:.1f}"]
        rows.append(row)
    return markdown.table(header, rows)


def _flips_table(rows: list[dict]) -> list[str]:
    cases = list(dict.fromkeys((row["shots"], row["l2"]) for row in rows))
    header = ["method", *(f"{shots}-shot, l2 {_power(l2)}" for shots, l2 in cases)]
    body = []
    for method in dict.fromkeys(row["method"] for row in rows):
        of = {(row["shots"], row["l2"]): row for row in rows if row["method"] == method}
        cells = [
            f"{of[case]['flips']} ({100 * (of[case]['accuracy'] - of[case]['reference_accuracy']):+.2f})"
            for case in cases
        ]
        body.append([method, *cells])
    exact = {(row["shots"], row["l2"]): row["reference_accuracy"] for row in rows}
    body.append(["accuracy of the reference", *(f"{100 * exact[case]:.2f}%" for case in cases)])
    return markdown.table(header, body)


def _power(l2: float) -> str:
    return f"2^{int(np.log2(l2))}"


def main() -> None:
    """Measure, store, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--table-only", action="store_true", help="write the tables again, measure nothing"
    )
    if not parser.parse_args().table_only:
        threads = os.environ.get("OMP_NUM_THREADS")
        if threads is None:
            raise SystemExit("set OMP_NUM_THREADS, so that every method has as many threads")
        before = os.getloadavg()[0]
        result = {
            "machine": machine() | {"threads": threads},
            "speeds": speeds(),
            "load": [before, os.getloadavg()[0]],
            "flips": flips(),
        }
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    write(json.loads(RESULT.read_text()))


if __name__ == "__main__":
    main()
