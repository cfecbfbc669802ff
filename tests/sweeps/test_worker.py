"""A worker process by itself: what it says, and that it never outlives its parent."""

import json
import os
import subprocess
import sys

import pytest
from sweep_samples import trial

from vitscale.sweeps.engines.devices import accelerators, usable_cores, worker_environment
from vitscale.sweeps.preemption import PREEMPTED_EXIT
from vitscale.sweeps.store import Store
from vitscale.sweeps.wire import trial_to_dict

COMMAND = [sys.executable, "-m", "vitscale.sweeps.worker", "--runner"]


@pytest.fixture
def worker():
    process = subprocess.Popen(
        [*COMMAND, "simulated", "--parent", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def store(tmp_path) -> Store:
    made = Store.open(tmp_path / "store", create=True)
    made.prepare()
    return made


def ask(worker, store: Store, **request) -> list[dict]:
    """The events of one request, to its end."""
    worker.stdin.write(json.dumps({"store": str(store.path), **request}) + "\n")
    events = []
    while not events or events[-1]["event"] in ("ready", "progress"):
        events.append(json.loads(worker.stdout.readline()))
    return events


def test_one_worker_takes_trial_after_trial(worker, store):
    first = ask(worker, store, trials=[trial_to_dict(trial(width=8))])
    assert first[0] == {"event": "ready"}
    assert first[-1].pop("core_seconds") > 0
    assert first[-1] == {
        "event": "attempt",
        "trial_id": trial(width=8).id,
        "outcome": "done",
        "reason": "",
        "diverged": False,
    }
    steps = [(e["step"], e["total_steps"]) for e in first[1:-1]]
    assert steps and steps == sorted(steps) and {total for _, total in steps} == {50}
    second = ask(worker, store, trials=[trial_to_dict(trial(width=16))])
    assert second[-1]["outcome"] == "done"
    assert len(store.read()) == 4


def test_a_locked_trial_is_busy(worker, store):
    with store.lock(trial()):
        assert ask(worker, store, trials=[trial_to_dict(trial())])[-1]["outcome"] == "busy"
    assert ask(worker, store, trials=[trial_to_dict(trial())])[-1]["outcome"] == "done"


def test_a_store_that_went_away_is_unstorable(worker, store):
    (store.path / "store.json").unlink()
    event = ask(worker, store, trials=[trial_to_dict(trial())])[-1]
    assert event["outcome"] == "unstorable" and "is not a store" in event["reason"]


def test_the_end_of_its_input_ends_it_in_the_middle_of_a_trial(worker, store):
    long = trial(steps=(100_000,))
    worker.stdin.write(
        json.dumps({"store": str(store.path), "trials": [trial_to_dict(long)]}) + "\n"
    )
    while json.loads(worker.stdout.readline())["event"] != "progress":
        pass
    worker.stdin.close()
    assert worker.wait(timeout=30) == 0
    worker.stdin = None


def test_a_worker_whose_parent_is_gone_does_not_start():
    ended = subprocess.run(
        [*COMMAND, "simulated", "--parent", "1"], capture_output=True, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (0, b"")


def test_only_known_runners_are_taken():
    command = [*COMMAND, "os.system", "--parent", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "invalid choice: 'os.system' (choose from" in ended.stderr


def test_a_cpu_worker_gets_its_threads_and_a_shared_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=x")
    one = worker_environment(1, None, shared=True)
    assert one["NPROC"] == one["OMP_NUM_THREADS"] == "1"
    assert one["XLA_FLAGS"] == "--xla_dump_to=x --xla_cpu_multi_thread_eigen=false"
    assert one["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "vitscale" / "xla")
    two = worker_environment(2, None, shared=True)
    assert two["NPROC"] == "2" and two["XLA_FLAGS"] == "--xla_dump_to=x"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
    assert worker_environment(1, None, shared=True)["JAX_COMPILATION_CACHE_DIR"] == "mine"


def test_a_gpu_worker_gets_its_own_device(monkeypatch):
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE", raising=False)
    monkeypatch.delenv("NPROC", raising=False)
    alone = worker_environment(1, "3", shared=False)
    assert alone["CUDA_VISIBLE_DEVICES"] == "3"
    assert "NPROC" not in alone and "XLA_PYTHON_CLIENT_PREALLOCATE" not in alone
    assert worker_environment(1, "3", shared=True)["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


def test_accelerators_are_those_jax_would_use(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "jax_cuda13_plugin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,4")
    monkeypatch.setenv("JAX_PLATFORMS", "")
    assert accelerators() == ["1", "4"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert accelerators() == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,4")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert accelerators() == []
    monkeypatch.setenv("JAX_PLATFORMS", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert accelerators() == []
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("nodes", "named"),
    [
        (("nvidia3", "nvidiactl", "nvidia-uvm"), ["0"]),  # a pod that was given the host's GPU 3
        (("nvidia0", "nvidia1", "nvidiactl"), ["0", "1"]),
        (tuple(f"nvidia{i}" for i in range(12)), [str(i) for i in range(12)]),
        (("nvidiactl",), []),
    ],
)
def test_accelerators_are_counted_as_cuda_does(monkeypatch, tmp_path, nodes, named):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "jax_cuda12_plugin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("JAX_PLATFORMS", "")
    for node in nodes:
        (tmp_path / node).touch()
    assert accelerators(tmp_path) == named


@pytest.mark.slow
def test_a_worker_asked_to_go_saves_says_so_and_goes(store):
    long = trial(steps=(100_000,))
    arguments = [*COMMAND, "train", "--parent", str(os.getpid())]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin and process.stdout
        request = {"trials": [trial_to_dict(long)], "store": str(store.path)}
        process.stdin.write(json.dumps(request) + "\n")
        event: dict = {}
        while event.get("phase") != "trunk":
            event = json.loads(process.stdout.readline())
        process.terminate()
        while event["event"] != "attempt":
            event = json.loads(process.stdout.readline())
        assert (event["outcome"], process.wait()) == ("preempted", PREEMPTED_EXIT)
    assert "goes on from there" in event["reason"]
    steps = [int(path.name) for path in (store.checkpoint_dir(long) / "trunk").iterdir()]
    assert steps and max(steps) > 0


def test_an_idle_worker_asked_to_go_goes(worker):
    assert json.loads(worker.stdout.readline()) == {"event": "ready"}
    worker.terminate()
    assert worker.wait() == PREEMPTED_EXIT
