"""The arrows between the parts of the package, and what may not be loaded to plan or to fit.

cli -> fits -> scaling.shape and cli -> sweeps -> scaling. Every file of the package is checked, so a
new one is covered by being added.
"""

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import vitscale

PACKAGE = Path(vitscale.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# What the modules of each part may import of vitscale. The package itself gives its version.
MAY_IMPORT = {
    "vitscale.scaling": ("vitscale.scaling",),
    "vitscale.sweeps": ("vitscale.sweeps", "vitscale.scaling"),
    "vitscale.fits": (
        "vitscale.fits",
        "vitscale.scaling.shape",
        "vitscale.scaling.names",
        "vitscale.scaling.measurement",
        "vitscale.scaling.finder.record",
        "vitscale.scaling.finder.journal",
    ),
}

# What takes seconds to import, or opens an accelerator; planning and fitting do without.
HEAVY = {"flax", "grain", "jax", "jaxlib", "matplotlib", "optax", "orbax", "ray", "sklearn"}
HEAVY |= {"plotly", "tensorflow", "tensorflow_datasets", "torch"}
PURE_SCALING = {f"vitscale.scaling.{name}" for name in ("shape", "names", "recipe", "measurement")}
DRAWS = {"vitscale.fits.plots"}


def within(name: str, parents: tuple[str, ...] | set[str]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


LIGHT = [
    name
    for name in MODULES
    if name in PURE_SCALING
    or (name.startswith(("vitscale.fits", "vitscale.sweeps")) and not within(name, DRAWS))
    or name in ("vitscale", "vitscale.cli")
    or name.startswith("vitscale.commands")
]


def imports(path: Path, module: str) -> set[str]:
    """Full names of all that `path` imports, at its top or inside its functions.

    `from a import b` gives both `a` and `a.b`, where `a.b` is a module.
    """
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            parts = {f"{base}.{alias.name}" for alias in node.names} & MODULES.keys()
            # `from vitscale import fits` is an import of vitscale.fits, and no more.
            found |= parts or {base}
    return found


def part_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize("module", [name for name in MODULES if part_of(name) in MAY_IMPORT])
def test_arrows_run_one_way(module):
    allowed = MAY_IMPORT[part_of(module)]
    own = {name for name in imports(MODULES[module], module) if within(name, ("vitscale",))}
    assert {name for name in own if name != "vitscale" and not within(name, allowed)} == set()


@pytest.mark.parametrize("module", [name for name in MODULES if part_of(name) == "vitscale.fits"])
def test_fits_never_import_what_trains(module):
    trains = HEAVY - {"matplotlib", "plotly"} if within(module, DRAWS) else HEAVY
    assert {name for name in imports(MODULES[module], module) if within(name, trains)} == set()


def test_the_reader_of_imports_sees_each_form(tmp_path):
    file = tmp_path / "file.py"
    file.write_text(
        "import jax.numpy as jnp\nfrom vitscale import fits, __version__\n"
        "def f():\n    from vitscale.scaling.shape import Shape\n    from . import sweeps\n"
        "if True:\n    from .sweeps import engines\n    from vitscale import __version__\n"
    )
    assert imports(file, "vitscale.cli") == {
        "jax.numpy",
        "vitscale",
        "vitscale.fits",
        "vitscale.scaling.shape",
        "vitscale.sweeps",
        "vitscale.sweeps.engines",
    }


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """What each light module adds to `sys.modules`, imported one after another in a new process."""
    script = (
        "import importlib, json, sys\n"
        "added = {}\n"
        "for name in sys.argv[1:]:\n"
        "    before = set(sys.modules)\n"
        "    importlib.import_module(name)\n"
        "    added[name] = sorted(set(sys.modules) - before)\n"
        "print(json.dumps(added))\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, *LIGHT], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.mark.parametrize("module", LIGHT)
def test_plans_and_fits_load_nothing_heavy(loaded, module):
    assert {name.partition(".")[0] for name in loaded[module]} & HEAVY == set()
