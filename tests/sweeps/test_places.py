"""A folder, this process's memory and S3 hold a store alike."""

import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

import pandas as pd
import pytest
from s3_server import s3_server
from sweep_samples import DURATIONS, row, star_plan, trial

from vitscale.doctor import examine_store
from vitscale.scaling import failpoints
from vitscale.sweeps import store as store_module
from vitscale.sweeps.engines.simulated import SimulatedEngine
from vitscale.sweeps.files import StoreError
from vitscale.sweeps.leases import leased
from vitscale.sweeps.places import mirror
from vitscale.sweeps.places.place import Place, is_remote, open_place
from vitscale.sweeps.run import run
from vitscale.sweeps.store import Store

KINDS = ["folder", "memory", "s3"]


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("moto", reason="moto, the S3 server of the tests, is not installed")
    with s3_server() as environment:
        yield environment


@pytest.fixture
def where(request, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "folder":
        return str(tmp_path / "store")
    if request.param == "memory":
        return f"memory://{tmp_path.name}"
    for name, value in request.getfixturevalue("server").items():
        monkeypatch.setenv(name, value)
    return f"s3://sweeps/{tmp_path.name}"


each_kind = pytest.mark.parametrize("where", KINDS, indirect=True)


@each_kind
def test_what_is_put_stays_and_what_is_written_changes(where):
    place = Store.open(where, create=True).place
    assert place.put("a/b/one", b"1") and not place.put("a/b/one", b"2")
    assert place.read("a/b/one") == b"1"
    place.write("a/b/one", b"3")
    place.write("a/two", b"")
    assert (place.read("a/b/one"), place.read("a/two")) == (b"3", b"")
    assert place.names("a") == ["b", "two"] and place.names("a/b") == ["one"]
    assert place.names("nothing") == []
    assert place.exists("a/two") and not place.exists("a/three")
    place.delete("a/b/one")
    place.delete("a/b/one")
    assert place.names("a") == ["two"]
    with pytest.raises(FileNotFoundError):
        place.read("a/b/one")


@each_kind
def test_a_sweep_is_run_compacted_and_run_on_in_any_place(where):
    plan = star_plan(widths=(8, 16), steps=(20, 40))
    with pytest.raises(StoreError, match="there is no store at"):
        Store.open(where)
    store = Store.open(where, create=True)
    report = run(plan, SimulatedEngine(), store)
    assert report.complete and len(report.measured) == 3
    table = store.read()
    assert len(table) == 6 and store.check() == []

    compacted = store.compact()
    assert compacted is not None and (compacted.files, compacted.durations) == (6, 6)
    again = Store.open(where)
    pd.testing.assert_frame_equal(again.read(), table)
    assert again.measured_durations() == {t.id: set(t.durations) for t in plan.trials}
    assert {d: f.status for d, f in again.facts()[plan.trials[0].id].items()} == dict.fromkeys(
        plan.trials[0].durations, "ok"
    )
    assert sum(f.spent_flops for each in again.facts().values() for f in each.values()) == (
        pytest.approx(table["spent_flops"].sum())
    )
    first = plan.trials[0]
    assert not again.append(first, first.durations[0], [row(first, first.durations[0])])
    assert run(plan, SimulatedEngine(), again).skipped == tuple(t.id for t in plan.trials)

    more = star_plan(widths=(8, 16, 24), steps=(20, 40))
    assert len(run(more, SimulatedEngine(), again).measured) == 1
    assert len(again.read()) == 8 and again.check() == []
    assert len(again.recorded_plans()) == 2


@each_kind
def test_a_lock_is_one_processs_and_free_again_after(where):
    store, of = Store.open(where, create=True), trial()
    with store.lock(of) as mine, store.lock(of) as second, store.lock(trial(width=24)) as other:
        assert (mine, second, other) == (True, False, True)
    with store.lock(of) as again:
        assert again
    assert store.place.names("leases") == []


@pytest.mark.parametrize("where", ["memory", "s3"], indirect=True)
def test_checkpoints_go_where_another_machine_finds_them(where, tmp_path, monkeypatch):
    store, of = Store.open(where, create=True), trial()
    with store.lock(of) as free:
        assert free
        line = store.checkpoint_dir(of) / "trunk"
        for step in ("100", "200"):
            (line / step / "default").mkdir(parents=True)
            (line / step / "default" / "array").write_bytes(step.encode() * 1000)
        (line / "300.orbax-checkpoint-tmp").mkdir()
    assert store.resumable() == {of.id}

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other machine"))
    other = Store.open(where)
    with other.lock(of):
        line = other.checkpoint_dir(of) / "trunk"
        assert sorted(p.name for p in line.iterdir()) == ["100", "200"]
        assert (line / "200" / "default" / "array").read_bytes() == b"200" * 1000
        mirror.keep_checkpoints(other.place, of.id, other.checkpoint_dir(of))
        other.append(of, DURATIONS[0], [row(of, DURATIONS[0])])
        other.forget_checkpoints(of)
    assert other.resumable() == set() and other.place.names(f"checkpoints/{of.id}") == []

    # The first machine, which still has the old ones, must not bring them back.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with store.lock(of):
        assert list(store.checkpoint_dir(of).glob("*/*")) == []
    assert store.resumable() == set()


class Slow:
    """A place that calls what it is given before each call of a method, which then may take its time."""

    def __init__(self, place, **before):
        self._place, self._before = place, before

    def __getattr__(self, name):
        method = getattr(self._place, name)
        if name not in self._before:
            return method

        def call(key, *data):
            self._before[name](key)
            return method(key, *data)

        return call


def slowly(place, **before) -> Any:
    """`place`, with something done before some of its calls."""
    return Slow(place, **before)


def slow_to_upload(store, *, seconds):
    """The store with uploads of checkpoints that wait so long or until told to go on, what says that one has
    begun, and what tells it to go on."""
    began, go_on = threading.Event(), threading.Event()

    def wait(key):
        if key.endswith(".tar"):
            began.set()
            go_on.wait(seconds)

    return Store(slowly(store.place, write=wait)), began, go_on


@pytest.fixture
def often(monkeypatch):
    """Leases and checkpoints are kept twenty times a second."""
    quick = functools.partial(leased, beat_s=0.05, stale_s=60.0)
    monkeypatch.setattr(store_module, "leased", quick)
    monkeypatch.setattr(mirror, "KEEP_S", 0.05)


def write_checkpoint(store, of, step):
    """A checkpoint of the trunk, which appears whole."""
    aside = store.checkpoint_dir(of) / f".aside-{step}"
    (aside / "default").mkdir(parents=True)
    (aside / "default" / "array").write_bytes(str(step).encode() * 1000)
    (aside / "_METADATA").write_text("{}")
    (aside.parent / "trunk").mkdir(exist_ok=True)
    aside.rename(aside.parent / "trunk" / str(step))


def kept(store, of):
    return store.place.names(f"checkpoints/{of.id}/trunk")


def beats(store, of):
    (epoch,) = store.place.names(f"leases/{of.id}")
    return json.loads(store.place.read(f"leases/{of.id}/{epoch}"))["beat"]


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


in_memory = pytest.mark.parametrize("where", ["memory"], indirect=True)


@in_memory
def test_a_slow_fetch_loses_no_checkpoint_and_the_lease_beats_on(
    where, often, tmp_path, monkeypatch
):
    store, of = Store.open(where, create=True), trial()
    with store.lock(of):
        write_checkpoint(store, of, 100)
        write_checkpoint(store, of, 200)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other machine"))
    beaten = []

    def wait(key):
        if key.endswith(".tar"):
            begun = beats(store, of)
            beaten.append(wait_until(lambda: beats(store, of) >= begun + 3))

    other = Store(slowly(store.place, read=wait))
    with other.lock(of) as free:
        assert free and beaten == [True, True]
        assert kept(store, of) == ["100.tar", "200.tar"]
        assert sorted(p.name for p in (other.checkpoint_dir(of) / "trunk").iterdir()) == [
            "100",
            "200",
        ]
    assert kept(store, of) == ["100.tar", "200.tar"]


@in_memory
def test_the_lease_beats_while_an_upload_takes_its_time(where, often):
    store, of = Store.open(where, create=True), trial()
    slow, began, go_on = slow_to_upload(store, seconds=30)
    with slow.lock(of):
        write_checkpoint(slow, of, 100)
        assert began.wait(20)
        begun = beats(store, of)
        try:
            assert wait_until(lambda: beats(store, of) >= begun + 3, 5)
        finally:
            go_on.set()
    assert kept(store, of) == ["100.tar"]


@in_memory
def test_what_is_kept_at_the_end_stays_though_a_beat_looked_before(where, often):
    store, of = Store.open(where, create=True), trial()
    looked = threading.Event()

    def look(folder):
        if folder.startswith("checkpoints/") and threading.current_thread().daemon:
            looked.set()
            # It has seen what is here, and sees what is there once there is more.
            wait_until(lambda: kept(store, of), 1)

    slow = Store(slowly(store.place, names=look))
    with slow.lock(of):
        assert looked.wait(20)
        write_checkpoint(slow, of, 200)
    assert kept(store, of) == ["200.tar"]


@in_memory
def test_what_is_forgotten_during_an_upload_stays_so(where, often):
    store, of = Store.open(where, create=True), trial()
    slow, began, _ = slow_to_upload(store, seconds=0.5)
    with slow.lock(of):
        write_checkpoint(slow, of, 100)
        assert began.wait(20)
        slow.forget_checkpoints(of)
        assert kept(store, of) == []
        assert not wait_until(lambda: kept(store, of), 1)


@in_memory
def test_the_last_checkpoint_stays_where_a_newer_one_is_gone_before_it_is_packed(where):
    store, of = Store.open(where, create=True), trial()
    folder = store.checkpoint_dir(of)
    write_checkpoint(store, of, 100)
    mirror.keep_checkpoints(store.place, of.id, folder)
    (folder / "trunk" / "100").rename(folder / ".deleted-100")
    write_checkpoint(store, of, 200)

    def overtake(name):
        """Training saves 300 and lets go of 200 between the look and the upload."""
        if name.endswith("/trunk") and (folder / "trunk" / "200").exists():
            (folder / "trunk" / "200").rename(folder / ".deleted-200")
            write_checkpoint(store, of, 300)

    mirror.keep_checkpoints(slowly(store.place, names=overtake), of.id, folder)
    assert kept(store, of) == ["100.tar"]
    mirror.keep_checkpoints(store.place, of.id, folder)
    assert kept(store, of) == ["300.tar"]


FETCH = """
import sys
from vitscale.sweeps.places import mirror
from vitscale.sweeps.store import Store
store = Store.open(sys.argv[1])
mirror.fetch_checkpoints(store.place, sys.argv[2], store.place.scratch / "checkpoints" / sys.argv[2])
"""


@pytest.mark.parametrize("where", ["s3"], indirect=True)
def test_a_fetch_that_is_killed_is_begun_anew(where, tmp_path, monkeypatch):
    store, of = Store.open(where, create=True), trial()
    with store.lock(of):
        write_checkpoint(store, of, 100)
        write_checkpoint(store, of, 200)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other machine"))
    killed = subprocess.run(
        [sys.executable, "-c", FETCH, where, of.id],
        env={**os.environ, "VITSCALE_FAILPOINTS": "mirror.fetch=kill@2"},
    )
    assert killed.returncode == -signal.SIGKILL
    folder = store.checkpoint_dir(of)
    assert sorted(p.name for p in folder.iterdir()) == [".trunk-200", "trunk"]
    (folder / "trunk" / "200").write_text("a file where a checkpoint belongs")
    with store.lock(of) as free:
        assert free
        assert [p.name for p in folder.iterdir()] == ["trunk"]
        array = (folder / "trunk" / "200" / "default" / "array").read_bytes()
        assert array == b"200" * 1000
    assert kept(store, of) == ["100.tar", "200.tar"]


@in_memory
def test_a_disk_that_refuses_what_is_fetched_says_what_to_do(where, monkeypatch):
    store, of = Store.open(where, create=True), trial()
    with store.lock(of):
        write_checkpoint(store, of, 100)
    folder = store.checkpoint_dir(of)
    for path in folder.iterdir():
        path.rename(folder.with_name("gone"))
    monkeypatch.setattr(failpoints, "_passes", Counter())
    monkeypatch.setenv("VITSCALE_FAILPOINTS", "mirror.fetch=enospc")
    with pytest.raises(StoreError, match="the disk is full"), store.lock(of):
        pass
    assert kept(store, of) == ["100.tar"] and store.place.names("leases") == []


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            "ftp://host/x",
            "ftp://host/x is of an unknown kind; a store is a folder or begins with s3://",
        ),
        ("s3:///", "names no bucket; write s3://BUCKET/PREFIX"),
    ],
)
def test_an_address_that_is_none_is_refused(where, message):
    with pytest.raises(StoreError, match=message):
        Store.open(where, create=True)


def test_a_store_that_cannot_be_reached_says_what_to_do(monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match="check its address, your credentials and the network"):
        open_place("s3://nobody/there").exists("store.json")


def test_a_path_made_of_an_address_is_one_still(tmp_path):
    from pathlib import Path

    assert is_remote(Path("s3://bucket/prefix")) and is_remote("gs://bucket")
    assert not is_remote(tmp_path) and not is_remote("runs/laptop") and not is_remote("C:/x")
    place: Place = open_place(Path("memory://one/two"))
    assert place.name == "memory://one/two"


@each_kind
def test_the_doctor_tries_it_and_leaves_it_as_it_was(where):
    for known, state in (("no store", "warning"), ("a store", "ok")):
        before = open_place(where).names("")
        finding = examine_store(where)
        assert finding.state == state and bool(finding.do) == (state == "warning")
        assert finding.text.startswith(known)
        assert open_place(where).names("") == before
        Store.open(where, create=True).prepare()
