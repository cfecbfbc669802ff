"""Checkpoints that were damaged are noticed, and the one before is taken."""

from pathlib import Path

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from jax.sharding import SingleDeviceSharding

from vitscale.scaling.checkpoint import CheckpointLine, Saved
from vitscale.scaling.train import TrainState

# What Orbax leaves behind of a read that failed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def state(step: int) -> TrainState:
    rng = np.random.default_rng(step)
    kernel = jnp.asarray(rng.standard_normal((64, 64)), jnp.float32)
    moment = jnp.asarray(rng.standard_normal((64, 64)), jnp.bfloat16)
    return TrainState(jnp.asarray(step, jnp.int32), {"kernel": kernel}, {"mu": moment})


TEMPLATE = jax.eval_shape(lambda: state(0))
SHARDINGS = jax.tree.map(lambda _: SingleDeviceSharding(jax.devices()[0]), TEMPLATE)


@pytest.fixture
def line(tmp_path) -> CheckpointLine:
    line = CheckpointLine(tmp_path / "trunk")
    for step in (10, 20, 30):
        line.save(Saved(state(step), step / 2))
    line.wait()
    return line


def newest(line: CheckpointLine, up_to_step: int = 100) -> Saved | None:
    return line.newest(TEMPLATE, SHARDINGS, up_to_step=up_to_step)


def same(left: TrainState, right: TrainState) -> bool:
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def test_the_newest_comes_back_bit_for_bit(line):
    found = newest(line)
    assert found is not None
    assert same(found.state, state(30)) and found.seconds == 15


def test_later_ones_than_wanted_are_left_out(line):
    found = newest(line, up_to_step=25)
    assert found is not None and int(found.state.step) == 20


def largest_file(folder: Path) -> Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def truncate(folder: Path) -> None:
    path = largest_file(folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(b"")


def remove_largest(folder: Path) -> None:
    largest_file(folder).unlink()


def turn_bits(folder: Path) -> None:
    path = largest_file(folder)
    content = bytearray(path.read_bytes())
    for place in range(0, len(content), 97):
        content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, empty, remove_largest, turn_bits])
def test_a_damaged_one_is_noticed_and_the_one_before_taken(line, tmp_path, damage, caplog):
    damage(tmp_path / "trunk" / "30")
    found = newest(line)
    assert found is not None
    assert same(found.state, state(20))
    assert "checkpoint 30" in caplog.text
    # The line goes on from there.
    line.save(Saved(state(30), 15.0))
    line.wait()
    again = newest(line)
    assert again is not None and same(again.state, state(30))


def test_contents_that_changed_behind_the_files_checks_are_noticed(line, monkeypatch, caplog):
    # Whatever reads without complaint but is not what was saved.
    restore = line._manager.restore

    def changed(step, **arguments):
        found = restore(step, **arguments)
        if step == 30:
            found["state"][1]["kernel"] = found["state"][1]["kernel"].at[3, 5].add(1e-6)
        return found

    monkeypatch.setattr(line._manager, "restore", changed)
    found = newest(line)
    assert found is not None and same(found.state, state(20))
    assert "wrong checksums" in caplog.text


def test_where_all_are_damaged_there_is_none(line, tmp_path):
    for folder in (tmp_path / "trunk").iterdir():
        empty(folder)
    assert newest(line) is None


def test_one_of_another_layout_is_refused_and_kept(line):
    def unrolled() -> TrainState:
        whole = state(0)
        blocks = {n: {"kernel": whole.params["kernel"][n]} for n in range(64)}
        return whole._replace(params={"blocks": blocks})

    template = jax.eval_shape(unrolled)
    shardings = jax.tree.map(lambda _: jax.tree.leaves(SHARDINGS)[0], template)
    with pytest.raises(ValueError, match=r"checkpoint 30 of .* another layout of the blocks"):
        line.newest(template, shardings, up_to_step=100)
    found = newest(line)
    assert found is not None and same(found.state, state(30))


def test_a_device_that_is_too_small_is_no_damage(line, monkeypatch):
    def full(step, **arguments):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 16384 bytes")

    with monkeypatch.context() as patch:
        patch.setattr(line._manager, "restore", full)
        with pytest.raises(RuntimeError, match="RESOURCE_EXHAUSTED"):
            newest(line)
    found = newest(line)
    assert found is not None and same(found.state, state(30))


def test_saving_does_not_hold_the_buffers_that_training_takes_over(tmp_path):
    line = CheckpointLine(tmp_path / "line")
    first = state(1)
    line.save(Saved(first, 0.0))
    overwrite = jax.jit(lambda s: jax.tree.map(lambda x: x * 0, s), donate_argnums=0)
    overwrite(first)
    line.wait()
    found = newest(line)
    assert found is not None and same(found.state, state(1))
