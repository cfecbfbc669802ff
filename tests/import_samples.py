"""Runs to import, and the command that imports them, which tests of several formats share."""

import json

import pandas as pd
from command_line import vitscale

RUNS = {
    "wide": {"hidden_size": 64, "num_layers": 4, "mlp_ratio": 4.0},
    "deep": {"hidden_size": 32, "num_layers": 8, "mlp_ratio": 2.0},
}
"""Shapes of two runs, by name, as their trainers would configure them."""
CONFIG = {
    "num_attention_heads": 4,
    "patch_size": 4,
    "img_size": 16,
    "batch_size": 64,
    "optimizer": "adamw",
}
"""What is the same in both."""
STEPS = range(10, 101, 10)


def error_at(name: str, step: int) -> float:
    """The validation error that a run logs at `step`; no float32 is it exactly."""
    return 0.9 - step / 200 - len(RUNS[name]) / 100 + list(RUNS).index(name) / 30


def imported(capsys, path, *flags) -> pd.DataFrame:
    """The rows that a dry run says it would write."""
    code, out, err = vitscale(capsys, "import", path, "--dry-run", "--json", *flags)
    assert code == 0, err
    return pd.DataFrame(json.loads(out)["rows"])


def check_both(found: pd.DataFrame, *, exact: bool = True) -> None:
    """Both runs, measured once at their ends; not `exact` where the format holds float32."""
    found = found.sort_values("width")
    assert found["width"].tolist() == [32, 64]
    assert found["depth"].tolist() == [8, 4]
    assert found["mlp_dim"].tolist() == [64, 256]
    assert found["heads"].tolist() == [4, 4]
    assert found["examples"].tolist() == [6400, 6400]
    assert len(set(found["recipe_id"])) == 1
    expected = [error_at("deep", 100), error_at("wide", 100)]
    tolerance = 0 if exact else 1e-6
    assert all(abs(v - e) <= tolerance for v, e in zip(found["value"], expected, strict=True))
