"""One command as a user gives it, in this process or in its own."""

import os
import subprocess
import sys
from typing import Any

from vitscale import cli


def vitscale(capsys: Any, *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    code = cli.run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys: Any, *arguments: object) -> str:
    """The one sentence with which a command is refused."""
    code, out, err = vitscale(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("vitscale: ") and err.count("\n") == 1
    return err


def in_its_own_process(
    *arguments: object, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """One command in a new process, with variables of its environment changed."""
    return subprocess.run(
        [sys.executable, "-m", "vitscale", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )
