"""`vitscale train` as its users meet it."""

import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from vitscale.scaling.models.weights import params_from_weights, read_weights

TINY = "width=8,depth=1,mlp_dim=16,heads=2,patch=4"


def vitscale(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vitscale", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def refused(*arguments: object) -> str:
    """What a refused command says: one line, exit code 2, no traceback."""
    found = vitscale(*arguments)
    assert found.returncode == 2, found.stderr
    assert "Traceback" not in found.stderr
    return found.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def arrays(tmp_path_factory) -> str:
    """A data set of 64 grey images of 16 pixels in an .npz file."""
    path = tmp_path_factory.mktemp("data") / "patterns.npz"
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 4
    images = (rng.random((64, 16, 16)) * 60 + 60 * labels[:, None, None]).astype(np.uint8)
    np.savez(
        path,
        train_images=images[:48],
        train_labels=labels[:48],
        test_images=images[48:],
        test_labels=labels[48:],
    )
    return f"npz:{path}"


@pytest.mark.slow
def test_real_images_train_to_a_table_and_weights_that_can_be_read(tmp_path, arrays):
    command = [
        "train",
        TINY,
        "--data",
        arrays,
        "--examples",
        640,
        1280,
        "--store",
        tmp_path / "store",
    ]
    command += ["--set", "batch_size=16", "warmup_steps=5", "learning_rate=0.01"]
    command += ["--weights", tmp_path / "weights", "--json"]
    done = vitscale(*command)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["measurements"]
    losses = {row["examples"]: row["value"] for row in rows if row["metric"] == "upstream_loss"}
    assert set(losses) == {640, 1280}
    assert losses[1280] < np.log(4)
    assert "NaN" not in done.stdout
    folders = sorted((tmp_path / "weights").iterdir())
    assert len(folders) == 2
    weights = read_weights(folders[0])
    assert (weights.spec.shape.width, weights.spec.classes, weights.spec.channels) == (8, 4, 1)
    assert params_from_weights(weights)["head"]["kernel"].shape == (8, 4)
    # The same command again has nothing to do, and says the same.
    again = vitscale(*command)
    assert json.loads(again.stdout) == json.loads(done.stdout)


@pytest.mark.slow
def test_two_hosts_train_a_trial_together_and_one_of_them_writes(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    # Wide enough that its kernels lie split over both hosts.
    shape = "width=128,depth=1,mlp_dim=512,heads=4,patch=8"
    command = [sys.executable, "-m", "vitscale", "train", shape, "--examples", "320", "640"]
    command += ["--store", str(tmp_path / "store"), "--weights", str(tmp_path / "weights")]
    command += ["--set", "batch_size=32", "warmup_steps=2", 'evaluators=["upstream"]', "--json"]
    command += ["--fsdp", "2", "--multi-host", "--coordinator", coordinator, "--hosts", "2"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=1"
    started = [
        subprocess.Popen(
            [*command, "--host", str(host)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for host in (1, 0)
    ]
    outputs = [host.communicate(timeout=300) for host in started]
    assert [host.returncode for host in started] == [0, 0], outputs
    found = next(line for line in outputs[1][0].splitlines() if line.startswith("{"))
    assert {row["examples"] for row in json.loads(found)["measurements"]} == {320, 640}
    for folder in (tmp_path / "weights").iterdir():
        kernel = params_from_weights(read_weights(folder))["embedding"]["kernel"]
        assert np.isfinite(kernel).all() and np.std(kernel) > 0


def test_two_hosts_are_refused_a_store_that_is_no_folder(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "vitscale", "train", TINY, "--examples", "6400"]
    command += ["--store", "memory://two", "--multi-host", "--coordinator", coordinator]
    started = [
        subprocess.Popen(
            [*command, "--hosts", "2", "--host", str(host)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(tmp_path)},
        )
        for host in (1, 0)
    ]
    for host in started:
        _, said = host.communicate(timeout=300)
        assert host.returncode == 2, said
        assert "memory://two is no folder, and a trial over 2 hosts takes its checkpoints" in said
    assert not any(tmp_path.rglob("checkpoints"))


@pytest.mark.slow
def test_asked_to_go_it_saves_and_exits_75_and_goes_on(tmp_path):
    arguments = ["train", TINY, "--examples", 64_000, "--store", tmp_path / "store"]
    command = [sys.executable, "-m", "vitscale", *map(str, arguments)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stderr
        for line in run.stderr:
            if "trunk" in line:
                run.send_signal(signal.SIGTERM)
                break
        assert "goes on from there" in run.stderr.read()
        assert run.wait() == 75
    done = vitscale(*arguments)
    assert done.returncode == 0, done.stderr
    total = int(done.stderr.split("step 0/")[1].split()[0])
    assert total <= 1000  # what was left


def test_what_cannot_be_trained_is_refused_in_words(tmp_path, arrays):
    store = ("--store", tmp_path / "store")
    assert "data='glyphs' has images of 16 pixels" in refused(
        "train", "S/16", *store, "--examples", 1e6, "--set", "image_size=8"
    )
    assert "image_size=16 is smaller than patch=32" in refused(
        "train", "S/32", *store, "--examples", 1e6
    )
    assert "--recipe has no key 'glyph'; did you mean 'glyphs'?" in refused(
        "train", TINY, *store, "--examples", 1e6, "--recipe", "glyph"
    )
    assert "unknown ViT 'Q/16'" in refused("train", "Q/16", *store, "--examples", 1e6)
    assert "name one training length or more" in refused("train", TINY, *store)
    assert "'batch_size' is no change; write it as KEY=VALUE" in refused(
        "train", TINY, *store, "--examples", 1e6, "--set", "batch_size"
    )
    assert "recipe has no key 'batchsize'; did you mean 'batch_size'?" in refused(
        "train", TINY, *store, "--examples", 1e6, "--set", "batchsize=3"
    )
    assert "evaluators: 'fewshots' is unknown" in refused(
        "train", TINY, *store, "--examples", 1e6, "--set", 'evaluators=["fewshots"]'
    )
    assert "micro_batches=7 does not divide batch_size=64" in refused(
        "train", TINY, *store, "--examples", 1e6, "--micro-batches", 7
    )
    assert "fsdp=2 does not divide the 1 devices" in refused(
        "train", TINY, *store, "--examples", 1e6, "--fsdp", 2
    )
    assert "takes at least" in refused(
        "train", "S/4", *store, "--examples", 4e9, "--set", "batch_size=1048576"
    )
    assert "rounded to whole batches of 64" in refused(
        "train", TINY, *store, "--examples", 6400, 6401
    )
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    weights = ("--weights", blocked)
    assert "cannot be made" in refused("train", TINY, *store, "--examples", 1e6, *weights)
    assert blocked.read_text() == "mine"
    assert not list((tmp_path / "store" / "measurements").glob("*"))


def test_a_mesh_that_does_not_divide_the_batch_is_refused(tmp_path):
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=3", "JAX_PLATFORMS": "cpu"}
    found = vitscale(
        "train", TINY, "--store", tmp_path / "store", "--examples", 1e5, env={**os.environ, **flags}
    )
    assert found.returncode == 2
    assert "micro-batch of 64 examples" in found.stderr and "use 2 devices" in found.stderr
