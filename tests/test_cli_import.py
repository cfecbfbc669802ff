"""`vitscale import` of tables as a user meets it; formats of single tools are in tests/sweeps."""

import json
import math

import pandas as pd
import pytest
from command_line import refused, vitscale
from import_samples import imported

from vitscale.scaling.shape import Shape
from vitscale.sweeps.engines.simulated import Noise, SimulatedEngine, small_law
from vitscale.sweeps.presets import preset
from vitscale.sweeps.run import run as run_plan
from vitscale.sweeps.store import Store

ROWS = [
    {"run_id": "a", "hidden_size": 64, "num_layers": 4, "mlp_ratio": 4, "val_error": 0.50},
    {"run_id": "b", "hidden_size": 32, "num_layers": 4, "mlp_ratio": 8, "val_error": 0.60},
    {"run_id": "c", "hidden_size": 64, "num_layers": 2, "mlp_ratio": 4, "val_error": 0.55},
]
COMMON = {"num_attention_heads": 4, "patch_size": 4, "img_size": 16, "steps": 100, "batch_size": 64}


@pytest.fixture
def table(tmp_path):
    """Writes rows, with what is the same in all, as runs.csv."""

    def write(rows=ROWS, name="runs.csv", **common):
        path = tmp_path / name
        pd.DataFrame([{**COMMON, **common, **row} for row in rows]).to_csv(path, index=False)
        return path

    return write


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Store:
    store = Store.open(tmp_path_factory.mktemp("own") / "store", create=True)
    engine = SimulatedEngine(lambda *of: small_law(*of) / 5, noise=Noise(own=0.003, seed=1))
    for name in ("quickstart-star", "quickstart-grid"):
        assert run_plan(preset(name), engine, store).complete
    return store


@pytest.fixture(scope="module")
def csv(own, tmp_path_factory):
    rows = own.read()
    theirs = pd.DataFrame(
        {
            "Name": rows["trial_id"] + "/" + rows["examples"].astype(str),
            "State": "finished",
            "config/model.embed_dim": rows["width"],
            "config/model.depth": rows["depth"],
            "config/model.mlp_ratio": rows["mlp_dim"] / rows["width"],
            "config/model.num_heads": rows["heads"],
            "config/model.patch_size": [f"[{patch}, {patch}]" for patch in rows["patch"]],
            "config/img_size": rows["image_size"],
            "config/model.in_chans": rows["channels"],
            "config/seed": rows["seed"],
            "config/epochs": rows["examples"] / 1000,
            "val/top1": 100 * (1 - rows["value"]),
        }
    )
    path = tmp_path_factory.mktemp("csv") / "theirs.csv"
    theirs.to_csv(path, index=False)
    return path


class TestSweepOfAnotherTool:
    """A sweep measured by a known law, written down as another tool would, is fitted alike."""

    def test_values_shapes_and_compute_are_those_that_were_measured(self, own, csv, capsys):
        flags = ["--accuracy", "top1_error=val/top1", "--set", "train_examples=1000"]
        found = imported(capsys, csv, *flags)
        rows = own.read()
        for column in ("width", "depth", "mlp_dim", "heads", "patch", "image_size", "channels"):
            assert found[column].tolist() == rows[column].tolist()
        for column in ("examples", "params", "forward_flops_per_example", "train_flops", "seed"):
            assert found[column].tolist() == rows[column].tolist()
        assert found["value"].tolist() == pytest.approx(rows["value"].tolist(), abs=1e-12)
        assert set(found["metric"]) == {"top1_error"}
        assert set(found["origin"].str[:15]) == {"csv:theirs.csv/"}
        assert set(found["recipe_id"]) & set(rows["recipe_id"]) == set()

    def test_the_fit_is_that_of_the_sweep(self, own, csv, tmp_path, capsys):
        store = tmp_path / "store"
        code, out, _ = vitscale(
            *(capsys, "import", csv, "--store", store),
            *("--accuracy", "top1_error=val/top1", "--set", "train_examples=1000"),
        )
        assert code == 0
        assert "width from config/model.embed_dim" in out
        assert vitscale(capsys, "store", "check", store)[0] == 0
        fits = []
        for path in (own.path, store):
            _, text, _ = vitscale(capsys, "fit", path, "--resamples", 0, "--json")
            fits.append(json.loads(text)["dimensions"])
        for name in ("width", "depth", "mlp_dim"):
            assert fits[1][name]["s"]["estimate"] == pytest.approx(
                fits[0][name]["s"]["estimate"], rel=1e-6
            )

    def test_what_vitscale_exports_comes_back(self, own, tmp_path, capsys):
        path = tmp_path / "own.csv"
        assert vitscale(capsys, "store", "export", own.path, path)[0] == 0
        found, rows = imported(capsys, path), own.read()
        columns = ["width", "depth", "mlp_dim", "heads", "examples", "metric", "value", "data"]
        assert found[columns].to_dict() == rows[columns].to_dict()
        assert found["trial_id"].nunique() == rows["trial_id"].nunique()


