"""Tables in text, as other programs save them: the same numbers come out, or one sentence says why not."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from command_line import refused, vitscale

from vitscale.fits.datasets import load_chinchilla
from vitscale.fits.files import read_table

FLAGS = ("--law", "chinchilla", "--resamples", 0, "--json")


@pytest.fixture
def runs():
    return load_chinchilla()[["N", "D", "loss"]].head(40).reset_index(drop=True)


@pytest.mark.parametrize(
    ("separator", "decimal"), [(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ",")]
)
def test_whatever_separates_cells(runs, tmp_path, separator, decimal):
    table = tmp_path / "runs.csv"
    runs.to_csv(table, sep=separator, decimal=decimal, index=False)
    read = read_table(table)
    assert list(read.columns) == ["N", "D", "loss"]
    np.testing.assert_allclose(read.to_numpy(float), runs.to_numpy(float), rtol=1e-12)


def test_standard_input(capsys, runs, tmp_path, monkeypatch):
    table = tmp_path / "runs.csv"
    runs.to_csv(table, index=False)
    _, of_file, _ = vitscale(capsys, "fit", table, *FLAGS)
    monkeypatch.setattr("sys.stdin", io.StringIO(table.read_text()))
    code, of_input, _ = vitscale(capsys, "fit", "-", *FLAGS)
    assert code == 0 and json.loads(of_input) == json.loads(of_file)
    monkeypatch.setattr("sys.stdin", io.StringIO("N,D,loss\n"))
    assert "standard input has columns but no rows" in refused(capsys, "fit", "-", *FLAGS)


def test_columns_named_twice(capsys, runs, tmp_path):
    table = tmp_path / "runs.csv"
    runs.assign(again=runs["N"]).rename(columns={"again": "N"}).to_csv(table, index=False)
    assert "several columns named 'N'" in refused(capsys, "fit", table, *FLAGS)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("", "row 3 (empty)"),
        ("N", "row 3 (N, the header again)"),
        ("70M", "with a suffix"),
        ("1.5 B", "with a suffix"),
        ("70,000,000", "with thousands separators"),
        ("7,5", "with a decimal comma"),
        ("many", "row 3 (many)"),
    ],
)
def test_cells_that_are_no_numbers(capsys, runs, tmp_path, cell, words):
    table = tmp_path / "runs.csv"
    cells = pd.Series(runs["N"].astype(str))
    cells[2] = cell
    runs.assign(N=cells).to_csv(table, index=False)
    assert words in refused(capsys, "fit", table, *FLAGS)
