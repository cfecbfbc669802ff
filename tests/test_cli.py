"""The command line as a user meets it: help, numbers, files, refusals and exit codes."""

import importlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import refused, vitscale
from report_samples import RECIPE, measured_store

from vitscale import cli
from vitscale.fits.datasets import load_sovit_star, path
from vitscale.scaling.shape import Shape
from vitscale.sweeps.config import plan_to_toml, read_plan
from vitscale.sweeps.plan import GridSweep, Plan
from vitscale.sweeps.presets import preset
from vitscale.sweeps.store import Store

STAR = path("sovit_star_sweep")
STAR_FLAGS = ["--x", "x", "--dimension", "dimension", "--compute", "forward_gflops"]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A star and a grid, measured by a known law with 0.3% noise."""
    return measured_store(tmp_path_factory.mktemp("cli") / "store")


class TestFit:
    def test_published_star_as_json(self, capsys):
        code, out, _ = vitscale(capsys, "fit", STAR, *STAR_FLAGS, "--error", "error", "--json")
        assert code == 0
        dimensions = json.loads(out)["dimensions"]
        # spec: relative least squares with the centre gives s = .2432, .4532, .6094
        expected = {"width": 0.2432, "depth": 0.4532, "mlp_dim": 0.6094}
        for name, s in expected.items():
            found = dimensions[name]["s"]
            assert found["estimate"] == pytest.approx(s, abs=5e-4)
            assert found["low"] < s < found["high"] and found["identified"]
            law = dimensions[name]
            assert law["c"] / (law["a"] + law["b"]) == pytest.approx(s, abs=5e-4)

    def test_without_the_centre_mlp_is_not_identified_and_says_so(self, capsys):
        code, out, _ = vitscale(capsys, "fit", STAR, *STAR_FLAGS, "--no-center")
        assert code == 0
        [row] = [line for line in out.splitlines() if line.startswith("  mlp_dim")]
        assert "not identified" in row

    def test_fit_file_and_figures_are_written(self, capsys, tmp_path):
        out = tmp_path / "new" / "fit.json"
        figures = tmp_path / "figures"
        code, text, _ = vitscale(
            capsys, "fit", STAR, *STAR_FLAGS, "--out", out, "--figures", figures, "--resamples", 0
        )
        assert code == 0 and str(out) in text
        assert json.loads(out.read_text())["format"] == "vitscale.star_fit"
        assert {p.name for p in figures.iterdir()} == {"star.png", "profiles.png"}
        assert all(p.read_bytes()[:4] == b"\x89PNG" for p in figures.iterdir())

    def test_parquet_equals_csv(self, capsys, tmp_path):
        load_sovit_star().to_parquet(tmp_path / "star.parquet")
        flags = [*STAR_FLAGS, "--resamples", 0, "--json"]
        _, csv, _ = vitscale(capsys, "fit", STAR, *flags)
        _, parquet, _ = vitscale(capsys, "fit", tmp_path / "star.parquet", *flags)
        assert csv == parquet

    def test_store_recovers_the_law_it_was_measured_by(self, capsys, store):
        code, out, _ = vitscale(capsys, "fit", store, "--resamples", 0, "--json")
        assert code == 0
        fit = json.loads(out)
        assert fit["compute_unit"] == "train_flops" and fit["start"] is not None
        assert fit["setting"]["image_size"] == 16 and fit["setting"]["head_dim"] == 4
        for name in ("width", "depth", "mlp_dim"):
            dimension = fit["dimensions"][name]
            t, found = dimension["x_star"]["t"], dimension["x_star"]
            optimum = _optimum(name, t / 3e9)
            assert found["low"] < optimum < found["high"]


def _optimum(name: str, t: float) -> float:
    """The size that minimises `small_law` along one arm at compute `t`, by brute force.

    Along an arm examples follow from t and the size, which is what t^-c in the law stands for.
    """
    coefficients = {
        "width": (1.5, 0.9, 0.012, 0.8),
        "depth": (0.10, 0.7, 0.09, 0.8),
        "mlp_dim": (0.3, 0.8, 0.004, 0.7),
    }
    alpha, a, beta, b = coefficients[name]
    x = np.geomspace(0.1, 1e5, 200_001)
    return float(x[np.argmin(alpha * x**-a + 1.5 * beta * x**b * t**-0.5)])


class TestShape:
    def test_published_rule_at_sovits_compute(self, capsys):
        _, out, _ = vitscale(capsys, "shape", "--like", "ViT-g/14 x 16e9", "--json")
        shape = json.loads(out)["shape"]
        for name, published in {"width": 1152, "depth": 27, "mlp_dim": 4304}.items():
            assert shape[name] == pytest.approx(published, rel=0.1)
        assert shape["heads"] == 16

    def test_published_rule_far_from_its_sweep_is_cautioned(self, capsys):
        for flops, words in (("1e17", "vitscale quickstart"), ("1e26", "times the most compute")):
            _, out, _ = vitscale(capsys, "shape", "--flops", flops)
            assert f"{words}" in next(line for line in out.splitlines() if "caution" in line)
            _, out, _ = vitscale(capsys, "shape", "--flops", flops, "--json")
            assert words in json.loads(out)["warnings"][0]

    def test_flops_and_like_are_the_same_budget(self, capsys):
        # g/14: 532.980810752 forward GFLOPs (XLA count, trunk) x 3 x 16e9 images
        _, like, _ = vitscale(capsys, "shape", "--like", "g/14 x 16e9", "--json")
        _, flops, _ = vitscale(capsys, "shape", "--flops", 3 * 532.980810752e9 * 16e9, "--json")
        assert json.loads(like)["sizes"] == json.loads(flops)["sizes"]

    def test_training_length_spends_the_budget(self, capsys):
        _, out, _ = vitscale(capsys, "shape", "--flops", 1e21, "--json")
        found = json.loads(out)
        assert 3 * found["forward_flops"] * found["images"] == pytest.approx(1e21)
        counted = Shape(**found["shape"]).forward_flops(image_size=224)
        assert found["forward_flops"] == counted

    def test_from_a_store_to_configs(self, capsys, store, tmp_path):
        fit = tmp_path / "fit.json"
        vitscale(capsys, "fit", store, "--resamples", 0, "--out", fit)
        out_flags = ["--emit", "all", "--out", tmp_path / "vit"]
        code, out, _ = vitscale(capsys, "shape", "--fit", fit, "--flops", 1e15, *out_flags)
        assert code == 0 and "interval" not in out.splitlines()[0]
        emitted = json.loads((tmp_path / "vit" / "shape.json").read_text())
        assert emitted["shape"]["patch"] == 4 and emitted["image_size"] == 16
        assert (tmp_path / "vit" / "timm" / "config.json").exists()
        # Of glyphs, in one channel, which OpenCLIP does not read, and big_vision does not have.
        assert "openclip is left out" in out and "config.py is left out" in out
        (trial,) = read_plan(tmp_path / "vit" / "trial.toml").trials
        assert trial.recipe.data == "glyphs"
        assert trial.train_flops(*trial.durations) == pytest.approx(1e15, rel=1e-3)

    def test_far_budgets_are_cautioned(self, capsys, store, tmp_path):
        fit = tmp_path / "fit.json"
        vitscale(capsys, "fit", store, "--resamples", 0, "--out", fit)
        _, out, _ = vitscale(capsys, "shape", "--fit", fit, "--flops", 1e20)
        assert "times the most compute that was measured" in out


class TestReproduce:
    def test_sovit(self, capsys):
        code, out, _ = vitscale(capsys, "reproduce", "sovit", "--json")
        assert code == 0
        rules = json.loads(out)["rules"]
        for name in ("width", "depth", "mlp_dim"):
            assert rules["paper, Figure 1"][name]["published_over_predicted"] == pytest.approx(
                1, abs=0.1
            )
            ours = rules["our fit"][name]
            published = {"width": 1152, "depth": 27, "mlp_dim": 4304}[name]
            assert ours["predicted"]["low"] < published < ours["predicted"]["high"]


class TestSweep:
    def test_the_papers_star_is_priced_without_a_store(self, capsys):
        code, out, _ = vitscale(capsys, "sweep", "star", "sovit", "--json")
        assert code == 0
        bill = json.loads(out)
        assert bill["trials"] == 19 and bill["measurements"] == 57
        centre = max(bill["costs"], key=lambda cost: cost["params"])
        assert centre["forward_flops_per_example"] == pytest.approx(834.9523e9, rel=1e-6)

    def test_a_plan_says_what_a_store_already_holds(self, capsys, store, tmp_path):
        toml = tmp_path / "again.toml"
        *_, plan = Store.open(store).recorded_plans().values()
        toml.write_text(plan)
        kind = "star" if 'kind = "star"' in plan else "grid"
        _, out, _ = vitscale(capsys, "sweep", kind, toml, "--store", store, "--plan", "--json")
        assert json.loads(out)["remaining_measurements"] == 0

    def test_toml_of_a_preset_is_that_preset(self, capsys):
        code, out, _ = vitscale(capsys, "sweep", "grid", "laptop", "--toml")
        assert code == 0 and out == plan_to_toml(preset("laptop-grid"))

    def test_data_that_cannot_be_had_is_refused_before_training(self, capsys, tmp_path):
        message = refused(capsys, "sweep", "star", "sovit", "--store", tmp_path / "store")
        assert "jft-3b" in message and "never published" in message
        assert not (tmp_path / "store").exists()

    @pytest.mark.slow
    def test_a_tiny_sweep_trains_for_real_and_is_not_repeated(self, capsys, tmp_path):
        sweep = GridSweep(
            widths=(8, 12),
            depths=(1,),
            mlp_dims=(8,),
            patch=8,
            recipe=RECIPE,
            durations=(64 * 40,),
            head_dim=4,
        )
        toml = tmp_path / "tiny.toml"
        toml.write_text(plan_to_toml(Plan(name="tiny", sweep=sweep)))
        command = ["sweep", "grid", toml, "--store", tmp_path / "store", "--json"]
        code, out, _ = vitscale(capsys, *command)
        assert code == 0 and len(json.loads(out)["measured"]) == 2
        code, out, _ = vitscale(capsys, *command)
        assert code == 0 and len(json.loads(out)["skipped"]) == 2
        code, out, _ = vitscale(capsys, "status", tmp_path / "store", "--json")
        status = json.loads(out)
        assert code == 0 and len(status["trials"]) == 2
        assert status["plans"] == {"tiny": {"done": 2, "planned": 2}}


class TestRefusals:
    def csv(self, tmp_path, change) -> Path:
        frame = load_sovit_star()
        change(frame)
        frame.to_csv(tmp_path / "broken.csv", index=False)
        return tmp_path / "broken.csv"

    def test_missing_column_names_what_is_there(self, capsys, tmp_path):
        source = self.csv(tmp_path, lambda f: f.insert(0, "err", f.pop("error")))
        message = refused(capsys, "fit", source, *STAR_FLAGS)
        assert "--error" in message and "err" in message

    @pytest.mark.parametrize("bad", [np.nan, -0.1, 0.0, np.inf])
    def test_impossible_errors_name_the_row(self, capsys, tmp_path, bad):
        def change(frame):
            frame.loc[4, "error"] = bad

        message = refused(capsys, "fit", self.csv(tmp_path, change), *STAR_FLAGS)
        assert "error" in message and "row" in message

    def test_too_few_points(self, capsys, tmp_path):
        load_sovit_star().head(5).to_csv(tmp_path / "few.csv", index=False)
        message = refused(capsys, "fit", tmp_path / "few.csv", *STAR_FLAGS)
        assert "width" in message and "5" in message

    @pytest.mark.parametrize("keep", [0, 300])
    def test_cut_parquet(self, capsys, tmp_path, keep):
        load_sovit_star().to_parquet(tmp_path / "star.parquet")
        whole = (tmp_path / "star.parquet").read_bytes()
        (tmp_path / "star.parquet").write_bytes(whole[:keep])
        message = refused(capsys, "fit", tmp_path / "star.parquet", *STAR_FLAGS)
        assert "star.parquet" in message

    def test_a_damaged_file_of_a_store_is_named_and_the_rest_is_kept(self, capsys, store, tmp_path):
        copy = tmp_path / "copy"
        shutil.copytree(store, copy)
        victim = sorted((copy / "measurements").iterdir())[3]
        victim.write_bytes(victim.read_bytes()[:100])
        assert victim.name in refused(capsys, "fit", copy)
        code, out, _ = vitscale(capsys, "status", copy)
        assert code == 1 and victim.name in out

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["sweep", "star", "quikstart"], ["unknown preset", "did you mean 'quickstart'?"]),
            (["sweep", "star", "missing.toml"], ["there is no file missing.toml"]),
            (["sweep", "star", "quickstart.tml"], ["there is no file quickstart.tml"]),
            (["sweep", "star", "sovitt"], ["did you mean 'sovit'?"]),
            (["fit", "nowhere.csv"], ["nowhere.csv", "does not exist"]),
            (["status", "nowhere"], ["no store at nowhere"]),
            (["shape"], ["--flops", "--like"]),
            (["shape", "--flops", "-3"], ["not a budget"]),
            (["shape", "--like", "ViT-Z/14 x 1e9"], ["ViT-Z/14"]),
            (["shape", "--like", "ViT-g/14"], ["ViT-g/14 x 16e9"]),
            (["shape", "--flops", "1e21", "--fit", "nowhere.json"], ["nowhere.json"]),
            (["shape", "--flops", "1e21", "--rule", "sovit-figure9"], ["sovit-figure1"]),
            (["shape", "--flops", "1e21", "--heads", "3", "--head-dim", "64"], ["choose one"]),
        ],
    )
    def test_one_sentence_with_the_way_out(self, capsys, tmp_path, monkeypatch, arguments, words):
        monkeypatch.chdir(tmp_path)
        message = refused(capsys, *arguments)
        assert all(word in message for word in words), message
        assert list(tmp_path.iterdir()) == []

    def test_a_width_that_heads_do_not_divide(self, capsys, tmp_path):
        toml = plan_to_toml(preset("sovit-star")).replace("608", "610")
        (tmp_path / "odd.toml").write_text(toml)
        message = refused(capsys, "sweep", "star", tmp_path / "odd.toml")
        assert "610" in message and "608" in message and "624" in message

    def test_a_fit_file_that_is_something_else(self, capsys, tmp_path):
        (tmp_path / "fit.json").write_text('{"format": "something"}')
        assert "vitscale.star_fit" in refused(
            capsys, "shape", "--fit", tmp_path / "fit.json", "--flops", "1e21"
        )

    def test_store_choices_do_not_apply_to_tables(self, capsys):
        assert "--metric" in refused(capsys, "fit", STAR, *STAR_FLAGS, "--metric", "loss")


def test_a_sweep_asked_to_go_before_it_trains_says_so_too(monkeypatch):
    def taken_back(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    # The package gives the function the module's name.
    monkeypatch.setattr(importlib.import_module("vitscale.sweeps.preview"), "preview", taken_back)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert cli.run(["sweep", "grid", "quickstart"]) == 75
    finally:
        signal.signal(signal.SIGTERM, before)
