"""The map of the modules in docs/architecture.md is the tree as it is."""

import re
from pathlib import Path

import vitscale

PACKAGE = Path(vitscale.__file__).parent
MAP = Path(__file__).parents[1] / "docs" / "architecture.md"


def test_every_module_has_its_line():
    folder, listed = "", []
    for line in MAP.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"### `vitscale/?(\w*)`", line):
            folder = heading[1]
        elif row := re.match(r"\| `(.+?\.py)` \| .+ \|$", line):
            listed.append(str(Path(folder) / row[1]))
    modules = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")]
    assert sorted(listed) == sorted(str(path) for path in modules if path.name != "__init__.py")
