"""A page's code blocks, run one after the other; and commands read, but not run."""

from pathlib import Path

import doc_blocks
from doc_givens import GIVEN

from vitscale import cli


def run_page(page: str, folder: Path) -> None:
    """Run what a page, such as "docs/data.md", has its reader run; raises `AssertionError` where that fails."""
    here = doc_blocks.clone(folder / "vitscale")
    home = folder / "home"
    env = doc_blocks.environment(home)
    for block in doc_blocks.blocks(doc_blocks.ROOT / page):
        if block.language not in doc_blocks.RUN:
            continue
        for name in block.given:
            GIVEN[name](here, home)
        if block.not_run is None:
            doc_blocks.run_block(block, here, env)


def parse(arguments: list[str]) -> None:
    """Read the arguments of a command as `vitscale` does; raises `ValueError` where it would refuse them."""
    cli.read(arguments)
