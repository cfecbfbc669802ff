"""google-research/big_vision's ViT: flat names joined by "/", for readouts "gap", "map" and "tok".

As `big_vision/models/vit.py` at commit 0127fb6 names them. On the way in also: the blocks stacked
along a leading axis (`scan=True`), the prefixes of a training checkpoint (`params/`) and of SigLIP's
image model (`params/img/`), and the names of older files, such as those of AugReg, as
`fix_old_checkpoints` there renames them.
"""

import re

import numpy as np

from vitscale.scaling.models.weights.class_position import fold_class_position
from vitscale.scaling.models.weights.infer import (
    Found,
    Stated,
    classes_of,
    depth_of,
    sizes_of,
    spec_of,
)
from vitscale.scaling.models.weights.rows import Row, to_ours, to_theirs
from vitscale.scaling.models.weights.spec import Arrays, VitSpec, Weights
from vitscale.scaling.shape import Readout

FRAMEWORK = "big_vision"

_BLOCK = "Transformer/encoderblock"
_ATTENTION = "MultiHeadDotProductAttention_0"

# prefix: what else a file with this prefix may hold, which is left out.
_PREFIXES = {
    "params/img/": ("params/txt/", "params/t", "params/b", "opt/"),
    "img/": ("txt/", "t", "b"),
    "params/": ("opt/",),
    "": (),
}

_OLD_NAMES = {
    "Transformer/posembed_input/pos_embedding": "pos_embedding",
    "Transformer/pos_embedding": "pos_embedding",
    "/LayerNorm_2/": "/LayerNorm_1/",
    "/MlpBlock_3/": "/MlpBlock_0/",
    "/MultiHeadDotProductAttention_1/": f"/{_ATTENTION}/",
}


def recognises(arrays: Arrays) -> bool:
    """Whether these names are of this layout."""
    return any("Transformer/encoder" in name for name in arrays)


def read(arrays: Arrays, stated: Stated) -> Weights:
    """The weights in a flat table of big_vision; raises `ValueError` for any but a plain ViT's."""
    arrays, notes = _without_prefix(arrays)
    arrays = _unstacked(_renamed(arrays))
    if any(name.startswith("pre_logits/") for name in arrays):
        raise ValueError(
            "big_vision's weights hold pre_logits/kernel: the model has a dense layer before the "
            "classifier (rep_size), which vitscale's ViT does not; give the weights of a plain ViT"
        )
    if "embedding/kernel" in arrays and "pos_embedding" not in arrays:
        raise ValueError(
            "big_vision's weights lack pos_embedding: positions that are not learned "
            "(posemb='sincos2d') are not vitscale's; give weights with posemb='learn'"
        )
    if "cls" in arrays:
        arrays = fold_class_position(FRAMEWORK, arrays, "cls", "pos_embedding")
    spec = spec_of(FRAMEWORK, _found(arrays), stated)
    return to_ours(FRAMEWORK, _rows(spec), arrays, spec, (*stated.notes, *notes))


def write(weights: Weights) -> dict[str, np.ndarray]:
    """The flat table of big_vision without prefix, one entry for each block, in float32."""
    return to_theirs(_rows(weights.spec), weights)


def _found(arrays: Arrays) -> Found:
    rows, columns, channels, width = sizes_of(FRAMEWORK, arrays, "embedding/kernel", 4)
    query = sizes_of(FRAMEWORK, arrays, f"{_BLOCK}_0/{_ATTENTION}/query/kernel", 3)
    readout: Readout = "tok" if "cls" in arrays else "gap"
    return Found(
        width=width,
        depth=depth_of(FRAMEWORK, arrays, rf"{_BLOCK}_(\d+)/"),
        mlp_dim=sizes_of(FRAMEWORK, arrays, f"{_BLOCK}_0/MlpBlock_0/Dense_0/kernel", 2)[1],
        heads=query[1],
        patch=(rows, columns),
        channels=channels,
        tokens=sizes_of(FRAMEWORK, arrays, "pos_embedding", 3)[1],
        readout="map" if "MAPHead_0/probe" in arrays else readout,
        classes=classes_of(FRAMEWORK, arrays, "head/bias"),
    )


