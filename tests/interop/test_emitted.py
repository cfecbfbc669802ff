"""The emitted files, built by the frameworks: the same model that `Shape` counts.

Large models are built on torch's meta device, which has shapes but no memory.
"""

import dataclasses
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from vitscale.fits.export import (
    ModelSpec,
    Training,
    huggingface_config,
    timm_keywords,
    write_targets,
)
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import Shape, named_shape

pytestmark = pytest.mark.interop

SHAPES = {
    "SoViT-400m/14": named_shape("SoViT-400m/14"),
    "So150m/14": named_shape("So150m/14"),
    # 240 / 208 is a ratio that timm would round to 239 channels.
    "odd": Shape(width=208, depth=3, mlp_dim=240, heads=4, patch=16),
    "x0 of SoViT": Shape(width=608, depth=10, mlp_dim=928, heads=16, patch=14),
    "B/16": named_shape("B/16"),
    "g/14": named_shape("g/14"),
}
MODELS = [
    # 384 / 14 and 250 / 16 leave pixels over, and one classifier has a single output.
    {"readout": "gap", "image_size": 224},
    {"readout": "gap", "image_size": 384, "classes": 1000},
    {"readout": "map", "image_size": 224},
    {"readout": "map", "image_size": 250, "channels": 1, "classes": 1},
    {"readout": "tok", "image_size": 224},
    {"readout": "tok", "image_size": 384, "channels": 4, "classes": 10},
]
CASES = pytest.mark.parametrize("model", MODELS, ids=lambda m: "-".join(map(str, m.values())))


