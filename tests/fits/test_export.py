"""Emitted configs: what stands in them, what is read back, what is refused, how they are written.

That the frameworks build the counted model from them is tested in `tests/interop`.
"""

import dataclasses
import json
import os
import re
import threading
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitscale.fits.export import (
    TARGETS,
    ModelSpec,
    Training,
    big_vision_config,
    huggingface_config,
    openclip_config,
    shape_from_json,
    shape_json,
    targets_named,
    timm_config,
    timm_keywords,
    write_targets,
    writing,
)
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import Readout, Shape, named_shape

SOVIT_400M = named_shape("SoViT-400m/14")


def sovit(**options: Any) -> ModelSpec:
    return ModelSpec(shape=SOVIT_400M, **options)


SPECS = st.builds(
    ModelSpec,
    shape=st.builds(
        lambda heads, head_dim, depth, mlp_dim, patch: Shape(
            width=heads * head_dim, depth=depth, mlp_dim=mlp_dim, heads=heads, patch=patch
        ),
        heads=st.integers(1, 16),
        head_dim=st.integers(1, 128),
        depth=st.integers(1, 64),
        mlp_dim=st.integers(1, 16_384),
        patch=st.integers(1, 32),
    ),
    image_size=st.integers(32, 518),
    readout=st.sampled_from(get_args(Readout)),
    channels=st.integers(1, 4),
    classes=st.integers(0, 30_000),
    provenance=st.dictionaries(
        st.text(),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, width=32)
            | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
            ),
            max_leaves=5,
        ).filter(lambda value: "inf" not in str(value)),
        max_size=3,
    ),
)


@given(spec=SPECS)
def test_the_json_reads_back_as_the_same_model(spec):
    assert shape_from_json(json.dumps(shape_json(spec))) == spec


@given(spec=SPECS)
def test_timm_gets_the_whole_mlp_dim(spec):
    # What timm computes, layers/mlp.py and vision_transformer.py: int(dim * mlp_ratio).
    keywords = timm_keywords(spec)
    assert int(keywords["embed_dim"] * keywords["mlp_ratio"]) == spec.shape.mlp_dim


def test_the_plain_mlp_ratio_would_lose_a_channel():
    # The reason for the half: a known shape for which timm would build 239 of 240 channels.
    assert int(208 * (240 / 208)) == 239


def openclip_here(spec: ModelSpec) -> dict[str, Any]:
    return openclip_config(spec, Path("here"))


CONFIGS = {
    f.__name__: f for f in (shape_json, timm_config, huggingface_config, big_vision_config)
} | {"openclip": openclip_here}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@given(spec=SPECS)
def test_every_config_is_json(config, spec):
    content = config(spec)
    assert json.loads(json.dumps(content, allow_nan=False)) == content


@pytest.mark.parametrize("config", CONFIGS)
def test_everything_shows_in_a_config_that_can_hold_it(config):
    # None of them is a default. big_vision's model learns image size and channels from the images;
    # OpenCLIP has timm's config for the rest.
    changes = {"image_size": 384, "readout": "map", "channels": 1, "classes": 10}
    silent = {
        "big_vision_config": {"image_size", "channels"},
        "openclip": {"channels", "classes"},
    }
    plain = CONFIGS[config](sovit())
    same = {
        name for name, value in changes.items() if CONFIGS[config](sovit(**{name: value})) == plain
    }
    assert same == silent.get(config, set())


def test_the_json_of_sovit_400m():
    # Parameters: Getting ViT in Shape, Table 1 (428M, with the head); FLOPs: 221G there.
    assert shape_json(sovit(readout="map", provenance={"source": "the paper"})) == {
        "format": "vitscale.shape",
        "version": 1,
        "shape": {"width": 1152, "depth": 27, "mlp_dim": 4304, "heads": 16, "patch": 14},
        "image_size": 224,
        "readout": "map",
        "channels": 3,
        "classes": 0,
        "params": 427_680_704,
        "forward_flops": 220_913_322_320,
        "provenance": {"source": "the paper"},
    }


def test_big_vision_of_sovit_400m_is_its_own_variant():
    # big_vision 0127fb6, models/vit.py, decode_variant("So400m/14") and the fields of _Model.
    assert big_vision_config(sovit(readout="map", classes=1000)) == {
        "model_name": "vit",
        "model": {
            "width": 1152,
            "depth": 27,
            "mlp_dim": 4304,
            "num_heads": 16,
            "patch_size": [14, 14],
            "pool_type": "map",
            "posemb": "learn",
        },
        "num_classes": 1000,
    }


