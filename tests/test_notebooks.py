"""Notebooks are kept without outputs, numbered and small; `pytest --nbmake notebooks` runs them."""

import ast
import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(path: Path, kind: str) -> list[dict]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def python(cell: dict) -> ast.Module:
    lines = source(cell).splitlines()
    return ast.parse("\n".join("" if line.startswith("%") else line for line in lines))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    for cell in cells(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        assert cell["metadata"] == {}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_names_and_headings_are_numbered(path):
    number = path.stem[:2]
    assert re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem)
    first, *others = [source(cell).splitlines()[0] for cell in cells(path, "markdown")]
    assert first.startswith(f"# {number} ")
    assert [heading[:5] for heading in others] == [f"## {k}." for k in range(1, len(others) + 1)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_is_defined_that_belongs_in_the_package(path):
    defining = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    for cell in cells(path, "code"):
        assert not [node for node in ast.walk(python(cell)) if isinstance(node, defining)]
