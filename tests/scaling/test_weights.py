"""Weights in and out, without the frameworks: the real module, big_vision's in Linen, files, refusals.

That timm and transformers compute the same is tested in `tests/interop`.
"""

import functools
import json
import pickle
import struct
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import numpy as jnp
from safetensors.numpy import load_file, save_file

from vitscale.scaling.models.vit import Vit, merge_vit, split_vit
from vitscale.scaling.models.weights import (
    LAYOUTS,
    VitSpec,
    Weights,
    new_folder,
    parameter_sizes,
    params_from_weights,
    read_weights,
    weights_from_params,
    write_npz,
    write_safetensors,
)
from vitscale.scaling.shape import NAMED_VARIANTS, Shape, named_shape

SMALL = Shape(width=24, depth=2, mlp_dim=40, heads=3, patch=4)
SPECS = {
    readout: VitSpec(shape=SMALL, image_size=12, readout=readout, channels=2, classes=5)
    for readout in ("gap", "map", "tok")
}
EACH_READOUT = pytest.mark.parametrize("readout", SPECS)


def random_weights(spec: VitSpec, seed: int = 0) -> Weights:
    random = np.random.default_rng(seed)
    arrays = {
        name: random.standard_normal(size).astype(np.float32) * 0.2
        for name, size in parameter_sizes(spec).items()
    }
    return Weights(spec=spec, arrays=arrays)


def same(first: Weights, second: Weights) -> None:
    assert first.spec == second.spec
    assert list(first.arrays) == list(second.arrays)
    for name, array in first.arrays.items():
        assert second.arrays[name].dtype == np.float32
        np.testing.assert_array_equal(array, second.arrays[name], err_msg=name)


def write(weights: Weights, layout: str, path: Path, **changes) -> Path:
    """A file of weights, with some of its arrays changed, or left out where they are None."""
    arrays = LAYOUTS[layout].write(weights) | changes.pop("arrays", {})
    arrays = {name: array for name, array in arrays.items() if array is not None}
    write_safetensors(path, arrays, LAYOUTS[layout].metadata(weights.spec) | changes)
    return path


def logits(weights: Weights, images) -> np.ndarray:
    spec = weights.spec
    vit = Vit(
        spec.shape,
        image_size=spec.image_size,
        channels=spec.channels,
        readout=spec.readout,
        classes=spec.classes,
    )
    graph = split_vit(vit)[0]
    run = jax.jit(lambda params, images: merge_vit(graph, params)(images))
    return np.asarray(run(params_from_weights(weights), images))


def template(spec: VitSpec, layout: Any) -> Any:
    return jax.eval_shape(
        lambda: split_vit(
            Vit(
                spec.shape,
                image_size=spec.image_size,
                channels=spec.channels,
                readout=spec.readout,
                classes=spec.classes,
                layout=layout,
            )
        )[1]
    )


@pytest.mark.parametrize("layout", ["unrolled", "scanned"])
@EACH_READOUT
def test_names_and_sizes_are_those_of_the_real_module(readout, layout):
    params = params_from_weights(random_weights(SPECS[readout]), layout=layout)
    of_params, of_module = (
        jax.tree.map(lambda leaf: leaf.shape, tree)
        for tree in (params, template(SPECS[readout], layout))
    )
    assert of_params == of_module


