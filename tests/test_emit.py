"""`vitscale shape --emit`: what is asked for, what a trial reads back as, and that it trains."""

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest

from vitscale.cli import run
from vitscale.emit import emit_answer
from vitscale.fits.answer import Answer, Setting, answer
from vitscale.fits.export import TARGETS, shape_from_json
from vitscale.fits.hardware import ALIASES, HARDWARE, hardware_named
from vitscale.fits.rule import exactly, published_rule
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import DIMENSIONS, Shape
from vitscale.sweeps.config import read_plan
from vitscale.sweeps.store import Store


def told(capsys, *arguments) -> dict:
    assert run(["shape", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments) -> str:
    assert run(["shape", *map(str, arguments)]) == 2
    streams = capsys.readouterr()
    assert streams.out == "" and streams.err.count("\n") == 1
    return streams.err.removeprefix("vitscale: ").strip()


@pytest.mark.parametrize("option", ["--out", "-o"])
def test_only_what_is_named_is_written(capsys, tmp_path, option):
    out = tmp_path / "vit"
    found = told(capsys, "--flops", 1e21, "--emit", "json", "timm", option, out, "--classes", 10)
    assert found["written"] == [str(out / "shape.json"), str(out / "timm" / "config.json")]
    assert {str(path) for path in out.rglob("*.*")} == set(found["written"])
    spec = shape_from_json((out / "shape.json").read_text())
    assert dataclasses.asdict(spec.shape) == found["shape"] and spec.classes == 10
    assert spec.provenance["train_flops"] == 1e21


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_two_shapes_are_not_mixed_in_a_folder(capsys, tmp_path, target):
    """Each target alone stays as a remnant of the first shape beside any other target of a second."""
    out = tmp_path / "vit"
    first = told(capsys, "--flops", 1e21, "--emit", target, "--out", out)["shape"]
    other = "timm" if target != "timm" else "huggingface"
    before = {path: path.read_bytes() for path in out.rglob("*.*")}
    message = refused(capsys, "--flops", 1e22, "--emit", other, "--out", out)
    sizes = f"{first['width']} x {first['depth']} x {first['mlp_dim']}, {first['heads']} heads"
    assert f"holds another model ({sizes}, patch 14" in message and f") in {target}, " in message
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == before
    assert told(capsys, "--flops", 1e21, "--emit", other, "--out", out)["shape"] == first
    assert told(capsys, "--flops", 1e22, "--emit", "all", "--out", out)["shape"] != first


def test_models_that_differ_in_their_patches_alone_are_not_mixed(capsys, tmp_path):
    flags = ("--flops", 1e21, "--out", tmp_path, "--emit")
    told(capsys, *flags, "timm")
    message = refused(capsys, *flags, "huggingface", "--patch", 16)
    assert "patch 14 on 224 px) in timm" in message and "patch 16 on 224 px" in message


def test_a_config_of_big_vision_does_not_outlive_its_model(capsys, tmp_path):
    flags = ("--emit", "big_vision", "--out", tmp_path, "--data")
    told(capsys, "--flops", 1e21, *flags, "tfds:imagenet2012")
    before = (tmp_path / "big_vision" / "config.py").read_text()
    # Data that big_vision does not read: its config.json alone is written.
    assert "in big_vision, which" in refused(capsys, "--flops", 1e22, *flags, "npz:images.npz")
    assert (tmp_path / "big_vision" / "config.py").read_text() == before
    assert told(capsys, "--flops", 1e21, *flags, "npz:images.npz")["written"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        # The folder stood here once.
        (["--emit", "my-vit"], "unknown target 'my-vit'; .* ask for --emit all --out my-vit"),
        (["--emit", "tim", "--out", "x"], "unknown target 'tim'; did you mean 'timm'?"),
        (["--emit", "timm", "json"], "--emit timm json lacks the folder to write into; add --out"),
        (["--out", "x"], "--out x says where to write what --emit names; add --emit all"),
        (
            ["--emit", "trial", "--out", "x", "--recipe", "augrag"],
            "--recipe has no key 'augrag'; did you mean 'augreg'?",
        ),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(
    capsys, tmp_path, monkeypatch, flags, message
):
    monkeypatch.chdir(tmp_path)
    assert re.match(message.replace("?", r"\?"), refused(capsys, "--flops", "1e21", *flags))
    assert os.listdir(tmp_path) == []


def test_the_help_and_the_refusal_name_every_target(capsys):
    assert run(["shape", "--help"]) == 0
    words = set(re.findall(r"\w+", capsys.readouterr().out))
    assert TARGETS.keys() <= words


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - {"glyphs"}))
def test_a_trial_is_the_answer_with_the_named_recipe(capsys, tmp_path, name):
    flags = ["--emit", "trial", "--out", tmp_path, "--recipe", name, "--data", 'npz:/a "b"\\c']
    found = told(capsys, "--flops", 1e21, "--readout", "map", "--image-size", 252, *flags)
    (trial,) = read_plan(tmp_path / "trial.toml").trials
    assert trial.shape == Shape(**found["shape"])
    assert trial.recipe == dataclasses.replace(
        RECIPES[name], data='npz:/a "b"\\c', image_size=252, readout="map"
    )
    (duration,) = trial.durations
    assert abs(duration - found["images"]) <= trial.recipe.batch_size / 2
    assert run(["sweep", "grid", str(tmp_path / "trial.toml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"] == 1


def test_data_that_nobody_can_get_is_pointed_out(capsys, tmp_path):
    found = told(capsys, "--flops", 1e21, "--emit", "all", "--out", tmp_path)
    (note,) = found["notes"]
    assert note.startswith("big_vision and trial: the recipe 'scaling-vit' trains on 'jft-3b', but")
    flags = ["--out", tmp_path, "--data", "tfds:imagenet2012"]
    assert told(capsys, "--flops", 1e21, "--emit", "all", *flags)["notes"] == []


def test_a_budget_within_the_warmup_leaves_out_what_trains(capsys, tmp_path):
    found = told(capsys, "--flops", 1e18, "--emit", "all", "--out", tmp_path)
    left_out = [note.partition(" left out: ")[0] for note in found["notes"]]
    assert left_out == ["big_vision: config.py is", "trial is"]
    assert str(tmp_path / "big_vision" / "config.json") in found["written"]
    assert all("inside the warmup of 10000 steps" in note for note in found["notes"])
    message = refused(capsys, "--flops", 1e18, "--emit", "trial", "--out", tmp_path / "x")
    assert message.startswith("trial cannot be emitted: by recipe 'scaling-vit', durations: the")
    assert message.endswith("name another with --recipe")


FLOPS = 1.5e9


def _small_answer() -> Answer:
    """Of a rule whose start is as small as the models that the glyphs are for."""
    setting = Setting(patch=8, image_size=16, channels=1, head_dim=4)
    rule = published_rule("sovit-figure1")
    sizes = {
        name: exactly(size, "chosen") for name, size in zip(DIMENSIONS, (16, 2, 32), strict=True)
    }
    start = dataclasses.replace(rule.start, sizes=sizes, t0=FLOPS / 3e9)
    return answer(dataclasses.replace(rule, start=start), FLOPS, setting)


def test_the_trial_trains_for_the_budget(capsys, tmp_path):
    found = _small_answer()
    written = emit_answer(found, ["trial"], tmp_path)
    assert written.notes == () and written.paths == (tmp_path / "trial.toml",)
    store = tmp_path / "store"
    assert run(["train", str(tmp_path / "trial.toml"), "--store", str(store)]) == 0
    rows = Store.open(store).read()
    assert set(rows["status"]) == {"ok"}
    assert rows["train_flops"].to_numpy() == pytest.approx(FLOPS, rel=0.01)
    for name in ("width", "depth", "mlp_dim", "heads"):
        assert set(rows[name]) == {getattr(found.shape, name)}


def test_nothing_is_written_into_a_file(capsys, tmp_path: Path):
    (tmp_path / "vit").write_text("mine")
    message = refused(capsys, "--flops", 1e21, "--emit", "json", "--out", tmp_path / "vit")
    assert str(tmp_path / "vit") in message
    assert (tmp_path / "vit").read_text() == "mine"


def test_an_alias_rounds_as_the_hardware_that_it_is(capsys):
    found = [
        told(capsys, "--flops", 1e21, "--hardware", name)["shape"] for name in ("h100", "h200")
    ]
    assert found[0] == found[1]


def test_a_store_is_no_fit(capsys, tmp_path):
    Store.open(tmp_path / "runs", create=True).prepare()
    message = refused(capsys, "--flops", 1e16, "--fit", tmp_path / "runs")
    assert "is a store, not a fit" in message and f"vitscale fit {tmp_path / 'runs'}" in message
    (tmp_path / "plain").mkdir()
    assert "is a folder, not a fit" in refused(capsys, "--flops", 1e16, "--fit", tmp_path / "plain")


def test_the_page_lists_the_hardware_as_it_is():
    page = (Path(__file__).parents[1] / "docs" / "emit.md").read_text(encoding="utf-8")
    listed = {}
    for names, width, mlp_dim, head in re.findall(
        r"^\| (`(?:cpu|v100|a100|h100|tpu)[^|]*) \| (\d+) \| (\d+) \| ([^|]+) \|", page, re.M
    ):
        for name in re.findall(r"`([^`]+)`", names):
            listed[name] = (int(width), int(mlp_dim), int(head) if head.isdecimal() else None)
    known = {name: hardware_named(name) for name in (*HARDWARE, *ALIASES)}
    assert listed == {
        name: (hardware.width_multiple, hardware.mlp_multiple, hardware.head_dim)
        for name, hardware in known.items()
    }
