"""Notebooks are pairs without outputs, numbered and small, and run on the user's own runs.

`pytest --nbmake notebooks` runs them as they are. docs/notebooks.md tells of them."""

import ast
import json
import re
import shlex
from io import BytesIO
from pathlib import Path
from typing import Any

import jupytext
import pandas as pd
import pytest
from matplotlib.figure import Figure

from vitscale import cli
from vitscale.fits.datasets import load_sovit_star
from vitscale.sweeps.engines.simulated import Noise, SimulatedEngine
from vitscale.sweeps.presets import preset
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[dict]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def python(cell: dict) -> ast.Module:
    lines = source(cell).splitlines()
    return ast.parse("\n".join("" if line.startswith("%") else line for line in lines))


def test_there_are_notebooks():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05"]


@every_notebook
def test_outputs_are_stripped(path):
    for cell in cells(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        assert cell["metadata"] == {}


@every_notebook
def test_names_and_headings_are_numbered(path):
    number = path.stem[:2]
    assert re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem)
    first, *others = [source(cell).splitlines()[0] for cell in cells(path, "markdown")]
    assert first.startswith(f"# {number} ")
    assert [heading[:5] for heading in others] == [f"## {k}." for k in range(1, len(others) + 1)]


@every_notebook
def test_nothing_is_defined_that_belongs_in_the_package(path):
    defining = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    for cell in cells(path, "code"):
        assert not [node for node in ast.walk(python(cell)) if isinstance(node, defining)]


@every_notebook
def test_pairs_agree(path):
    """The .ipynb is what jupytext makes of the .py; README.md there says how."""
    text = jupytext.read(path.with_suffix(".py"))
    made = jupytext.read(path)
    assert [(cell.cell_type, cell.source) for cell in made.cells] == [
        (cell.cell_type, cell.source) for cell in text.cells
    ]
    for pair in (text, made):
        assert pair.metadata["jupytext"]["formats"] == "ipynb,py:percent"
        assert pair.metadata["kernelspec"]["name"] == "python3"


def test_no_half_of_a_pair_is_missing():
    texts = sorted(path.stem for path in FOLDER.glob("*.py"))
    assert texts == [path.stem for path in NOTEBOOKS]


@every_notebook
def test_the_first_cell_is_the_user_s_and_the_last_says_what_it_is_worth(path):
    question, *_, worth = [source(cell) for cell in cells(path, "markdown")]
    assert "?" in question
    assert "What this is worth" in worth.splitlines()[0]
    assert "**Trust**" in worth and "**Do not trust**" in worth
    assert source(cells(path, "code")[0]).startswith("SOURCE = None  # or ")


@every_notebook
def test_the_commands_that_do_the_same_are_commands(path):
    (block,) = re.findall(r"```sh\n(.*?)```", source(cells(path, "markdown")[-1]), re.DOTALL)
    commands = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert commands
    for program, *arguments in commands:
        assert program == "vitscale"
        cli.read(arguments)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Grid and star of the quickstart, measured by a law: what a user's first sweep leaves."""
    folder = tmp_path_factory.mktemp("runs") / "quickstart"
    opened = Store.open(folder, create=True)
    for name in ("quickstart-grid", "quickstart-star"):
        assert run(preset(name), SimulatedEngine(noise=Noise(own=0.005)), opened).complete
    return folder


@pytest.fixture(scope="module")
def csv(tmp_path_factory) -> Path:
    """The published star as somebody else's table."""
    star = load_sovit_star()
    table = pd.DataFrame(
        {
            "what": star["dimension"],
            "value": star["x"],
            "flop": 3e9 * star["forward_gflops"],
            "top1_error": star["error"],
            "middle": star["is_center"],
        }
    )
    path = tmp_path_factory.mktemp("tables") / "runs.csv"
    table.to_csv(path, index=False)
    return path