# Trunks without classifier at 224 pixels, as big_vision's own modules count; mean over tokens, and
# attention pooling. SoViT-400m and the two patch-14 giants are also in timm, with the same count.
PUBLISHED = {
    "So400m/14": (412_442_352, 427_680_704),
    "So150m/14": (130_184_080, 137_374_240),
    "Ti/16": (5_524_032, 5_968_704),
    "S/16": (21_664_896, 23_438_976),
    "B/16": (85_797_120, 92_884_224),
    "L/16": (303_299_584, 315_894_784),
    "H/14": (630_762_240, 650_438_400),
    "g/14": (1_011_199_616, 1_036_448_384),
    "G/14": (1_842_772_352, 1_881_132_416),
    "g-opt/16": (1_134_746_112, 1_163_076_096),
    "e/14": (3_805_417_728, 3_873_342_720),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_variants_have_their_published_parameters(name):
    for readout, count in zip(("gap", "map"), PUBLISHED[name], strict=True):
        spec = VitSpec(shape=named_shape(name), image_size=224, readout=readout)
        sizes = parameter_sizes(spec).values()
        assert sum(np.prod(size, dtype=int) for size in sizes) == count
        leaves = jax.tree.leaves(template(spec, "scanned"))
        assert sum(leaf.size for leaf in leaves) == count


@pytest.mark.parametrize("variant", NAMED_VARIANTS)
def test_every_named_variant_is_the_real_module(variant):
    spec = VitSpec(shape=named_shape(f"{variant}/14"), image_size=224, readout="map", classes=10)
    leaves = jax.tree.leaves(template(spec, "scanned"))
    sizes = parameter_sizes(spec).values()
    count = sum(leaf.size for leaf in leaves)
    assert count == sum(np.prod(size, dtype=int) for size in sizes)
    assert count == spec.shape.params(image_size=224, readout="map", classes=10)


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=10)
@given(
    heads=st.integers(1, 3),
    head_dim=st.integers(1, 5),
    depth=st.integers(1, 11),
    mlp_dim=st.integers(1, 9),
    patch=st.integers(1, 4),
    side=st.integers(1, 3),
    readout=st.sampled_from(["gap", "map", "tok"]),
    channels=st.integers(1, 4),
    classes=st.integers(0, 3),
)
def test_every_layout_and_back_bit_for_bit(
    tmp_path_factory,
    layout,
    heads,
    head_dim,
    depth,
    mlp_dim,
    patch,
    side,
    readout,
    channels,
    classes,
):
    shape = Shape(width=heads * head_dim, depth=depth, mlp_dim=mlp_dim, heads=heads, patch=patch)
    no_classifier = layout == "huggingface" and readout != "tok"
    spec = VitSpec(
        shape=shape,
        image_size=side * patch,
        readout=readout,
        channels=channels,
        classes=0 if no_classifier else classes,
    )
    weights = random_weights(spec)
    folder = tmp_path_factory.mktemp("weights")
    back = read_weights(write(weights, layout, folder / "a.safetensors"), heads=heads)
    same(weights, back)


def test_params_and_back_in_either_arrangement_of_blocks():
    weights = random_weights(SPECS["map"])
    for layout in ("unrolled", "scanned"):
        params = params_from_weights(weights, layout=layout)
        same(weights, weights_from_params(jax.tree.map(jnp.asarray, params), weights.spec))


class Mlp(nn.Module):
    mlp_dim: int

    @nn.compact
    def __call__(self, x):
        y = nn.gelu(nn.Dense(self.mlp_dim)(x))
        return nn.Dense(x.shape[-1])(y)


class Block(nn.Module):
    shape: Shape

    @nn.compact
    def __call__(self, x):
        y = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(num_heads=self.shape.heads)(y, y)
        return x + Mlp(self.shape.mlp_dim, name="MlpBlock_0")(nn.LayerNorm()(x))


class Encoder(nn.Module):
    shape: Shape

    @nn.compact
    def __call__(self, x):
        for i in range(self.shape.depth):
            x = Block(self.shape, name=f"encoderblock_{i}")(x)
        return nn.LayerNorm(name="encoder_norm")(x)


class MapHead(nn.Module):
    shape: Shape

    @nn.compact
    def __call__(self, x):
        probe = self.param("probe", nn.initializers.normal(), (1, 1, x.shape[-1]))
        probe = jnp.tile(probe, (len(x), 1, 1))
        x = nn.MultiHeadDotProductAttention(num_heads=self.shape.heads)(probe, x)
        return (x + Mlp(self.shape.mlp_dim, name="MlpBlock_0")(nn.LayerNorm()(x)))[:, 0]


