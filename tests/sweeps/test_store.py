"""The store: what goes in comes out, whole, once, in any tool; what is wrong is named."""

import dataclasses
import errno
import json
import os
import shutil
import subprocess
import types
import typing

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sweep_samples import row, trial

from vitscale.scaling.measurement import Measurement
from vitscale.sweeps import files
from vitscale.sweeps.files import StoreError
from vitscale.sweeps.parquet import Facts
from vitscale.sweeps.schema import SCHEMA, SCHEMA_VERSION, SCHEMAS
from vitscale.sweeps.store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    made = Store.open(tmp_path / "store", create=True)
    made.prepare()
    return made


def fill(store: Store) -> list[Measurement]:
    """Two trials, three durations, one of them diverged."""
    first, second = trial(width=16), trial(width=24)
    rows = [row(first, 1280), row(first, 1280, metric="loss", value=1.5, value_sd=None)]
    store.append(first, 1280, rows)
    later = row(first, 2560, value=0.125)
    store.append(first, 2560, [later])
    diverged = row(second, 1280, status="diverged", reason="loss is nan", value=None, value_sd=None)
    store.append(second, 1280, [diverged])
    return [*rows, later, diverged]


def comparable(frame: pd.DataFrame) -> list[dict]:
    """Rows as plain values, without the order and without the kinds of "missing"."""
    records = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return sorted(records, key=lambda r: (r["trial_id"], r["examples"], r["metric"]))


def test_the_schema_is_the_measurement():
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    hints = typing.get_type_hints(Measurement)
    expected = [pa.field("schema_version", pa.int32(), nullable=False)]
    for field in dataclasses.fields(Measurement):
        hint, optional = hints[field.name], False
        if isinstance(hint, types.UnionType):
            (hint,) = set(typing.get_args(hint)) - {type(None)}
            optional = True
        if typing.get_origin(hint) is typing.Literal:
            hint = str
        expected.append(pa.field(field.name, kinds[hint], nullable=optional))
    assert list(SCHEMA) == expected


def test_the_schema_is_frozen():
    # These versions are on people's disks. A change here needs a new one, and a reader of the old ones.
    assert SCHEMA_VERSION == 2
    assert SCHEMA.names[:3] == ["schema_version", "trial_id", "recipe_id"]
    assert [len(SCHEMAS[version]) for version in SCHEMAS] == [32, 34]
    assert SCHEMA.names[32:] == ["learning_rate", "origin"]


def as_version_1(path):
    """Write a store's file anew as the first version did."""
    table = pq.read_table(path).drop_columns(["learning_rate", "origin"])
    first = pa.array([1] * len(table), pa.int32())
    table = table.set_column(0, pa.field("schema_version", pa.int32(), nullable=False), first)
    pq.write_table(table, path)


def test_a_store_of_version_1_is_read_and_written_on(store):
    rows = fill(store)
    for path in (store.path / "measurements").iterdir():
        as_version_1(path)
    marker = store.path / "store.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"schema_version": 1}))
    old = Store.open(store.path)
    old.prepare()
    # What wrote it may not read it from now on, and says so, since it checks the marker.
    assert json.loads(marker.read_text())["schema_version"] == SCHEMA_VERSION
    of = trial(width=24)
    assert old.append(of, 2560, [row(of, 2560, learning_rate=0.5, origin="elsewhere")])
    table = old.read()
    assert old.check() == [] and len(table) == len(rows) + 1
    assert table["learning_rate"].dropna().tolist() == [0.5]
    assert table["origin"].value_counts().to_dict() == {"": len(rows), "elsewhere": 1}
    compacted = old.compact()
    assert compacted is not None and compacted.rows == len(table)
    pd.testing.assert_frame_equal(
        old.read().drop(columns="schema_version"), table.drop(columns="schema_version")
    )


def test_pandas_duckdb_and_polars_read_one_and_the_same_table(store):
    rows = [{"schema_version": SCHEMA_VERSION, **dataclasses.asdict(r)} for r in fill(store)]
    folder = store.path / "measurements"
    (store.path / "tmp" / "half-written").write_bytes(b"PAR1 and no more")
    expected = comparable(pd.DataFrame(rows))
    assert comparable(store.read()) == expected
    assert comparable(pd.read_parquet(folder)) == expected
    by_duckdb = duckdb.connect().execute(f"select * from '{folder}/*.parquet'").df()
    assert comparable(by_duckdb) == expected
    by_polars = pl.read_parquet(f"{folder}/*.parquet")
    assert by_polars.columns == SCHEMA.names
    assert comparable(pd.DataFrame(by_polars.to_dicts())) == expected


def test_an_empty_store_reads_as_an_empty_table_with_all_columns(store):
    assert list(store.read().columns) == SCHEMA.names
    assert len(store.read()) == 0
    assert store.measured_durations() == {}
    assert store.check() == []


def test_the_first_result_stays(store):
    of = trial()
    assert store.append(of, 1280, [row(of, 1280, value=0.25)])
    assert not store.append(of, 1280, [row(of, 1280, value=0.75)])
    assert store.read()["value"].tolist() == [0.25]
    assert os.listdir(store.path / "tmp") == []


