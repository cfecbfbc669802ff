"""timm's `VisionTransformer`: names, forms and config, for readouts "gap", "map" and "tok".

Written for timm 1.0.31 (`timm/models/vision_transformer.py`). A class token whose position is
learned is the same function as ours, which has none: the position is added to the token.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vitscale.scaling.models.weights.class_position import fold_class_position
from vitscale.scaling.models.weights.infer import (
    EXACT_GELU,
    Found,
    Stated,
    classes_of,
    depth_of,
    one_side,
    sizes_of,
    spec_of,
)
from vitscale.scaling.models.weights.rows import (
    Row,
    dense,
    mlp,
    norm,
    patch_convolution,
    to_ours,
    to_theirs,
)
from vitscale.scaling.models.weights.spec import Arrays, VitSpec, Weights
from vitscale.scaling.shape import Readout

FRAMEWORK = "timm"

# part of a name: what kind of model has it. None is the function that vitscale computes.
_OTHER_MODELS = {
    ".ls1.": "LayerScale (init_values)",
    ".ls2.": "LayerScale (init_values)",
    "fc_norm.": "a norm behind the mean over tokens (fc_norm)",
    "norm_pre.": "a norm before the blocks (pre_norm)",
    ".q_norm.": "normed queries and keys (qk_norm)",
    ".attn.norm.": "a norm inside attention (scale_attn_norm)",
    "dist_token": "a distillation token",
    "reg_token": "register tokens",
    "pre_logits.": "a dense layer before the classifier (representation_size)",
    "rel_pos": "relative positions",
}

_READOUTS: dict[str, Readout] = {"avg": "gap", "map": "map", "token": "tok"}


def recognises(arrays: Arrays) -> bool:
    """Whether these names are of this layout."""
    return any(name.startswith(("patch_embed.", "blocks.")) for name in arrays)


def read(arrays: Arrays, stated: Stated) -> Weights:
    """The weights in a state dict of timm; raises `ValueError` for any but a plain ViT's."""
    _refuse_other_models(arrays)
    width, channels, *patch = sizes_of(FRAMEWORK, arrays, "patch_embed.proj.weight", 4)
    if "cls_token" in arrays:
        arrays = fold_class_position(FRAMEWORK, arrays, "cls_token", "pos_embed")
    found = Found(
        width=width,
        depth=depth_of(FRAMEWORK, arrays, r"blocks\.(\d+)\."),
        mlp_dim=sizes_of(FRAMEWORK, arrays, "blocks.0.mlp.fc1.weight", 2)[0],
        patch=(patch[0], patch[1]),
        channels=channels,
        tokens=sizes_of(FRAMEWORK, arrays, "pos_embed", 3)[1],
        readout=_readout(arrays),
        classes=classes_of(FRAMEWORK, arrays, "head.bias"),
    )
    spec = spec_of(FRAMEWORK, found, stated)
    return to_ours(FRAMEWORK, _rows(spec), arrays, spec, stated.notes)


def write(weights: Weights) -> dict[str, np.ndarray]:
    """A state dict of the `VisionTransformer` that `vitscale.fits.export` emits, in float32."""
    return to_theirs(_rows(weights.spec), weights)


def read_config(config: Mapping[str, Any]) -> Stated:
    """What the `config.json` of a timm folder says; raises `ValueError` for another function."""
    arguments = config.get("model_args") or {}
    if not isinstance(arguments, Mapping):
        raise ValueError(f"the config says model_args {arguments!r}; expected a JSON object")
    activation = arguments.get("act_layer")
    if activation not in (None, "gelu", "gelu_tanh"):
        raise ValueError(
            f"the config says act_layer {activation!r}; expected gelu_tanh, which vitscale computes"
        )
    return Stated(
        heads=arguments.get("num_heads"),
        image_size=one_side("img_size", arguments.get("img_size")),
        readout=_READOUTS.get(config.get("global_pool", "")),
        notes=() if activation == "gelu_tanh" else (EXACT_GELU,),
    )


def _rows(spec: VitSpec) -> list[Row]:
    shape, width = spec.shape, spec.shape.width
    rows = patch_convolution("patch_embed.proj", spec)
    positions = (1, shape.tokens(spec.image_size), width)
    rows.append(Row(theirs="pos_embed", size=positions, ours=("position",)))
    if spec.readout == "tok":
        rows.append(Row(theirs="cls_token", size=(1, 1, width), ours=("class_token",)))
    for i in range(shape.depth):
        theirs, ours = f"blocks.{i}", f"blocks/{i}"
        qkv = [f"{ours}/attention/{part}" for part in ("query", "key", "value")]
        rows += norm(f"{theirs}.norm1", f"{ours}/attention_norm", width)
        rows += dense(f"{theirs}.attn.qkv", qkv, width, width)
        rows += dense(f"{theirs}.attn.proj", [f"{ours}/attention/out"], width, width)
        rows += norm(f"{theirs}.norm2", f"{ours}/mlp_norm", width)
        rows += mlp(f"{theirs}.mlp", f"{ours}/mlp", spec)
    rows += norm("norm", "final_norm", width)
    if spec.readout == "map":
        rows += _pooling_rows(spec)
    if spec.classes:
        rows += dense("head", ["head"], width, spec.classes)
    return rows


def _pooling_rows(spec: VitSpec) -> list[Row]:
    width, ours = spec.shape.width, "readout/attention"
    return [
        Row(theirs="attn_pool.latent", size=(1, 1, width), ours=("readout/probe",)),
        *dense("attn_pool.q", [f"{ours}/query"], width, width),
        *dense("attn_pool.kv", [f"{ours}/key", f"{ours}/value"], width, width),
        *dense("attn_pool.proj", [f"{ours}/out"], width, width),
        *norm("attn_pool.norm", "readout/norm", width),
        *mlp("attn_pool.mlp", "readout/mlp", spec),
    ]


def _refuse_other_models(arrays: Arrays) -> None:
    for part, kind in _OTHER_MODELS.items():
        name = next((name for name in arrays if part in name), None)
        if name is not None:
            raise ValueError(
                f"timm's weights hold {name}: the model has {kind}, which vitscale's ViT does not; "
                f"give the weights of a plain ViT"
            )
    if "blocks.0.attn.qkv.weight" in arrays and "blocks.0.attn.qkv.bias" not in arrays:
        raise ValueError(
            "timm's weights lack blocks.0.attn.qkv.bias: the model has no biases of queries, keys "
            "and values (qkv_bias=False), which vitscale's ViT does; give the weights of a plain ViT"
        )
    if "cls_token" in arrays and "attn_pool.latent" in arrays:
        raise ValueError(
            "timm's weights hold both cls_token and attn_pool.latent; vitscale's ViT has a class "
            "token or attention pooling, not both"
        )


def _readout(arrays: Arrays) -> Readout:
    if "attn_pool.latent" in arrays:
        return "map"
    return "tok" if "cls_token" in arrays else "gap"
