"""transformers' `ViTModel` and `ViTForImageClassification`: names and forms, for readout "tok".

Written for transformers 5.23 (`models/vit/modeling_vit.py`), as `save_pretrained` names the arrays;
4.57 has the same names. Its class token has a position, which is zero on the way out and is added
to the token on the way in; its pooling layer, which the classifier does without, is left out.
"""

import numpy as np

from vitscale.scaling.models.weights.class_position import (
    fold_class_position,
    with_class_position,
)
from vitscale.scaling.models.weights.infer import (
    Found,
    Stated,
    classes_of,
    depth_of,
    sizes_of,
    spec_of,
)
from vitscale.scaling.models.weights.rows import (
    Row,
    dense,
    norm,
    patch_convolution,
    to_ours,
    to_theirs,
)
from vitscale.scaling.models.weights.spec import Arrays, VitSpec, Weights

FRAMEWORK = "transformers"
BLOCKS = "encoder.layer."
PREFIX = "vit."

_POSITIONS = "embeddings.position_embeddings"
_PATCHES = "embeddings.patch_embeddings.projection"
_TOKEN = "embeddings.cls_token"


def read(arrays: Arrays, stated: Stated) -> Weights:
    """The weights of a ViT of transformers, with its classifier where it has one."""
    pooling = [name for name in arrays if name.removeprefix(PREFIX).startswith("pooler.")]
    arrays = {name.removeprefix(PREFIX): arrays[name] for name in arrays if name not in pooling}
    arrays = fold_class_position(FRAMEWORK, arrays, _TOKEN, _POSITIONS)
    width, channels, *patch = sizes_of(FRAMEWORK, arrays, f"{_PATCHES}.weight", 4)
    found = Found(
        width=width,
        depth=depth_of(FRAMEWORK, arrays, r"encoder\.layer\.(\d+)\."),
        mlp_dim=sizes_of(FRAMEWORK, arrays, "encoder.layer.0.intermediate.dense.weight", 2)[0],
        patch=(patch[0], patch[1]),
        channels=channels,
        tokens=sizes_of(FRAMEWORK, arrays, _POSITIONS, 3)[1],
        readout="tok",
        classes=classes_of(FRAMEWORK, arrays, "classifier.bias"),
    )
    spec = spec_of(FRAMEWORK, found, stated)
    notes = [*stated.notes, *(["the ViT's pooling layer is left out"] if pooling else [])]
    return to_ours(FRAMEWORK, _rows(spec), arrays, spec, notes)


def write(weights: Weights) -> dict[str, np.ndarray]:
    """The arrays of a `ViTForImageClassification`, or of a `ViTModel` where there are no classes."""
    arrays = with_class_position(to_theirs(_rows(weights.spec), weights), _POSITIONS)
    if not weights.spec.classes:
        return arrays
    outside = ("classifier.weight", "classifier.bias")
    return {name if name in outside else PREFIX + name: array for name, array in arrays.items()}


def _rows(spec: VitSpec) -> list[Row]:
    shape, width = spec.shape, spec.shape.width
    positions = (1, shape.tokens(spec.image_size), width)
    rows = [
        *patch_convolution(_PATCHES, spec),
        Row(theirs=_POSITIONS, size=positions, ours=("position",)),
        Row(theirs=_TOKEN, size=(1, 1, width), ours=("class_token",)),
    ]
    for i in range(shape.depth):
        theirs, ours = f"encoder.layer.{i}", f"blocks/{i}"
        rows += norm(f"{theirs}.layernorm_before", f"{ours}/attention_norm", width)
        for part in ("query", "key", "value"):
            name = f"{theirs}.attention.attention.{part}"
            rows += dense(name, [f"{ours}/attention/{part}"], width, width)
        rows += dense(f"{theirs}.attention.output.dense", [f"{ours}/attention/out"], width, width)
        rows += norm(f"{theirs}.layernorm_after", f"{ours}/mlp_norm", width)
        rows += dense(f"{theirs}.intermediate.dense", [f"{ours}/mlp/up"], width, shape.mlp_dim)
        rows += dense(f"{theirs}.output.dense", [f"{ours}/mlp/down"], shape.mlp_dim, width)
    rows += norm("layernorm", "final_norm", width)
    return rows + (dense("classifier", ["head"], width, spec.classes) if spec.classes else [])
