"""Every command of docs/ runs as it stands there, or as a comment beside it says; doc_blocks.py has the rules."""

import re
from pathlib import Path

import doc_blocks
import doc_pages
import pytest
from doc_givens import GIVEN
from doc_pages import parse

PAGES = {str(page.relative_to(doc_blocks.ROOT)): page for page in doc_blocks.pages()}
BLOCKS = [block for page in PAGES.values() for block in doc_blocks.blocks(page)]
# Pages whose blocks are all run by another test: they need other packages, or go on from one another.
ELSEWHERE = {
    "docs/emit.md": "tests/interop/test_emit_page.py",
    "docs/python.md": "tests/test_python_names.py",
}
TO_RUN = [
    name
    for name, page in PAGES.items()
    if name.startswith("docs/")
    and name not in ELSEWHERE
    and any(
        block.language in doc_blocks.RUN and not block.not_run for block in doc_blocks.blocks(page)
    )
]
MOST_NOT_RUN = 6


@pytest.mark.slow
@pytest.mark.parametrize("page", TO_RUN)
def test_every_command_runs(page, tmp_path):
    doc_pages.run_page(page, tmp_path)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_every_command_is_one_of_ours(block):
    for arguments in doc_blocks.our_commands(block):
        if {"--help", "-h"} & set(arguments):
            continue
        try:
            parse(arguments)
        except ValueError as refused:
            pytest.fail(f"{block.place}: vitscale {' '.join(arguments)} is refused ({refused})")
    for name, arguments in doc_blocks.benchmarks(block):
        source = (doc_blocks.ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
        flags = [argument for argument in arguments if argument.startswith("--")]
        assert [flag for flag in flags if f'"{flag}"' not in source] == [], block.place


def test_commands_stand_where_they_are_found():
    """No command hides in a block that is not run: without a language, or by indentation alone."""
    for block in BLOCKS:
        if block.language not in doc_blocks.RUN:
            hidden = re.findall(r"^(?:\$ |uv |vitscale |pip |python ).*", block.text, re.MULTILINE)
            assert hidden == [], f"{block.place} is of no language that is run"
    for name, page in PAGES.items():
        text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
        indented = re.findall(
            r"^ {4,}(?:OMP_\w+=\d+ )?(?:uv|vitscale|pip|python) .*", text, re.MULTILINE
        )
        assert indented == [], f"{name}: commands belong into blocks of sh"


def test_what_is_not_run_is_checked_elsewhere():
    for page, checker in ELSEWHERE.items():
        assert Path(page).name in (doc_blocks.ROOT / checker).read_text(encoding="utf-8")
    left_out = [block for block in BLOCKS if block.not_run]
    for block in left_out:
        checker = doc_blocks.ROOT / str(block.not_run)
        assert checker.is_file(), block.place
        assert block.page.name in checker.read_text(encoding="utf-8"), (
            f"{block.place}: {block.not_run} does not name {block.page.name}"
        )
    assert len(left_out) <= MOST_NOT_RUN


def test_what_is_given_is_used():
    named = {name for block in BLOCKS for name in block.given}
    assert named == set(GIVEN)
