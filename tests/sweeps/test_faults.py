"""The fault campaign of benchmarks/faults.py, in short: real trainings under fire end in the table of a
sweep that was left alone, bit for bit."""

from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_sweep_under_fire_ends_in_the_same_table(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    from benchmarks.faults import campaign

    summary = campaign(tmp_path, trials=3, kills=5, seed=1)
    assert summary["differences"] == [] and summary["problems"] == []
    assert sum(count for what, count in summary["done"].items() if "killed" in what) >= 2
