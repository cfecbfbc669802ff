"""Writers that are killed at any moment leave whole files, and all that they acknowledged."""

import os
import random
import signal
import subprocess
import sys

import pandas as pd
import pytest
from sweep_samples import DURATIONS, row, trial

from vitscale.sweeps.store import Store

WIDTHS = range(8, 8 * 30, 8)
MANY = 2000
"""Widths of a writer that is to be killed long before it is through."""

# Goes through the trials in its own order, and acknowledges each append once it has returned.
WRITER = """
import random, sys
sys.path.insert(0, sys.argv[1])
from sweep_samples import DURATIONS, row, trial
from vitscale.sweeps.store import Store
store, writer = Store.open(sys.argv[2], create=True), int(sys.argv[3])
jobs = [(w, d) for w in range(8, 8 * int(sys.argv[4]), 8) for d in DURATIONS]
random.Random(writer).shuffle(jobs)
for width, duration in jobs:
    of = trial(width=width)
    kept = store.append(of, duration, [row(of, duration, value=float(writer))])
    print(of.id, duration, int(kept), flush=True)
"""


def start(
    folder, store, writer: int, *, widths: int = len(WIDTHS) + 1, **environment
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(store), str(writer), str(widths)],
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
    )


def acknowledged(
    process: subprocess.Popen[bytes], kill_after: int | None = None
) -> list[tuple[str, int, bool]]:
    """What the writer was told is stored; it is killed once it has said so `kill_after` times."""
    assert process.stdout is not None
    lines = []
    if kill_after is not None:
        lines = [process.stdout.readline() for _ in range(kill_after)]
        process.kill()
    lines += process.stdout.readlines()
    process.stdout.close()
    process.wait()
    words = [line.decode().split() for line in lines if line.endswith(b"\n")]
    return [(trial_id, int(examples), kept == "1") for trial_id, examples, kept in words]


def test_killed_writers_lose_and_double_nothing(tmp_path, request):
    store_path = tmp_path / "store"
    rng = random.Random(0)
    told: list[tuple[int, str, int, bool]] = []
    kills = 0
    for generation in range(3):
        processes = {
            writer: start(request.path.parent, store_path, writer, widths=MANY)
            for writer in range(3 * generation, 3 * generation + 3)
        }
        for writer, process in processes.items():
            words = acknowledged(process, kill_after=rng.randrange(1, 60))
            told += [(writer, *each) for each in words]
            kills += process.returncode == -signal.SIGKILL
    assert kills == 9
    last = start(request.path.parent, store_path, 9)
    told += [(9, *each) for each in acknowledged(last)]

    store = Store.open(store_path)
    assert store.check() == []
    table = store.read()
    assert not table.duplicated(["trial_id", "examples", "metric"]).any()
    stored = table.set_index(["trial_id", "examples"])["value"].to_dict()
    assert (
        stored
        == pd.read_parquet(store_path / "measurements")
        .set_index(["trial_id", "examples"])["value"]
        .to_dict()
    )
    for writer, trial_id, examples, kept in told:
        # Everything acknowledged is there, and is the writer's own where it was told so.
        assert (stored[trial_id, examples] == writer) >= kept
    winners = [(trial_id, examples) for _, trial_id, examples, kept in told if kept]
    assert len(winners) == len(set(winners))
    wanted = {(trial(width=width).id, d) for width in WIDTHS for d in DURATIONS}
    assert wanted <= stored.keys()


@pytest.mark.parametrize(
    ("failpoint", "stored"),
    [("store.write", 4), ("store.before_link", 4), ("store.linked", 5)],
)
def test_death_between_any_two_steps_of_a_write(tmp_path, request, failpoint, stored):
    # The 1st pass is store.json, the 2nd to 5th are measurements that are finished.
    process = start(
        request.path.parent, tmp_path / "store", 0, VITSCALE_FAILPOINTS=f"{failpoint}=kill@6"
    )
    told = acknowledged(process)
    assert process.returncode == -signal.SIGKILL
    assert len(told) == 4
    store = Store.open(tmp_path / "store")
    assert store.check() == []
    assert len(store.read()) == stored
    # The one that was never acknowledged can be put again, or was there.
    again = acknowledged(start(request.path.parent, tmp_path / "store", 0))
    assert [kept for _, _, kept in again[:stored]] == [False] * stored
    assert all(kept for _, _, kept in again[stored:])


def test_many_processes_may_make_one_store_at_once(tmp_path, request):
    processes = [start(request.path.parent, tmp_path / "store", 7) for _ in range(4)]
    told = [words for process in processes for words in acknowledged(process)]
    assert [process.returncode for process in processes] == [0] * 4
    assert len(told) == 4 * len(WIDTHS) * len(DURATIONS)
    assert sum(kept for _, _, kept in told) == len(WIDTHS) * len(DURATIONS)
    of = trial()
    assert Store.open(tmp_path / "store").append(of, 1280, [row(of, 1280)]) is False