class BigVision(nn.Module):
    """The ViT by the names of its parameters in big_vision, on Flax Linen's own layers."""

    spec: VitSpec

    @nn.compact
    def __call__(self, images):
        shape, width = self.spec.shape, self.spec.shape.width
        patch = (shape.patch, shape.patch)
        x = nn.Conv(width, patch, strides=patch, padding="VALID", name="embedding")(images)
        x = x.reshape(len(x), -1, width)
        x = x + self.param("pos_embedding", nn.initializers.normal(), (1, x.shape[1], width))
        if self.spec.readout == "tok":
            token = self.param("cls", nn.initializers.zeros, (1, 1, width))
            x = jnp.concatenate([jnp.tile(token, (len(x), 1, 1)), x], axis=1)
        x = Encoder(shape, name="Transformer")(x)
        if self.spec.readout == "map":
            x = MapHead(shape, name="MAPHead_0")(x)
        else:
            x = x.mean(axis=1) if self.spec.readout == "gap" else x[:, 0]
        return nn.Dense(self.spec.classes, name="head")(x)


@functools.cache
def of_big_vision(spec: VitSpec) -> tuple[dict[str, np.ndarray], Any, np.ndarray]:
    """A Linen model's flat parameters, images and the logits that it gives for them."""
    random = np.random.default_rng(0)
    images = random.standard_normal((3, 14, 14, spec.channels), np.float32)
    model = BigVision(spec)
    sizes = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    params = jax.tree.map(lambda x: 0.3 * random.standard_normal(x.shape, np.float32), sizes)
    flat = {name: np.asarray(x) for name, x in flatten_dict(params, sep="/").items()}
    return flat, images, np.asarray(jax.jit(model.apply)({"params": params}, images))


@EACH_READOUT
def test_big_visions_weights_give_the_same_logits(tmp_path, readout):
    flat, images, expected = of_big_vision(SPECS[readout])
    write_npz(tmp_path / "bare.npz", flat)
    write_npz(tmp_path / "state.npz", {f"params/{name}": x for name, x in flat.items()})
    weights = read_weights(tmp_path / "bare.npz", image_size=14)
    assert weights.spec == VitSpec(
        shape=SMALL, image_size=14, readout=readout, channels=2, classes=5
    )
    assert expected.std() > 0.3
    np.testing.assert_allclose(logits(weights, images), expected, atol=1e-5)
    same(weights, read_weights(tmp_path / "state.npz", image_size=14))
    # And the way out gives the same file again.
    back = LAYOUTS["big_vision"].write(weights)
    assert back.keys() == flat.keys()
    for name, array in flat.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)


def scanned(flat: dict[str, np.ndarray], depth: int) -> dict[str, np.ndarray]:
    """The parameters as big_vision's `scan=True` has them."""
    stacked = {name: x for name, x in flat.items() if "encoderblock_" not in name}
    for name in flat:
        if "encoderblock_0/" in name:
            blocks = [flat[name.replace("block_0/", f"block_{i}/")] for i in range(depth)]
            stacked[name.replace("block_0/", "block/")] = np.stack(blocks)
    return stacked


