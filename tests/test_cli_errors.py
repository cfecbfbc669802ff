"""What a user sees of errors that nobody foresaw, and of a command that is ended."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import in_its_own_process

from vitscale.sweeps.config import plan_to_toml
from vitscale.sweeps.presets import preset
from vitscale.sweeps.store import Store


@pytest.fixture
def waiting(tmp_path) -> Path:
    """A store with a plan that nobody works on."""
    store = Store.open(tmp_path / "store", create=True)
    store.prepare()
    plan = preset("quickstart-grid")
    store.record_plan(plan.name, plan_to_toml(plan))
    return tmp_path / "store"


@pytest.fixture
def broken(tmp_path) -> dict[str, str]:
    """An installation in which pyarrow fails when it is loaded, in a way that nobody foresaw."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "pyarrow.py").write_text("{}['a table that is not there']\n")
    return {"PYTHONPATH": str(tmp_path / "broken"), "VITSCALE_DEBUG": ""}


class TestUnexpected:
    def test_is_one_sentence_with_the_way_out(self, waiting, broken):
        done = in_its_own_process("status", waiting, **broken)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("vitscale: unexpected KeyError in parquet.py, line ")
        assert "a table that is not there" in done.stderr
        assert "--debug" in done.stderr and "report it" in done.stderr
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize("how", ["flag", "variable"])
    def test_shows_its_trace_where_it_is_asked_for(self, waiting, broken, how):
        if how == "variable":
            done = in_its_own_process("status", waiting, **{**broken, "VITSCALE_DEBUG": "1"})
        else:
            done = in_its_own_process("status", waiting, "--debug", **broken)
        assert done.returncode == 1
        assert "Traceback (most recent call last)" in done.stderr
        assert "pyarrow.py" in done.stderr
        assert done.stderr.splitlines()[-1].startswith("vitscale: unexpected KeyError")

    def test_what_is_not_installed_is_the_doctors_matter(self, waiting, broken, tmp_path):
        (tmp_path / "broken" / "pyarrow.py").write_text("raise ImportError('no pyarrow here')\n")
        done = in_its_own_process("status", waiting, **broken)
        assert done.returncode == 2
        assert done.stderr == (
            "vitscale: no pyarrow here; vitscale doctor says what is missing here, and how to install it\n"
        )

    def test_refusals_have_a_trace_too(self, tmp_path):
        done = in_its_own_process("status", tmp_path / "none", "--debug")
        assert done.returncode == 2
        assert "Traceback" in done.stderr
        assert done.stderr.splitlines()[-1].startswith("vitscale: there is no store at")


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGTERM, 143, "vitscale: ended by SIGTERM\n"),
        (signal.SIGINT, 130, "vitscale: interrupted\n"),
    ],
)
def test_ended_from_outside_it_says_so_and_no_more(waiting, number, code, said):
    process = subprocess.Popen(
        [sys.executable, "-m", "vitscale", "status", str(waiting), "--watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "VITSCALE_DEBUG": ""},
    )
    assert process.stdout is not None
    assert "0/" in process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, said)


class TestSaying:
    STAR = Path(__file__).parents[1] / "vitscale" / "fits" / "published" / "sovit_star_sweep.csv"
    FIT = ("fit", STAR, "--compute", "forward_gflops", "--resamples", "0")

    def test_more_with_verbose_and_the_same_result(self):
        usual, verbose = in_its_own_process(*self.FIT), in_its_own_process(*self.FIT, "--verbose")
        assert usual.stdout == verbose.stdout
        assert usual.stderr == ""
        assert "read 60 rows of 11 columns" in verbose.stderr
        assert "exit code 0 after" in verbose.stderr

    def test_quiet_leaves_results_and_errors(self, tmp_path):
        plan = ("sweep", "auto", "laptop", "--budget", "1e15", "--store", tmp_path / "s")
        quiet = in_its_own_process(*self.FIT, "-q")
        assert quiet.stdout == in_its_own_process(*self.FIT).stdout
        assert in_its_own_process("fit", tmp_path / "none", "-q").stderr.startswith("vitscale: ")
        assert in_its_own_process(*plan, "--plan", "-q").stderr == ""


WAIT = """
import sys, time
from vitscale.commands.saying import set_saying, working
set_saying(quiet="-q" in sys.argv, verbose=False)
with working("looking"):
    time.sleep(float(sys.argv[1]))
print("done")
"""


class TestWorking:
    """What is shown on a terminal while something takes its time."""

    def shown(self, *arguments: str) -> str:
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(sys.executable, [sys.executable, "-c", WAIT, *arguments])
        text = b""
        try:
            while chunk := os.read(terminal, 65536):
                text += chunk
        except OSError:
            pass  # how a terminal ends on Linux
        os.close(terminal)
        assert os.waitpid(pid, 0)[1] == 0
        return text.decode()

    def test_what_takes_long_is_shown_and_taken_away(self):
        text = self.shown("1.6")
        assert "\rlooking ... 1 s" in text
        # The line is blank again before the result is written.
        before = text[: text.index("done")]
        assert before.endswith(f"\r{' ' * len('looking ... 1 s')}\r")

    @pytest.mark.parametrize("arguments", [("0.1",), ("1.6", "-q")])
    def test_what_is_quick_or_to_be_quiet_is_not(self, arguments):
        assert self.shown(*arguments).strip() == "done"
