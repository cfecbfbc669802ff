"""transformers: SigLIP's vision model for "gap" and "map", the ViT for "tok", and their config."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vitscale.scaling.models.weights import huggingface_siglip, huggingface_vit
from vitscale.scaling.models.weights.infer import EXACT_GELU, Stated, one_side
from vitscale.scaling.models.weights.spec import Arrays, VitSpec, Weights

# What a config leaves out is as in transformers 5.23's SiglipVisionConfig and ViTConfig.
_DEFAULT_SIZES = {"num_attention_heads": 12, "image_size": 224}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "siglip_vision_model": {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6},
    "vit": {"hidden_act": "gelu", "layer_norm_eps": 1e-12},
}

_EPSILON = 1e-6

_KINDS = (huggingface_siglip, huggingface_vit)


def recognises(arrays: Arrays) -> bool:
    """Whether these names are of this layout."""
    return any(kind.BLOCKS in name for name in arrays for kind in _KINDS)


def read(arrays: Arrays, stated: Stated) -> Weights:
    """The weights of either model; raises `ValueError` for any other."""
    siglip = any(huggingface_siglip.BLOCKS in name for name in arrays)
    return (huggingface_siglip if siglip else huggingface_vit).read(arrays, stated)


def write(weights: Weights) -> dict[str, np.ndarray]:
    """The arrays of the model that `vitscale.fits.export` emits, in float32; see `left_out`."""
    kind = huggingface_vit if weights.spec.readout == "tok" else huggingface_siglip
    return kind.write(weights)


def left_out(spec: VitSpec) -> str:
    """A sentence on what of these weights transformers' model has no place for; "" if nothing."""
    if spec.readout == "tok" or not spec.classes:
        return ""
    return f"the classifier of {spec.classes} classes is left out: SigLIP's vision model has none"


def read_config(config: Mapping[str, Any]) -> Stated:
    """What a `config.json` of transformers says; raises `ValueError` for another function."""
    config = config.get("vision_config", config)
    if not isinstance(config, Mapping):
        raise ValueError(f"the config says vision_config {config!r}; expected a JSON object")
    kind = config.get("model_type", "siglip_vision_model")
    if kind not in _DEFAULTS:
        raise ValueError(
            f"the config says model_type {kind!r}; expected one of {', '.join(_DEFAULTS)}"
        )
    config = {**_DEFAULT_SIZES, **_DEFAULTS[kind], **config}
    activation, epsilon = config["hidden_act"], config["layer_norm_eps"]
    if activation not in ("gelu_pytorch_tanh", "gelu_new", "gelu"):
        raise ValueError(
            f"the config says hidden_act {activation!r}; expected gelu_pytorch_tanh, which vitscale "
            f"computes"
        )
    notes = [EXACT_GELU] if activation == "gelu" else []
    if epsilon != _EPSILON:
        notes.append(f"the config says layer_norm_eps {epsilon} and vitscale has {_EPSILON}")
    return Stated(
        heads=config["num_attention_heads"],
        image_size=one_side("image_size", config["image_size"]),
        notes=tuple(notes),
    )