def shown(path: Path, settings: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """Run a notebook with these names set in its first cell; its names, and what its cells show.

    Figures are drawn, as a notebook draws them.
    """
    names: dict[str, Any] = {}
    results = []
    for number, cell in enumerate(cells(path, "code")):
        module = python(cell)
        last = module.body.pop() if isinstance(module.body[-1], ast.Expr) else None
        exec(compile(module, path.name, "exec"), names)
        if number == 0:
            assert set(settings) <= set(names)
            names |= settings
        if isinstance(last, ast.Expr):
            results.append(eval(compile(ast.Expression(last.value), path.name, "eval"), names))
            if isinstance(results[-1], Figure):
                results[-1].savefig(BytesIO())
    return names, results


def notebook(number: str) -> Path:
    (path,) = FOLDER.glob(f"{number}_*.ipynb")
    return path


COLUMNS = {"dimension": "what", "x": "value", "error": "top1_error", "is_center": "middle"}
COLUMNS |= {"compute": "flop"}
WITH_UNIT = COLUMNS | {"flops_per_unit": 1.0}


@pytest.mark.slow
class TestWithOnesOwnRuns:
    def test_frontier_of_a_store(self, store, capsys):
        names, results = shown(notebook("01"), {"SOURCE": store})
        assert names["metric"] == "simulated_error" and names["unit"] == "train_flops"
        assert len(names["runs"]) == len(names["frame"])
        assert sum(isinstance(result, Figure) for result in results) == 2

    def test_frontier_of_a_table(self, csv, capsys):
        columns = {"compute": "flop", "error": "top1_error"}
        names, _ = shown(notebook("01"), {"SOURCE": str(csv), "COLUMNS": columns})
        assert names["metric"] == "top1_error" and len(names["runs"]) == 60

    def test_exponents_of_a_store(self, store, capsys):
        names, results = shown(notebook("02"), {"SOURCE": str(store)})
        assert set(names["fit"].dimensions) == {"width", "depth", "mlp_dim"}
        assert "paper, text" not in names["exponents"]
        assert sum(isinstance(result, Figure) for result in results) == 4

    def test_exponents_of_a_table(self, csv, capsys):
        names, _ = shown(notebook("02"), {"SOURCE": csv, "COLUMNS": COLUMNS})
        # Independent fits of the same points, centre included: .2432, .4532, .6094.
        found = {name: fit.s.estimate for name, fit in names["fit"].dimensions.items()}
        assert found == pytest.approx(
            {"width": 0.2432, "depth": 0.4532, "mlp_dim": 0.6094}, abs=1e-3
        )

    def test_shape_from_a_store(self, store, capsys):
        names, _ = shown(notebook("03"), {"SOURCE": store, "BUDGET": 1e13, "IMAGES": 1e6})
        best = names["best"]
        assert best.setting.image_size == 16 and best.flops == 1e13
        assert 3 * best.forward_flops * best.images == pytest.approx(1e13)
        assert len(names["family"]) == 7

    def test_shape_from_a_table(self, csv, capsys):
        settings = {"SOURCE": csv, "COLUMNS": WITH_UNIT, "BUDGET": 1e21}
        names, _ = shown(notebook("03"), settings)
        assert names["rule"].start.fallback and names["best"].flops == 1e21

    def test_a_unit_that_nobody_knows_is_asked_for(self, csv, capsys):
        with pytest.raises(ValueError, match=r"compute is in flop; say in COLUMNS"):
            shown(notebook("03"), {"SOURCE": csv, "COLUMNS": COLUMNS})

    def test_allocation_of_a_store(self, store, capsys):
        columns = {"N": "params", "D": "examples", "loss": "value"}
        settings = {"SOURCE": store, "COLUMNS": columns, "BUDGETS": (1e10,)}
        names, _ = shown(notebook("04"), settings)
        (share,) = names["found"].shares
        assert 6 * share.parameters.estimate * share.tokens.estimate == pytest.approx(1e10)
        # What the export of the published star says is what the star says, however it came in.
        imported, direct = names["imported"].fit, names["direct"].fit
        for name, found in imported.dimensions.items():
            assert found.s.estimate == pytest.approx(direct.dimensions[name].s.estimate, abs=1e-3)

    def test_advice_for_a_store(self, store, capsys):
        names, _ = shown(notebook("05"), {"SOURCE": store})
        assert names["plan"] is not None
        assert 0 < names["advice"].flops <= names["budget"]
        # The loop's law has its optimum here; see vitscale.sweeps.engines.laws.law_around.
        growth = {"width": 0.65 / 2.7, "depth": 0.65 / 1.4, "mlp_dim": 0.65 / 1.1}
        for known in names["auto"].looks[-1].known:
            at = (names["goal"].compute / 1e11) ** growth[known.dimension]
            truth = {"width": 16, "depth": 2, "mlp_dim": 32}[known.dimension] * at
            assert known.size.low < truth < known.size.high

    def test_advice_for_a_table(self, csv, capsys):
        names, _ = shown(notebook("05"), {"SOURCE": csv, "COLUMNS": WITH_UNIT})
        assert names["plan"] is None and names["advice"].trials
