"""`vitscale completion` in the shells that are here: bash with its line editor, the others where installed."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import refused, vitscale

from vitscale.fits.export import TARGETS
from vitscale.fits.laws import LAWS
from vitscale.scaling.recipes import RECIPES
from vitscale.sweeps.presets import PRESETS

ASK = """
source {script}
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_vitscale
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("completion")
    found = {}
    for shell in ("bash", "zsh", "fish", "tcsh"):
        done = subprocess.run(
            [sys.executable, "-m", "vitscale", "completion", shell], capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        found[shell] = folder / f"vitscale.{shell}"
        found[shell].write_text(done.stdout)
    return found


class Terminal:
    """An interactive program with a terminal of its own, typed into."""

    def __init__(self, *command: str, folder: Path) -> None:
        pid, self._fd = pty.fork()
        if pid == 0:
            os.chdir(folder)
            scripts = Path(sys.executable).parent
            kept = {"PATH": f"{scripts}:{os.environ['PATH']}", "TERM": "dumb", "HOME": str(folder)}
            os.execvpe(command[0], command, kept)
        self._pid = pid

    def type(self, text: str, until: str, seconds: float = 60.0) -> str:
        """What is shown after `text` is typed, up to where the pattern `until` is found."""
        os.write(self._fd, text.encode())
        shown, deadline = "", time.monotonic() + seconds
        while not re.search(until, shown):
            assert time.monotonic() < deadline, shown
            if select.select([self._fd], [], [], 0.2)[0]:
                shown += os.read(self._fd, 65536).decode(errors="replace")
        return shown

    def close(self) -> None:
        os.close(self._fd)
        os.kill(self._pid, 9)
        os.waitpid(self._pid, 0)


@pytest.fixture
def bash(scripts, tmp_path) -> Iterator[Terminal]:
    (tmp_path / "my-runs.csv").write_text("x\n")
    terminal = Terminal("bash", "--norc", "--noprofile", "-i", folder=tmp_path)
    terminal.type(f"PS1='READY> '; source {scripts['bash']}\n", "\nREADY> ")
    yield terminal
    terminal.close()


def test_tab_completes_in_a_real_bash(bash):
    # Each Tab must complete its word, or the command that is then run is none.
    assert "vitscale completion bash " in bash.type("vitscale comple\tba\t", "bash ")
    shown = bash.type("| head -n 1\n", "READY> ")
    assert "# Completion of vitscale" in shown
    assert "my-runs.csv" in bash.type("vitscale fit my\t", r"my-runs\.csv")
    assert "--law chinchilla" in bash.type("--la\tchin\t", "chinchilla")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["st"], {"status", "store"}),
        (["data", ""], {"prepare", "digits", "info"}),
        (["store", "c"], {"compact", "check"}),
        (["sweep", ""], {"star", "grid", "auto"}),
        (["sweep", "star", ""], set(PRESETS)),
        (["rehearse", "grid", "l"], {"laptop"}),
        (["fit", "x", "--law", ""], {*LAWS, "auto"}),
        (["fit", "x", "--los"], {"--loss"}),
        (["train", "S/16", "--recipe", ""], set(RECIPES)),
        (["-q", "conv"], {"convert"}),
        (["shape", "--hardware", "h"], {"h100", "h200"}),
        (["shape", "--emit", ""], {"all", *TARGETS}),
        (["convert", "a", "b", "--to", "t"], {"timm"}),
        (["data", "prepare", "--fr"], {"--from"}),
        (["fit", "x", "--out", ""], set()),
        (["worker", "x", "--verb"], {"--verbose"}),
    ],
)
def test_words(scripts, words, expected):
    ask = ASK.format(script=scripts["bash"])
    done = subprocess.run(
        ["bash", "--norc", "-c", ask, "bash", "vitscale", *words], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert set(done.stdout.split()) == expected


def test_fish(scripts):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    ask = f"source {scripts['fish']}; complete -C 'vitscale fit x --law chin'; complete -C 'vitscale sto'"
    done = subprocess.run(["fish", "--no-config", "-c", ask], capture_output=True, text=True)
    assert done.stderr == ""
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["chinchilla", "store"]


def test_zsh(scripts, tmp_path):
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    terminal = Terminal("zsh", "-f", "-i", folder=tmp_path)
    try:
        start = f"PS1='READY> '; autoload -U compinit; compinit -u; source {scripts['zsh']}; echo SOURCED\n"
        terminal.type(start, "\nSOURCED")
        assert "--law chinchilla" in terminal.type("vitscale fit x --law chin\t", "chinchilla")
    finally:
        terminal.close()


def test_tcsh(scripts):
    if shutil.which("tcsh") is None:
        pytest.skip("tcsh is not installed")
    ask = f"source {scripts['tcsh']}; complete vitscale"
    done = subprocess.run(["tcsh", "-f", "-c", ask], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "chinchilla" in done.stdout


def test_an_unknown_shell_is_refused(capsys):
    assert "did you mean 'bash'" in refused(capsys, "completion", "bsh")


def test_as_json(capsys):
    code, out, _ = vitscale(capsys, "completion", "fish", "--json")
    assert code == 0
    assert '"script"' in out
