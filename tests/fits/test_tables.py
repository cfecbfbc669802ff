"""Tables of users and of stores: what is read, what is refused and in which words."""

import dataclasses
import itertools

import duckdb
import numpy as np
import pandas as pd
import pytest
import star_samples as stars

from vitscale.fits.datasets import NAMES, load_scaling_vit_fewshot, load_sovit_star, path
from vitscale.fits.tables import (
    STAR_COLUMNS,
    find_center,
    grid_table_from_store,
    is_store,
    read_table,
    star_table,
    star_table_from_store,
)
from vitscale.scaling.measurement import Measurement

# --- Columns of users -----------------------------------------------------------------------------


def test_published_file_reads_as_documented():
    table = star_table(
        read_table(path("sovit_star_sweep")),
        x="x",
        dimension="dimension",
        compute="forward_gflops",
        error="error",
    )
    assert tuple(table.columns) == STAR_COLUMNS
    assert len(table) == 60
    assert np.sum(table["is_center"].to_numpy()) == 6
    assert table.groupby("dimension")["model"].nunique().to_dict() == {
        "width": 7,
        "depth": 7,
        "mlp_dim": 7,
    }
    assert table.attrs["compute_unit"] == "forward_gflops"
    assert table.attrs["flops_per_unit"] == 3e9
    assert table.attrs["metric"] == "error"


def test_defaults_find_the_columns():
    frame = load_sovit_star()
    explicit = star_table(frame, compute="forward_gflops")
    pd.testing.assert_frame_equal(star_table(frame), explicit)


def test_one_dimension_needs_no_column():
    frame = pd.DataFrame({"width": [1, 2], "train_flops": [1e9, 2e9], "loss": [3.0, 2.0]})
    table = star_table(frame, x="width", error="loss")
    assert list(table["dimension"]) == ["width", "width"]
    assert not np.any(table["is_center"].to_numpy())
    assert table.attrs["flops_per_unit"] == 1


def test_unknown_unit_stays_unknown_unless_given():
    frame = pd.DataFrame({"x": [1.0], "core_days": [1.0], "error": [0.5]})
    assert star_table(frame, compute="core_days").attrs["flops_per_unit"] is None
    known = star_table(frame, compute="core_days", flops_per_unit=5e18)
    assert known.attrs["flops_per_unit"] == 5e18


def test_networks_are_told_apart_by_size_and_seed():
    rows = itertools.product([8, 16], [0, 1], [1e9, 2e9])
    frame = pd.DataFrame(rows, columns=["x", "seed", "compute"]).assign(error=0.5)
    table = star_table(frame)
    assert len(set(table["model"])) == 4
    assert set(table.groupby("model").size()) == {2}
    # Without seeds, repeats of the same size and compute are different networks.
    assert len(set(star_table(frame.drop(columns="seed"))["model"])) == 4


def test_text_that_is_a_number_is_one_and_losses_may_exceed_one():
    frame = pd.DataFrame({"x": ["8", "16"], "compute": ["1e9", "2e9"], "error": [3.2, 2.9]})
    table = star_table(frame)
    assert list(table["x"]) == [8, 16]
    assert table.attrs["notes"] == ["error exceeds 1, so it is read as a percentage or a loss"]


