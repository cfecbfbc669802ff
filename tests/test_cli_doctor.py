"""`vitscale doctor`: on a sound machine, and where something is wrong for real."""

import json
import os
import resource
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from command_line import in_its_own_process, refused, vitscale

from vitscale.sweeps.store import Store


def findings(*arguments: object, **environment: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = in_its_own_process("doctor", *arguments, "--json", **environment)
    found = json.loads(done.stdout)
    assert found["ok"] == (done.returncode == 0)
    return done.returncode, {each["name"]: each for each in found["findings"]}


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> dict[str, dict[str, str]]:
    code, found = findings(tmp_path_factory.mktemp("doctor") / "new", JAX_PLATFORMS="cpu")
    assert code == 0
    return found


def fake_jax(folder: Path, source: str) -> dict[str, str]:
    """An environment whose jax is `source`."""
    (folder / "jax.py").write_text(source)
    return {"PYTHONPATH": str(folder)}


def test_versions_are_those_that_are_installed(sound):
    for name in ("vitscale", "numpy", "pyarrow", "tyro", "flax"):
        assert sound[name]["text"].startswith(version(name))
    assert sound["jax"]["text"] == f"{version('jax')}, jaxlib {version('jaxlib')}"
    assert sys.executable in sound["python"]["text"]


def test_devices_cores_and_limits_are_this_machines(sound):
    assert "cpu" in sound["devices"]["text"]
    assert sound["cores"]["text"].split()[0].isdecimal()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert str(files) in sound["open files"]["text"]


def test_extras_say_how_to_install_them(sound):
    for name in ("cuda", "ray", "track"):
        extra = sound[f"extra {name}"]
        assert extra["state"] in ("ok", "missing")
        assert extra["state"] == "ok" or f"uv sync --extra {name}" in extra["do"]
    # What the tests themselves need is there.
    assert sound["extra tensorboard"]["state"] == "ok"


def test_the_compilation_cache_is_where_jax_is_told(tmp_path):
    cache = tmp_path / "xla"
    cache.mkdir()
    (cache / "one").write_bytes(b"x" * 2_500)
    _, found = findings(JAX_COMPILATION_CACHE_DIR=str(cache))
    assert found["compilation cache"]["text"].startswith(f"{cache}: 1 files, 2.5 kB")


def test_a_driver_that_hangs_does_not_hang_the_doctor(tmp_path):
    environment = fake_jax(tmp_path, "import time\ntime.sleep(1000)\n")
    code, found = findings("--device-seconds", "1.5", **environment)
    assert code == 1
    assert found["devices"]["state"] == "broken"
    assert "within 1.5 s" in found["devices"]["text"]
    assert "JAX_PLATFORMS=cpu" in found["devices"]["do"]


def test_a_jax_that_cannot_start_is_told_in_one_line(tmp_path):
    environment = fake_jax(tmp_path, "raise ImportError('libcuda.so.1: cannot open')\n")
    done = in_its_own_process("doctor", "-q", **environment)
    assert done.returncode == 1
    assert "libcuda.so.1: cannot open" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("broken: devices (jax cannot start")


class TestStore:
    def test_one_that_is_there(self, tmp_path):
        Store.open(tmp_path / "store", create=True).prepare()
        _, found = findings(tmp_path / "store")
        assert found[f"store {tmp_path / 'store'}"]["text"].startswith("a store")

    def test_one_that_can_be_made_is_not_made(self, tmp_path):
        code, found = findings(tmp_path / "a" / "b")
        finding = found[f"store {tmp_path / 'a' / 'b'}"]
        assert (code, finding["state"]) == (0, "warning")
        assert finding["text"].startswith("no store there yet")
        assert not list(tmp_path.iterdir())

    def test_one_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("")
        code, found = findings(tmp_path / "file" / "store")
        assert code == 1
        assert found[f"store {tmp_path / 'file' / 'store'}"]["state"] == "broken"

    def test_an_address_that_nobody_answers(self):
        remote = "s3://nobody/there"
        environment = {
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_REGION": "us-east-1",
        }
        code, found = findings(remote, **environment)
        assert code == 1
        assert found[f"store {remote}"]["state"] == "broken"


def test_few_open_files_are_a_warning():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        code, found = findings()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert code == 0
    assert found["open files"]["state"] == "warning"
    assert "ulimit -n" in found["open files"]["do"]


def test_a_terminal_without_signs_is_a_warning():
    _, found = findings(PYTHONIOENCODING="ascii")
    assert found["text"]["state"] == "warning"


def test_lines_have_their_state_first(capsys):
    code, out, err = vitscale(capsys, "doctor", os.devnull)
    assert (code, err) == (1, "")
    *lines, last = out.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "warning", "missing", "broken"}
    assert last.startswith("broken: store /dev/null (") and "not writable" in last


def test_no_time_is_refused(capsys):
    assert "--device-seconds 0" in refused(capsys, "doctor", "--device-seconds", "0")
