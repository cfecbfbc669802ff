"""What docs/clusters.md tells people to write: it parses, and its commands are ours."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from vitscale import cli

TEXT = (Path(__file__).parents[1] / "docs" / "clusters.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands() -> list[list[str]]:
    """Every vitscale command of the page, as arguments."""
    job, task = (yaml.safe_load(block) for block in blocks("yaml"))
    container = job["spec"]["template"]["spec"]["containers"][0]
    found = [container["command"], shlex.split(task["run"])]
    for block in [*blocks("sh"), *blocks("bash")]:
        for line in block.splitlines():
            if match := re.match(r"vitscale .*", line):
                found.append(shlex.split(match[0].removesuffix(" &"), comments=True))
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_is_one_of_ours(command):
    assert command[0] == "vitscale"
    cli.read(command[1:])


def test_an_exit_to_go_on_later_is_no_failure():
    job, task = (yaml.safe_load(block) for block in blocks("yaml"))
    codes = [rule.get("onExitCodes") for rule in job["spec"]["podFailurePolicy"]["rules"]]
    assert {"operator": "In", "values": [75]} in codes
    assert task["resources"]["job_recovery"]["recover_on_exit_codes"] == [75]
    assert "-eq 75" in blocks("bash")[0]
