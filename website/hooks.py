"""What MkDocs does beside its plugins: pages that are generated, equations and diagrams drawn at build time.

The pages of docs/ are written for GitHub's view of them as well, so this is where the two differ.
"""

import re
from pathlib import Path

import api_reference
import cli_reference
import diagrams
import equations
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# Pages that stand at the top of the repository, and where the site has them.
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
ASSETS = ("style.css", "iframe-worker.js")
_REFERENCE = "Python modules"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the generated pages into the navigation, where it names them."""
    assert config.nav is not None
    for section in config.nav:
        for entry in next(iter(section.values())):
            if isinstance(entry, dict) and _REFERENCE in entry:
                entry[_REFERENCE] = api_reference.navigation(api_reference.modules())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that docs/ does not hold."""

    def add(uri: str, content: str) -> None:
        files.append(File.generated(config, uri, content=content))

    for source, uri in OUTSIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        add(uri, re.sub(r"\]\((?:docs/)?([^)]+)\)", lambda found: f"]({_inside(found[1])})", text))
    add("reference/cli.md", cli_reference.page())
    modules = api_reference.modules()
    add("reference/python.md", api_reference.overview(modules))
    for module in modules:
        add(module.uri, api_reference.page(module))
    for asset in ASSETS:
        add(asset, (ROOT / "website" / asset).read_text(encoding="utf-8"))
    return files


def _inside(target: str) -> str:
    """Where the site has what a page at the top of the repository links to."""
    path, anchor, rest = target.partition("#")
    return OUTSIDE.get(path, path) + anchor + rest


def _titled(found: re.Match) -> str:
    """A link that shows a file's name, as one that shows the page's title."""
    heading = (ROOT / "docs" / found[1]).read_text(encoding="utf-8").partition("\n")[0]
    return f"[{heading.removeprefix('# ')}]"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Diagrams as drawings; links to the top of the repository to where the site has it."""
    markdown = diagrams.inline(markdown)
    markdown = re.sub(r"\[(?:docs/)?([\w-]+\.md)\](?=\(\1)", _titled, markdown)
    return re.sub(r"\]\(\.\./([A-Z]+\.md)", lambda found: f"]({_inside(found[1])}", markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Equations as MathML."""
    return equations.draw(content)
