"""transformers' `SiglipVisionModel`: names and forms, for readouts "gap" and "map".

Written for transformers 5.23 (`models/siglip/modeling_siglip.py`); 4.57 has the same names. They
are written with the prefix `vision_model.`: without it 4.57 starts from random numbers and only
warns. On the way in both are taken, and SigLIP's text model is left out.
"""

import numpy as np

from vitscale.scaling.models.weights.infer import Found, Stated, depth_of, sizes_of, spec_of
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

FRAMEWORK = "transformers"
BLOCKS = "encoder.layers."
PREFIX = "vision_model."

_OF_TEXT = ("text_model.", "logit_scale", "logit_bias")
_NO_PARAMETER = "embeddings.position_ids"


def read(arrays: Arrays, stated: Stated) -> Weights:
    """The weights of a SigLIP vision model, alone or in a whole SigLIP."""
    of_text = [name for name in arrays if name.startswith(_OF_TEXT)]
    besides = {*of_text, *(name for name in arrays if name.endswith(_NO_PARAMETER))}
    arrays = {name.removeprefix(PREFIX): arrays[name] for name in arrays if name not in besides}
    width, channels, *patch = sizes_of(FRAMEWORK, arrays, "embeddings.patch_embedding.weight", 4)
    found = Found(
        width=width,
        depth=depth_of(FRAMEWORK, arrays, r"encoder\.layers\.(\d+)\."),
        mlp_dim=sizes_of(FRAMEWORK, arrays, "encoder.layers.0.mlp.fc1.weight", 2)[0],
        patch=(patch[0], patch[1]),
        channels=channels,
        tokens=sizes_of(FRAMEWORK, arrays, "embeddings.position_embedding.weight", 2)[0],
        readout="map" if any(name.startswith("head.") for name in arrays) else "gap",
        classes=0,
    )
    spec = spec_of(FRAMEWORK, found, stated)
    notes = [*stated.notes, *(["SigLIP's text model is left out"] if of_text else [])]
    return to_ours(FRAMEWORK, _rows(spec), arrays, spec, notes)


def write(weights: Weights) -> dict[str, np.ndarray]:
    """The arrays of a `SiglipVisionModel`, which has no classifier, in float32."""
    arrays = to_theirs(_rows(weights.spec), weights)
    return {PREFIX + name: array for name, array in arrays.items()}


def _rows(spec: VitSpec) -> list[Row]:
    shape, width = spec.shape, spec.shape.width
    rows = patch_convolution("embeddings.patch_embedding", spec)
    positions = (shape.tokens(spec.image_size), width)
    name = "embeddings.position_embedding.weight"
    rows.append(Row(theirs=name, size=positions, ours=("position",)))
    for i in range(shape.depth):
        theirs, ours = f"encoder.layers.{i}", f"blocks/{i}"
        rows += norm(f"{theirs}.layer_norm1", f"{ours}/attention_norm", width)
        for part, name in _ATTENTION.items():
            rows += dense(f"{theirs}.self_attn.{part}", [f"{ours}/attention/{name}"], width, width)
        rows += norm(f"{theirs}.layer_norm2", f"{ours}/mlp_norm", width)
        rows += mlp(f"{theirs}.mlp", f"{ours}/mlp", spec)
    rows += norm("post_layernorm", "final_norm", width)
    return rows + (_pooling_rows(spec) if spec.readout == "map" else [])


_ATTENTION = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "out"}


def _pooling_rows(spec: VitSpec) -> list[Row]:
    width, ours = spec.shape.width, "readout/attention"
    qkv = [f"{ours}/{part}" for part in ("query", "key", "value")]
    return [
        Row(theirs="head.probe", size=(1, 1, width), ours=("readout/probe",)),
        # torch's nn.MultiheadAttention keeps the three in one array, and joins its name by "_".
        *dense("head.attention.in_proj", qkv, width, width, joint="_"),
        *dense("head.attention.out_proj", [f"{ours}/out"], width, width),
        *norm("head.layernorm", "readout/norm", width),
        *mlp("head.mlp", "readout/mlp", spec),
    ]