def test_huggingface_of_sovit_400m_is_the_published_config():
    # config.json of google/siglip-so400m-patch14-224 and -384, vision_config; the act, the epsilon
    # and the head are SiglipVisionConfig's defaults.
    emitted = huggingface_config(sovit(readout="map", image_size=384))
    published = {
        "hidden_size": 1152,
        "image_size": 384,
        "intermediate_size": 4304,
        "model_type": "siglip_vision_model",
        "num_attention_heads": 16,
        "num_hidden_layers": 27,
        "patch_size": 14,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
        "vision_use_head": True,
    }
    assert published.items() <= emitted.items()


@pytest.mark.parametrize(
    ("readout", "model_type", "timm_pool", "class_token"),
    [
        ("gap", "siglip_vision_model", "avg", False),
        ("map", "siglip_vision_model", "map", False),
        ("tok", "vit", "token", True),
    ],
)
def test_the_readout_chooses_the_architecture(readout, model_type, timm_pool, class_token):
    spec = sovit(readout=readout)
    huggingface, timm = huggingface_config(spec), timm_keywords(spec)
    assert huggingface["model_type"] == model_type
    assert huggingface.get("vision_use_head") == {"gap": False, "map": True}.get(readout)
    assert (timm["global_pool"], timm["class_token"]) == (timm_pool, class_token)
    assert timm_config(spec)["model_args"] == timm
    assert openclip_here(spec)["model_cfg"]["vision_cfg"]["timm_pool"] == timm_pool


FILES = {
    "json": ["shape.json"],
    "timm": ["timm/config.json"],
    "huggingface": ["huggingface/config.json"],
    "openclip": ["openclip/open_clip_config.json", "openclip/trunk/config.json"],
    "big_vision": ["big_vision/config.json", "big_vision/config.py"],
    "trial": ["trial.toml"],
}
RECIPE = dataclasses.asdict(RECIPES["augreg"])
TRAINING = Training(
    base="augreg", recipe=RECIPE, learning_rate=1e-3, cooldown_steps=0, examples=2**30
)


def test_there_is_a_test_for_every_target():
    assert FILES.keys() == TARGETS.keys()