GOOD = pd.DataFrame(
    {"dimension": "width", "x": [8, 16, 32], "compute": [1e9, 2e9, 4e9], "error": [0.5, 0.4, 0.3]}
)


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (
            GOOD.rename(columns={"x": "size", "error": "err"}),
            {},
            r"lacks columns named x, error; it has dimension, size, compute, err; .* error='err'",
        ),
        (GOOD, {"error": "eror"}, r"error='eror': there is no such column; did you mean 'error'\?"),
        (GOOD, {"dimension": "axis"}, "dimension='axis': there is no such column"),
        (GOOD.assign(error=[0.5, np.nan, 0.3]), {}, r"error in row 2 \(empty\)"),
        (GOOD.assign(error=[-0.5, 0.4, 0.0]), {}, r"error in row 1 \(-0.5\), row 3 \(0.0\)"),
        (GOOD.assign(error=[np.inf, 0.4, 0.1]), {}, r"error in row 1 \(inf\)"),
        (GOOD.assign(compute=["1e9", "fast", "1"]), {}, r"compute in row 2 \(fast\)"),
        (
            GOOD.assign(x=[0, 1, 2], error=["a", 0.4, 0.1]),
            {},
            r"x in row 1 \(0\); error in row 1 \(a\)",
        ),
        (
            pd.concat([GOOD.assign(error=-1.0)] * 3, ignore_index=True),
            {},
            r"row 5 \(-1.0\) and 4 more",
        ),
        (GOOD.assign(is_center=[0, 1, 7]), {}, "is_center is 7 in row 3; expected 1 for"),
        (GOOD, {"flops_per_unit": 0.0}, "flops_per_unit=0.0 is not a number of training FLOPs"),
        (GOOD, {"flops_per_unit": np.nan}, "flops_per_unit=nan is not a number of training FLOPs"),
        (
            GOOD.assign(is_center=[1, 0, 1]),
            {},
            r"width has is_center=1 at 2 sizes \(8, 32\); a star has one centre",
        ),
        (
            GOOD.assign(dimension=["width", "Centre", "width"]),
            {},
            "Centre is not a dimension; list the centre under every dimension.* is_center=1",
        ),
        (GOOD.assign(dimension=["w", None, "w"]), {}, "dimension is empty in row 2"),
        (GOOD.iloc[:0], {}, "the table has no rows"),
    ],
)
def test_refused_tables(frame, options, message):
    with pytest.raises(ValueError, match=message):
        star_table(frame, **options)


def test_an_accuracy_is_pointed_out():
    table = star_table(GOOD.rename(columns={"error": "accuracy"}), error="accuracy")
    assert "looks like an accuracy" in table.attrs["notes"][0]


# --- Files ----------------------------------------------------------------------------------------


def test_csv_and_parquet_are_the_same_table(tmp_path):
    frame = load_sovit_star()
    frame.to_csv(tmp_path / "star.csv", index=False)
    frame.to_csv(tmp_path / "star.tsv", index=False, sep="\t")
    frame.to_parquet(tmp_path / "star.parquet")
    for name in ("star.csv", "star.tsv", "star.parquet"):
        pd.testing.assert_frame_equal(read_table(tmp_path / name), frame)


def test_a_folder_is_all_its_files_as_duckdb_reads_them(tmp_path):
    store = _store(_star_shapes())
    folder = tmp_path / "measurements"
    folder.mkdir()
    for trial, rows in store.groupby("trial_id"):
        rows.to_parquet(folder / f"{trial}.parquet")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "unfinished.parquet").write_bytes(b"PAR1")
    read = read_table(tmp_path)
    with duckdb.connect() as connection:
        peer = connection.execute(f"from read_parquet('{folder}/*.parquet')").df()
    order = ["trial_id", "examples"]
    first, second = (f.sort_values(order, ignore_index=True) for f in (read, peer))
    pd.testing.assert_frame_equal(first, second.reindex(columns=first.columns), check_dtype=False)
    assert len(read_table(folder)) == len(store)


def test_a_column_without_values_in_one_file_keeps_its_values_in_another(tmp_path):
    pd.DataFrame({"value": [None], "n": [1]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"value": [0.5], "n": [2]}).to_parquet(tmp_path / "b.parquet")
    assert read_table(tmp_path)["value"].iloc[1] == 0.5


def _truncated(file):
    load_sovit_star().to_parquet(file)
    file.write_bytes(file.read_bytes()[:-200])