def older(flat: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parameters by their names of 2021, such as those of AugReg."""
    names = {
        "pos_embedding": "Transformer/posembed_input/pos_embedding",
        "LayerNorm_1": "LayerNorm_2",
        "MlpBlock_0": "MlpBlock_3",
        "MultiHeadDotProductAttention_0": "MultiHeadDotProductAttention_1",
    }
    renamed = {}
    for name, array in flat.items():
        for new, old in names.items():
            name = name.replace(new, old)
        renamed[name] = array
    return renamed


def test_big_visions_other_forms_are_the_same_weights(tmp_path):
    flat, _, _ = of_big_vision(SPECS["map"])
    forms = {
        "scanned": scanned(flat, SMALL.depth),
        "scanned state": {f"params/{n}": x for n, x in scanned(flat, SMALL.depth).items()},
        "siglip": {f"params/img/{n}": x for n, x in scanned(flat, SMALL.depth).items()}
        | {"params/t": np.zeros(1), "params/txt/Encoder_0/a": np.zeros(1)},
    }
    write_npz(tmp_path / "plain.npz", flat)
    plain = read_weights(tmp_path / "plain.npz")
    for name, form in forms.items():
        write_npz(tmp_path / f"{name}.npz", form)
        found = read_weights(tmp_path / f"{name}.npz")
        same(plain, found)
        left_out = ("left out: params/t, params/txt",)
        assert found.notes == (left_out if name == "siglip" else ())


def test_a_class_token_with_a_position_becomes_one_without(tmp_path):
    flat, images, expected = of_big_vision(SPECS["tok"])
    position = np.full((1, 1, SMALL.width), 0.3, np.float32)
    old = older(flat) | {"cls": flat["cls"] - position}
    name = "Transformer/posembed_input/pos_embedding"
    old[name] = np.concatenate([position, old[name]], axis=1)
    write_npz(tmp_path / "old.npz", old)
    weights = read_weights(tmp_path / "old.npz", image_size=14)
    np.testing.assert_allclose(logits(weights, images), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["F16", "BF16", "F64"])
def test_other_floats_become_float32(tmp_path, kind):
    weights = random_weights(SPECS["gap"])
    arrays = LAYOUTS["vitscale"].write(weights)
    metadata = LAYOUTS["vitscale"].metadata(weights.spec)
    to_type = {"F16": np.float16, "BF16": jnp.bfloat16, "F64": np.float64}[kind]
    typed = {name: x.astype(to_type) for name, x in arrays.items()}
    # Written by the definition of the format, as its NumPy writer knows no bfloat16.
    header: dict[str, Any] = {"__metadata__": metadata}
    body = b""
    for name, x in typed.items():
        offsets = [len(body), len(body) + x.nbytes]
        header[name] = {"dtype": kind, "shape": x.shape, "data_offsets": offsets}
        body += x.tobytes()
    text = json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    found = read_weights(path)
    for name, x in typed.items():
        assert found.arrays[name].dtype == np.float32
        np.testing.assert_array_equal(found.arrays[name], x.astype(np.float32))


def test_sizes_are_inferred_and_the_rest_is_read_from_the_config(tmp_path):
    weights = random_weights(SPECS["map"])
    write(weights, "timm", tmp_path / "model.safetensors")
    config = {"model_args": {"num_heads": 3, "img_size": 14, "act_layer": "gelu_tanh"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = read_weights(tmp_path)
    assert found.spec == VitSpec(shape=SMALL, image_size=14, readout="map", channels=2, classes=5)
    assert found.notes == ()
    config["model_args"].pop("act_layer")
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "exact GELU" in read_weights(tmp_path).notes[0]


def test_siglip_is_taken_with_and_without_prefix_and_defaults(tmp_path):
    shape = Shape(width=24, depth=1, mlp_dim=8, heads=12, patch=16)
    weights = random_weights(VitSpec(shape=shape, image_size=224, readout="map"))
    arrays = LAYOUTS["huggingface"].write(weights)
    bare = {name.removeprefix("vision_model."): x for name, x in arrays.items()}
    assert all(name.startswith("vision_model.") for name in arrays)
    (tmp_path / "config.json").write_text(
        '{"vision_config": {"model_type": "siglip_vision_model"}}'
    )
    for form in (arrays, bare, arrays | {"logit_scale": np.ones(1, np.float32)}):
        save_file(form, tmp_path / "model.safetensors")
        same(weights, read_weights(tmp_path))


def test_what_transformers_vit_computes_otherwise_is_told(tmp_path):
    shape = Shape(width=24, depth=1, mlp_dim=8, heads=12, patch=16)
    weights = random_weights(VitSpec(shape=shape, image_size=224, readout="tok", classes=2))
    arrays = LAYOUTS["huggingface"].write(weights)
    position = arrays["vit.embeddings.position_embeddings"]
    assert position.shape == (1, 197, 24) and not position[:, 0].any()
    pooling = {"vit.pooler.dense.weight": np.ones((24, 24), np.float32)}
    save_file(arrays | pooling, tmp_path / "model.safetensors")
    # All else is left to transformers' defaults: 12 heads, 224 pixels, exact GELU, 1e-12.
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    found = read_weights(tmp_path)
    same(weights, found)
    gelu, epsilon, pooled = found.notes
    assert "exact GELU" in gelu
    assert epsilon == "the config says layer_norm_eps 1e-12 and vitscale has 1e-06"
    assert pooled == "the ViT's pooling layer is left out"


def test_what_has_no_place_is_said():
    left_out = LAYOUTS["huggingface"].left_out
    assert "the classifier of 5 classes is left out" in left_out(SPECS["gap"])
    assert left_out(SPECS["tok"]) == ""
    assert all(LAYOUTS[name].left_out(SPECS["gap"]) == "" for name in LAYOUTS if name[0] != "h")


ONE = np.ones(1, np.float32)
REFUSED = {
    "missing": ("timm", {"blocks.1.norm1.bias": None, "norm.bias": None}, "lack blocks.1.norm1.bias, norm.bias; expected"),
    "a block": ("timm", {"blocks.7.norm1.bias": ONE}, "and 65 more"),
    "unexpected": ("timm", {"extra": ONE}, "also hold extra; expected the 31 arrays"),
    "size": ("timm", {"blocks.1.mlp.fc1.weight": np.ones((41, 24), np.float32)}, r"blocks.1.mlp.fc1.weight has the sizes \(41, 24\), but the model .* has \(40, 24\)"),
    "axes": ("timm", {"patch_embed.proj.weight": ONE}, r"patch_embed.proj.weight has the sizes \(1,\); expected 4 axes"),
    "no patches": ("timm", {"patch_embed.proj.weight": None}, "timm's weights lack patch_embed.proj.weight"),
    "oblong patches": ("timm", {"patch_embed.proj.weight": np.ones((24, 2, 4, 5), np.float32)}, "patches of 4 x 5 pixels; expected square"),
    "oblong image": ("timm", {"pos_embed": np.ones((1, 12, 24), np.float32)}, "12 positions, which is no square grid"),
    "integers": ("timm", {"norm.bias": np.ones(24, np.int8)}, "norm.bias holds int8; expected floats"),
    "layer scale": ("timm", {"blocks.0.ls1.gamma": ONE}, "blocks.0.ls1.gamma: the model has LayerScale"),
    "fc_norm": ("timm", {"fc_norm.weight": ONE}, r"a norm behind the mean over tokens \(fc_norm\)"),
    "registers": ("timm", {"reg_token": ONE}, "register tokens"),
    "no bias": ("timm", {"blocks.0.attn.qkv.bias": None}, "qkv_bias=False"),
    "both": ("timm", {"cls_token": ONE, "attn_pool.latent": ONE}, "not both"),
    "hf missing": ("huggingface", {"vision_model.post_layernorm.bias": None}, "transformers's weights lack post_layernorm.bias"),
    "hf no blocks": ("huggingface", {"vision_model.encoder.layers.0.mlp.fc1.weight": None}, "lack encoder.layers.0.mlp.fc1.weight"),
    "sincos": ("big_vision", {"pos_embedding": None}, "posemb='sincos2d'"),
    "rep_size": ("big_vision", {"pre_logits/kernel": ONE}, r"\(rep_size\)"),
    "another prefix": ("big_vision", {"embedding/kernel": None, "pos_embedding": None}, "lack embedding/kernel"),
    "head": ("timm", {"head.bias": np.ones((5, 1), np.float32)}, r"head.bias has the sizes \(5, 1\); expected 1 axes"),
    "big_vision extra": ("big_vision", {"opt/0/mu": ONE}, "also hold opt/0/mu"),
    "own missing": ("vitscale", {"final_norm/bias": None}, "vitscale's weights lack final_norm/bias"),
}  # fmt: skip


@pytest.mark.parametrize(("layout", "arrays", "words"), REFUSED.values(), ids=REFUSED)
def test_arrays_that_are_no_plain_vit_are_refused_by_name(tmp_path, layout, arrays, words):
    weights = random_weights(SPECS["gap"])
    path = write(weights, layout, tmp_path / "a.safetensors", arrays=arrays)
    with pytest.raises(ValueError, match=words):
        read_weights(path, heads=3)


CONFIGS = {
    "act": ("timm", {"model_args": {"act_layer": "silu"}}, "act_layer 'silu'; expected gelu_tanh"),
    "args": ("timm", {"model_args": [3]}, r"model_args \[3\]; expected a JSON object"),
    "oblong": ("timm", {"model_args": {"img_size": [12, 16]}}, r"img_size \[12, 16\]; expected that"),
    "pool": ("timm", {"global_pool": "map"}, "the config says readout map, but timm's weights are"),
    "heads": ("timm", {"model_args": {"num_heads": "3"}}, "heads='3' is not a whole number"),
    "other heads": ("timm", {"model_args": {"num_heads": 4}}, "says 4; leave the heads out"),
    "image": ("timm", {"model_args": {"img_size": 17}}, "image_size=17 has 16 patches .* 12 to 15"),
    "relu": ("huggingface", {"hidden_act": "relu"}, "hidden_act 'relu'; expected gelu_pytorch_tanh"),
    "clip": ("huggingface", {"model_type": "clip"}, "model_type 'clip'; expected one of"),
    "vision": ("huggingface", {"vision_config": 3}, "vision_config 3; expected a JSON object"),
}  # fmt: skip


@pytest.mark.parametrize(("layout", "config", "words"), CONFIGS.values(), ids=CONFIGS)
def test_configs_of_another_function_are_refused(tmp_path, layout, config, words):
    write(random_weights(SPECS["gap"]), layout, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=words):
        read_weights(tmp_path, heads=3)


def test_heads_must_be_known_and_must_divide_the_width(tmp_path):
    b = Shape(width=768, depth=1, mlp_dim=2, heads=12, patch=1)
    path = write(random_weights(VitSpec(shape=b, image_size=1)), "timm", tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"do not show the number of .*\(width 768 has 12 in B\)"):
        read_weights(path)
    with pytest.raises(ValueError, match="width=768 is not divisible by heads=7"):
        read_weights(path, heads=7)
    path = write(random_weights(SPECS["gap"]), "big_vision", tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="heads=4, but big_vision's weights have 3"):
        read_weights(path, heads=4)


class Opens:
    """Pickled, this makes a file where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_damaged_files_are_refused_with_their_names(tmp_path):
    weights = random_weights(SPECS["gap"])
    whole = write(weights, "timm", tmp_path / "a.safetensors").read_bytes()
    write_npz(tmp_path / "a.npz", LAYOUTS["big_vision"].write(weights))
    zipped = (tmp_path / "a.npz").read_bytes()
    flipped = bytearray(zipped)
    flipped[zipped.index(weights.arrays["head/kernel"].tobytes())] ^= 0xFF
    for name, content in {
        "cut.safetensors": whole[:-3],
        "head.safetensors": whole[:50],
        "empty.safetensors": b"",
        "cut.npz": zipped[: len(zipped) // 2],
        "flipped.npz": bytes(flipped),
        "empty.npz": b"",
        "text.npz": b"no zip at all",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is no whole .*; copy or download it again"):
            read_weights(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="none"):
        read_weights(tmp_path / "none.safetensors")


def test_no_file_runs_code(tmp_path):
    made = tmp_path / "made"
    (tmp_path / "a.bin").write_bytes(pickle.dumps(Opens(made)))
    with pytest.raises(ValueError, match=r"a\.bin is not a file of weights \(a pickle"):
        read_weights(tmp_path / "a.bin")
    np.savez(tmp_path / "a.npz", x=np.array([Opens(made)], object))
    with pytest.raises(ValueError, match=r"is no whole \.npz file of plain arrays"):
        read_weights(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Opens(made)))
    with pytest.raises(ValueError, match=r"is no whole \.npz file of plain arrays"):
        read_weights(tmp_path / "b.npz")
    assert not made.exists()


def test_files_that_cannot_be_meant_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no single other file of weights \(found: none\)"):
        read_weights(tmp_path)
    for name in ("a.safetensors", "b.safetensors"):
        save_file({"x": np.ones(2)}, tmp_path / name)
    with pytest.raises(ValueError, match=r"\(found: a.safetensors, b.safetensors\)"):
        read_weights(tmp_path)
    with pytest.raises(
        ValueError, match=r"holds 1 arrays in no known layout \(x\); expected a ViT"
    ):
        read_weights(tmp_path / "a.safetensors")
    text = json.dumps({"x": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"\0")
    with pytest.raises(ValueError, match="arrays of type F8_E4M3; expected floats"):
        read_weights(tmp_path / "a.safetensors")
    path = tmp_path / "one" / "model.safetensors"
    path.parent.mkdir()
    write(random_weights(SPECS["gap"]), "timm", path)
    for content, words in (("{", "is not valid JSON"), ("[]", "holds no JSON object")):
        (path.parent / "config.json").write_text(content)
        with pytest.raises(ValueError, match=words):
            read_weights(path.parent)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "not its metadata 'vitscale.weights'"),
        ({"vitscale.weights": "{"}, "cannot be read"),
        ({"vitscale.weights": "[]"}, "cannot be read"),
        ({"vitscale.weights": '{"version": 9}'}, "has version 9, but this vitscale reads 1"),
        ({"vitscale.weights": '{"version": 1, "shape": {"width": 3}}'}, "cannot be read"),
    ],
)
def test_edited_metadata_is_refused(tmp_path, metadata, words):
    weights = random_weights(SPECS["gap"])
    write_safetensors(tmp_path / "a.safetensors", weights.arrays, metadata)
    with pytest.raises(ValueError, match=words):
        read_weights(tmp_path / "a.safetensors")