@pytest.mark.parametrize("name", [*FILES, "all"])
def test_a_target_writes_its_own_files_and_no_others(tmp_path, name):
    folder = tmp_path / "new" / "folder"
    spec = sovit(image_size=252, classes=7, provenance={"t": 9e12})
    written = write_targets(spec, [name], folder, training=TRAINING)
    expected = FILES.get(name, [path for paths in FILES.values() for path in paths])
    assert {str(path.relative_to(folder)) for path in written.paths} == set(expected)
    assert {p for p in folder.rglob("*") if p.is_file()} == set(written.paths)
    assert written.notes == ()
    if name in ("json", "all"):
        assert shape_from_json((folder / "shape.json").read_text()) == spec


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["timm"], ("timm",)),
        (["trial", "timm", "timm"], ("timm", "trial")),
        (["timm", "all"], tuple(TARGETS)),
        ([], ()),
    ],
)
def test_names_of_targets(names, wanted):
    assert targets_named(names) == wanted


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tim", "unknown target 'tim'; did you mean 'timm'?"),
        ("hugging_face", "did you mean 'huggingface'?"),
        ("OpenCLIP", "did you mean 'openclip'?"),
        (
            "my-vit",
            "unknown target 'my-vit'; choose from all, json, timm, huggingface, openclip, big_vision, "
            "trial; if it is the folder to write into, ask for --emit all --out my-vit",
        ),
    ],
)
def test_unknown_targets_are_refused_with_the_way_out(tmp_path, name, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        write_targets(sovit(), ["json", name], tmp_path / "folder")
    assert os.listdir(tmp_path) == []


GLYPHS = dataclasses.replace(TRAINING, base="glyphs", recipe=RECIPE | {"data": "glyphs"})


@pytest.mark.parametrize(
    ("name", "options", "training", "reason"),
    [
        ("openclip", {"channels": 1}, TRAINING, "OpenCLIP reads images of 3 channels and this"),
        ("trial", {}, "the warmup is too long", "the warmup is too long"),
    ],
)
def test_what_cannot_be_expressed_is_left_out_of_all_and_else_refused(
    tmp_path, name, options, training, reason
):
    with pytest.raises(ValueError, match=f"{name} cannot be emitted: {reason}"):
        write_targets(sovit(**options), ["all", name], tmp_path / "folder", training=training)
    assert os.listdir(tmp_path) == []
    written = write_targets(sovit(**options), ["all"], tmp_path / "folder", training=training)
    assert any(note.startswith(f"{name} is left out: {reason}") for note in written.notes)
    names = {str(path.relative_to(tmp_path / "folder")) for path in written.paths}
    assert names.isdisjoint(FILES[name]) and "shape.json" in names


@pytest.mark.parametrize(
    ("training", "reason"),
    [
        ("the warmup is too long", "the warmup is too long"),
        (
            GLYPHS,
            "big_vision reads TFDS data sets and the recipe 'glyphs' trains on 'glyphs'; name one",
        ),
    ],
)
def test_big_vision_gets_the_model_alone_where_it_cannot_train_it(tmp_path, training, reason):
    written = write_targets(sovit(), ["big_vision"], tmp_path, training=training)
    assert written.paths == (tmp_path / "big_vision" / "config.json",)
    (note,) = written.notes
    assert note.startswith(f"big_vision: config.py is left out: {reason}")


def test_a_failed_write_leaves_the_old_file_and_nothing_aside(tmp_path, monkeypatch):
    write_targets(sovit(), ["all"], tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_targets(ModelSpec(shape=named_shape("B/16")), ["all"], tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_reader_never_sees_half_a_file(tmp_path):
    specs = [sovit(), ModelSpec(shape=named_shape("B/16"))]
    write_targets(specs[0], ["json"], tmp_path)
    allowed = {json.dumps(shape_json(spec), indent=2) + "\n" for spec in specs}
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for spec in reversed(specs):
                write_targets(spec, ["json"], tmp_path)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = {(tmp_path / "shape.json").read_text() for _ in range(2000)}
    finally:
        stop.set()
        writer.join()
    assert seen <= allowed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"readout": "mean"}, "readout='mean' is unknown; choose from gap, map, tok"),
        ({"classes": -1}, "classes=-1 is not a whole number from 0"),
        ({"channels": 0}, "channels=0 is not a whole number from 1"),
        ({"image_size": 224.0}, r"image_size=224\.0 is not a whole number from 1"),
        ({"image_size": 13}, "image_size=13 is smaller than patch=14; use an image of at least 14"),
        ({"provenance": {"t": float("nan")}}, "provenance=.* does not fit into JSON .*finite"),
        ({"provenance": {"t": object()}}, "provenance=.* does not fit into JSON"),
    ],
)
def test_impossible_models_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        sovit(**change)


def edited(**changes) -> str:
    """The JSON of SoViT-400m with some top-level keys replaced, or removed where None."""
    content = shape_json(sovit()) | changes
    return json.dumps({key: value for key, value in content.items() if value is not None})


SIZES = {"width": 1152, "depth": 27, "mlp_dim": 4304, "heads": 16, "patch": 14}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the shape is not valid JSON"),
        ('{"format": "vitscale.shape"', "the shape is not valid JSON"),
        ("[]", 'the shape lacks "format": "vitscale.shape"'),
        ('{"width": 3}', 'the shape lacks "format"'),
        ('{"format": NaN}', "the shape holds NaN, which JSON does not know"),
        ('{"format": 1, "format": 2}', "the shape repeats the key 'format'; keep one"),
        (edited(version=2), "the shape has version 2, but this vitscale reads 1"),
        (edited(version=True), "the shape has version True"),
        (edited(readout=None), "the shape file lacks 'readout'; it needs format, version"),
        (edited(dropout=0.1), "the shape file has the unknown key 'dropout'; choose from format"),
        (edited(shape=[1]), r"shape is \[1\]; expected a JSON object"),
        (edited(shape={**SIZES, "registers": 4}), "shape has the unknown key 'registers'"),
        (edited(shape={"width": 1152}), "shape lacks 'depth'; it needs width, depth, mlp_dim"),
        (edited(shape={**SIZES, "width": 1150}), "width=1150 is not divisible by heads=16"),
        (edited(shape={**SIZES, "depth": "27"}), "depth='27' is not a size"),
        (edited(shape={**SIZES, "depth": 28}), "params=412442352 does not belong to width 1152"),
        (edited(forward_flops=1), "forward_flops=1 does not belong to .*, which has 219527683072"),
        (edited(params=412442352.0), r"params=412442352\.0 does not belong to"),
        (edited(readout="mean"), "readout='mean' is unknown"),
        (edited(provenance=[]), r"provenance is \[\]; expected a JSON object"),
    ],
)
def test_other_files_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        shape_from_json(text)
