"""What docs/clusters.md tells people to write: it parses, its commands are ours, and scripts do what they say."""

import os
import re
import shlex
import signal
import subprocess
import time
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


@pytest.mark.parametrize(("code", "requeued"), [(75, ["requeue 100_7"]), (0, []), (1, [])])
def test_a_task_of_a_slurm_array_requeues_itself_alone(tmp_path, code, requeued):
    """Of one task, whatever its number, SLURM_JOB_ID is SLURM_ARRAY_JOB_ID, which means all of them."""
    asked = tmp_path / "asked"
    programs = {
        "vitscale": f"trap 'exit {code}' TERM; touch {tmp_path}/started; while :; do sleep 0.1; done",
        "scontrol": f'echo "$*" >> {asked}',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "job.sh").write_text(blocks("bash")[0])
    ids = {"SLURM_JOB_ID": "100", "SLURM_ARRAY_JOB_ID": "100", "SLURM_ARRAY_TASK_ID": "7"}
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    task = subprocess.Popen(["bash", tmp_path / "job.sh"], env=os.environ | ids | path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists():
        assert task.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    task.send_signal(signal.SIGTERM)
    assert task.wait(timeout=60) == code
    assert (asked.read_text().splitlines() if asked.exists() else []) == requeued
