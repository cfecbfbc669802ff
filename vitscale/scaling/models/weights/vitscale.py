"""vitscale's own layout: its names as they are, and the spec as JSON in the file's metadata."""

import dataclasses
import json
from collections.abc import Mapping

import numpy as np

from vitscale.scaling.models.weights.infer import Stated
from vitscale.scaling.models.weights.rows import Row, to_ours
from vitscale.scaling.models.weights.spec import Arrays, VitSpec, Weights, parameter_sizes
from vitscale.scaling.shape import Shape

KEY = "vitscale.weights"
VERSION = 1


def recognises(arrays: Arrays) -> bool:
    """Whether these names are of this layout."""
    return any(name.startswith("blocks/") for name in arrays)


def read(arrays: Arrays, stated: Stated, metadata: Mapping[str, str]) -> Weights:
    """The weights in a file that vitscale wrote; raises `ValueError` where it was edited."""
    spec = _spec(metadata)
    for name, said, written in (
        ("heads", stated.heads, spec.shape.heads),
        ("image_size", stated.image_size, spec.image_size),
    ):
        if said not in (None, written):
            raise ValueError(f"{name}={said}, but the file says {written}; leave {name} out")
    sizes = parameter_sizes(spec)
    rows = [Row(theirs=name, size=size, ours=(name,)) for name, size in sizes.items()]
    return to_ours("vitscale", rows, arrays, spec, stated.notes)


def write(weights: Weights) -> dict[str, np.ndarray]:
    """The arrays as they are."""
    return dict(weights.arrays)


def metadata_of(spec: VitSpec) -> dict[str, str]:
    """The metadata of a safetensors file that `read` reads back."""
    content = {"version": VERSION, **dataclasses.asdict(spec)}
    return {KEY: json.dumps(content)}


def _spec(metadata: Mapping[str, str]) -> VitSpec:
    if KEY not in metadata:
        raise ValueError(
            f"the file has vitscale's names but not its metadata {KEY!r}, which says patch and "
            f"heads; give the model.safetensors that vitscale wrote"
        )
    try:
        content = json.loads(metadata[KEY])
        version = content.pop("version")
        if version == VERSION:
            return VitSpec(shape=Shape(**content.pop("shape")), **content)
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"the metadata {KEY!r} of the file cannot be read ({error}); write the file anew"
        ) from error
    raise ValueError(
        f"the file has version {version!r}, but this vitscale reads {VERSION}; use the vitscale "
        f"that wrote it"
    )
