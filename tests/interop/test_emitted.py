"""The emitted configs, built by timm and transformers: the same model that `Shape` counts.

Large models are built on torch's meta device, which has shapes but no memory.
"""

import pytest

from vitscale.fits.export import emit, write_all
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
        built = timm.models.vision_transformer.VisionTransformer(**emit(shape, "timm", **model))
    assert count(built) == shape.params(**model)
    check_timm(built, shape, model["readout"])


@CASES
@pytest.mark.parametrize("name", SHAPES)
def test_timm_reads_the_folder(torch, timm, tmp_path, name, model):
    shape = SHAPES[name]
    write_all(shape, tmp_path, **model)
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
    config = emit(SHAPES["SoViT-400m/14"], "timm", readout=readout)
    with torch.device("meta"):
        built = timm.models.vision_transformer.VisionTransformer(**config)
        published = timm.create_model(peer, num_classes=0)
    assert count(built) == params
    assert array_shapes(built) == array_shapes(published)


@CASES
@pytest.mark.parametrize("name", SHAPES)
def test_transformers_builds_the_counted_model(torch, transformers, tmp_path, name, model):
    shape, readout = SHAPES[name], model["readout"]
    write_all(shape, tmp_path, **model)
    config = transformers.AutoConfig.from_pretrained(tmp_path / "huggingface")
    (architecture,) = config.architectures
    options = {"add_pooling_layer": False} if architecture == "ViTModel" else {}
    with torch.device("meta"):
        built = getattr(transformers, architecture)(config, **options)
    # SigLIP's vision model has no classifier, and the ViT's class token has a position.
    classes = model.get("classes", 0) if readout == "tok" else 0
    extra = shape.width if readout == "tok" else 0
    assert count(built) == shape.params(**{**model, "classes": classes}) + extra
    assert config.num_labels == model.get("classes", 0)
    assert config.hidden_size // config.num_attention_heads == shape.head_dim
    arrays = array_shapes(built).values()
    assert (shape.mlp_dim, shape.width) in arrays
    assert (shape.mlp_dim,) in arrays
    norms = [part for part in built.modules() if isinstance(part, torch.nn.LayerNorm)]
    assert len(norms) == 2 * shape.depth + 1 + (readout == "map")
    assert {norm.eps for norm in norms} == {1e-6}


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
    options = {"readout": readout, "image_size": 64}
    ours = timm.models.vision_transformer.VisionTransformer(**emit(shape, "timm", **options))
    config = transformers.AutoConfig.for_model(**emit(shape, "huggingface", **options))
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
