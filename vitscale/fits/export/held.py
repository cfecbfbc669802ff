"""Which shapes the files in a folder hold that was emitted into before."""

import json
import tomllib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from vitscale.scaling.shape import Shape

Sizes = tuple[int, int, int]
"""Width, depth and MLP size."""


def _timm(content: Any) -> Sizes:
    model = content["model_args"]
    return model["embed_dim"], model["depth"], int(model["embed_dim"] * model["mlp_ratio"])


def _huggingface(content: Any) -> Sizes:
    return content["hidden_size"], content["num_hidden_layers"], content["intermediate_size"]


def _own(content: Any) -> Sizes:
    return content["width"], content["depth"], content["mlp_dim"]


def _trial(content: Any) -> Sizes:
    grid = content["grid"]
    return grid["width"][0], grid["depth"][0], grid["mlp_dim"][0]


_FILES: dict[str, tuple[str, Callable[[Any], Sizes]]] = {
    "json": ("shape.json", lambda content: _own(content["shape"])),
    "timm": ("timm/config.json", _timm),
    "huggingface": ("huggingface/config.json", _huggingface),
    "openclip": ("openclip/trunk/config.json", _timm),
    "big_vision": ("big_vision/config.json", lambda content: _own(content["model"])),
    "trial": ("trial.toml", _trial),
}
"""By target: the file that tells its sizes, and how."""


def held_shapes(folder: Path) -> dict[str, Sizes]:
    """The sizes that `folder` holds, by target; of files that vitscale did not write, nothing is said."""
    found: dict[str, Sizes] = {}
    for target, (name, sizes) in _FILES.items():
        try:
            text = (folder / name).read_text(encoding="utf-8")
            parse = tomllib.loads if name.endswith(".toml") else json.loads
            found[target] = sizes(parse(text))
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return found


def refuse_mixture(shape: Shape, folder: Path, written: Collection[Path]) -> None:
    """Refuse to write the files `written` of `shape` where others in `folder` hold another shape and would stay.

    Raises `ValueError` that names that shape and where it is.
    """
    wanted = (shape.width, shape.depth, shape.mlp_dim)
    others = {
        target: sizes
        for target, sizes in held_shapes(folder).items()
        if sizes != wanted and folder / _FILES[target][0] not in written
    }
    if others:
        shapes = " and ".join(dict.fromkeys(" x ".join(map(str, each)) for each in others.values()))
        raise ValueError(
            f"{folder} holds another shape ({shapes}) in {', '.join(others)}, which would stay beside "
            f"{' x '.join(map(str, wanted))}; emit them anew too, such as by --emit all, or choose another --out"
        )