def count(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def array_shapes(module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in module.state_dict().items()}


def check_timm(built, shape: Shape, readout: str) -> None:
    assert len(built.blocks) == shape.depth
    for block in built.blocks:
        assert block.mlp.fc1.out_features == shape.mlp_dim
        assert (block.attn.num_heads, block.attn.head_dim) == (shape.heads, shape.head_dim)
        assert block.norm1.eps == block.norm2.eps == built.norm.eps == 1e-6
    assert type(built.blocks[0].mlp.act).__name__ == "GELUTanh"
    assert (built.cls_token is not None) == (readout == "tok")


@CASES
@pytest.mark.parametrize("name", SHAPES)
def test_timm_builds_the_counted_model(torch, timm, name, model):
    shape = SHAPES[name]
    with torch.device("meta"):
        built = timm.models.vision_transformer.VisionTransformer(
            **timm_keywords(ModelSpec(shape=shape, **model))
        )
    assert count(built) == shape.params(**model)
    check_timm(built, shape, model["readout"])


@CASES
@pytest.mark.parametrize("name", SHAPES)
def test_timm_reads_the_folder(torch, timm, tmp_path, name, model):
    shape = SHAPES[name]
    write_targets(ModelSpec(shape=shape, **model), ["timm"], tmp_path)
    with torch.device("meta"):
        built = timm.create_model(f"local-dir:{tmp_path / 'timm'}")
    assert count(built) == shape.params(**model)
    check_timm(built, shape, model["readout"])
    data = timm.data.resolve_model_data_config(built)
    channels, size = model.get("channels", 3), model["image_size"]
    assert tuple(data["input_size"]) == (channels, size, size)
    # An image of zeros to ones becomes one of -1 to 1.
    assert list(data["mean"]) == list(data["std"]) == [0.5] * channels


@pytest.mark.parametrize(
    ("readout", "peer", "params"),
    [
        ("map", "vit_so400m_patch14_siglip_224", 427_680_704),
        ("gap", "vit_so400m_patch14_siglip_gap_224", 412_442_352),
    ],
)
def test_timm_has_the_same_sovit_400m(torch, timm, readout, peer, params):
    config = timm_keywords(ModelSpec(shape=SHAPES["SoViT-400m/14"], readout=readout))
    with torch.device("meta"):
        built = timm.models.vision_transformer.VisionTransformer(**config)
        published = timm.create_model(peer, num_classes=0)
    assert count(built) == params
    assert array_shapes(built) == array_shapes(published)


@CASES
@pytest.mark.parametrize("name", SHAPES)
def test_transformers_builds_the_counted_model(torch, transformers, tmp_path, name, model):
    shape, readout = SHAPES[name], model["readout"]
    write_targets(ModelSpec(shape=shape, **model), ["huggingface"], tmp_path)
    config = transformers.AutoConfig.from_pretrained(tmp_path / "huggingface")
    (architecture,) = config.architectures
    options = {"add_pooling_layer": False} if architecture == "ViTModel" else {}
    with torch.device("meta"):
        built = getattr(transformers, architecture)(config, **options)
    # SigLIP's vision model has no classifier, and the ViT's class token has a position.
    classes = model.get("classes", 0) if readout == "tok" else 0
    extra = shape.width if readout == "tok" else 0
    with torch.device("meta"):
        auto = transformers.AutoModel.from_config(config)
    assert type(auto).__name__ == {"tok": "ViTModel"}.get(readout, "SiglipVisionModel")
    assert count(built) == shape.params(**{**model, "classes": classes}) + extra
    assert config.num_labels == model.get("classes", 0)
    assert config.hidden_size // config.num_attention_heads == shape.head_dim
    arrays = array_shapes(built).values()
    assert (shape.mlp_dim, shape.width) in arrays
    assert (shape.mlp_dim,) in arrays
    norms = [part for part in built.modules() if isinstance(part, torch.nn.LayerNorm)]
    assert len(norms) == 2 * shape.depth + 1 + (readout == "map")
    assert {norm.eps for norm in norms} == {1e-6}


@CASES
@pytest.mark.parametrize("name", SHAPES)
def test_openclip_builds_the_counted_model(torch, open_clip, tmp_path, name, model):
    shape = SHAPES[name]
    if model.get("channels", 3) != 3:
        with pytest.raises(ValueError, match="OpenCLIP reads images of 3 channels"):
            write_targets(ModelSpec(shape=shape, **model), ["openclip"], tmp_path)
        return
    write_targets(ModelSpec(shape=shape, **model), ["openclip"], tmp_path)
    with torch.device("meta"):
        built = open_clip.create_model(f"local-dir:{tmp_path / 'openclip'}", device="meta")
    # The features are what is compared with a text, so there is no classifier.
    assert count(built.visual) == shape.params(**{**model, "classes": 0})
    check_timm(built.visual.trunk, shape, model["readout"])
    size = model["image_size"]
    assert tuple(built.visual.image_size) == built.visual.preprocess_cfg["size"] == (size, size)
    assert list(built.visual.preprocess_cfg["mean"]) == [0.5] * 3


def test_openclip_takes_the_folder_from_elsewhere_and_by_name(
    torch, open_clip, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_targets(ModelSpec(shape=SHAPES["odd"]), ["openclip"], Path("here"))
    monkeypatch.chdir("/")
    built = open_clip.create_model(f"local-dir:{tmp_path / 'here' / 'openclip'}")
    assert count(built.visual) == SHAPES["odd"].params()
    content = json.loads((tmp_path / "here" / "openclip" / "open_clip_config.json").read_text())
    (tmp_path / "our-vit.json").write_text(json.dumps(content["model_cfg"]))
    open_clip.add_model_config(tmp_path / "our-vit.json")
    assert count(open_clip.create_model("our-vit").visual) == SHAPES["odd"].params()


# What `Model` of big_vision 0127fb6 takes (models/vit.py, the fields of `_Model`).
BIG_VISION_MODEL = {
    *("num_classes", "patch_size", "width", "depth", "mlp_dim", "num_heads", "posemb", "rep_size"),
    *("dropout", "pool_type", "head_zeroinit", "scan", "remat_policy", "dtype_mm"),
}


def big_vision(tmp_path, shape: Shape, recipe_name: str, model: dict, **recipe):
    """The config that big_vision's train.py would get, read as ml_collections reads a config file."""
    fields: dict[str, Any] = dataclasses.asdict(RECIPES[recipe_name])
    fields |= {"data": "tfds:imagenet2012"} | recipe
    training = Training(
        base=recipe_name,
        recipe=fields,
        learning_rate=fields["learning_rate"],
        cooldown_steps=fields["cooldown_steps"],
        examples=fields["batch_size"] * 200_000,
    )
    write_targets(ModelSpec(shape=shape, **model), ["big_vision"], tmp_path, training=training)
    get_config = runpy.run_path(str(tmp_path / "big_vision" / "config.py"))["get_config"]
    return get_config, json.loads((tmp_path / "big_vision" / "config.json").read_text())


@CASES
@pytest.mark.parametrize("name", SHAPES)
def test_big_visions_config_is_the_counted_model(ml_collections, tmp_path, name, model):
    import jax
    from flax import nnx

    from vitscale.scaling.models.vit import Vit

    shape, classes = SHAPES[name], model.get("classes", 0)
    get_config, keys = big_vision(tmp_path, shape, "scaling-vit", model)
    config = get_config() if classes else get_config("7")
    assert isinstance(config, ml_collections.ConfigDict)
    arguments = config.model.to_dict()
    assert arguments.keys() <= BIG_VISION_MODEL
    assert {k: list(v) if k == "patch_size" else v for k, v in arguments.items()} == {
        **keys["model"],
        "dtype_mm": "bfloat16",
    }
    # Our own model from these arguments; timm reads its weights as big_vision's.
    rows, columns = arguments["patch_size"]
    assert rows == columns and config.num_classes == (classes or 7)
    built = nnx.eval_shape(
        lambda: Vit(
            Shape(
                width=arguments["width"],
                depth=arguments["depth"],
                mlp_dim=arguments["mlp_dim"],
                heads=arguments["num_heads"],
                patch=rows,
            ),
            image_size=model["image_size"],
            channels=model.get("channels", 3),
            readout=arguments["pool_type"],
            classes=config.num_classes,
        )
    )
    arrays = jax.tree.leaves(nnx.state(built, nnx.Param))
    counted = shape.params(**{**model, "classes": config.num_classes})
    assert sum(array.size for array in arrays) == counted
    size, channels = model["image_size"], model.get("channels", 3)
    decode = "decode" if channels == 3 else f"decode(channels={channels})"
    steps = f"{decode}|inception_crop({size}, 5)|flip_lr|value_range(-1, 1)|"
    assert config.input.pp.startswith(steps)
    assert f"onehot({config.num_classes}, " in config.input.pp


def test_big_visions_config_asks_for_the_classes(ml_collections, tmp_path):
    get_config, _ = big_vision(tmp_path, SHAPES["odd"], "augreg", {})
    with pytest.raises(ValueError, match="say how many classes the data has, such as --config"):
        get_config()


def test_the_scaling_vit_recipe_is_that_of_big_visions_vit_g(ml_collections, tmp_path):
    get_config, _ = big_vision(tmp_path, SHAPES["g/14"], "scaling-vit", {"readout": "map"})
    config = get_config("29593").to_dict()
    # configs/proj/scaling_laws/train_vit_g.py, by hand; its batch is four times that of the paper.
    expected = {
        "init_head_bias": -10.0,
        "optax_name": "big_vision.scale_by_adafactor",
        "grad_clip_norm": 1.0,
        "lr": 8e-4,
        "wd": 0.03 * 8e-4,
        "wd_mults": [(".*head/kernel", 100.0), (".*/kernel", 1.0)],
        "schedule": {
            "decay_type": "rsqrt",
            "timescale": 10_000,
            "warmup_steps": 10_000,
            "cooldown_steps": 50_000,
        },
    }
    rounded = {"wd": pytest.approx(expected["wd"]), "wd_mults": config["wd_mults"]}
    assert {name: config[name] for name in expected} == expected | rounded
    for (pattern, factor), (wanted, times) in zip(
        config["wd_mults"], expected["wd_mults"], strict=True
    ):
        assert pattern == wanted and factor == pytest.approx(times)
    assert config["total_examples"] == 4096 * 200_000 and config["input"]["batch_size"] == 4096


def test_the_augreg_recipe_is_that_of_big_visions_vit_i1k(ml_collections, tmp_path):
    get_config, _ = big_vision(
        tmp_path, SHAPES["B/16"], "augreg", {"readout": "tok", "classes": 1000}
    )
    config = get_config().to_dict()
    # configs/vit_i1k.py for B/16: medium2, and the optimizer section.
    assert config["optax"] == {"b1": 0.9, "b2": 0.999, "mu_dtype": "bfloat16"}
    assert (config["lr"], config["wd"]) == (0.001, pytest.approx(0.0001))
    assert config["schedule"] == {"decay_type": "cosine", "warmup_steps": 10_000}
    assert config["mixup"] == {"p": 0.5} and config["loss"] == "softmax_xent"
    assert config["input"]["data"] == {"name": "imagenet2012", "split": "train[:99%]"}
    assert "|randaug(2, 15)|value_range" in config["input"]["pp"]
    assert "archive.randaug" in config["pp_modules"]
    assert config["evals"]["val"]["data"]["split"] == "validation"
    assert config["evals"]["val"]["pp_fn"].startswith("decode|resize_small(256)|central_crop(224)|")


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_gives_a_config(ml_collections, tmp_path, name):
    changes = {"label_smoothing": 0.1, "crop": "pad", "dropout": 0.2}
    get_config, _ = big_vision(tmp_path, SHAPES["odd"], name, {"classes": 3}, **changes)
    assert get_config().model.dropout == 0.2
    text = (tmp_path / "big_vision" / "config.py").read_text()
    assert "Left out of the recipe: label_smoothing, crop." in text


def from_timm(torch, weights: dict, depth: int, readout: str) -> dict:
    """Weights of a timm ViT without class token, under the names of SigLIP's vision model."""
    renamed = {
        "embeddings.patch_embedding.weight": weights["patch_embed.proj.weight"],
        "embeddings.patch_embedding.bias": weights["patch_embed.proj.bias"],
        "embeddings.position_embedding.weight": weights["pos_embed"][0],
    }
    parts = {"norm1": "layer_norm1", "norm2": "layer_norm2", "attn.proj": "self_attn.out_proj"}
    parts |= {"mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    head = {"proj": "attention.out_proj", "norm": "layernorm", "mlp.fc1": "mlp.fc1"}
    head |= {"mlp.fc2": "mlp.fc2"}
    for kind in ("weight", "bias"):
        renamed[f"post_layernorm.{kind}"] = weights[f"norm.{kind}"]
        for i in range(depth):
            for theirs, ours in parts.items():
                renamed[f"encoder.layers.{i}.{ours}.{kind}"] = weights[
                    f"blocks.{i}.{theirs}.{kind}"
                ]
            qkv = weights[f"blocks.{i}.attn.qkv.{kind}"].chunk(3)
            for name, array in zip("qkv", qkv, strict=True):
                renamed[f"encoder.layers.{i}.self_attn.{name}_proj.{kind}"] = array
        if readout == "map":
            for theirs, ours in head.items():
                renamed[f"head.{ours}.{kind}"] = weights[f"attn_pool.{theirs}.{kind}"]
            renamed[f"head.attention.in_proj_{kind}"] = torch.cat(
                [weights[f"attn_pool.{part}.{kind}"] for part in ("q", "kv")]
            )
    if readout == "map":
        renamed["head.probe"] = weights["attn_pool.latent"]
    return renamed


@pytest.mark.parametrize("readout", ["gap", "map"])
def test_both_frameworks_compute_the_same_features(torch, timm, transformers, readout):
    shape = SHAPES["odd"]
    torch.manual_seed(0)
    spec = ModelSpec(shape=shape, readout=readout, image_size=64)
    ours = timm.models.vision_transformer.VisionTransformer(**timm_keywords(spec))
    config = transformers.AutoConfig.for_model(**huggingface_config(spec))
    theirs = transformers.SiglipVisionModel(config)
    with torch.no_grad():
        # As initialised, biases are zero and activations small, where all GELUs look alike.
        for parameter in ours.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.1)
        weights = from_timm(torch, ours.state_dict(), shape.depth, readout)
        prefix = "vision_model." if hasattr(theirs, "vision_model") else ""
        theirs.load_state_dict({prefix + name: array for name, array in weights.items()})
        images = torch.randn(2, 3, 64, 64)
        expected = ours.eval()(images)
        output = theirs.eval()(images)
        features = output.pooler_output if readout == "map" else output.last_hidden_state.mean(1)
    assert expected.abs().mean() > 0.01
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
