"""timm: keyword arguments of its `VisionTransformer`, and the config of a folder that it loads."""

from typing import Any, assert_never

from vitscale.fits.export.target import Emission
from vitscale.fits.export.writing import json_text
from vitscale.fits.shape_file import ModelSpec


def files(emission: Emission) -> dict[str, str]:
    """`config.json`, for `timm.create_model("local-dir:FOLDER")`."""
    return {"config.json": json_text(timm_config(emission.spec))}


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
