"""`vitscale shape`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from vitscale.commands.model_setting import MODEL_GROUP, Models, changed, tells_images
from vitscale.commands.options import Groups
from vitscale.commands.output import output

if TYPE_CHECKING:
    from vitscale.fits.answer import Setting
    from vitscale.fits.device.capacity import Capacity


@dataclasses.dataclass(frozen=True)
class ShapeFor(Models):
    """The compute-optimal shape for a budget, from a fit or from the paper's own rule.

    Examples:  vitscale shape --flops 1e21 --hardware h100
               vitscale shape --fit fit.json --like "ViT-g/14 x 16e9" --emit all --out my-vit
               vitscale shape --flops 1e21 --fits shapefinder.jsonl
    """

    groups: ClassVar[Groups] = {
        "The budget, as one of": ("flops", "like"),
        "The rule and the device": ("fit", "rule", "fits"),
        **MODEL_GROUP,
        "Rounding": ("hardware", "width_multiple", "mlp_multiple"),
        "Files for a framework": ("emit", "out", "classes", "recipe", "data"),
    }

    flops: float | None = None
    """Budget in training FLOPs: 3 x forward FLOPs x images."""
    like: str | None = None
    """Budget of a known training run, as "ViT-g/14 x 16e9" (model x images seen)."""
    fit: Path | None = None
    """What `vitscale fit --out` wrote. Without it, the published rule."""
    rule: str = "sovit-figure1"
    """Published exponents to use without --fit: sovit-figure1, sovit-text, sovit-figure5 or
    sovit-multitask."""
    fits: Path | None = None
    """What `vitscale shapefinder --out` wrote: take the nearest shape that fits that device, and say
    how long it trains there. Without --fit, the model is the one that was measured there."""
    emit: tuple[str, ...] = ()
    """What to write files for: all, json, timm, huggingface, openclip, big_vision, trial (a plan for
    `vitscale train`); one or several."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder to write them into; made where it is missing."""
    classes: int = 0
    """Outputs of the classifier in the emitted files; 0 for none."""
    recipe: str | None = None
    """Named recipe of the emitted trial and big_vision config (default: scaling-vit, or glyphs for its
    images)."""
    data: str | None = None
    """What these train on, instead of the recipe's data: tfds:NAME, folder:PATH or npz:PATH."""
    hardware: str | None = None
    """Round to what this likes: cpu, v100, a100, h100 (or h200), tpu-v4, tpu-v5e, tpu-v5p or tpu-v6e; with
    --fit, to the sizes that cost least by its laws. Flags below change single ones of its multiples."""
    width_multiple: int | None = None
    """Round the width to a multiple of this too."""
    mlp_multiple: int | None = None
    """Round mlp_dim to a multiple of this (default: the fit's, or 16)."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(command: ShapeFor) -> int:
    from vitscale.fits.answer import answer
    from vitscale.fits.device.capacity import read_capacity
    from vitscale.fits.fit_file import read_fit
    from vitscale.fits.rule import flops_like, model_and_images_of, published_rule

    if (command.flops is None) == (command.like is None):
        raise ValueError('give the budget either as --flops 1e21 or as --like "ViT-g/14 x 16e9"')
    _check_emit(command)
    fit, measured, assumed = None, None, False
    capacity = None if command.fits is None else read_capacity(command.fits)
    if command.fit is None:
        rule, setting = published_rule(command.rule), _published_setting(capacity)
    else:
        content = read_fit(command.fit)
        rule, setting, fit = content.rule(), content.setting, content.fit
        measured = content.measured_flops()
        assumed = content.assumed and not tells_images(command)
    budget = command.flops if command.flops is not None else flops_like(str(command.like))
    found = answer(
        rule,
        budget,
        _changed(setting, command),
        measured_flops=measured,
        capacity=capacity,
        fit=fit,
        assumed=assumed,
        round_by_law=command.hardware is not None,
    )
    if command.hardware is not None:
        found = dataclasses.replace(
            found, rounded_for=_rounded_for(command.hardware, found.setting)
        )
    lines = found.lines()
    content = found.to_dict() | {"hardware": command.hardware, "written": [], "notes": []}
    if command.like is not None:
        from vitscale.fits.comparison import compared
        from vitscale.scaling.shape import named_shape

        name, images = model_and_images_of(command.like)
        beside = compared(name, named_shape(name), images, found)
        lines.append(f"  {beside.sentence()}")
        content |= {"like": beside.to_dict()}
    if command.out is not None:
        from vitscale.emit import emit_answer

        written = emit_answer(
            found,
            command.emit,
            command.out,
            classes=command.classes,
            recipe=command.recipe,
            data=command.data,
        )
        content |= {"written": list(map(str, written.paths)), "notes": list(written.notes)}
        lines += [f"wrote {path}" for path in written.paths]
        lines += [f"note: {note}" for note in written.notes]
    output(command.json, content, lambda: lines)
    return 0


def _check_emit(command: ShapeFor) -> None:
    """Refuse what cannot be written before anything is computed."""
    from vitscale.fits.export import targets_named

    targets_named(command.emit)
    if command.emit and command.out is None:
        raise ValueError(
            f"--emit {' '.join(command.emit)} lacks the folder to write into; add --out FOLDER"
        )
    if command.out is not None and not command.emit:
        raise ValueError(
            f"--out {command.out} says where to write what --emit names; add --emit all"
        )


def _rounded_for(name: str, setting: "Setting") -> str:
    from vitscale.fits.hardware import hardware_named

    heads = ""
    if setting.heads is not None or setting.head_dim is not None:
        heads = f", {setting.heads} heads" if setting.heads else f", heads of {setting.head_dim}"
    return (
        f"{name}: width a multiple of {setting.width_multiple}, mlp_dim of "
        f"{setting.mlp_multiple}{heads}; {hardware_named(name).why}"
    )


def _published_setting(capacity: "Capacity | None") -> "Setting":
    """The paper's setting, for the model that the device was measured with."""
    from vitscale.fits.answer import Setting

    setting = Setting(heads=16)
    if capacity is None:
        return setting
    conditions = capacity.conditions
    return dataclasses.replace(
        setting,
        patch=conditions.patch,
        image_size=conditions.image_size,
        channels=conditions.channels,
        readout=conditions.readout,
    )


def _changed(setting: "Setting", command: ShapeFor) -> "Setting":
    """The setting with what the hardware and the command's flags say otherwise."""
    if command.hardware is not None:
        setting = _liked_by(command.hardware, setting)
    multiples = {name: getattr(command, name) for name in ("width_multiple", "mlp_multiple")}
    return dataclasses.replace(
        changed(setting, command),
        **{name: value for name, value in multiples.items() if value is not None},
    )


def _liked_by(name: str, setting: "Setting") -> "Setting":
    """The setting with the hardware's multiples and size of a head."""
    from vitscale.fits.hardware import hardware_named

    hardware = hardware_named(name)
    if hardware.head_dim is not None:
        setting = dataclasses.replace(setting, heads=None, head_dim=hardware.head_dim)
    return dataclasses.replace(
        setting,
        width_multiple=hardware.width_multiple,
        mlp_multiple=hardware.mlp_multiple,
    )
