"""A page for every module that others may import, filled by mkdocstrings from its docstrings."""

import ast
import dataclasses
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "vitscale"
# The command line has a page of its own.
_LEFT_OUT = ("cli", "__main__", "commands")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Module:
    """A module by its dotted `name`, and the first `sentence` of its docstring."""

    name: str
    sentence: str

    @property
    def uri(self) -> str:
        """Its page, in the folder of the documentation."""
        return f"reference/{self.name.replace('.', '/')}.md"


def modules(package: Path = PACKAGE) -> tuple[Module, ...]:
    """Every module of the package that says anything for itself, in order of names."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[0] in _LEFT_OUT or path.name == "__init__.py":
            continue
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        name = ".".join((package.name, *parts))
        found.append(Module(name=name, sentence=" ".join(docstring.split("\n\n")[0].split())))
    return tuple(found)


def page(module: Module) -> str:
    """The page of one module, in Markdown."""
    # Below the pages that people wrote, where a search finds both.
    return f"---\nsearch: {{boost: 0.3}}\n---\n\n# {module.name}\n\n::: {module.name}\n"


def overview(found: tuple[Module, ...]) -> str:
    """The page that lists them all, in Markdown."""
    lines = [
        "# Python",
        "",
        "Every module, with the first sentence of its docstring; [architecture](../architecture.md) says how they "
        "belong together. What a name with a leading underscore does may change without notice.",
    ]
    folder = None
    for module in found:
        package = module.name.rpartition(".")[0]
        if package != folder:
            lines += ["", f"## {package}", "", "| module | what it does |", "| --- | --- |"]
            folder = package
        link = module.uri.removeprefix("reference/")
        sentence = module.sentence.replace("|", "\\|")
        lines.append(f"| [`{module.name.rpartition('.')[2]}`]({link}) | {sentence} |")
    return "\n".join(lines) + "\n"


def navigation(found: tuple[Module, ...]) -> list:
    """Their pages as nested entries of a MkDocs navigation."""
    tree: dict = {}
    for module in found:
        *folders, leaf = module.name.split(".")[1:]
        branch = tree
        for folder in folders:
            branch = branch.setdefault(folder, {})
        # A module may have the name of a folder beside it.
        branch[f"{leaf}.py"] = module.uri
    return _entries(tree)


def _entries(tree: dict) -> list:
    return [
        {name.removesuffix(".py"): _entries(entry) if isinstance(entry, dict) else entry}
        for name, entry in sorted(tree.items())
    ]
