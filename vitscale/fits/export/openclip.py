"""OpenCLIP: our ViT as the image tower, through timm.

OpenCLIP's own ViT is another model: its patches have no bias and it always has a class token. So the
tower is timm's, whose config lies in the folder `trunk`, and OpenCLIP is told where that is. It reads
folders relative to where it runs, so the file holds the whole path: a moved folder is emitted anew.

Written for open_clip_torch 3.3.0 (`factory.py`, `timm_model.py`, `model.py`).
"""

from pathlib import Path
from typing import Any

from vitscale.fits.export.target import Emission, Training
from vitscale.fits.export.timm import timm_config, timm_keywords
from vitscale.fits.export.writing import json_text
from vitscale.fits.shape_file import ModelSpec

TRUNK = "trunk"


def files(emission: Emission) -> dict[str, str]:
    """`open_clip_config.json`, for `open_clip.create_model("local-dir:FOLDER")`, and timm's config."""
    config = openclip_config(emission.spec, emission.folder)
    return {
        "open_clip_config.json": json_text(config),
        f"{TRUNK}/config.json": json_text(timm_config(emission.spec)),
    }


def lacks(spec: ModelSpec, training: Training | str) -> str:
    """OpenCLIP makes every image RGB."""
    if spec.channels == 3:
        return ""
    return f"OpenCLIP reads images of 3 channels and this model has {spec.channels}"


def openclip_config(spec: ModelSpec, folder: Path) -> dict[str, Any]:
    """The `open_clip_config.json` of `folder`, a whole path.

    The image tower is the whole model without classifier: its features are what is compared with
    the text's (`timm_proj` "none", as in OpenCLIP's SigLIP models), so the width is the size of the
    embedding. The shape says nothing of the text tower; this one is CLIP's for ViT-B (Learning
    Transferable Visual Models From Natural Language Supervision, Table 19), OpenCLIP's default.
    """
    return {
        "model_cfg": {
            "embed_dim": spec.shape.width,
            "custom_text": True,
            "vision_cfg": {
                "image_size": spec.image_size,
                "timm_model_name": f"local-dir:{folder / TRUNK}",
                "timm_model_pretrained": False,
                "timm_pool": timm_keywords(spec)["global_pool"],
                "timm_proj": "none",
            },
            "text_cfg": {
                "context_length": 77,
                "vocab_size": 49_408,
                "width": 512,
                "heads": 8,
                "layers": 12,
            },
        },
        "preprocess_cfg": {
            # Pixels from -1 to 1, as in Getting ViT in Shape, Table 5.
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "interpolation": "bicubic",
            "resize_mode": "squash",
        },
    }