def test_own_files_are_read_with_what_they_say(tmp_path):
    path = write(random_weights(SPECS["tok"]), "vitscale", tmp_path / "a.safetensors")
    assert read_weights(path, heads=3, image_size=12).spec == SPECS["tok"]
    with pytest.raises(ValueError, match="heads=4, but the file says 3; leave heads out"):
        read_weights(path, heads=4)
    with pytest.raises(ValueError, match="image_size=13, but the file says 12"):
        read_weights(path, image_size=13)


def test_params_of_another_spec_are_refused():
    weights = random_weights(SPECS["gap"])
    params = params_from_weights(weights)
    scanned = params_from_weights(weights, layout="scanned")
    deeper = VitSpec(
        shape=Shape(width=24, depth=3, mlp_dim=40, heads=3, patch=4), image_size=12, channels=2
    )
    with pytest.raises(ValueError, match=r"the parameters lack blocks/2/.* and also hold head/"):
        weights_from_params(params, deeper)
    with pytest.raises(ValueError, match="expected depth=3 blocks along its first axis"):
        weights_from_params(scanned, deeper)
    with pytest.raises(ValueError, match=r"position has the sizes \(1, 9, 24\), but"):
        weights_from_params(params, VitSpec(shape=SMALL, image_size=16, channels=2, classes=5))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"readout": "max"},
            "readout='max' is unknown; did you mean 'map'. choose from gap, map, tok",
        ),
        ({"image_size": 2}, "image_size=2 is smaller than patch=4"),
        ({"classes": -1}, "classes=-1 is not a whole number from 0"),
        ({"channels": True}, "channels=True is not a whole number from 1"),
    ],
)
def test_impossible_specs_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        VitSpec(**({"shape": SMALL, "image_size": 12} | changes))


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "new"
    with pytest.raises(KeyboardInterrupt), new_folder(target) as folder:
        write_npz(folder / "a.npz", {"x": ONE})
        raise KeyboardInterrupt
    assert list(target.parent.iterdir()) == []
    with new_folder(target) as folder:
        write_npz(folder / "a.npz", {"x": ONE})
        assert not target.exists()
    assert [path.name for path in target.iterdir()] == ["a.npz"]
    with pytest.raises(FileExistsError, match="exists already; name a new folder"):
        with new_folder(target):
            raise AssertionError("must not begin")
    assert [path.name for path in target.parent.iterdir()] == ["new"]


def test_files_hold_what_any_reader_of_safetensors_finds(tmp_path):
    weights = random_weights(SPECS["gap"])
    arrays = load_file(write(weights, "vitscale", tmp_path / "a.safetensors"))
    assert arrays.keys() == weights.arrays.keys()
    np.testing.assert_array_equal(arrays["head/kernel"], weights.arrays["head/kernel"])
