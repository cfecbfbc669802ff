"""A folder, this process's memory and S3 hold a store alike."""

import pandas as pd
import pytest
from s3_server import s3_server
from sweep_samples import DURATIONS, row, star_plan, trial

from vitscale.doctor import examine_store
from vitscale.sweeps.engines.simulated import SimulatedEngine
from vitscale.sweeps.files import StoreError
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
