"""The layouts that weights are read from and written in, and reading a file of any of them."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vitscale.scaling.models.weights import big_vision, huggingface, timm, vitscale
from vitscale.scaling.models.weights.files import READERS, Contents, read_file
from vitscale.scaling.models.weights.infer import Stated
from vitscale.scaling.models.weights.spec import Arrays, VitSpec, Weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """How one framework names and shapes the arrays of a ViT.

    - `recognises`: whether a file's arrays are of this layout.
    - `read`: the weights in a file, with what else is known of them.
    - `write`: the arrays of a file.
    - `read_config`: what the `config.json` beside a file says.
    - `metadata`: text for a safetensors file.
    - `left_out`: a sentence on what the layout has no place for; "" where it holds everything.
    """

    recognises: Callable[[Arrays], bool]
    read: Callable[[Contents, Stated], Weights]
    write: Callable[[Weights], dict[str, np.ndarray]]
    read_config: Callable[[Mapping[str, Any]], Stated] = lambda _: Stated()
    # transformers refuses a file that does not say what kind of tensors it holds.
    metadata: Callable[[VitSpec], dict[str, str]] = lambda _: {"format": "pt"}
    left_out: Callable[[VitSpec], str] = lambda _: ""


LAYOUTS: dict[str, Layout] = {
    "big_vision": Layout(
        recognises=big_vision.recognises,
        read=lambda contents, stated: big_vision.read(contents.arrays, stated),
        write=big_vision.write,
    ),
    "timm": Layout(
        recognises=timm.recognises,
        read=lambda contents, stated: timm.read(contents.arrays, stated),
        write=timm.write,
        read_config=timm.read_config,
    ),
    "huggingface": Layout(
        recognises=huggingface.recognises,
        read=lambda contents, stated: huggingface.read(contents.arrays, stated),
        write=huggingface.write,
        read_config=huggingface.read_config,
        left_out=huggingface.left_out,
    ),
    "vitscale": Layout(
        recognises=vitscale.recognises,
        read=lambda contents, stated: vitscale.read(contents.arrays, stated, contents.metadata),
        write=vitscale.write,
        metadata=vitscale.metadata_of,
    ),
}
"""Layouts by name. A file is of the first that recognises it."""


def read_weights(
    source: Path, *, heads: int | None = None, image_size: int | None = None
) -> Weights:
    """The weights in a file of any layout, or in a folder of one such file and its `config.json`.

    - `heads`: needed where neither the arrays nor a config beside the file show them.
    - `image_size`: where patches do not fill the image, which positions alone cannot tell.

    Half-precision arrays become float32. Raises `ValueError` for what is not the whole of a plain
    ViT, naming the array, and `OSError` where a file cannot be read.
    """
    alike = [] if source.exists() else sorted(source.parent.glob(f"{source.name}-*"))
    if alike:  # the weights of a trial, a folder for each duration
        raise ValueError(f"there is no {source}; did you mean {' or '.join(map(str, alike))}?")
    file = _weights_file(source) if source.is_dir() else source
    contents = read_file(file)
    layout = _layout(contents.arrays, file)
    stated = _stated(layout, file.with_name("config.json"))
    changes = {"heads": heads, "image_size": image_size}
    changes = {name: value for name, value in changes.items() if value is not None}
    if heads is not None and stated.heads not in (None, heads):
        raise ValueError(
            f"heads={heads}, but {file.with_name('config.json')} says {stated.heads}; leave the "
            f"heads out"
        )
    return layout.read(contents, dataclasses.replace(stated, **changes))


def _weights_file(folder: Path) -> Path:
    files = sorted(path for path in folder.iterdir() if path.suffix in READERS)
    whole = [path for path in files if path.name == "model.safetensors"]
    if len(whole or files) != 1:
        found = ", ".join(path.name for path in files) or "none"
        raise ValueError(
            f"{folder} has no model.safetensors and no single other file of weights (found: "
            f"{found}); name the file that is meant"
        )
    return (whole or files)[0]


def _layout(arrays: Arrays, file: Path) -> Layout:
    for layout in LAYOUTS.values():
        if layout.recognises(arrays):
            return layout
    names = ", ".join(sorted(arrays)[:4])
    raise ValueError(
        f"{file} holds {len(arrays)} arrays in no known layout ({names or 'none'}); expected a "
        f"ViT of {', '.join(LAYOUTS)}"
    )


def _stated(layout: Layout, config: Path) -> Stated:
    if not config.exists():
        return Stated()
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{config} is not valid JSON ({error}); write it anew") from error
    if not isinstance(content, dict):
        raise ValueError(f"{config} holds no JSON object; write it anew")
    return layout.read_config(content)
