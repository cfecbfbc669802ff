"""`vitscale convert`."""

import dataclasses
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
    to: Literal["timm", "huggingface", "openclip", "big_vision", "vitscale"]
    """Framework to write for; openclip is timm's files within a model of images and texts."""
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
    """What a framework's folder consists of: the weights, the layout they are in, and the files of a
    target of `vitscale.fits.export`."""

    weights: str
    layout: str
    target: str


_FILES = {
    "timm": _Files(weights="model.safetensors", layout="timm", target="timm"),
    "huggingface": _Files(weights="model.safetensors", layout="huggingface", target="huggingface"),
    "openclip": _Files(weights="trunk/model.safetensors", layout="timm", target="openclip"),
    "big_vision": _Files(weights="model.npz", layout="big_vision", target="big_vision"),
    "vitscale": _Files(weights="model.safetensors", layout="vitscale", target="json"),
}


def run(command: Convert) -> int:
    from vitscale.scaling.models.weights import LAYOUTS, read_weights

    with working(f"converting {command.source}"):
        weights = _resized(read_weights(command.source, heads=command.heads), command)
        spec = weights.spec
        written = _write(weights, command)
    notes = [*weights.notes, LAYOUTS[_FILES[command.to].layout].left_out(spec)]
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
    from vitscale.fits.export import TARGETS, Emission, ModelSpec, replace_text
    from vitscale.scaling.models.weights import LAYOUTS, new_folder, write_npz, write_safetensors

    spec, files = weights.spec, _FILES[command.to]
    layout, target = LAYOUTS[files.layout], TARGETS[files.target]
    model = ModelSpec(
        shape=spec.shape,
        image_size=spec.image_size,
        readout=spec.readout,
        channels=spec.channels,
        classes=spec.classes,
    )
    reason = target.lacks(model, "")
    if reason:
        raise ValueError(f"--to {command.to}: {reason}")
    texts = target.files(Emission(spec=model, folder=command.target))
    with new_folder(command.target) as folder:
        arrays = layout.write(weights)
        (folder / files.weights).parent.mkdir(exist_ok=True)
        if files.weights.endswith(".npz"):
            write_npz(folder / files.weights, arrays)
        else:
            write_safetensors(folder / files.weights, arrays, layout.metadata(spec))
        for name, text in texts.items():
            replace_text(folder / name, text)
    return [command.target / name for name in (files.weights, *texts)]


def _lines(weights: "Weights", content: dict[str, Any]) -> list[str]:
    spec = weights.spec
    classes = f", {spec.classes} classes" if spec.classes else ""
    return [
        f"ViT with {spec.shape}: {content['params']:,} parameters",
        f"image {spec.image_size} x {spec.image_size} x {spec.channels}, {spec.readout}{classes}",
        *(f"note: {note}" for note in content["notes"]),
        *(f"wrote {path}" for path in content["written"]),
    ]