def test_what_is_measured_is_known_by_name(store):
    fill(store)
    first, second = trial(width=16), trial(width=24)
    assert store.measured(first) == {1280, 2560}
    assert store.measured(second) == {1280}
    assert store.measured_durations() == {first.id: {1280, 2560}, second.id: {1280}}
    facts = store.facts([second.id])
    assert {d: f.status for d, f in facts[second.id].items()} == {1280: "diverged"}
    assert facts.keys() == {second.id} and store.facts().keys() == {first.id, second.id}
    assert store.facts()[first.id][2560] == Facts("ok", first.spent_flops(), 1.5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (lambda of: [], "gave no measurement at 1280 examples"),
        (lambda of: [row(of, 1280), row(of, 1280)], "gave a metric twice at 1280 examples"),
        (lambda of: [row(of, 2560)], "at 2560 examples was appended to trial"),
        (lambda of: [row(of, 1280, trial_id="../../x")], "measurement of trial ../../x"),
        (lambda of: [row(of, 1280, value=float("nan"))], "is not finite; record it as diverged"),
        (lambda of: [row(of, 1280, value=None)], "=None of trial .* is not finite"),
        (lambda of: [row(of, 1280, status="diverged")], "recorded as diverged, so .* has no value"),
        (lambda of: [row(of, 1280, status="good")], "status='good' is unknown; use ok or diverged"),
    ],
)
def test_rows_that_are_no_measurement_of_the_trial_are_refused(store, rows, message):
    of = trial()
    with pytest.raises(ValueError, match=message):
        store.append(of, 1280, rows(of))
    assert store.measured(of) == set()


def test_a_duration_the_trial_does_not_have_is_refused(store):
    with pytest.raises(ValueError, match="640 examples is no duration of trial"):
        store.append(trial(), 640, [row(trial(), 640)])


@pytest.mark.parametrize("name", ["../../x", "", "0123456789AB", "0123456789ab/", "0123456789abc"])
def test_an_id_cannot_lead_out_of_the_store(store, name):
    with pytest.raises(ValueError, match=r"trial id .* is not one"):
        store.log_path(name)


def damage_zero(path):
    path.write_bytes(b"")


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def damage_noise(path):
    path.write_bytes(os.urandom(1000))


def damage_bit(path):
    contents = bytearray(path.read_bytes())
    contents[100] ^= 0x10  # within the first column's page
    path.write_bytes(contents)


def damage_columns(path):
    pq.write_table(pa.table({"trial_id": ["x"], "value": [1.0]}), path)


def damage_version(path):
    table = pq.read_table(path, schema=SCHEMA)
    newer = pa.array([SCHEMA_VERSION + 1] * len(table), pa.int32())
    pq.write_table(table.set_column(0, SCHEMA.field(0), newer), path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_zero, "is empty"),
        (damage_truncate, "is damaged or cut short"),
        (damage_noise, "is damaged or cut short"),
        (damage_bit, "is damaged or cut short"),
        (damage_columns, "has other columns than schema version 1"),
        (damage_version, "has schema version 3, and this vitscale knows up to 2"),
    ],
)
def test_a_damaged_file_is_named_and_moving_it_away_mends_the_store(
    store, tmp_path, damage, reason
):
    fill(store)
    path = store.path / "measurements" / f"{trial(width=16).id}-2560.parquet"
    damage(path)
    with pytest.raises(StoreError) as caught:
        store.read()
    assert str(path) in str(caught.value) and reason in str(caught.value)
    assert "move it out of the store and run the same sweep again" in str(caught.value)
    assert [(p.path, reason in p.reason) for p in store.check()] == [(path, True)]
    if damage not in (damage_bit, damage_version):  # facts are read from the end of files
        with pytest.raises(StoreError, match=path.name):
            store.facts()

    shutil.move(path, tmp_path / "moved")
    assert store.check() == []
    assert len(store.read()) == 3
    assert store.measured(trial(width=16)) == {1280}


def test_check_finds_what_is_misnamed(store):
    fill(store)
    folder = store.path / "measurements"
    shutil.copy(folder / f"{trial(width=16).id}-2560.parquet", folder / "copy (1).parquet")
    os.rename(folder / f"{trial(width=24).id}-1280.parquet", folder / "0123456789ab-64.parquet")
    reasons = {p.path.name: p.reason for p in store.check()}
    assert reasons.keys() == {"copy (1).parquet", "0123456789ab-64.parquet"}
    assert "is not named" in reasons["copy (1).parquet"]
    assert "another trial or duration" in reasons["0123456789ab-64.parquet"]


