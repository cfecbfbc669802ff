"""The same trial on one device or many, whole batches or parts, one host or two: the same losses.

docs/training.md and docs/tpu.md have the commands of several hosts.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from losses_on_devices import RECIPE, SHAPE, losses

from vitscale.scaling.execution import Execution
from vitscale.scaling.mesh import check_batch, device_mesh, state_shardings
from vitscale.scaling.schedule import NEVER
from vitscale.scaling.train import Run, training_for

SCRIPT = Path(__file__).with_name("losses_on_devices.py")


@pytest.fixture(scope="module")
def alone() -> list[float]:
    return losses(Execution())


def start(devices: int, *arguments: str) -> subprocess.Popen:
    flags = f"--xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen) -> dict:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    # Other libraries write to the output too.
    return next((json.loads(line) for line in out.splitlines() if line.startswith("{")), {})


@pytest.mark.parametrize(
    "execution",
    [Execution(micro_batches=4), Execution(layout="scanned"), Execution(remat="full")],
    ids=["micro-batches", "scanned", "remat"],
)
def test_how_it_is_computed_does_not_change_the_losses(execution, alone):
    assert losses(execution) == pytest.approx(alone, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "execution",
    [{}, {"fsdp": 8}, {"fsdp": 2, "micro_batches": 2}, {"fsdp": 4, "layout": "scanned"}],
    ids=str,
)
def test_eight_devices_give_the_losses_of_one(execution, alone):
    found = outcome(start(8, json.dumps(execution)))
    assert found["devices"] == 8
    assert found["losses"] == pytest.approx(alone, rel=1e-5)


@pytest.mark.slow
def test_two_hosts_give_the_losses_of_one(alone):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    execution = json.dumps({"fsdp": 2})
    hosts = [start(2, execution, coordinator, "2", str(host)) for host in range(2)]
    found, _ = [outcome(host) for host in hosts]
    assert found["devices"] == 4
    assert found["losses"] == pytest.approx(alone, rel=1e-5)


def test_large_arrays_are_split_and_never_along_depth():
    mesh = jax.sharding.AbstractMesh((2, 4), ("data", "fsdp"))
    for layout in ("unrolled", "scanned"):
        template = training_for(SHAPE, RECIPE, Execution(layout=layout)).template
        shardings = state_shardings(template, mesh)  # pyright: ignore[reportArgumentType]
        kernel = ("up", "kernel")
        stacked = (
            shardings.params["blocks"] if layout == "scanned" else shardings.params["blocks"][0]
        )
        spec = stacked["mlp"][kernel[0]][kernel[1]].spec
        assert tuple(spec) == ((None, None, "fsdp") if layout == "scanned" else (None, "fsdp"))
        assert tuple(shardings.params["final_norm"]["scale"].spec) == ()


def test_devices_that_cannot_share_the_work_are_refused():
    with pytest.raises(ValueError, match="fsdp=3 does not divide the 1 devices; use one of"):
        device_mesh(RECIPE, Execution(fsdp=3))
    with pytest.raises(ValueError, match="micro_batches=5 does not divide batch_size=32; use one"):
        device_mesh(RECIPE, Execution(micro_batches=5))
    with pytest.raises(
        ValueError, match=r"16 examples .* does not divide over 12 devices; use 8 dev"
    ):
        check_batch(32, 2, 12)
    with pytest.raises(ValueError, match="fsdp=0 is not a whole number from 1"):
        Execution(fsdp=0)
    with pytest.raises(ValueError, match="layout='flat' is unknown; choose from auto, unrolled"):
        Execution(layout="flat")  # pyright: ignore[reportArgumentType]


def test_trials_trained_together_are_the_trials_trained_alone(alone):
    training = training_for(SHAPE, RECIPE, lanes=2)
    two = np.ones(2, np.float32)
    state = training.init(np.array([0, 1], np.uint32))
    run = Run(np.array([0, 1], np.uint32), 1e-3 * two, NEVER * two, 0 * two)
    found = []
    for _ in alone:
        state, loss = training.step(state, run, None)
        found.append(np.asarray(loss))
    first, second = np.array(found).T
    assert first == pytest.approx(alone, rel=1e-5)
    assert abs(second[-1] - first[-1]) > 1e-3