def _rows(spec: VitSpec) -> list[Row]:
    shape, width = spec.shape, spec.shape.width
    patches = (shape.patch, shape.patch, spec.channels, width)
    positions = (1, shape.tokens(spec.image_size), width)
    rows = [
        Row(theirs="embedding/kernel", size=patches, ours=("embedding/kernel",)),
        Row(theirs="embedding/bias", size=(width,), ours=("embedding/bias",)),
        Row(theirs="pos_embedding", size=positions, ours=("position",)),
    ]
    if spec.readout == "tok":
        rows.append(Row(theirs="cls", size=(1, 1, width), ours=("class_token",)))
    for i in range(shape.depth):
        theirs, ours = f"{_BLOCK}_{i}", f"blocks/{i}"
        rows += _norm(f"{theirs}/LayerNorm_0", f"{ours}/attention_norm", width)
        rows += _attention(theirs, f"{ours}/attention", spec)
        rows += _norm(f"{theirs}/LayerNorm_1", f"{ours}/mlp_norm", width)
        rows += _mlp(theirs, f"{ours}/mlp", spec)
    rows += _norm("Transformer/encoder_norm", "final_norm", width)
    if spec.readout == "map":
        rows.append(Row(theirs="MAPHead_0/probe", size=(1, 1, width), ours=("readout/probe",)))
        rows += _attention("MAPHead_0", "readout/attention", spec)
        rows += _norm("MAPHead_0/LayerNorm_0", "readout/norm", width)
        rows += _mlp("MAPHead_0", "readout/mlp", spec)
    if spec.classes:
        rows += _dense("head", "head", width, spec.classes)
    return rows


def _norm(theirs: str, ours: str, width: int) -> list[Row]:
    kinds = ("scale", "bias")
    return [Row(theirs=f"{theirs}/{k}", size=(width,), ours=(f"{ours}/{k}",)) for k in kinds]


def _dense(theirs: str, ours: str, inputs: int, outputs: int) -> list[Row]:
    return [
        Row(theirs=f"{theirs}/kernel", size=(inputs, outputs), ours=(f"{ours}/kernel",)),
        Row(theirs=f"{theirs}/bias", size=(outputs,), ours=(f"{ours}/bias",)),
    ]


def _mlp(theirs: str, ours: str, spec: VitSpec) -> list[Row]:
    width, mlp_dim = spec.shape.width, spec.shape.mlp_dim
    up = _dense(f"{theirs}/MlpBlock_0/Dense_0", f"{ours}/up", width, mlp_dim)
    return up + _dense(f"{theirs}/MlpBlock_0/Dense_1", f"{ours}/down", mlp_dim, width)


def _attention(theirs: str, ours: str, spec: VitSpec) -> list[Row]:
    """Flax keeps the heads as an axis of their own: last but one of what they read, first of out."""
    width, heads = spec.shape.width, (spec.shape.heads, spec.shape.head_dim)
    sizes: dict[str, tuple[tuple[int, ...], ...]] = {"out": ((*heads, width), (width,))}
    for part in ("query", "key", "value"):
        sizes[part] = ((width, *heads), heads)
    return [
        Row(
            theirs=f"{theirs}/{_ATTENTION}/{part}/{kind}",
            size=size,
            ours=(f"{ours}/{part}/{kind}",),
        )
        for part, pair in sizes.items()
        for kind, size in zip(("kernel", "bias"), pair, strict=True)
    ]


def _without_prefix(arrays: Arrays) -> tuple[dict[str, np.ndarray], list[str]]:
    fits = (p for p in _PREFIXES if any(n.startswith(f"{p}Transformer/") for n in arrays))
    prefix = next(fits, "")
    besides = _PREFIXES[prefix]
    left_out = [n for n in arrays if not n.startswith(prefix) and n.startswith(besides)]
    kept = {n.removeprefix(prefix): arrays[n] for n in arrays if n not in set(left_out)}
    parts = sorted({"/".join(name.split("/")[:2]) for name in left_out})
    return kept, [f"left out: {', '.join(parts)}"] if left_out else []


def _renamed(arrays: Arrays) -> dict[str, np.ndarray]:
    renamed = {}
    for name, array in arrays.items():
        for old, new in _OLD_NAMES.items():
            name = name.replace(old, new)
        if re.match(r"(probe$|(LayerNorm|MlpBlock|MultiHeadDotProductAttention)_0/)", name):
            name = f"MAPHead_0/{name}"
        renamed[name] = array
    return renamed


def _unstacked(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays with stacked blocks, where there are such, as one entry for each block."""
    unstacked = {}
    for name, array in arrays.items():
        if name.startswith(f"{_BLOCK}/") and array.ndim:
            rest = name.removeprefix(f"{_BLOCK}/")
            unstacked |= {f"{_BLOCK}_{i}/{rest}": part for i, part in enumerate(array)}
        else:
            unstacked[name] = array
    return unstacked