def test_opening_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"there is no store at .*; run a sweep into it first"):
        Store.open(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is a file, not a store; name a folder"):
        Store.open(tmp_path / "file", create=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match=r"is not a store .*; name a store, or a new or empty"):
        Store.open(tmp_path / "home", create=True)
    assert os.listdir(tmp_path / "home") == ["thesis.tex"]


def test_a_store_whose_making_was_cut_short_is_made_whole(tmp_path):
    (tmp_path / "store" / "measurements").mkdir(parents=True)
    with pytest.raises(StoreError, match="is not a store"):
        Store.open(tmp_path / "store")
    Store.open(tmp_path / "store", create=True).prepare()
    fill(Store.open(tmp_path / "store"))


def test_a_copy_without_its_empty_folders_can_be_read_and_gone_on_with(store, tmp_path):
    rows = fill(store)
    copy = tmp_path / "copy"
    shutil.copytree(store.path / "measurements", copy / "measurements")
    shutil.copy(store.path / "store.json", copy / "store.json")
    assert len(Store.open(copy).read()) == len(rows)
    again = Store.open(copy, create=True)
    again.prepare()
    assert again.append(trial(width=24), 2560, [row(trial(width=24), 2560)])


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (
            {"schema_version": 3, "made_by": "9.9"},
            "made by vitscale 9.9 with schema version 3, and",
        ),
        ({"format": "other"}, "is not a store: its store.json says format='other'"),
        ("{", "store.json is damaged; write into it"),
        ("[]", "store.json is damaged; write into it"),
    ],
)
def test_a_store_of_another_make_is_refused(store, marker, message):
    path = store.path / "store.json"
    text = marker
    if isinstance(marker, dict):
        text = json.dumps(json.loads(path.read_text()) | marker)
    path.write_text(text)
    with pytest.raises(StoreError, match=message):
        Store.open(store.path)


@pytest.mark.parametrize("call", ["open", "write", "fsync", "link"])
@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "the disk is full; free some space and run the same command again"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "it is on a read-only file system; make it writable or use another store"),
        (errno.EACCES, "its permissions forbid it; make it writable or use another store"),
    ],
)
def test_a_full_or_read_only_disk_is_one_sentence_and_nothing_is_left(
    store, monkeypatch, call, code, message
):
    of = trial()
    original = getattr(os, call)

    def refuse(*arguments, **keywords):
        if call == "open" and not arguments[1] & os.O_CREAT:
            return original(*arguments, **keywords)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, call, refuse)
    with pytest.raises(StoreError, match=message) as caught:
        store.append(of, 1280, [row(of, 1280)])
    monkeypatch.undo()
    assert str(store.path) in str(caught.value)
    assert os.listdir(store.path / "tmp") == os.listdir(store.path / "measurements") == []
    assert store.append(of, 1280, [row(of, 1280)])
    assert len(store.read()) == 1


def test_a_file_system_without_hard_links_is_named(store, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(files.os, "link", refuse)
    with pytest.raises(StoreError, match="has no hard links; put the store on a local disk"):
        store.append(trial(), 1280, [row(trial(), 1280)])


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a file system is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_loses_nothing(small_disk):
    store = Store.open(small_disk / "store", create=True)
    store.prepare()
    kept = []
    with pytest.raises(StoreError, match="the disk is full; free some space"):
        for width in range(8, 8 * 400, 8):
            of = trial(width=width)
            store.append(of, 1280, [row(of, 1280)])
            kept.append(of.id)
    assert len(kept) > 5
    assert os.listdir(store.path / "tmp") == []
    assert set(store.read()["trial_id"]) == set(kept)
    with pytest.raises(OSError, match="No space left"), open(small_disk / "ballast", "wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    with pytest.raises(StoreError, match="the disk is full"):
        store.prepare()
    assert os.listdir(store.path / "tmp") == []


def test_a_disk_mounted_read_only_is_one_sentence(small_disk):
    store = Store.open(small_disk / "store", create=True)
    rows = fill(store)
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True)
    with pytest.raises(StoreError, match="it is on a read-only file system"):
        store.append(trial(width=32), 1280, [row(trial(width=32), 1280)])
    with pytest.raises(StoreError, match="it is on a read-only file system"):
        Store.open(small_disk / "store", create=True).prepare()
    assert len(Store.open(small_disk / "store").read()) == len(rows)


def test_checkpoints_come_and_go(store):
    of = trial()
    assert store.resumable() == set()
    folder = store.checkpoint_dir(of)
    assert store.resumable() == set()  # nothing in it to go on from
    (folder / "step.json").write_text("{}")
    assert store.checkpoint_dir(of) == folder
    assert store.resumable() == {of.id}
    store.forget_checkpoints(of)
    store.forget_checkpoints(of)
    assert store.resumable() == set() and not folder.exists()
    assert os.listdir(store.path / "tmp") == []


def test_only_old_leftovers_are_cleared_away(store):
    fresh, old = store.path / "tmp" / "fresh", store.path / "tmp" / "old"
    for path in (fresh, old):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    (store.path / "tmp" / "folder").mkdir()
    os.utime(store.path / "tmp" / "folder", (0, 0))
    store.prepare()
    assert sorted(os.listdir(store.path / "tmp")) == ["fresh"]


def test_a_plan_is_kept_once_for_each_text(store):
    keys = {store.record_plan("mine", text) for text in ("a = 1\n", "a = 2\n", "a = 1\n")}
    assert len(keys) == 2
    assert {(store.path / key).read_text() for key in keys} == {"a = 1\n", "a = 2\n"}
    assert sorted(store.recorded_plans().values()) == ["a = 1\n", "a = 2\n"]