def test_importing_twice_adds_nothing(table, tmp_path, capsys):
    path, store = table(), tmp_path / "store"
    for written, there in ((3, 0), (0, 3)):
        code, out, _ = vitscale(capsys, "import", path, "--store", store, "--json")
        told = json.loads(out)
        assert code == 0 and (told["written"], told["same"]) == (written, there)
    first = Store.open(store).read()
    assert len(first) == 3 and first["trial_id"].str.fullmatch("[0-9a-f]{12}").all()
    # The same file elsewhere holds the same runs; one more row is one more model.
    (tmp_path / "moved").mkdir()
    more = [*ROWS, {**ROWS[0], "run_id": "d", "num_layers": 1}]
    moved = path.rename(tmp_path / "moved" / "runs.csv")
    pd.DataFrame([{**COMMON, **row} for row in more]).to_csv(moved, index=False)
    _, out, _ = vitscale(capsys, "import", moved, "--store", store)
    assert "1 of 4 models of 4 runs written" in out and "3 were there" in out
    after = Store.open(store).read()
    kept = after.merge(first[["trial_id"]])
    pd.testing.assert_frame_equal(kept, first)


def test_other_values_of_a_run_are_told_and_do_not_replace_it(table, tmp_path, capsys):
    store = tmp_path / "store"
    vitscale(capsys, "import", table(), "--store", store)
    changed = [{**ROWS[0], "val_error": 0.4}, *ROWS[1:]]
    _, out, _ = vitscale(capsys, "import", table(changed), "--store", store)
    assert "1 models were there with other values, which stay: row 1 (a) at 6,400 examples" in out
    assert sorted(Store.open(store).read()["value"]) == [0.5, 0.55, 0.6]


def test_a_dry_run_shows_all_and_writes_nothing(table, tmp_path, capsys):
    store = tmp_path / "store"
    code, out, _ = vitscale(capsys, "import", table(), "--store", store, "--dry-run")
    assert code == 0 and not store.exists()
    assert "nothing was written" in out and "row 2 (b)" in out
    assert "guessed of runs.csv: width from hidden_size" in out
    assert "assumed: channels 3, readout gap, seed 0" in out


def test_sizes_follow_from_a_published_models_name(tmp_path, capsys):
    path = tmp_path / "timm.csv"
    names = ["vit_small_patch16_224", "vit_base_patch32_384.augreg_in21k", "vit_so400m_patch14_384"]
    rows = [{"model": name, "examples": 1e6, "top1_err": 0.2} for name in names]
    pd.DataFrame(rows).to_csv(path, index=False)
    found = imported(capsys, path)
    columns = ["width", "depth", "mlp_dim", "heads", "patch", "image_size"]
    assert found[columns].to_numpy().tolist() == [
        [384, 12, 1536, 6, 16, 224],
        [768, 12, 3072, 12, 32, 384],
        [1152, 27, 4304, 16, 14, 384],
    ]


def test_counted_and_given_compute(table, capsys):
    shape = Shape(width=64, depth=4, mlp_dim=256, heads=4, patch=4)
    counted = imported(capsys, table())["train_flops"].tolist()[0]
    assert counted == 3 * shape.forward_flops(image_size=16) * 6400
    grey = imported(capsys, table(), "--set", "channels=1", "readout=map")["train_flops"].tolist()[
        0
    ]
    assert grey == 3 * shape.forward_flops(image_size=16, channels=1, readout="map") * 6400
    assert imported(capsys, table(train_flops=1e12))["train_flops"].tolist() == [1e12] * 3


def test_runs_that_did_not_end_well(table, tmp_path, capsys):
    rows = [
        {**ROWS[0], "state": "finished"},
        {**ROWS[1], "state": "crashed"},
        {**ROWS[2], "state": "finished", "val_error": "NaN"},
        {**ROWS[2], "run_id": "d", "num_layers": 3, "state": "finished", "val_error": ""},
    ]
    store = tmp_path / "store"
    code, out, _ = vitscale(capsys, "import", table(rows), "--store", store)
    assert code == 0
    assert "1 runs did not finish and were left out (--unfinished brings them): row 2 (b)" in out
    assert "1 runs diverged, and are recorded as that: row 3 (c)" in out
    assert "1 runs have none of these metrics and were left out: row 4 (d)" in out
    found = Store.open(store).read()
    assert sorted(found["status"]) == ["diverged", "ok"]
    [reason] = found.loc[found["status"] == "diverged", "reason"]
    assert reason == "val_error was not finite where it was logged"
    assert len(imported(capsys, table(rows), "--unfinished")) == 3


