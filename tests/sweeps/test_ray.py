"""Trials on a Ray cluster of several hosts, which are all this machine: hosts that go away, gangs, TPU slices."""

import dataclasses
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from sweep_samples import RECIPE, star_plan

from vitscale.sweeps.engines.local import Gang, LocalEngine
from vitscale.sweeps.plan import GridSweep, Plan
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store

ray = pytest.importorskip("ray")

from benchmarks.ray_cluster import cluster_of  # noqa: E402
from vitscale.sweeps.engines.ray import Needs, RayEngine, _asks_for_a_token  # noqa: E402

PLAN = star_plan(steps=(40, 200))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open(tmp_path / "store", create=True)


def wait_until(condition, seconds: float = 300.0) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.1)


class Running:
    """A run in a thread, while a test does something to the cluster."""

    def __init__(self, plan, engine, store):
        self._thread = threading.Thread(target=self._run, args=(plan, engine, store), daemon=True)
        self._thread.start()

    def _run(self, plan, engine, store):
        self.report = run(plan, engine, store)

    def join(self):
        self._thread.join(600)  # on a loaded machine too
        assert not self._thread.is_alive()
        return self.report


@pytest.mark.slow
def test_trials_of_a_lost_host_are_trained_on_another(store):
    with cluster_of([{"num_cpus": 1}, {"num_cpus": 1}]) as cluster:
        doomed = cluster.list_all_nodes()[-1]
        with RayEngine(address=cluster.address, runner="simulated") as engine:
            assert engine.workers == 2
            running = Running(PLAN, engine, store)
            wait_until(lambda: len(store.resumable()) == 2)
            cluster.remove_node(doomed, allow_graceful=False)
            report = running.join()
        assert report.complete and len(report.measured) == 4
        assert report.attempts > 4  # what was lost was tried again


@pytest.mark.slow
def test_a_gang_trains_what_one_host_trains_and_restarts_together(store, tmp_path):
    """Real training over two hosts that find each other by jax.distributed; one of them is taken away on the
    way, and another comes."""
    sweep = GridSweep(
        widths=(16,),
        depths=(1,),
        mlp_dims=(32,),
        patch=8,
        head_dim=8,
        recipe=dataclasses.replace(RECIPE, evaluators=("upstream",)),
        durations=(64 * 200, 64 * 1_500),
    )
    plan = Plan(name="gang", sweep=sweep)
    (trial,) = plan.trials
    with cluster_of([{"num_cpus": 1}, {"num_cpus": 1}]) as cluster:
        needs = Needs(hosts=2)
        with RayEngine(address=cluster.address, needs=needs, checkpoint_seconds=1) as engine:
            assert engine.workers == 1
            running = Running(plan, engine, store)
            wait_until(lambda: store.measured(trial))
            cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
            cluster.add_node(num_cpus=1)
            report = running.join()
    assert report.complete and report.attempts > 1
    alone = Store.open(tmp_path / "alone", create=True)
    with LocalEngine(workers=1) as engine:
        assert run(plan, engine, alone).complete
    # Sums over two hosts round otherwise than over one, and 1,500 steps add it up.
    ours, theirs = (s.read()["value"].to_numpy(float) for s in (store, alone))
    np.testing.assert_allclose(ours, theirs, rtol=2e-3)


@pytest.mark.slow
def test_a_trial_takes_a_whole_tpu_slice(store):
    """A fake slice of v6e 4x4, four hosts with four chips each; another has lost a host."""
    hosts = []
    for name, count in (("first", 4), ("broken", 3)):
        for worker in range(count):
            labels = {
                "ray.io/tpu-slice-name": name,
                "ray.io/tpu-worker-id": str(worker),
                "ray.io/tpu-pod-type": "v6e-16",
                "ray.io/tpu-topology": "4x4",
                "ray.io/accelerator-type": "TPU-V6E",
            }
            head = {"TPU-v6e-16-head": 1} if worker == 0 else {}
            metadata = {
                "TPU_NAME": name,
                "TPU_WORKER_ID": str(worker),
                "TPU_ACCELERATOR_TYPE": "v6e-16",
                "TPU_TOPOLOGY": "4x4",
            }
            resources = {"TPU": 4, **head}
            host = {"num_cpus": 1, "resources": resources, "labels": labels}
            hosts.append({**host, "env_vars": metadata})
    with cluster_of(hosts) as cluster:
        engine = RayEngine(address=cluster.address, needs=Needs(tpu="v6e:4x4"), runner="simulated")
        with engine:
            assert engine.capacity() == 1
            running = Running(star_plan(widths=(8,)), engine, store)
            wait_until(lambda: store.measured_durations(), 60)
            free = ray.available_resources().get("TPU", 0.0)
            report = running.join()
            assert free <= 28 - 16  # whole slices are taken while trials run
            engine.cancel()
            wait_until(lambda: ray.available_resources().get("TPU") == 28)
    assert report.complete and len(report.measured) == 2


