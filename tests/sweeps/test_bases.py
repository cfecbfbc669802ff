"""Compaction: the same table before, during and after, whoever writes, dies or compacts too."""

import os
import random
import subprocess
import sys
import threading

import obstore
import pandas as pd
import pytest
from sweep_samples import DURATIONS, row, trial

from vitscale.sweeps.files import StoreError
from vitscale.sweeps.store import Store

COMPACT = """
import sys
from vitscale.sweeps.store import Store
Store.open(sys.argv[1]).compact()
"""


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open(tmp_path / "store", create=True)


def fill(store: Store, widths) -> None:
    for width in widths:
        of = trial(width=width)
        for duration in DURATIONS:
            rows = [row(of, duration, value=width / 1000), row(of, duration, metric="loss")]
            store.append(of, duration, rows)


def files_of(store: Store) -> list[str]:
    return sorted(os.listdir(store.path / "measurements"))


def test_many_files_become_one_that_any_tool_reads(store):
    fill(store, range(8, 88, 8))
    before = store.read()
    compaction = store.compact()
    assert compaction is not None
    assert (compaction.files, compaction.durations, compaction.rows) == (20, 20, 40)
    assert files_of(store) == [compaction.base]
    pd.testing.assert_frame_equal(store.read(), before)
    assert len(pd.read_parquet(store.path / "measurements")) == 40
    assert store.compact() is None and store.check() == []

    fill(store, [88])
    second = store.compact()
    assert second is not None and (second.files, second.rows) == (2, 44)
    assert files_of(store) == [second.base]


@pytest.mark.parametrize(
    "where", ["compact.base", "compact.manifest", "compact.delete", "compact.delete@3"]
)
def test_death_between_any_two_steps_changes_nothing(store, where):
    fill(store, range(8, 40, 8))
    before = store.read()
    name, _, count = where.partition("@")
    environment = {**os.environ, "VITSCALE_FAILPOINTS": f"{name}=kill@{count or 1}"}
    process = subprocess.run([sys.executable, "-c", COMPACT, str(store.path)], env=environment)
    assert process.returncode == -9
    pd.testing.assert_frame_equal(store.read(), before)
    assert store.check() == []
    fill(store, [40])
    assert store.compact() is not None
    fill(store, [48])
    assert store.compact() is not None
    assert len(store.read()) == len(before) + 8
    assert len(files_of(store)) == 1


def test_writers_readers_and_compactors_at_once(store):
    widths = [8 * n for n in range(1, 41)]
    failures: list[BaseException] = []
    done = threading.Event()

    def guarded(work, *arguments):
        try:
            work(*arguments)
        except BaseException as error:
            failures.append(error)

    def write(seed):
        mine = widths.copy()
        random.Random(seed).shuffle(mine)
        fill(Store.open(store.path), mine)

    def compact():
        while not done.is_set():
            Store.open(store.path).compact()

    def read():
        seen = 0
        while not done.is_set():
            table = Store.open(store.path).read()
            assert not table.duplicated(["trial_id", "examples", "metric"]).any()
            assert len(table) >= seen  # what was there once stays
            seen = len(table)

    others = [threading.Thread(target=guarded, args=(work,)) for work in (compact, compact, read)]
    writers = [threading.Thread(target=guarded, args=(write, seed)) for seed in range(3)]
    for thread in others + writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in others:
        thread.join()
    assert failures == []
    table = store.read()
    assert len(table) == len(widths) * len(DURATIONS) * 2
    assert store.check() == []
    store.compact()
    pd.testing.assert_frame_equal(store.read(), table)
    assert len(files_of(store)) == 1


def test_an_answer_lost_over_nfs_costs_no_base(store, monkeypatch):
    """The link is made, the answer lost, and the request that is sent again finds the name taken."""
    fill(store, range(8, 40, 8))
    before = store.read()
    link = os.link

    def link_unheard(source, target):
        link(source, target)
        link(source, target)  # FileExistsError, as for any other that was there before

    monkeypatch.setattr(os, "link", link_unheard)
    compaction = store.compact()
    assert compaction is not None and files_of(store) == [compaction.base]
    assert store.place.put("plans/new.toml", b"mine")
    assert not store.place.put("plans/new.toml", b"another's")
    monkeypatch.undo()
    pd.testing.assert_frame_equal(store.read(), before)
    assert store.check() == [] and os.listdir(store.path / "tmp") == []


def test_an_answer_lost_by_an_object_store_costs_no_base(monkeypatch):
    store = Store.open("memory://lost-answers", create=True)
    fill(store, [8, 16])
    before = store.read()
    put = obstore.put

    def put_unheard(objects, key, data, **options):
        put(objects, key, data, **options)
        if key.startswith("manifests/"):
            put(objects, key, data, **options)  # AlreadyExistsError

    monkeypatch.setattr(obstore, "put", put_unheard)
    compaction = store.compact()
    assert compaction is not None and compaction.durations == 4
    monkeypatch.undo()
    assert store.place.names("measurements") == [compaction.base]
    pd.testing.assert_frame_equal(Store.open("memory://lost-answers").read(), before)


def test_a_damaged_or_missing_base_is_named(store):
    fill(store, [8, 16])
    compaction = store.compact()
    assert compaction is not None
    path = store.path / "measurements" / compaction.base
    contents = path.read_bytes()
    path.write_bytes(contents[:200])
    assert [(p.path, p.reason) for p in store.check()] == [(path, "is damaged or cut short")]
    with pytest.raises(
        StoreError, match=rf"{compaction.base} of the store .* is damaged; restore it"
    ):
        store.read()
    path.unlink()
    assert [p.reason for p in store.check()] == ["is missing; restore it from a copy"]
    with pytest.raises(StoreError, match=r"is missing; restore it from a copy"):
        store.read()
    path.write_bytes(contents)
    assert store.check() == []
    (store.path / "manifests" / "000001.json").write_text("{")
    with pytest.raises(StoreError, match=r"manifests/000001\.json of the store .* is damaged"):
        store.read()


def test_a_damaged_file_is_not_compacted(store):
    fill(store, [8])
    path = store.path / "measurements" / f"{trial(width=8).id}-{DURATIONS[0]}.parquet"
    path.write_bytes(b"nothing")
    with pytest.raises(StoreError, match="see what is wrong with: vitscale store check"):
        store.compact()
    assert len(files_of(store)) == 2