def test_runs_without_names_are_told_apart_by_their_order(table, capsys):
    rows = [{k: v for k, v in row.items() if k != "run_id"} for row in ROWS[:1] * 3]
    for row, (steps, error) in zip(rows, [(100, 0.5), (200, 0.4), (100, 0.52)], strict=True):
        row |= {"steps": steps, "val_error": error}
    found = imported(capsys, table(rows))
    # Two networks: the first measured at two lengths, and its repetition.
    networks = [sorted(rows["value"]) for _, rows in found.groupby("trial_id")]
    assert sorted(networks) == [[0.4, 0.5], [0.52]]


class TestRecipes:
    def test_runs_of_two_recipes_are_kept_apart_as_they_are_in_any_store(
        self, table, tmp_path, capsys
    ):
        rows = [{**row, "optimizer": name} for row in ROWS for name in ("adamw", "sgd")]
        rows = [{**row, "run_id": f"{k}"} for k, row in enumerate(rows)]
        store = tmp_path / "store"
        _, out, _ = vitscale(capsys, "import", table(rows), "--store", store)
        assert "runs of 2 recipes (by img_size, batch_size, optimizer)" in out
        assert "several values of recipe_id" in refused(capsys, "fit", store)
        assert len(set(imported(capsys, table(rows), "--recipe", "img_size")["recipe_id"])) == 1
        one = imported(capsys, table(rows), "--only", "optimizer=sgd")
        assert len(one) == 3 and len(set(one["recipe_id"])) == 1

    def test_a_loss_tells_recipes_apart_only_where_it_is_a_word(self, table, capsys):
        rows = [{**row, "loss": 1 + row["val_error"]} for row in ROWS]
        assert len(set(imported(capsys, table(rows))["recipe_id"])) == 1
        rows = [{**row, "loss": name} for row, name in zip(ROWS, "abb", strict=True)]
        assert len(set(imported(capsys, table(rows))["recipe_id"])) == 2

    def test_a_search_for_learning_rates_must_be_named(self, table, capsys):
        rows = [{**ROWS[0], "run_id": f"r{lr}", "lr": lr} for lr in (1e-3, 3e-3)]
        error = refused(capsys, "import", table(rows), "--dry-run")
        assert "several learning rates (lr)" in error and "--only lr=VALUE" in error
        assert len(set(imported(capsys, table(rows), "--recipe", "lr")["recipe_id"])) == 2
        found = imported(capsys, table(rows), "--only", "lr=0.003")
        assert found["learning_rate"].tolist() == [0.003]


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                {"hidden_size": "wide"},
                "row 2 (b): hidden_size is 'wide', but a whole number from 1",
            ),
            ({"hidden_size": -32}, "row 2 (b): hidden_size is '-32', but a whole number from 1"),
            ({"num_layers": 2.5}, "row 2 (b): num_layers is '2.5', but a whole number from 1"),
            ({"num_layers": ""}, "row 2 (b): num_layers is empty"),
            ({"val_error": "low"}, "row 2 (b): val_error is 'low', but a number is expected"),
            ({"hidden_size": 34}, "row 2 (b): width=34 is not divisible by heads=4"),
            ({"mlp_ratio": 0.3}, "row 2 (b): mlp_ratio 0.3 of width 32 is no whole mlp_dim"),
            ({"run_id": "a", **{k: ROWS[0][k] for k in ("hidden_size", "mlp_ratio")}}, "again"),
        ],
    )
    def test_bad_values_are_refused_by_row_and_column(
        self, table, tmp_path, capsys, change, message
    ):
        rows = [ROWS[0], {**ROWS[1], **change}, ROWS[2]]
        store = tmp_path / "store"
        arguments = ["import", table(rows), "--store", store, "--metric", "val_error"]
        assert message in refused(capsys, *arguments)
        assert not store.exists()

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (["--map", "width=hidden"], "has no column 'hidden'; did you mean 'hidden_size'?"),
            (["--map", "wdth=hidden_size"], "--map has no key 'wdth'; did you mean 'width'?"),
            (["--map", "width"], "--map width: expected NAME=VALUE"),
            (["--map", "width=hidden_size", "width=num_layers"], "--map names width twice"),
            (["--set", "patch=big"], "--set patch: patch is 'big', but a whole number from 1"),
            (["--set", "patch=4", "--map", "patch=patch_size"], "in --map and in --set"),
            (["--metric", "x=val_eror"], "did you mean 'val_error'?"),
            (["--metric", "x=val_error", "x=steps"], "two metrics have one name"),
            (["--accuracy", "x=steps"], "steps"),
            (["--only", "lr=1"], "has no column 'lr'"),
            (["--recipe", "optimiser"], "has no column 'optimiser'"),
            (["--map", "run=key"], "has no column 'key'"),
        ],
    )
    def test_flags_that_name_nothing(self, table, capsys, flags, message):
        assert message in refused(capsys, "import", table(), "--dry-run", *flags)

    def test_what_nobody_says_is_asked_for(self, tmp_path, capsys):
        path = tmp_path / "few.csv"
        pd.DataFrame([{"width": 64, "depth": 4, "mlp_dim": 256, "error": 0.5}]).to_csv(path)
        error = refused(capsys, "import", path, "--dry-run")
        assert "does not say heads, patch, image_size; name the column" in error
        constants = ["--set", "heads=4", "patch=4", "image_size=16"]
        error = refused(capsys, "import", path, "--dry-run", *constants)
        assert "does not say how long runs were" in error
        assert len(imported(capsys, path, *constants, "examples=1000")) == 1

    def test_what_could_be_two_columns(self, table, capsys):
        path = table(**{"encoder.depth": 4, "decoder.depth": 1})
        assert imported(capsys, path)["depth"].tolist() == [4, 4, 2]  # num_layers comes first
        rows = [{k: v for k, v in row.items() if k != "num_layers"} for row in ROWS]
        error = refused(
            *(capsys, "import", table(rows, **{"encoder.depth": 4, "decoder.depth": 1})),
            "--dry-run",
        )
        assert "depth could be encoder.depth or decoder.depth" in error

    def test_no_metric(self, table, capsys):
        rows = [{k: v for k, v in row.items() if k != "val_error"} | {"speed": 3.0} for row in ROWS]
        error = refused(capsys, "import", table(rows), "--dry-run")
        assert "does not say what was measured" in error and "speed" in error

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "has no rows"),
            ("width,depth\n", "has no rows"),
            ("width,width\n1,2\n", "several columns named 'width'"),
            ("width,depth\n1,2\n1,2,3\n", "row 2 has 3 cells, the header 2"),
            ('width,depth\n1,"2\n', "does not say"),
            ("width\xff", "is not text in UTF-8"),
        ],
    )
    def test_files_that_are_no_tables(self, tmp_path, capsys, text, message):
        path = tmp_path / "bad.csv"
        path.write_text(text, encoding="latin-1")
        assert message in refused(capsys, "import", path, "--dry-run")

    def test_other_paths(self, tmp_path, capsys):
        assert "there is nothing at" in refused(capsys, "import", tmp_path / "no", "--dry-run")
        (tmp_path / "x.bin").write_bytes(b"1")
        assert "of an unknown kind" in refused(capsys, "import", tmp_path / "x.bin", "--dry-run")
        assert "--store" in refused(capsys, "import", tmp_path / "x.bin")

    def test_a_store_that_cannot_take_them(self, table, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        assert "not a store" in refused(capsys, "import", table(), "--store", tmp_path / "file")


def test_semicolons_tabs_and_byte_order_marks(table, tmp_path, capsys):
    frame = pd.read_csv(table())
    expected = imported(capsys, table())["value"].tolist()
    for name, separator in (("a.csv", ";"), ("b.tsv", "\t")):
        frame.to_csv(tmp_path / name, sep=separator, index=False, encoding="utf-8-sig")
        assert imported(capsys, tmp_path / name)["value"].tolist() == expected


def test_percentages_and_fractions_give_one_error(table, capsys):
    rows = [{**row, "acc": 1 - row["val_error"]} for row in ROWS]
    percent = [{**row, "acc": 100 * (1 - row["val_error"])} for row in ROWS]
    for each in (rows, percent):
        found = imported(capsys, table(each), "--accuracy", "err=acc")
        assert found["value"].tolist() == pytest.approx([0.5, 0.6, 0.55])
    bad = [*percent[:2], {**percent[2], "acc": 120}]
    error = refused(capsys, "import", table(bad), "--accuracy", "err=acc", "--dry-run")
    assert "row 3 (c): acc is 120, but an accuracy is from 0 to 1, or to 100" in error


def test_several_metrics_are_rows_of_one_model(table, tmp_path, capsys):
    rows = [{**row, "test_loss": 1 + row["val_error"]} for row in ROWS]
    store = tmp_path / "store"
    flags = ["--metric", "error=val_error", "loss=test_loss"]
    vitscale(capsys, "import", table(rows), "--store", store, *flags)
    found = Store.open(store).read()
    assert len(found) == 6 and len(Store.open(store).measured_durations()) == 3
    wide = found.pivot(index="trial_id", columns="metric", values="value")
    assert (wide["loss"] - wide["error"]).tolist() == pytest.approx([1.0] * 3)
    assert all(math.isfinite(value) for value in found["value"])
