"""transformers: SigLIP's vision model for "gap" and "map", the ViT for "tok"."""

from typing import Any

from vitscale.fits.export.target import Emission
from vitscale.fits.export.writing import json_text
from vitscale.fits.shape_file import ModelSpec


def files(emission: Emission) -> dict[str, str]:
    """`config.json`, for `transformers.AutoConfig.from_pretrained(FOLDER)`."""
    return {"config.json": json_text(huggingface_config(emission.spec))}


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
