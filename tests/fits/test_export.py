"""Emitted configs: what stands in them, what is read back, what is refused, how they are written.

That timm and transformers build the counted model from them is tested in `tests/interop`.
"""

import json
import os
import threading
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitscale.fits import export
from vitscale.fits.export import (
    EMITTERS,
    FILES,
    ModelSpec,
    emit,
    shape_from_json,
    shape_json,
    write_all,
)
from vitscale.scaling.shape import Readout, Shape, named_shape

SOVIT_400M = named_shape("SoViT-400m/14")
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
    keywords = EMITTERS["timm"](spec)
    assert int(keywords["embed_dim"] * keywords["mlp_ratio"]) == spec.shape.mlp_dim


def test_the_plain_mlp_ratio_would_lose_a_channel():
    # The reason for the half: a known shape for which timm would build 239 of 240 channels.
    assert int(208 * (240 / 208)) == 239


@pytest.mark.parametrize("target", EMITTERS)
@given(spec=SPECS)
def test_every_config_is_json(target, spec):
    config = EMITTERS[target](spec)
    assert json.loads(json.dumps(config, allow_nan=False)) == config


@pytest.mark.parametrize("target", EMITTERS)
def test_emit_passes_everything_on(target):
    model = {"image_size": 384, "readout": "map", "channels": 1, "classes": 10}
    emitted = emit(SOVIT_400M, target, **model, provenance={"train_flops": 2.6e22})
    spec = ModelSpec(shape=SOVIT_400M, **model, provenance={"train_flops": 2.6e22})
    assert emitted == EMITTERS[target](spec)
    # None of them is a default, and each must show in a config that can hold it.
    plain = emit(SOVIT_400M, target)
    for name, value in model.items():
        changed = emit(SOVIT_400M, target, **{name: value})
        assert (changed == plain) == (target == "big_vision" and name in ("image_size", "channels"))


def test_the_json_of_sovit_400m():
    # Parameters: Getting ViT in Shape, Table 1 (428M, with the head); FLOPs: 221G there.
    assert emit(SOVIT_400M, "json", readout="map", provenance={"source": "the paper"}) == {
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
    assert emit(SOVIT_400M, "big_vision", readout="map", classes=1000) == {
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
    emitted = emit(SOVIT_400M, "huggingface", readout="map", image_size=384)
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
    huggingface = emit(SOVIT_400M, "huggingface", readout=readout)
    timm = emit(SOVIT_400M, "timm", readout=readout)
    assert huggingface["model_type"] == model_type
    assert huggingface.get("vision_use_head") == {"gap": False, "map": True}.get(readout)
    assert (timm["global_pool"], timm["class_token"]) == (timm_pool, class_token)
    assert emit(SOVIT_400M, "timm-folder", readout=readout)["model_args"] == timm


def test_write_all_writes_what_emit_gives(tmp_path):
    model = {"image_size": 252, "readout": "gap", "classes": 7, "provenance": {"t": 9e12}}
    paths = write_all(SOVIT_400M, tmp_path / "new" / "folder", **model)
    written = {str(path.relative_to(tmp_path / "new" / "folder")) for path in paths}
    assert written == set(FILES.values())
    for target, name in FILES.items():
        text = (tmp_path / "new" / "folder" / name).read_text()
        assert json.loads(text) == emit(SOVIT_400M, target, **model)
    found = {p for p in (tmp_path / "new").rglob("*") if p.is_file()}
    assert found == set(paths), "something was left aside"
    spec = shape_from_json((tmp_path / "new" / "folder" / "shape.json").read_text())
    assert spec == ModelSpec(shape=SOVIT_400M, **model)


def test_a_failed_write_leaves_the_old_file_and_nothing_aside(tmp_path, monkeypatch):
    write_all(SOVIT_400M, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_all(named_shape("B/16"), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_reader_never_sees_half_a_file(tmp_path):
    write_all(SOVIT_400M, tmp_path)
    allowed = {
        json.dumps(emit(shape, "json"), indent=2) + "\n"
        for shape in (SOVIT_400M, named_shape("B/16"))
    }
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for shape in (named_shape("B/16"), SOVIT_400M):
                write_all(shape, tmp_path)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = {(tmp_path / "shape.json").read_text() for _ in range(2000)}
    finally:
        stop.set()
        writer.join()
    assert seen <= allowed


def test_refusals_come_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="image_size=8 is smaller than patch=14"):
        write_all(SOVIT_400M, tmp_path / "folder", image_size=8)
    assert os.listdir(tmp_path) == []


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
@pytest.mark.parametrize("target", EMITTERS)
def test_impossible_models_are_refused(target, change, message):
    with pytest.raises(ValueError, match=message):
        emit(SOVIT_400M, target, **change)


def test_an_unknown_target_is_refused():
    message = "unknown target 'keras'; choose from json, timm, timm-folder, huggingface, big_vision"
    with pytest.raises(ValueError, match=message):
        emit(SOVIT_400M, "keras")


def edited(**changes) -> str:
    """The JSON of SoViT-400m with some top-level keys replaced, or removed where None."""
    content = emit(SOVIT_400M, "json") | changes
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
