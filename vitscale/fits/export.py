"""A shape as the config files of the frameworks that can train it.

`emit(shape, target, ...)` gives one config as a dictionary that is ready for JSON, and `write_all`
writes all of them into a folder:

    shape.json                what vitscale itself reads back, with where the shape comes from
    timm/config.json          timm.create_model("local-dir:.../timm")
    huggingface/config.json   transformers.AutoConfig.from_pretrained(".../huggingface")
    big_vision/config.json    `model_name`, `model` and `num_classes` of a big_vision config

The model behind all of them is the one whose cost `Shape` counts: pre-norm, learned positions,
biases everywhere, LayerNorm epsilon 1e-6, tanh-approximated GELU. `tests/interop` builds the timm
and Hugging Face models and counts them. Neither framework is imported here, nor torch, nor jax.
"""

import json
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, assert_never

from vitscale.fits.shape_file import ModelSpec as ModelSpec
from vitscale.fits.shape_file import shape_from_json as shape_from_json
from vitscale.fits.shape_file import shape_json as shape_json
from vitscale.scaling.names import suggest
from vitscale.scaling.shape import Readout, Shape


def emit(
    shape: Shape,
    target: str,
    *,
    image_size: int = 224,
    readout: Readout = "gap",
    channels: int = 3,
    classes: int = 0,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Config of `shape` for `target`, one of `EMITTERS`; the rest is as in `ModelSpec`.

    Raises `ValueError` for an unknown target and for what `ModelSpec` refuses.
    """
    if target not in EMITTERS:
        raise ValueError(f"unknown target {target!r}; {suggest(target, EMITTERS)}")
    spec = ModelSpec(
        shape=shape,
        image_size=image_size,
        readout=readout,
        channels=channels,
        classes=classes,
        provenance=provenance or {},
    )
    return EMITTERS[target](spec)


def write_all(
    shape: Shape,
    folder: str | os.PathLike[str],
    *,
    image_size: int = 224,
    readout: Readout = "gap",
    channels: int = 3,
    classes: int = 0,
    provenance: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write every config of `FILES` into `folder`, which is made where missing; return their paths.

    A file is either the old one or the whole new one, whenever the writing is interrupted. Raises
    what `emit` raises before anything is written, and `OSError` where the folder cannot be written.
    """
    texts = {}
    for target, name in FILES.items():
        config = emit(
            shape,
            target,
            image_size=image_size,
            readout=readout,
            channels=channels,
            classes=classes,
            provenance=provenance,
        )
        texts[Path(folder, name)] = json.dumps(config, indent=2, allow_nan=False) + "\n"
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, text)
    return list(texts)


def timm_keywords(spec: ModelSpec) -> dict[str, Any]:
    """Keyword arguments of `timm.models.vision_transformer.VisionTransformer`."""
    shape = spec.shape
    match spec.readout:
        case "gap":
            # timm would move the final norm behind the mean over tokens; fc_norm=False keeps it.
            readout = {"class_token": False, "global_pool": "avg", "fc_norm": False}
        case "map":
            readout = {"class_token": False, "global_pool": "map"}
        case "tok":
            # The class token has no position of its own.
            readout = {"class_token": True, "global_pool": "token", "no_embed_class": True}
        case _:
            assert_never(spec.readout)
    return {
        "img_size": spec.image_size,
        "patch_size": shape.patch,
        "in_chans": spec.channels,
        "num_classes": spec.classes,
        "embed_dim": shape.width,
        "depth": shape.depth,
        "num_heads": shape.heads,
        # timm takes int(width * mlp_ratio), which for mlp_dim / width is often one too few.
        "mlp_ratio": (shape.mlp_dim + 0.5) / shape.width,
        "act_layer": "gelu_tanh",
        **readout,
    }


def timm_config(spec: ModelSpec) -> dict[str, Any]:
    """The `config.json` of a folder that `timm.create_model("local-dir:...")` reads."""
    keywords = timm_keywords(spec)
    return {
        # Any plain ViT of timm's registry: model_args replace everything that is particular to it.
        "architecture": "vit_base_patch16_224",
        "num_classes": spec.classes,
        "num_features": spec.shape.width,
        "global_pool": keywords["global_pool"],
        "model_args": keywords,
        "pretrained_cfg": {
            "num_classes": spec.classes,
            "input_size": [spec.channels, spec.image_size, spec.image_size],
            "fixed_input_size": True,
            "pool_size": None,
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            # Pixels from -1 to 1, as in Getting ViT in Shape, Table 5.
            "mean": [0.5] * spec.channels,
            "std": [0.5] * spec.channels,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }


def huggingface_config(spec: ModelSpec) -> dict[str, Any]:
    """The `config.json` of transformers.

    `ViTModel` always has a class token, so "gap" and "map" become SigLIP's vision model, which has
    none. It has no classifier either (`num_labels` only records how many classes are meant), and
    for "gap" the user takes the mean of `last_hidden_state`. For "tok" the ViT has `width`
    parameters more than are counted here, as its class token has a position; leave out its pooling
    layer (`add_pooling_layer=False`), as `ViTForImageClassification` does by itself.
    """
    shape = spec.shape
    common = {
        "hidden_size": shape.width,
        "num_hidden_layers": shape.depth,
        "intermediate_size": shape.mlp_dim,
        "num_attention_heads": shape.heads,
        "image_size": spec.image_size,
        "patch_size": shape.patch,
        "num_channels": spec.channels,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
        "num_labels": spec.classes,
    }
    if spec.readout == "tok":
        architecture = "ViTForImageClassification" if spec.classes else "ViTModel"
        return {"model_type": "vit", "architectures": [architecture], **common, "qkv_bias": True}
    return {
        "model_type": "siglip_vision_model",
        "architectures": ["SiglipVisionModel"],
        **common,
        "vision_use_head": spec.readout == "map",
    }


def big_vision_config(spec: ModelSpec) -> dict[str, Any]:
    """The keys of a google-research/big_vision config that decide its model (`models/vit.py`)."""
    shape = spec.shape
    return {
        "model_name": "vit",
        "model": {
            "width": shape.width,
            "depth": shape.depth,
            "mlp_dim": shape.mlp_dim,
            "num_heads": shape.heads,
            "patch_size": [shape.patch, shape.patch],
            "pool_type": spec.readout,
            "posemb": "learn",
        },
        "num_classes": spec.classes,
    }


EMITTERS: dict[str, Callable[[ModelSpec], dict[str, Any]]] = {
    "json": shape_json,
    "timm": timm_keywords,
    "timm-folder": timm_config,
    "huggingface": huggingface_config,
    "big_vision": big_vision_config,
}
"""What a shape can be emitted for, by name."""

FILES = {
    "json": "shape.json",
    "timm-folder": "timm/config.json",
    "huggingface": "huggingface/config.json",
    "big_vision": "big_vision/config.json",
}
"""Files of `write_all`, by emitter; timm's keyword arguments are part of its folder's config."""


def replace_text(path: Path, text: str) -> None:
    """Write `text` whole and durably, or not at all; what is at `path` stays until then."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with aside.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
