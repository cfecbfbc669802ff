"""The names that `import vitscale` offers: whole, documented, and loaded only when they are used."""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vitscale

NAMES = [name for name in vitscale.__all__ if name != "__version__"]
HEAVY = ("jax", "pandas", "numpy", "matplotlib", "scipy", "pyarrow")


def test_importing_the_package_loads_nothing():
    script = "import json, sys, vitscale; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = json.loads(done.stdout)
    assert [name for name in loaded if name.startswith("vitscale")] == ["vitscale"]
    assert not set(HEAVY) & set(loaded)


def test_no_name_loads_jax():
    script = (
        "import sys, vitscale\n"
        "for name in vitscale.__all__: getattr(vitscale, name)\n"
        "print('jax' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def for_type_checkers() -> dict[str, str]:
    """Each name with the module that type checkers are told."""
    tree = ast.parse(Path(vitscale.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    return {
        alias.name: str(node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_type_checkers_and_python_see_the_same():
    told = for_type_checkers()
    assert sorted(told) == sorted(NAMES)
    for name, module in told.items():
        importlib.import_module(module)
        if name in ("datasets", "plots"):
            assert getattr(vitscale, name) is importlib.import_module(f"{module}.{name}")
        else:
            assert getattr(vitscale, name) is getattr(sys.modules[module], name)


def test_every_name_is_in_the_docstring_and_in_dir():
    listed = re.findall(r"^\| (.+?) \|", str(vitscale.__doc__), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(listed))) == sorted(NAMES)
    assert set(NAMES) <= set(dir(vitscale))


def test_an_unknown_name_is_refused_in_a_sentence():
    with pytest.raises(AttributeError, match=r"no name 'fit_stars'; it has .*fit_frame"):
        vitscale.fit_stars  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def test_the_example_of_the_docs():
    """docs/python.md, run as it stands."""
    text = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert names["best"].shape.heads == 16
    assert 0.24 < names["fit"].fit.dimensions["width"].s.estimate < 0.25
