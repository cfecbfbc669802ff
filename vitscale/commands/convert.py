"""`vitscale convert`."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from vitscale.commands.output import output
from vitscale.commands.saying import working

if TYPE_CHECKING:
    from vitscale.scaling.models.weights import Weights


@dataclasses.dataclass(frozen=True)
class Convert:
    """A ViT's weights from one framework into another: the same function, to float32's precision.

    Reads timm's, transformers' (SigLIP, ViT), big_vision's and vitscale's own weights, as a
    .safetensors or .npz file or a folder with its config.json. Writes a new folder, with the config
    that the framework loads it by.

    Examples:  vitscale convert model.safetensors my-vit --to huggingface --heads 12
               vitscale convert siglip.npz my-vit --to timm --image-size 384
    """

    source: Positional[Path]
    """File or folder of the weights; its framework is told from the names inside."""
    target: Positional[Path]
    """Folder to write; must not exist yet."""
    to: Literal["timm", "huggingface", "big_vision", "vitscale"]
    """Framework to write for."""
    heads: int | None = None
    """Number of attention heads, where neither the weights nor a config.json beside them say it."""
    image_size: int | None = None
    """Resize the positions for images of so many pixels (default: as they are)."""
    patch: int | None = None
    """Resize the kernel, and the positions, for patches of so many pixels (default: as they are)."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Files:
    """What a framework's folder consists of; `emitter` is the config's in `vitscale.fits.export`."""

    weights: str
    config: str
    emitter: str


_FILES = {
    "timm": _Files(weights="model.safetensors", config="config.json", emitter="timm-folder"),
    "huggingface": _Files(weights="model.safetensors", config="config.json", emitter="huggingface"),
    "big_vision": _Files(weights="model.npz", config="config.json", emitter="big_vision"),
    "vitscale": _Files(weights="model.safetensors", config="shape.json", emitter="json"),
}


def run(command: Convert) -> int:
    from vitscale.scaling.models.weights import LAYOUTS, read_weights

    with working(f"converting {command.source}"):
        weights = _resized(read_weights(command.source, heads=command.heads), command)
        spec = weights.spec
        written = _write(weights, command)
    notes = [*weights.notes, LAYOUTS[command.to].left_out(spec)]
    content = {
        "shape": dataclasses.asdict(spec.shape),
        "image_size": spec.image_size,
        "readout": spec.readout,
        "channels": spec.channels,
        "classes": spec.classes,
        "params": sum(array.size for array in weights.arrays.values()),
        "notes": [note for note in notes if note],
        "written": [str(path) for path in written],
    }
    output(command.json, content, lambda: _lines(weights, content))
    return 0


def _resized(weights: "Weights", command: Convert) -> "Weights":
    """The weights for the image size and patch that the command asks for."""
    spec = weights.spec
    patch = spec.shape.patch if command.patch is None else command.patch
    asked = dataclasses.replace(
        spec,
        shape=dataclasses.replace(spec.shape, patch=patch),
        image_size=spec.image_size if command.image_size is None else command.image_size,
    )
    if asked == spec:
        return weights
    # Only here, as resizing needs jax.
    from vitscale.scaling.models.resize import resize_params
    from vitscale.scaling.models.weights import params_from_weights, weights_from_params

    params = resize_params(params_from_weights(weights), spec, asked)
    return dataclasses.replace(weights_from_params(params, asked), notes=weights.notes)


def _write(weights: "Weights", command: Convert) -> list[Path]:
    from vitscale.fits.export import emit, replace_text
    from vitscale.scaling.models.weights import LAYOUTS, new_folder, write_npz, write_safetensors

    spec, layout, files = weights.spec, LAYOUTS[command.to], _FILES[command.to]
    config: dict[str, Any] = emit(
        spec.shape,
        files.emitter,
        image_size=spec.image_size,
        readout=spec.readout,
        channels=spec.channels,
        classes=spec.classes,
    )
    with new_folder(command.target) as folder:
        arrays = layout.write(weights)
        if files.weights.endswith(".npz"):
            write_npz(folder / files.weights, arrays)
        else:
            write_safetensors(folder / files.weights, arrays, layout.metadata(spec))
        replace_text(folder / files.config, json.dumps(config, indent=2, allow_nan=False) + "\n")
    return [command.target / files.weights, command.target / files.config]


def _lines(weights: "Weights", content: dict[str, Any]) -> list[str]:
    spec = weights.spec
    classes = f", {spec.classes} classes" if spec.classes else ""
    return [
        f"ViT with {spec.shape}: {content['params']:,} parameters",
        f"image {spec.image_size} x {spec.image_size} x {spec.channels}, {spec.readout}{classes}",
        *(f"note: {note}" for note in content["notes"]),
        *(f"wrote {path}" for path in content["written"]),
    ]