def _headed(file):
    file.write_text("x,compute,error\n")


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("cut.parquet", _truncated, r"cut.parquet is not a readable Parquet file .* cut off"),
        ("text.parquet", lambda f: f.write_text("no"), "text.parquet is not a readable Parquet"),
        ("none.parquet", lambda f: f.touch(), "none.parquet is empty"),
        ("none.csv", lambda f: f.touch(), "none.csv is empty"),
        ("head.csv", _headed, "head.csv has columns but no rows"),
        ("raw.csv", lambda f: f.write_bytes(b"\xff\xfe\x00a,b\n"), "raw.csv is not a readable CSV"),
        ("odd.csv", lambda f: f.write_text("a,b\n1,2\n1,2,3\n"), "odd.csv is not a readable CSV"),
        ("star.xlsx", lambda f: f.write_text("x"), "star.xlsx is of an unknown kind"),
        ("folder", lambda f: f.mkdir(), "folder holds no measurements"),
    ],
)
def test_refused_files(tmp_path, name, make, message):
    file = tmp_path / name
    make(file)
    with pytest.raises(ValueError, match=message):
        read_table(file)


def test_a_damaged_file_in_a_folder_is_named(tmp_path):
    load_sovit_star().to_parquet(tmp_path / "good.parquet")
    _truncated(tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match=r"bad.parquet is not a readable Parquet file"):
        read_table(tmp_path)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv does not exist; give a CSV file"):
        read_table(tmp_path / "nowhere.csv")


# --- Stores ---------------------------------------------------------------------------------------

CENTER = (64, 8, 256)
ARMS = {0: (16, 24, 32), 1: (2, 3, 4), 2: (64, 96, 128)}


def _star_shapes(center=CENTER, arms=ARMS) -> list[tuple[int, int, int]]:
    shapes = [center]
    for k, values in arms.items():
        shapes += [(*center[:k], value, *center[k + 1 :]) for value in values]
    return shapes


def _grid_shapes() -> list[tuple[int, int, int]]:
    return list(itertools.product((8, 12, 16, 24), (1, 2, 3, 4), (16, 24, 32, 48)))


_FILLERS = {str: "x", float: 1.0}


