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


def test_what_the_readme_links_to_is_there():
    root = MAP.parents[1]
    text = (root / "README.md").read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)]+)\)", text) if not t.startswith("http")]
    assert len(targets) >= 4
    assert [target for target in targets if not (root / target).exists()] == []


def test_the_readme_opens_with_a_picture_and_two_commands():
    text = (MAP.parents[1] / "README.md").read_text(encoding="utf-8")
    picture = text.index("![")
    first = text.index("pip install uv && uv run vitscale quickstart")
    second = text.index("pip install uv && uv run pytest")
    assert picture < first < second


def test_the_page_on_trust_has_every_flag():
    source = (PACKAGE / "fits" / "identify.py").read_text(encoding="utf-8")
    codes = set(re.findall(r'code=f?"(?:\{parameter\.name\}_)?(\w+)"', source))
    assert len(codes) >= 10
    page = (MAP.parent / "trust.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| (?!it says|---).+? \| `(?:a_)?(\w+)`.* \|$", page, re.MULTILINE)
    assert set(table) == codes