def test_what_cannot_be_is_refused_in_words():
    with cluster_of([{"num_cpus": 2}, {"num_cpus": 1}]) as cluster:
        address = cluster.address
        for needs, words in (
            (
                Needs(gpus=8),
                "takes 1 CPUs and 8 GPUs; its machines have 1 with 2 CPU, 1 with 1 CPU[.]",
            ),
            (Needs(hosts=3), "takes 3 hosts with 1 CPUs"),
            (Needs(tpu="v6e:4x4"), "takes a TPU slice v6e:4x4"),
        ):
            with pytest.raises(ValueError, match=words):
                RayEngine(address=address, needs=needs)
        with RayEngine(address=address, needs=Needs(gpus=8), workers=3) as waiting:
            assert waiting.capacity() == 3  # for machines that come later
        with RayEngine(address=address, needs=Needs(hosts=2)) as engine:
            assert engine.workers == 1
    with pytest.raises(ValueError, match=f"nobody answers at {address}"):
        RayEngine(address=address)
    wrong: list[dict] = [{"hosts": 0}, {"gpus": -1}, {"tpu": "v6e"}, {"tpu": "v6e:4x4", "gpus": 1}]
    for values in wrong:
        with pytest.raises(ValueError, match=next(iter(values))):
            Needs(**values)


@pytest.mark.parametrize(
    ("addresses", "closed"),
    [(["127.0.0.1"], True), (["127.0.0.1", "10.0.0.7"], False), (["::1"], True)],
)
def test_a_cluster_without_a_token_must_be_on_loopback(addresses, closed, monkeypatch):
    from ray._private.authentication import authentication_utils

    monkeypatch.setattr(authentication_utils, "is_token_auth_enabled", lambda: False)
    nodes = [{"NodeManagerAddress": address, "Alive": True} for address in addresses]
    assert _asks_for_a_token(SimpleNamespace(nodes=lambda: nodes)) is closed


def test_several_hosts_are_refused_a_store_that_is_no_folder(tmp_path, monkeypatch):
    """Checkpoints of an object store lie on each host alone: they would disagree where to go on, and wait for
    each other for ever."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    where = f"memory://{tmp_path.name}"
    bucket = Store.open(where, create=True)
    trial = PLAN.trials[0]
    with cluster_of([{"num_cpus": 1}, {"num_cpus": 1}]) as cluster:
        for needs, count in ((Needs(hosts=2), 2), (Needs(tpu="v6e:4x4"), 4)):
            with RayEngine(address=cluster.address, needs=needs, workers=1) as engine:
                words = (
                    f"{where} is no folder, and a trial over {count} hosts takes its checkpoints"
                )
                with pytest.raises(ValueError, match=words):
                    run(PLAN, engine, bucket)
                engine.check_store(tmp_path)
        for needs in (Needs(), Needs(tpu="v6e:2x4")):
            with RayEngine(address=cluster.address, needs=needs, workers=1) as engine:
                engine.check_store(where)
        command = ("sweep", "star", "laptop", "--store", where, "--engine", "ray", "--hosts", "2")
        done = subprocess.run(
            [sys.executable, "-m", "vitscale", *command, "--address", cluster.address],
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 2
    said = done.stderr.strip().splitlines()
    assert len(said) == 1 and f"{where} is no folder, and a trial over 2 hosts" in said[0]
    host = LocalEngine(workers=1, runner="simulated", gang=Gang("127.0.0.1:1", 2, 0))
    with host, pytest.raises(ValueError, match="takes its checkpoints from one that all of them"):
        host.submit(trial, bucket)
    assert not bucket.measured_durations()
