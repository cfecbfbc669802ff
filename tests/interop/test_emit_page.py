"""Every block of docs/emit.md runs, one after another, as a reader would run them."""

import re
import shlex
from pathlib import Path

import pytest

from vitscale.cli import run

pytestmark = pytest.mark.interop

PAGE = Path(__file__).parents[2] / "docs" / "emit.md"
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def shell(block: str) -> None:
    for line in block.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "vitscale"
        assert run(arguments) == 0, line


def test_the_page_runs_from_top_to_bottom(
    timm, transformers, open_clip, ml_collections, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for kind, block in BLOCKS:
        if kind == "sh":
            shell(block)
        else:
            exec(compile(block, str(PAGE), "exec"), names)
    spec = names["spec"]
    assert sum(p.numel() for p in names["model"].visual.parameters()) == spec.params
    assert names["config"].model.width == spec.shape.width
    assert names["feature"].shape == (1, spec.shape.width)
    assert names["classifier"].num_labels == 10
    assert names["texts"].shape == (2, spec.shape.width)


def test_the_page_has_a_command_and_code_for_every_framework():
    commands = "\n".join(block for kind, block in BLOCKS if kind == "sh")
    for target in ("all", "json", "timm", "huggingface", "openclip", "big_vision", "trial"):
        assert re.search(rf"--emit (\w+ )*{target}\b", commands)
    code = "\n".join(block for kind, block in BLOCKS if kind == "python")
    for loader in ("timm.create_model", "AutoConfig", "open_clip.create_model", "get_config"):
        assert loader in code
