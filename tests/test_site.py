"""The documentation site: it builds without a warning, asks no server for anything, and its reference is whole."""

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import cli_reference
import pytest
from doc_pages import parse

from vitscale import cli

ROOT = Path(__file__).parents[1]


def help_of(*path: str) -> str:
    """What `vitscale PATH --help` prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert cli.run([*path, "--help"]) == 0
    return printed.getvalue()


def subcommands_of(text: str) -> list[str]:
    """Names at the left of the lines under headings, where no options are."""
    if not re.match(r"Usage: vitscale(?: [a-z]+)* COMMAND", text):
        return []
    before = re.split(r"^(?:Begin with|Everywhere):", text, flags=re.MULTILINE)[0]
    return re.findall(r"^  ([a-z]+) {2,}\S", before, re.MULTILINE)


def flags_of(text: str) -> set[str]:
    """Flags at the left of the lines; what stands further right is prose, and the last part is of all."""
    own = re.split(r"^Output:", text, flags=re.MULTILINE)[0]
    rows = re.findall(r"^  (-[^ ].*?)(?: {2,}|$)", own, re.MULTILINE)
    return set(re.findall(r"--[a-z][a-z-]*", " ".join(rows)))


def all_commands(*path: str):
    """Every command, found in the help that users read, with that help."""
    text = help_of(*path)
    if path:
        yield path, text
    for name in subcommands_of(text):
        yield from all_commands(*path, name)


@pytest.fixture(scope="session")
def helps():
    os.environ["COLUMNS"] = "100"
    return dict(all_commands())


def test_every_command_has_its_section(helps):
    assert len(helps) >= 30
    page = cli_reference.page()
    missing = [path for path in helps if f"{{ #vitscale-{'-'.join(path)} }}" not in page]
    assert missing == []


def test_every_flag_has_its_row(helps):
    sections = re.split(r"^#+ vitscale .*?\{ #vitscale-(.+?) \}$", cli_reference.page(), flags=re.M)
    of = dict(zip(sections[1::2], sections[2::2], strict=True))
    count = 0
    for path, text in helps.items():
        flags = flags_of(text)
        count += len(flags)
        rows = re.findall(r"^\| (.+?) \|", of["-".join(path)], re.MULTILINE)
        documented = set(re.findall(r"`(--[a-z-]+)`", " ".join(rows)))
        assert flags - documented == set(), f"vitscale {' '.join(path)}"
    assert count > 150


def test_the_examples_of_every_help_are_commands():
    count = 0
    for command in cli_reference.commands().values():
        for example in command.examples:
            arguments = shlex.split(example)
            assert arguments[0] == "vitscale", example
            try:
                parse(arguments[1:])
            except ValueError as refused:
                pytest.fail(f"`{example}` is refused ({refused})")
            count += 1
    assert count > 25


def test_every_command_is_told_of_by_a_page_that_someone_wrote(helps):
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    )
    untold = [
        path
        for path in helps
        if not re.search(rf"vitscale {' '.join(path)}\b", text)
        # `vitscale store compact|check`, `vitscale data prepare|digits|info`
        and not re.search(rf"vitscale {path[0]} [a-z|]*\b{path[-1]}\b", text)
    ]
    assert untold == [], "tell of them in README.md or docs/"


class Addresses(HTMLParser):
    """What a page has the browser fetch by itself."""

    def __init__(self):
        super().__init__()
        self.fetched = []

    def handle_starttag(self, tag, attrs):
        said = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.fetched.append(said.get("src"))
        if tag == "link" and said.get("rel") in ("stylesheet", "icon", "preload"):
            self.fetched.append(said.get("href"))


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    # Links and anchors that lead nowhere, and pages that nothing leads to, are warnings.
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.mark.slow
class TestSite:
    def test_pages_fetch_nothing_from_elsewhere(self, site):
        pages = sorted(site.rglob("*.html"))
        assert len(pages) > 200
        for page in pages:
            seen = Addresses()
            seen.feed(page.read_text(encoding="utf-8"))
            addresses = [address for address in seen.fetched if address]
            assert [a for a in addresses if re.match(r"(https?:)?//", a)] == [], page
            for address in addresses:
                if page.name != "404.html" and not address.startswith("data:"):
                    assert (page.parent / address.partition("?")[0]).exists(), f"{page}: {address}"

    def test_equations_and_diagrams_are_drawn(self, site):
        method = (site / "method.html").read_text(encoding="utf-8")
        assert method.count("<math") >= 4 and "arithmatex" not in method
        for name in ("α", "β", "ξ", "ε"):
            assert name in method or f"&#x{ord(name):05X};" in method
        architecture = (site / "architecture.html").read_text(encoding="utf-8")
        assert '<div class="diagram"><svg' in architecture and "flowchart LR" not in architecture

    def test_search_finds_the_pages(self, site):
        index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
        found = {entry["location"].partition("#")[0] for entry in index["docs"]}
        assert {"index.html", "tutorial.html", "reference/cli.html"} <= found
        assert "reference/vitscale/fits/law_fit.html" in found

    def test_the_changelog_and_the_readme_are_in_it(self, site):
        assert "Unreleased" in (site / "changelog.html").read_text(encoding="utf-8")
        assert "Two commands" in (site / "index.html").read_text(encoding="utf-8")

    def test_docstrings_are_shown(self, site):
        page = (site / "reference/vitscale/fits/law_fit.html").read_text(encoding="utf-8")
        assert "Fit a law by the name it has in" in page
        assert "robust losses by the likelihood-ratio-type test" in " ".join(page.split())


def test_a_broken_link_fails_the_build(tmp_path):
    """The build that the tests above trust to find broken links and anchors does find them."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("# A\n\n[b](b.md#nowhere) and [c](c.md)\n")
    (docs / "b.md").write_text("# B\n\nText.\n")
    strict = re.search(r"^validation:\n(?:  .*\n)+", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert strict is not None
    (tmp_path / "mkdocs.yml").write_text("site_name: x\n" + strict[0])
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=tmp_path,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert built.returncode != 0
    assert "b.md#nowhere" in built.stderr and "'c.md'" in built.stderr
