"""The table of exponents in docs/method.md is what the program gives."""

import re
from pathlib import Path

import pytest
import star_samples as stars

from vitscale.fits.shape_law import fit_star

METHOD = Path(__file__).parents[2] / "docs" / "method.md"


def _cell(dimension: str, column: int) -> str:
    for line in METHOD.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == dimension and len(cells) == 3:
            return cells[column]
    raise AssertionError(f"no row for {dimension}")


@pytest.mark.parametrize(("column", "center"), [(1, True), (2, False)])
def test_published_intervals(column, center):
    fit = fit_star(stars.published_table(), include_center=center, resamples=0)
    for name, dimension in fit.dimensions.items():
        cell = _cell(name, column)
        found = [f"{float(text):.3g}" for text in re.findall(r"\d*\.\d+", cell)]
        s = dimension.s
        assert found == [f"{value:.3g}" for value in (s.estimate, s.low, s.high)]
        assert cell.endswith(": not identified") != dimension.identified
