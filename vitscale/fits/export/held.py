"""Which shapes the files in a folder hold that was emitted into before."""

import json
import tomllib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from vitscale.scaling.shape import Shape

Model = tuple[int, int, int, int, int, int | None]
"""Width, depth, MLP size, heads, patch and image size; None where a file does not tell."""


def _timm(content: Any) -> Model:
    model = content["model_args"]
    width = model["embed_dim"]
    sizes = width, model["depth"], int(width * model["mlp_ratio"]), model["num_heads"]
    return *sizes, model["patch_size"], model["img_size"]


def _huggingface(content: Any) -> Model:
    keys = ("hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads")
    sizes = [content[key] for key in keys]
    return *sizes, content["patch_size"], content["image_size"]


def _own(content: Any) -> Model:
    shape = content["shape"]
    return _of(Shape(**shape), content["image_size"])


def _big_vision(content: Any) -> Model:
    model = content["model"]
    sizes = [model[key] for key in ("width", "depth", "mlp_dim", "num_heads")]
    return *sizes, model["patch_size"][0], None


def _trial(content: Any) -> Model:
    grid = content["grid"]
    sizes = [grid[key][0] for key in ("width", "depth", "mlp_dim")]
    return *sizes, grid["heads"], grid["patch"], content["recipe"]["image_size"]


def _of(shape: Shape, image_size: int) -> Model:
    sizes = shape.width, shape.depth, shape.mlp_dim
    return *sizes, shape.heads, shape.patch, image_size


_FILES: dict[str, tuple[str, Callable[[Any], Model]]] = {
    "json": ("shape.json", _own),
    "timm": ("timm/config.json", _timm),
    "huggingface": ("huggingface/config.json", _huggingface),
    "openclip": ("openclip/trunk/config.json", _timm),
    "big_vision": ("big_vision/config.json", _big_vision),
    "trial": ("trial.toml", _trial),
}
"""By target: the file that tells its model, and how."""

_BESIDE = {"big_vision": ("big_vision/config.py",)}
"""By target: files of the same model that are not always written with that one."""


def held_models(folder: Path) -> dict[str, Model]:
    """The models that `folder` holds, by target; of files that vitscale did not write, nothing is said."""
    found: dict[str, Model] = {}
    for target, (name, model) in _FILES.items():
        try:
            text = (folder / name).read_text(encoding="utf-8")
            parse = tomllib.loads if name.endswith(".toml") else json.loads
            found[target] = model(parse(text))
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return found


def refuse_mixture(shape: Shape, image_size: int, folder: Path, written: Collection[Path]) -> None:
    """Refuse to write the files `written` of a model where others in `folder` hold another and would stay.

    Raises `ValueError` that names that model and where it is.
    """
    wanted, held = _of(shape, image_size), held_models(folder)
    others = {
        target: model
        for target, model in held.items()
        if not _same(model, wanted) and not _written_anew(target, folder, written)
    }
    if others:
        models = " and ".join(dict.fromkeys(map(_in_words, others.values())))
        raise ValueError(
            f"{folder} holds another model ({models}) in {', '.join(others)}, which would stay beside "
            f"{_in_words(wanted)}; emit them anew too, such as by --emit all, or choose another --out"
        )


def _same(model: Model, wanted: Model) -> bool:
    return all(a == b for a, b in zip(model, wanted, strict=True) if a is not None)


def _written_anew(target: str, folder: Path, written: Collection[Path]) -> bool:
    """Whether all that `folder` has of `target` is written anew."""
    files = [folder / _FILES[target][0], *(folder / name for name in _BESIDE.get(target, ()))]
    return all(file in written or not file.exists() for file in files)


def _in_words(model: Model) -> str:
    width, depth, mlp_dim, heads, patch, image_size = model
    image = "" if image_size is None else f" on {image_size} px"
    return f"{width} x {depth} x {mlp_dim}, {heads} heads, patch {patch}{image}"
