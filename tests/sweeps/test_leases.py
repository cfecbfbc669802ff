"""Leases: one holder, whoever dies, sleeps or is cut off."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from sweep_samples import trial

from vitscale.sweeps import leases
from vitscale.sweeps.leases import LOST_EXIT, holders, leased
from vitscale.sweeps.places.folder import FolderPlace

ID = trial().id

HOLD = """
import sys, time
from pathlib import Path
from vitscale.sweeps import leases
from vitscale.sweeps.places.folder import FolderPlace
elsewhere, beat, stale = sys.argv[3] == "elsewhere", float(sys.argv[4]), float(sys.argv[5])
if elsewhere:  # a machine of which nobody here can see the processes
    leases._boot = lambda: "another machine"
with leases.leased(FolderPlace(Path(sys.argv[1])), sys.argv[2], beat_s=beat, stale_s=stale) as free:
    print(free, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "tmp").mkdir()
    return FolderPlace(tmp_path)


@pytest.fixture
def hold(place):
    """Starts processes that hold the lease until their input ends."""
    processes = []

    def start(
        machine: str = "here", beat: float = 30.0, stale: float = 90.0
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", HOLD, str(place.path), ID, machine, str(beat), str(stale)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout is not None
        process.said = process.stdout.readline().decode().strip()  # type: ignore[attr-defined]
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def free(place, **options) -> bool:
    with leased(place, ID, **options) as mine:
        return mine


def test_a_dead_holder_of_this_machine_is_replaced_at_once(place, hold):
    holder = hold()
    assert holder.said == "True" and not free(place)
    assert holders(place)[ID].pid == holder.pid
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert holders(place) == {}
    assert free(place)
    assert place.names("leases") == []


def test_a_silent_holder_of_another_machine_is_replaced_when_it_is_stale(place, hold):
    holder = hold("elsewhere", beat=0.1)
    assert not free(place, stale_s=0.6)
    time.sleep(1.0)
    assert not free(place, stale_s=0.6)  # it beats
    holder.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    assert not free(place, stale_s=0.6)
    time.sleep(0.8)
    with leased(place, ID, stale_s=0.6) as mine:
        assert mine
        # The one that was asleep finds that out at its next beat, and ends.
        holder.send_signal(signal.SIGCONT)
        assert holder.wait(timeout=30) == LOST_EXIT
        assert holders(place)[ID].pid == os.getpid()
    assert place.names("leases") == []


def test_a_holder_that_cannot_beat_ends_before_others_may_think_it_dead(place, hold):
    holder = hold("elsewhere", beat=0.1, stale=0.5)
    (place.path / "tmp").rmdir()  # where every write goes first
    assert holder.wait(timeout=30) == LOST_EXIT


def test_one_of_many_takes_a_lease(place):
    taken, barrier = [], threading.Barrier(8)
    inside = threading.Event()

    def race():
        barrier.wait()
        with leased(place, ID) as mine:
            taken.append(mine)
            if mine:
                inside.wait(20)

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(taken) < 8:
        time.sleep(0.01)
    inside.set()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 7 + [True]


def test_a_lease_that_cannot_be_read_is_waited_out(place):
    place.put(f"leases/{ID}/00000003.json", b"\xff not json")
    assert not free(place, stale_s=0.3)
    time.sleep(0.4)
    with leased(place, ID, stale_s=0.3) as mine:
        assert mine
        assert place.names(f"leases/{ID}") == ["00000003.json", "00000004.json"]
    assert place.names("leases") == []


def test_beats_are_counted(place):
    deadline = time.monotonic() + 20
    with leased(place, ID, beat_s=0.05):
        contents = {"beat": 0}
        while not contents["beat"] and time.monotonic() < deadline:
            contents = json.loads(place.read(f"leases/{ID}/00000001.json"))
    assert contents["beat"] >= 1 and contents["pid"] == os.getpid()
    assert leases.STALE_S >= 3 * leases.BEAT_S