def _measurement(shape, examples, *, seed=0, **changes) -> Measurement:
    width, depth, mlp_dim = shape
    params = depth * (4 * width * width + 2 * width * mlp_dim)
    fields = {
        **{f.name: _FILLERS.get(f.type, 1) for f in dataclasses.fields(Measurement)},
        "trial_id": f"{shape}-{seed}",
        "recipe_id": "r1",
        "width": width,
        "depth": depth,
        "mlp_dim": mlp_dim,
        "heads": max(1, width // 8),
        "patch": 4,
        "seed": seed,
        "params": params,
        "forward_flops_per_example": params,
        "examples": examples,
        "train_flops": 3.0 * params * examples,
        "spent_flops": 3.0 * params * examples,
        "status": "ok",
        "reason": "",
        "metric": "digits_error",
        "metric_version": 1,
        "value": 0.1 + params**-0.2 + examples**-0.3,
        "value_sd": None,
    }
    return Measurement(**{**fields, **changes})


def _store(shapes, **changes) -> pd.DataFrame:
    rows = [
        {"schema_version": 1, **dataclasses.asdict(_measurement(s, e, seed=seed, **changes))}
        for s in shapes
        for seed in (0, 1)
        for e in (1000, 4000, 8000)
    ]
    return pd.DataFrame(rows)


def test_the_star_is_found_among_the_grid():
    store = _store([*_grid_shapes(), *_star_shapes()])
    assert is_store(store)
    assert find_center(store) == CENTER
    table = star_table_from_store(store)
    assert tuple(table.columns) == STAR_COLUMNS
    assert table.groupby("dimension").size().to_dict() == {"width": 24, "depth": 24, "mlp_dim": 24}
    for name, rows in table.groupby("dimension"):
        k = stars.DIMENSIONS.index(str(name))
        assert set(rows["x"]) == {*ARMS[k], CENTER[k]}
        assert set(rows.query("is_center")["x"]) == {CENTER[k]}
        assert len(set(rows["model"])) == 8
    assert table.attrs["compute_unit"] == "train_flops"
    assert table.attrs["metric"] == "digits_error"
    grid = grid_table_from_store(store)
    assert len(grid) == 64 * 6
    shapes = set(grid[["width", "depth", "mlp_dim"]].itertuples(index=False, name=None))
    assert shapes == set(_grid_shapes())


def test_a_grid_alone_is_no_star():
    store = _store(_grid_shapes())
    assert find_center(store) is None
    with pytest.raises(ValueError, match="the store holds no star"):
        star_table_from_store(store)
    assert len(grid_table_from_store(store)) == 64 * 6


def test_a_star_alone_has_no_grid():
    with pytest.raises(ValueError, match="holds no grid, only a star"):
        grid_table_from_store(_store(_star_shapes()))


def test_an_unfinished_star_with_one_arm_still_has_its_centre():
    store = _store(_star_shapes(arms={1: (2, 3, 4)}))
    assert find_center(store) == CENTER
    assert set(star_table_from_store(store)["dimension"]) == {"depth"}


def test_the_centre_may_be_named():
    store = _store(_star_shapes())
    named = star_table_from_store(store, center=CENTER)
    pd.testing.assert_frame_equal(named, star_table_from_store(store))
    with pytest.raises(ValueError, match=r"center=\(1, 2, 3\) was not measured"):
        star_table_from_store(store, center=(1, 2, 3))


def test_diverged_trials_are_left_out_and_counted():
    store = _store(_star_shapes())
    bad = _measurement((24, 8, 256), 1000, status="diverged", value=None, trial_id="bad")
    store = pd.concat([store, pd.DataFrame([dataclasses.asdict(bad)])], ignore_index=True)
    table = star_table_from_store(store)
    assert table.attrs["notes"] == ["left out 1 trial that diverged"]
    assert len(table) == 72


@pytest.mark.parametrize(
    ("store", "options", "message"),
    [
        (
            _store(_star_shapes()),
            {"metric": "loss"},
            "metric='loss': not in the store, which holds",
        ),
        (_store(_star_shapes()), {"recipe": "r9"}, "recipe='r9': not in the store, which holds r1"),
        (
            pd.concat([_store(_star_shapes()), _store(_star_shapes(), recipe_id="r2")]),
            {},
            "several values of recipe_id; choose one with recipe: r1, r2",
        ),
        (
            pd.concat([_store(_star_shapes()), _store(_star_shapes(), metric="loss")]),
            {},
            "choose one with metric: digits_error, loss",
        ),
        (
            pd.concat([_store(_star_shapes()), _store(_star_shapes(), metric_version=2)]),
            {},
            r"several values of metric_version \(1, 2\)",
        ),
        (_store(_star_shapes(), value=0.0), {}, r"value in row 1 \(0.0\)"),
        (_store(_star_shapes(), status="diverged"), {}, "no trial that ended well"),
        (load_sovit_star(), {}, "not a store of measurements: it lacks trial_id"),
    ],
)
def test_refused_stores(store, options, message):
    with pytest.raises(ValueError, match=message):
        star_table_from_store(store, **options)


# --- Published data -------------------------------------------------------------------------------


def test_published_data_is_whole():
    assert len(load_sovit_star()) == 60
    assert len(load_scaling_vit_fewshot()) == 262
    assert all(path(name).exists() for name in NAMES)
    # The star's compute is the closed-form cost of its shapes times the images seen.
    x, t, _ = stars.design("width")
    assert t[0] == pytest.approx(190.7219 * 64e6) and x[0] == 608
    with pytest.raises(ValueError, match="unknown data set 'x'; choose from sovit_star"):
        path("x")
